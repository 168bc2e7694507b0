"""Keeping runs: rename, annotate, star, delete to the bin, restore, and what differs between them.

A run that is at work is neither renamed nor deleted. A former name goes on leading to its run, in addresses and to
whoever began with it. A deleted run lies in the workspace's bin until that is cleared out; its lock is held while it
is moved, so that nobody begins to train it meanwhile.
"""

from __future__ import annotations

import calendar
import dataclasses
import json
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from deepmusician.errors import RunError
from deepmusician.options import TrainOptions
from deepmusician.runs import NAME, Run, free_name, list_runs, open_run, replace_file
from deepmusician.workspace import RENAMED, bin_dir, renamed, runs_dir

LONGEST_NOTE = 10_000  # characters
_DELETED = re.compile(rf"({NAME.pattern})@(\d{{14}})(?:-\d+)?")
_STAMP = "%Y%m%d%H%M%S"


@dataclass(frozen=True)
class Deleted:
    """A deleted run: the name it had, when it was deleted (seconds since 1970), and where it lies."""

    name: str
    time: float
    path: Path


# ---- names, notes, stars


def rename(run: Run, name: str) -> Run:
    """Give a run another name; the old one goes on leading to it. Raises RunError."""
    if not NAME.fullmatch(name):
        raise RunError(f"a run's name may hold letters, digits, space . _ + - and starts with a letter, got {name!r}")
    if name == run.name:
        return run
    target = runs_dir() / name
    with _still(run, "renamed"):
        if target.exists():
            raise RunError(f"a run called {name!r} exists; choose another name")
        run.path.rename(target)
    _remember({run.name: name}, forget=name)
    _tell_descendants(run.name, name)
    renamed_run = Run(target)
    renamed_run.write_about(dataclasses.replace(renamed_run.about(), named=True))
    return renamed_run


def _remember(names: dict[str, str], forget: str = "") -> None:
    """Add former names; one that is in use again leads to nobody else."""
    with FileLock(runs_dir() / ".renamed.lock"):
        known = {k: v for k, v in {**renamed(), **names}.items() if k != forget}
        replace_file(runs_dir() / RENAMED, json.dumps(known) + "\n")


def _tell_descendants(old: str, new: str) -> None:
    """Runs that began with the renamed one, deleted ones included, name it as it is called now."""
    for run in [*list_runs(), *(Run(t.path) for t in list_deleted())]:
        try:
            options = run.options()
        except RunError:
            continue
        name, at, epoch = (options.start_from or "").partition("@")
        if name == old:
            run.write_options(dataclasses.replace(options, start_from=new + at + epoch))


def annotate(run: Run, note: str) -> None:
    """Replace a run's note. Raises RunError where it is too long."""
    if len(note) > LONGEST_NOTE:
        raise RunError(f"a note has at most {LONGEST_NOTE:,} characters, got {len(note):,}; shorten it")
    run.write_about(dataclasses.replace(run.about(), note=note.strip()))


def star(run: Run, starred: bool = True) -> None:
    """Mark a run as worth keeping: no clear-out touches it."""
    run.write_about(dataclasses.replace(run.about(), starred=starred))


# ---- the bin


def delete(run: Run) -> Deleted:
    """Move a run, even a broken one, to the bin. Raises RunError while it is at work."""
    if run.path.parent != runs_dir() or not run.path.is_dir():
        raise RunError(f"there is no run called {run.name!r}")
    with _still(run, "deleted"):
        now = time.time()
        stamp = time.strftime(_STAMP, time.gmtime(now))
        target = bin_dir() / f"{run.name}@{stamp}"
        for n in range(1, 1000):
            if not target.exists():
                break
            target = bin_dir() / f"{run.name}@{stamp}-{n}"
        run.path.rename(target)
    return Deleted(run.name, now, target)


def list_deleted() -> list[Deleted]:
    """The deleted runs, the one deleted last first."""
    found = []
    for path in bin_dir().iterdir():
        match = _DELETED.fullmatch(path.name)
        if match is None or not path.is_dir():
            continue
        try:
            when = calendar.timegm(time.strptime(match[2], _STAMP))
        except ValueError:  # no date: none of ours
            continue
        found.append(Deleted(match[1], float(when), path))
    return sorted(found, key=lambda t: (t.time, t.path.name), reverse=True)


def restore(name: str) -> Run:
    """Bring back the run of that name that was deleted last; under a free name where another has taken its own."""
    deleted = next((t for t in list_deleted() if name in (t.name, t.path.name)), None)
    if deleted is None:
        known = ", ".join(t.name for t in list_deleted()[:8]) or "nothing"
        raise RunError(f"there is no run called {name!r} in the bin; there is: {known}")
    target = runs_dir() / deleted.name
    if target.exists():
        target = runs_dir() / free_name(deleted.name)
    deleted.path.rename(target)
    return Run(target)


def remove_for_good(deleted: Deleted) -> None:
    """Empty the bin of one run."""
    shutil.rmtree(deleted.path, ignore_errors=True)


@contextmanager
def _still(run: Run, what: str) -> Iterator[None]:
    """Hold a run's lock, so that it does not begin to train. Raises RunError where it is at work."""
    refused = RunError(f"run {run.name} is training, so it cannot be {what}; stop it first")
    if run.status().live and run.is_readable():
        raise refused
    lock = run.lock()
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise refused from None
    try:
        yield
    finally:
        lock.release()


# ---- comparing


def open_runs(names: Sequence[str]) -> list[Run]:
    """The runs of those names, each once. Raises RunError where there is none."""
    return list({run.path: run for run in map(open_run, names)}.values())


def differences(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """The options in which runs differ, each with the value of every run, in the order of the table of options."""
    options = [run.options() for run in runs]
    rows = {f.name: [getattr(o, f.name) for o in options] for f in dataclasses.fields(TrainOptions)}
    return {name: values for name, values in rows.items() if any(v != values[0] for v in values)}


def best_scores(run: Run) -> dict[str, Any]:
    """The report of the epoch that the run composes with, its own scores on top; empty before the first."""
    reports = run.metrics()
    if not reports:
        return {}
    chosen = _model_epoch(run)
    report = next((r for r in reports if r.get("epoch") == chosen), None)
    if report is None:
        report = next((r for r in reversed(reports) if r.get("best")), reports[-1])
    return {**report, **(report.get("valid") or report.get("train") or {})}


def _model_epoch(run: Run) -> int | None:
    folder = run.model()
    match = re.fullmatch(r"epoch-(\d+)", folder.resolve().name) if folder else None
    return int(match[1]) if match else None
