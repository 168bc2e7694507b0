"""Runs: the folder a training lives in, and the honest answer to what it is doing.

    runs/NAME/  config.toml   everything needed to repeat it
                metrics.jsonl one line an epoch; baselines.json what needs no learning reaches on the same songs
                status.json   replaced atomically; checkpoints/last, best and chosen; samples/; log.txt
                milestones/   the models of chosen epochs; data.json, each song learnt from and its hash
                about.json    what a person wrote of it: a note, a star
                lock          held while its process lives: liveness is the lock, never a process id
                stop          asks the process to save and end

This module knows files and processes; what happens inside a run's process is `runner`'s business.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import tomli_w
from filelock import FileLock

from deepmusician.atomic import is_held, replace_file
from deepmusician.branching import check_start
from deepmusician.checkpoint import WHICH
from deepmusician.errors import OptionError, RunError
from deepmusician.options import TrainOptions, from_dict, to_dict
from deepmusician.quota import check_room
from deepmusician.workspace import own_environment, run_folder, runs_dir

LIVE = ("starting", "queued", "training")
GRACE = 30.0  # seconds a new process may take until it holds its lock
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
    begun: bool = False  # of one that starts: whether its process already holds the lock

    @property
    def live(self) -> bool:
        """Whether a process is at work on it, or about to be."""
        return self.state in LIVE


@dataclass(frozen=True)
class About:
    """What a person says of a run; `named` where the name is theirs, not one made for it."""

    note: str = ""
    starred: bool = False
    named: bool = False


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
        except (OSError, ValueError, OptionError) as error:
            raise RunError(f"run {self.name} has no readable config.toml: {error}") from None

    def is_readable(self) -> bool:
        """Whether its options can be read, without which it is of no use."""
        try:
            self.options()
        except RunError:
            return False
        return True

    def write_options(self, options: TrainOptions) -> None:
        """Write its config in one step."""
        replace_file(self.path / "config.toml", tomli_w.dumps(to_dict(options)))

    def status(self) -> Status:
        """The last word of its process, or `interrupted` where that process died without one."""
        values = _read_json(self.path / "status.json")
        known = {f.name for f in fields(Status)}
        status = Status(**{"state": "starting", "time": self._made()} | {k: v for k, v in values.items() if k in known})
        young = status.state == "starting" and not status.begun and time.time() - status.time < GRACE
        if not status.live or young or self.is_locked():
            return status
        return Status(
            "interrupted", status.epoch, status.n_epochs,
            message=f"Its process ended unexpectedly after epoch {status.epoch}; resume goes on from what it saved.",
        )  # fmt: skip

    def _made(self) -> float:
        try:
            return self.path.stat().st_mtime
        except OSError:  # deleted while somebody looks at it
            return 0.0

    def write_status(self, status: Status) -> None:
        """Replace the status in one step; a reader sees the old one or the new one."""
        _write_json(self.path / "status.json", {**asdict(status), "time": time.time()})

    def is_locked(self) -> bool:
        """Whether a living process holds this run."""
        return self.path.is_dir() and is_held(self.path / "lock")

    def lock(self) -> FileLock:
        """The lock its process holds as long as it lives."""
        return FileLock(self.path / "lock")

    def metrics(self) -> list[dict[str, Any]]:
        """One report for each finished epoch; a line cut short by a crash is left out."""
        path = self.path / "metrics.jsonl"
        lines = path.read_text("utf-8").splitlines() if path.is_file() else []
        reports: list[dict[str, Any]] = []
        for line in lines:
            try:
                report = json.loads(line)
            except ValueError:
                break
            if not isinstance(report, dict):
                break
            reports.append(report)
        return reports

    def write_metrics(self, reports: list[dict[str, Any]]) -> None:
        """Replace the log of the epochs in one step."""
        replace_file(self.path / "metrics.jsonl", "".join(json.dumps(r) + "\n" for r in reports))

    def baselines(self) -> dict[str, dict[str, float]]:
        """What silence, copying and note frequencies reach on the held-out songs; empty until known."""
        return _read_json(self.path / "baselines.json")

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
        """The same piece as composed before the first epoch and after each, oldest first."""
        return sorted((self.path / "samples").glob("*.mid"))

    def checkpoint(self, which: str = "best") -> Path | None:
        """The folder of its `best`, `last` or `chosen` checkpoint, or None where there is none."""
        folder = self.path / "checkpoints" / which
        return folder if (folder / "card.json").is_file() else None

    def model(self) -> Path | None:
        """The checkpoint it composes with: the one a person chose, else validation's, else the last."""
        return next((folder for which in WHICH if (folder := self.checkpoint(which))), None)

    def about(self) -> About:
        """The note and the star a person gave it."""
        values = _read_json(self.path / "about.json")
        return About(str(values.get("note", "")), values.get("starred") is True, values.get("named") is True)

    def write_about(self, about: About) -> None:
        """Keep the note and the star."""
        _write_json(self.path / "about.json", asdict(about))

    def songs(self) -> list[dict[str, Any]]:
        """Each song it learnt from or was judged by: name, frames, held_out, sha256; empty until it has read them."""
        return list(_read_json(self.path / "data.json").get("songs", []))

    def write_songs(self, songs: list[dict[str, Any]]) -> None:
        """Keep what it learnt from."""
        _write_json(self.path / "data.json", {"songs": songs})

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
        self.check_resumable()
        (self.path / "stop").unlink(missing_ok=True)
        self.write_status(Status("starting", n_epochs=self.options().n_epochs, message="Starting."))
        self.queue_up()
        _spawn(self)
        return self

    def queue_up(self) -> int:
        """Take the last place among those that wait to train; returns it."""
        place = time.time_ns()
        replace_file(self.path / "place", f"{place}\n")
        return place

    def place(self) -> int | None:
        """Its place in the queue, the lowest first; None where it does not wait."""
        try:
            return int((self.path / "place").read_text("utf-8"))
        except (OSError, ValueError):
            return None

    def leave_queue(self) -> None:
        """Wait no longer: it trains now, or has been stopped."""
        (self.path / "place").unlink(missing_ok=True)

    def check_resumable(self) -> None:
        """Raises RunError where its optimiser did not come along, as with a run that was imported."""
        last = self.checkpoint("last")
        if self.model() and not (last and (last / "trainer.json").is_file()):
            raise RunError(f"run {self.name} was imported without its optimiser, so it cannot go on; branch from it")


