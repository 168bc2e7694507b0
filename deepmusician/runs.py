"""Runs: the folder a training lives in, and the honest answer to what it is doing.

    runs/NAME/  config.toml   everything needed to repeat it
                metrics.jsonl one line an epoch; baselines.json what needs no learning reaches on the same songs
                status.json   replaced atomically; checkpoints/last and best; samples/; log.txt
                lock          held while its process lives: liveness is the lock, never a process id
                stop          asks the process to save and end

At most $DEEPMUSICIAN_MAX_RUNS (1) train at once, by file locks that die with their holder; the rest wait. This module
knows files and processes; what happens inside a run's process is `runner`'s business.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tomli_w
from filelock import FileLock, Timeout

from deepmusician.errors import RunError
from deepmusician.options import TrainOptions, from_dict, to_dict
from deepmusician.workspace import workspace

LIVE = ("starting", "queued", "training")
GRACE = 30.0  # seconds a new process may take until it holds its lock
MAX_RUNS = "DEEPMUSICIAN_MAX_RUNS"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+-]{0,79}")
# OpenMP's waiting threads spin; beside one busy process that makes a step take seconds
QUIET_THREADS = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}


@dataclass(frozen=True)
class Status:
    """What a run is doing; `message` says it in a sentence."""

    state: str  # queued, starting, training, finished, stopped, failed, interrupted
    epoch: int = 0  # finished epochs
    n_epochs: int = 0
    batch: int = 0  # finished batches of the epoch under way
    n_batches: int = 0
    seconds_left: float | None = None
    frames_per_second: float | None = None
    message: str = ""
    time: float = 0.0  # when this was written, seconds since 1970

    @property
    def live(self) -> bool:
        """Whether a process is at work on it, or about to be."""
        return self.state in LIVE


@dataclass(frozen=True)
class Run:
    """A run by its folder; everything is read from disk at each call."""

    path: Path

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    def options(self) -> TrainOptions:
        """The options it trains with. Raises RunError where its config cannot be read."""
        try:
            return from_dict(TrainOptions, tomllib.loads((self.path / "config.toml").read_text("utf-8")))
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise RunError(f"run {self.name} has no readable config.toml: {error}") from None

    def write_options(self, options: TrainOptions) -> None:
        """Write its config in one step."""
        _replace(self.path / "config.toml", tomli_w.dumps(to_dict(options)))

    def status(self) -> Status:
        """The last word of its process, or `interrupted` where that process died without one."""
        values = _read_json(self.path / "status.json") or {}
        status = Status(**values) if values else Status("starting", time=self.path.stat().st_mtime)
        young = status.state == "starting" and time.time() - status.time < GRACE
        if not status.live or young or self.is_locked():
            return status
        return Status(
            "interrupted", status.epoch, status.n_epochs,
            message=f"Its process ended unexpectedly after epoch {status.epoch}; resume goes on from what it saved.",
        )  # fmt: skip

    def write_status(self, status: Status) -> None:
        """Replace the status in one step; a reader sees the old one or the new one."""
        _write_json(self.path / "status.json", {**asdict(status), "time": time.time()})

    def is_locked(self) -> bool:
        """Whether a living process holds this run."""
        lock = self.lock()
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return True
        lock.release()
        return False

    def lock(self) -> FileLock:
        """The lock its process holds as long as it lives."""
        return FileLock(self.path / "lock")

    def metrics(self) -> list[dict[str, Any]]:
        """One report for each finished epoch; a line cut short by a crash is left out."""
        path = self.path / "metrics.jsonl"
        lines = path.read_text("utf-8").splitlines() if path.is_file() else []
        reports = []
        for line in lines:
            try:
                reports.append(json.loads(line))
            except ValueError:
                break
        return reports

    def write_metrics(self, reports: list[dict[str, Any]]) -> None:
        """Replace the log of the epochs in one step."""
        _replace(self.path / "metrics.jsonl", "".join(json.dumps(r) + "\n" for r in reports))

    def baselines(self) -> dict[str, dict[str, float]]:
        """What silence, copying and note frequencies reach on the held-out songs; empty until known."""
        return _read_json(self.path / "baselines.json") or {}

    def write_baselines(self, values: dict[str, dict[str, float]]) -> None:
        """Keep the baselines beside the metrics."""
        _write_json(self.path / "baselines.json", values)

    def warnings(self) -> list[str]:
        """Findings of the last epoch in words."""
        reports = self.metrics()
        return list(reports[-1].get("warnings", [])) if reports else []

    def log(self) -> str:
        """What its process printed."""
        path = self.path / "log.txt"
        return path.read_text("utf-8", errors="replace") if path.is_file() else ""

    def samples(self) -> list[Path]:
        """The same piece as composed after each epoch, oldest first."""
        return sorted((self.path / "samples").glob("*.mid"))

    def checkpoint(self, which: str = "best") -> Path | None:
        """The folder of its `best` or `last` checkpoint, or None before the first is saved."""
        folder = self.path / "checkpoints" / which
        return folder if (folder / "card.json").is_file() else None

    def stop(self) -> None:
        """Ask its process to save and end; it does so after the step under way."""
        (self.path / "stop").touch()

    def stop_asked(self) -> bool:
        """Whether somebody asked it to stop."""
        return (self.path / "stop").exists()

    def resume(self) -> Run:
        """Go on in a process of its own. Raises RunError where it is already training."""
        if self.is_locked():
            raise RunError(f"run {self.name} is already training")
        (self.path / "stop").unlink(missing_ok=True)
        self.write_status(Status("starting", n_epochs=self.options().n_epochs, message="Starting."))
        _spawn(self)
        return self


def runs_dir() -> Path:
    """The folder of all runs."""
    folder = workspace() / "runs"
    folder.mkdir(exist_ok=True)
    return folder


def list_runs() -> list[Run]:
    """All runs, the newest first."""
    found = [path for path in runs_dir().iterdir() if (path / "config.toml").is_file()]
    return [Run(p) for p in sorted(found, key=lambda p: (p / "config.toml").stat().st_mtime, reverse=True)]


def open_run(name: str) -> Run:
    """The run of that name. Raises RunError where there is none."""
    path = runs_dir() / name
    if not NAME.fullmatch(name) or not (path / "config.toml").is_file():
        known = ", ".join(run.name for run in list_runs()[:8]) or "none yet"
        raise RunError(f"there is no run called {name!r}; there are: {known}")
    return Run(path)


def new_run(options: TrainOptions, name: str | None = None) -> Run:
    """Make the folder of a run and write its config. Raises RunError where the name is taken or unfit."""
    if name is not None and not NAME.fullmatch(name):
        raise RunError(f"a run's name may hold letters, digits, space . _ + - and starts with a letter, got {name!r}")
    path = _claim(name) if name else _claim_any(Path(options.path.removeprefix("library:")).stem or "run")
    run = Run(path)
    run.write_options(options)
    return run


def start_run(options: TrainOptions, name: str | None = None) -> Run:
    """Make a run and train it in a process of its own, which outlives this one; returns at once."""
    return new_run(options, name).resume()


def _claim(name: str) -> Path:
    path = runs_dir() / name
    try:
        path.mkdir()
    except FileExistsError:
        raise RunError(f"a run called {name!r} exists; choose another name, or resume it with --resume") from None
    return path


def _claim_any(stem: str) -> Path:
    """A free name of the form stem-1, stem-2 …; safe against another process doing the same."""
    stem = re.sub(r"[^A-Za-z0-9._+-]+", "-", stem).strip("-.") or "run"
    for n in range(1, 100_000):
        try:
            return _claim(f"{stem[:60]}-{n}")
        except RunError:
            continue
    raise RunError(f"all names {stem}-1 … are taken; give one with --run")


def _spawn(run: Run) -> None:
    """Start `deepmusician train --resume` detached: it survives the page, the app and the terminal."""
    package_root = Path(__file__).resolve().parent.parent
    paths = [str(package_root), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {**os.environ, **QUIET_THREADS, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-m", "deepmusician", "train", "--run", run.name, "--resume", "--polite"]
    with (run.path / "log.txt").open("ab") as log:
        subprocess.Popen(
            command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, close_fds=True
        )


def _max_runs() -> int:
    """How many runs may train at once. Raises RunError where the setting is no number."""
    text = os.environ.get(MAX_RUNS, "1")
    if not text.isdigit() or int(text) < 1:
        raise RunError(f"${MAX_RUNS} must be a whole number from 1, got {text!r}")
    return int(text)


@contextmanager
def training_slot(run: Run, stopped: Callable[[], bool]) -> Iterator[None]:
    """Wait for one of the slots in which runs train, telling so in the run's status; leaves when `stopped()`."""
    slots = _max_runs()
    folder = runs_dir() / ".slots"
    folder.mkdir(exist_ok=True)
    n_epochs = run.options().n_epochs
    while not stopped():
        for i in range(slots):
            lock = FileLock(folder / f"{i}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            try:
                yield
            finally:
                lock.release()
            return
        others = [r.name for r in list_runs() if r.name != run.name and r.status().state == "training"]
        message = f"Waiting until {' or '.join(others) or 'another run'} has finished."
        run.write_status(Status("queued", n_epochs=n_epochs, message=message))
        time.sleep(1.0)
    yield


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def _write_json(path: Path, values: dict[str, Any]) -> None:
    _replace(path, json.dumps(values) + "\n")


def _replace(path: Path, text: str) -> None:
    """Write a file so that it is there whole or as before: a draft beside it, flushed, renamed."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with draft.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)
