"""Verdicts kept on disk: a report a checkpoint and size, made here or in a process of its own, which outlives a page.

    cache/verdicts/KEY.json      the report; KEY names weights, options, music and version, so that it is never stale
                   KEY.progress  what is being done, for whoever watches
                   KEY.lock      held while somebody is at it
                   KEY.log       what a process of its own printed, and why it failed

Loads no torch: the pages read here.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from deepmusician import __version__, checkpoint
from deepmusician.atomic import is_held, replace_file
from deepmusician.errors import CheckpointError
from deepmusician.library import SAVED, split_paths
from deepmusician.workspace import cache_dir, own_environment, workspace

FORM = 1  # raise it when the judges judge otherwise: older verdicts are then made anew
SIZES = ("full", "quick")  # the better one first
EVERY = 0.5  # seconds between two words of progress
GRACE = 20.0  # seconds a new process may take until it holds its lock
TOLD = ("model", "options", "data", "threshold", "temperature", "top_p", "fullness")  # of a card, what verdicts hang on


@dataclass(frozen=True)
class Work:
    """Judging under way: what is done now, and how much of it, 0..1."""

    what: str
    share: float


@lru_cache(maxsize=64)
def _weights(path: str, time: float, size: int) -> str:
    """The hash of a file's content; `time` and `size` tell when it has changed."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _music(path: str) -> list[tuple[str, int, int]]:
    """What tells whether the files that a path names have changed: name, size and time of each; none of a corpus."""
    found = []
    for source in split_paths(path):
        here = Path(source).expanduser()
        saved = workspace() / "library" / source.removeprefix(SAVED)
        top = here if os.path.exists(here) and not source.startswith(SAVED) else saved
        files = [top, *sorted(top.rglob("*"))] if top.is_dir() else [top] if top.is_file() else []
        stats = [(file, file.stat()) for file in files]
        found += [(str(file.relative_to(top)), stat.st_size, stat.st_mtime_ns) for file, stat in stats]
    return found


def place(source: str | Path, size: str) -> Path:
    """Where the verdict on a checkpoint is kept, without its suffix. Raises CheckpointError where it is gone."""
    file = checkpoint.find(source) / checkpoint.WEIGHTS
    card = checkpoint.read_card(source)
    try:
        stat = file.stat()
        parts = [_weights(str(file), stat.st_mtime, stat.st_size), {k: card.get(k) for k in TOLD}, size]
        parts.append(_music(card.get("options", {}).get("path", "")))
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read ({error.strerror}); the checkpoint is incomplete") from None
    text = json.dumps([*parts, __version__, FORM], sort_keys=True)
    folder = cache_dir() / "verdicts"
    folder.mkdir(exist_ok=True)
    return folder / hashlib.sha256(text.encode()).hexdigest()[:24]


def read(source: str | Path) -> dict[str, Any] | None:
    """The best verdict kept on a checkpoint, or None."""
    for size in SIZES:
        try:
            return json.loads(place(source, size).with_suffix(".json").read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            continue
    return None


def judged(source: str | Path, music: str | Path | None, size: str, progress: Any) -> dict[str, Any]:
    """The report of `evaluation.evaluate`, made now and kept, unless it is of other music than the held-out songs."""
    from deepmusician.evaluation import evaluate

    if music is not None:
        return evaluate(source, music, size, progress)
    where = place(source, size)
    try:
        with FileLock(where.with_suffix(".lock")).acquire(timeout=0):
            report = evaluate(source, size=size, progress=_Told(where, progress))
            replace_file(where.with_suffix(".json"), json.dumps(report))
            where.with_suffix(".log").unlink(missing_ok=True)
            return report
    except Timeout:  # somebody else is at it: this one is not kept
        return evaluate(source, size=size, progress=progress)
    finally:
        where.with_suffix(".progress").unlink(missing_ok=True)


class _Told:
    """A progress callback that also leaves word on disk, now and then."""

    def __init__(self, where: Path, progress: Any) -> None:
        self.file, self.progress, self.last = where.with_suffix(".progress"), progress, 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        self.progress(what, done, total)
        if time.monotonic() - self.last > EVERY:
            replace_file(self.file, json.dumps({"what": what, "share": done / max(total, 1)}))
            self.last = time.monotonic()


def start(source: str | Path, size: str) -> None:
    """Judge a checkpoint in a process of its own, politely; returns at once."""
    where = place(source, size)
    root = Path(__file__).resolve().parent.parent
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {**own_environment(), "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "deepmusician", "evaluate", "-c", str(checkpoint.find(source)), "--polite"]
    command += ["--full"] if size == "full" else []
    replace_file(where.with_suffix(".progress"), json.dumps({"what": "Starting", "share": 0.0}))
    with where.with_suffix(".log").open("wb") as log:
        subprocess.Popen(
            command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
            start_new_session=True, close_fds=True,
        )  # fmt: skip


def under_way(source: str | Path, size: str) -> Work | None:
    """What is being done about a verdict now; None where nobody is at it."""
    where = place(source, size)
    file = where.with_suffix(".progress")
    try:
        word = json.loads(file.read_text("utf-8"))
        young = time.time() - file.stat().st_mtime < GRACE
    except (FileNotFoundError, ValueError):
        word, young = {"what": "Starting", "share": 0.0}, False
    if is_held(where.with_suffix(".lock")) or (young and word["what"] == "Starting"):
        return Work(**word)
    return None


def problem(source: str | Path, size: str) -> str | None:
    """Why the last attempt in a process of its own failed, in its own words; None where it did not."""
    where = place(source, size)
    if under_way(source, size) is not None or where.with_suffix(".json").exists():
        return None
    try:
        lines = where.with_suffix(".log").read_text("utf-8", errors="replace").strip().splitlines()
    except FileNotFoundError:
        return None
    return lines[-1].removeprefix("deepmusician: ") if lines else "its process ended without a word; try again"
