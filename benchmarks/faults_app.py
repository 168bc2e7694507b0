"""The studio killed while it is at work, and its connections dropped, in a real browser; parts of faults.py.

Its process gets kill -9 at random moments while files are uploaded, a training runs, a piece is composed. It is started
again on the same workspace: what it had said to be done is there, whole; what it had not is there whole or not at all.
"""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from conftest import scale_song
from playwright.sync_api import Page, sync_playwright
from studio import ARGS, CHROMIUM, ROOT, answers, wait_until

from deepmusician import history
from deepmusician.midi import write_midi
from deepmusician.options import TrainOptions
from deepmusician.runs import Run, list_runs, start_run
from deepmusician.shelf import list_data_sets, load_data_set

FILES = 40  # in an upload


class Studio:
    """The studio's process on a port of its own, to be killed and started again."""

    def __init__(self, home: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.home, self.process = home, None
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [sys.executable, "-m", "streamlit", "run", "app.py", f"--server.port={self.port}"]
        env = os.environ | {"PYTHONPATH": str(ROOT), "DEEPMUSICIAN_HOME": str(self.home)}
        with (self.home.parent / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--server.headless=true"], cwd=ROOT, env=env, stdout=log, stderr=log
            )
        wait_until(lambda: answers(f"http://127.0.0.1:{self.port}/_stcore/health"), 120)

    def kill(self) -> None:
        """kill -9."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def url(self, port: int | None = None) -> str:
        """Its address, or that of a proxy before it."""
        return f"http://127.0.0.1:{port or self.port}"


def app(folder: Path, args) -> bool:
    """Kill the studio while it is at work; `args.app_kills` times at each kind of work."""
    home = folder / "app-home"
    home.mkdir()
    os.environ["DEEPMUSICIAN_HOME"] = str(home)
    rng = random.Random(args.seed)
    good = True
    print("killed while   times  done before  lost")
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        studio = Studio(home)
        try:
            for work in (_upload, _train, _compose):
                page = browser.new_page()
                page.set_default_timeout(60_000)
                done, lost = 0, []
                for i in range(args.app_kills):
                    try:
                        done += work(page, studio, rng, i)
                    except Exception as error:
                        lost.append(f"{type(error).__name__}: {error}"[:400])
                        if studio.process.poll() is not None:
                            studio.start()
                page.close()
                good &= not lost
                print(f"{work.__doc__:14} {args.app_kills:5} {done:12}  {'; '.join(lost) or 'none'}", flush=True)
        finally:
            studio.kill()
            browser.close()
    return good


def _killed(studio: Studio, after: float) -> None:
    time.sleep(after)
    studio.kill()
    studio.start()


def _upload(page: Page, studio: Studio, rng: random.Random, i: int) -> bool:
    """uploading"""
    files = []
    (studio.home.parent / "files").mkdir(exist_ok=True)
    for n in range(FILES):
        files.append(studio.home.parent / "files" / f"tune-{n}.mid")
        write_midi(scale_song(40 + n), files[-1])
    before = {name: len(load_data_set(name).songs) for name in list_data_sets()}
    page.goto(f"{studio.url()}/library")
    page.locator('input[type="file"]').first.wait_for(state="attached")
    if before:
        page.get_by_text("Add your own music").click()
    page.locator('input[type="file"]').set_input_files(files)
    page.get_by_text("tune-3.mid").first.wait_for(state="attached")
    page.get_by_label("Keep as").fill(f"set {i}")
    page.get_by_role("button", name="Add to the library").click()
    _killed(studio, rng.uniform(0, 1.5))
    after = {name: len(load_data_set(name).songs) for name in list_data_sets()}
    new = after.pop(f"set {i}", FILES)
    assert after == before, f"{before} became {after}"
    assert new == FILES, f"{new} of {FILES} pieces are shown as whole"
    page.goto(f"{studio.url()}/library")
    page.get_by_role("heading", name="Library", level=1).wait_for()
    return f"set {i}" in list_data_sets()


def _train(page: Page, studio: Studio, rng: random.Random, i: int) -> bool:
    """training"""
    before = {run.name for run in list_runs()}
    page.goto(f"{studio.url()}/train?run=new")
    slider = page.locator('input[type="range"][aria-label="Epochs"]')
    slider.wait_for(state="attached")
    page.get_by_label("Name of this training").fill(f"my-training-{i}")
    page.get_by_label("Name of this training").press("Enter")
    page.get_by_role("button", name="Start training").click()
    _killed(studio, rng.uniform(0, 4))
    made = [run for run in list_runs() if run.name not in before]
    assert len(made) <= 1
    if not made:
        return False
    run = made[0]
    page.goto(f"{studio.url()}/train?run={run.name}")
    said = page.get_by_role("heading", name=run.name)
    said.wait_for()
    state = run.status()
    assert state.live == (run.is_locked() or state.state == "starting"), f"{state.state}, lock {run.is_locked()}"
    wait_until(lambda: run.status().state != "starting", 120)
    if run.status().live:  # it went on without the studio; now its own process is killed, too
        _kill_training(run)
        wait_until(lambda: "interrupted" in page.get_by_role("heading", name=run.name).inner_text(), 30)
    assert run.status().state in ("interrupted", "finished"), run.status().state
    return True


def _kill_training(run: Run) -> None:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path("/proc", pid, "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"--run" in words and run.name.encode() in words:
            os.kill(int(pid), signal.SIGKILL)
    wait_until(lambda: not run.is_locked(), 30)


def _compose(page: Page, studio: Studio, rng: random.Random, i: int) -> bool:
    """composing"""
    before = {piece.id: len(piece.song()) for piece in history.history()}
    page.goto(f"{studio.url()}/compose")
    page.get_by_role("button", name="Compose", exact=True).click()
    _killed(studio, rng.uniform(0, 6))
    after = {piece.id: len(piece.song()) for piece in history.history()}
    assert {id: after.get(id) for id in before} == before, "a piece is gone"
    assert all(len(piece.song()) == piece.notes for piece in history.history()), "half a piece"
    page.goto(f"{studio.url()}/compose")
    page.get_by_role("button", name="Compose", exact=True).wait_for()
    return len(after) > len(before)


# ---- dropped connections


class Line:
    """A proxy before the studio whose connections can be cut."""

    def __init__(self, port: int) -> None:
        self.to, self.ends, self.opened = port, [], 0
        self.door = socket.create_server(("127.0.0.1", 0))
        self.port = self.door.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            near, _ = self.door.accept()
            try:
                far = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                near.close()
                continue
            self.ends += [near, far]
            self.opened += 1
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=_pass_on, args=(one, other), daemon=True).start()

    def cut(self) -> None:
        """Drop every connection."""
        while self.ends:
            end = self.ends.pop()
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    try:
        while data := one.recv(1 << 16):
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)
    except OSError:
        return


def connections(folder: Path, args) -> bool:
    """Drop the browser's connection `args.drops` times while a training runs; each time the page shows it at work."""
    home = folder / "line-home"
    home.mkdir()
    os.environ["DEEPMUSICIAN_HOME"] = str(home)
    files = folder / "line-music"
    files.mkdir()
    for n in range(4):
        write_midi(scale_song(48 + n), files / f"tune-{n}.mid")
    small = {"hidden_size": 16, "classifier_size": 16, "num_layers": 1, "decoder_n_layers": 1, "seq_len": 8}
    run = start_run(TrainOptions(path=str(files), n_epochs=5_000, milestones="none", **small), "busy")
    back = alone = 0
    times: list[float] = []
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        studio = Studio(home)
        line = Line(studio.port)
        try:
            page = browser.new_page()
            page.goto(f"{studio.url(line.port)}/train?run=busy")
            wait_until(lambda: run.status().state == "training", 120)
            wait_until(lambda: _shown(page) > 0, 120)
            for _ in range(args.drops):
                line.cut()
                began, epoch = time.monotonic(), run.status().epoch
                try:
                    wait_until(lambda epoch=epoch: _shown(page) >= epoch, 20)
                    alone, back = alone + 1, back + 1
                except AssertionError:  # what a person does then
                    page.reload()
                    with suppress(AssertionError):
                        wait_until(lambda epoch=epoch: _shown(page) >= epoch, 40)
                        back += 1
                times.append(time.monotonic() - began)
        finally:
            _kill_training(run)
            studio.kill()
            browser.close()
    slowest = f", the slowest after {max(times):.1f} s" if times else ""
    print(
        f"{args.drops} connections dropped: {back} times the page showed the running training again, {alone} of them "
        f"without being reloaded{slowest}"
    )
    return back == args.drops


def _shown(page: Page) -> int:
    """The epoch that a connected page shows as under way; -1 where it shows none."""
    main = page.locator('[data-testid="stApp"][data-test-connection-state="CONNECTED"] [data-testid="stMain"]')
    found = re.search(r"Epoch ([\d,]+) of", "".join(main.all_inner_texts()))
    return int(found[1].replace(",", "")) if found else -1