def list_runs() -> list[Run]:
    """All runs, the newest first."""
    found = []
    for path in runs_dir().iterdir():
        try:
            if not path.name.startswith("."):
                found.append(((path / "config.toml").stat().st_mtime, path))
        except OSError:  # no config: it is being made, or it is broken
            continue
    return [Run(path) for _, path in sorted(found, reverse=True)]


def broken_runs() -> list[Run]:
    """Folders among the runs that hold no options that can be read, and of which nothing is known."""
    folders = [Run(path) for path in runs_dir().iterdir() if path.is_dir() and not path.name.startswith(".")]
    return sorted((run for run in folders if not run.is_readable()), key=lambda run: run.name)


def open_run(name: str) -> Run:
    """The run of that name, or the one that bore it before. Raises RunError where there is none."""
    path = run_folder(name) if NAME.fullmatch(name) else runs_dir()
    if not (path / "config.toml").is_file():
        known = ", ".join(run.name for run in list_runs()[:8]) or "none yet"
        raise RunError(f"there is no run called {name!r}; there are: {known}")
    return Run(path)


def current_name(name: str) -> str:
    """What the run of that name, or that bore it before, is called now; the name itself where there is none."""
    try:
        return open_run(name).name
    except RunError:
        return name


def new_run(options: TrainOptions, name: str | None = None) -> Run:
    """Make the folder of a run and write its config.

    Raises RunError where the name is taken or unfit; OptionError where the model it begins with has another shape.
    """
    if name is not None and not NAME.fullmatch(name):
        raise RunError(f"a run's name may hold letters, digits, space . _ + - and starts with a letter, got {name!r}")
    check_room()
    check_start(options)
    path = _claim(name) if name else _claim_any(Path(options.path.removeprefix("library:")).stem or "run")
    run = Run(path)
    if name:
        run.write_about(About(named=True))
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
    for name in _names(stem):
        try:
            return _claim(name)
        except RunError:
            continue
    raise RunError(f"all names {stem}-1 … are taken; give one with --run")


def _names(stem: str) -> Iterator[str]:
    stem = re.sub(r"[^A-Za-z0-9._+-]+", "-", stem).strip("-.") or "run"
    return (f"{stem[:60]}-{n}" for n in range(1, 100_000))


def free_name(stem: str) -> str:
    """A run's name like `stem` that nobody has."""
    return next(name for name in _names(stem) if not (runs_dir() / name).exists())


def _spawn(run: Run) -> None:
    """Start `deepmusician train --resume` detached: it survives the page, the app and the terminal."""
    words = ["train", "--run", run.name, "--resume", "--polite", "--started"]
    with (run.path / "log.txt").open("ab") as log:
        command_apart(words, log, log, start_new_session=True)


def command_apart(arguments: list[str], out: Any, err: Any, **how: Any) -> subprocess.Popen:
    """Run a command of this package in a process of its own, whose words go to the files `out` and `err`."""
    package_root = Path(__file__).resolve().parent.parent
    paths = [str(package_root), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {**own_environment(), **QUIET_THREADS, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-m", "deepmusician", *arguments]
    return subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err, close_fds=True, **how)


def _read_json(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is none, or the file holds something else."""
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _write_json(path: Path, values: dict[str, Any]) -> None:
    replace_file(path, json.dumps(values) + "\n")
