"""Who may train now: at most $DEEPMUSICIAN_MAX_RUNS (1) at once, by file locks that die with their holder.

Those that wait go in the order in which they were started. The place of one that was killed holds up nobody.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from deepmusician.errors import RunError
from deepmusician.limits import current
from deepmusician.runs import Run, Status, list_runs
from deepmusician.workspace import alone, home, runs_dir

MAX_RUNS = "DEEPMUSICIAN_MAX_RUNS"
_OTHERS = "a training that is not yours"  # nobody is told what others do


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
    folder = home() / "runs" / ".slots"  # of all persons: they share the machine
    folder.mkdir(parents=True, exist_ok=True)
    n_epochs = run.options().n_epochs
    place = run.place() or run.queue_up()
    while not stopped():
        before = _before(run, place)
        own = [] if alone() else [runs_dir() / f".slot-{i}.lock" for i in range(current().person_runs)]
        mine = _free(own) if own and not before else None
        lock = _free([folder / f"{i}.lock" for i in range(slots)]) if not before and (mine or not own) else None
        if lock:
            run.leave_queue()
        try:
            if lock:
                yield
                return
        finally:
            for held in filter(None, (lock, mine)):
                held.release()
        others = [r.name for r in list_runs() if r.name != run.name and r.status().state == "training"] or before
        message = f"Waiting until {' or '.join(others) or _OTHERS} has finished."
        run.write_status(Status("queued", n_epochs=n_epochs, message=message))
        time.sleep(1.0)
    run.leave_queue()
    yield


def _free(places: list[Path]) -> FileLock | None:
    """The first of some locks that nobody holds, held now."""
    for place in places:
        lock = FileLock(place)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        return lock
    return None


def _before(run: Run, place: int) -> list[str]:
    """The runs that wait and were started before this one, the next of them first."""
    waiting = sorted((at, r.name) for r in list_runs() if r.name != run.name and (at := r.place()) and r.status().live)
    return [name for at, name in waiting if (at, name) < (place, run.name)]
