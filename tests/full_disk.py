"""A disk that is full at any chosen moment, and everything that is saved, in versions, to see what is left of it.

Used by test_faults.py and, on a small disk that is really full, by benchmarks/faults.py.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import resource
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from conftest import scale_song
from faulty import SMALL, make_run

from deepmusician import capsule, checkpoint, history, keeping, people
from deepmusician.atomic import no_room, replace_file
from deepmusician.decisions import Choice
from deepmusician.options import TrainOptions
from deepmusician.parcels import export_data_set, import_data_set
from deepmusician.resuming import save_as
from deepmusician.rolls import make_rolls
from deepmusician.runs import Run, list_runs
from deepmusician.shelf import decide, list_data_sets, load_data_set, load_decisions, save_data_set
from deepmusician.store import DataSet, Entry
from deepmusician.training import Trainer

CALLS = ("fsync", "replace", "rename", "symlink", "link", "mkdir")  # of os: where a disk can be found full
SIZES = (0, 1, 100, 1_000, 4_096, 20_000, 100_000)  # bytes a file may have
SONG = scale_song(60, 8)


@contextmanager
def full_at(nth: int):
    """From the nth of CALLS on within the block, the disk is full. Gives a list that fills with the calls.

    Renaming fails only where it is the nth: to put something back takes no room.
    """
    calls: list[str] = []
    real = {name: getattr(os, name) for name in CALLS}

    def failing(name):
        def call(*args, **named):
            calls.append(name)
            if len(calls) == nth or (len(calls) > nth and name not in ("replace", "rename")):
                raise OSError(errno.ENOSPC, "No space left on device")
            return real[name](*args, **named)

        return call

    for name in CALLS:
        setattr(os, name, failing(name))
    try:
        yield calls
    finally:
        for name in CALLS:
            setattr(os, name, real[name])


@contextmanager
def files_up_to(size: int):
    """Within the block, no file of this process grows beyond `size` bytes, whichever library writes it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def pages_left(disk: Path, pages: int):
    """Within the block, `disk` has room for no more than so many pages; for a small disk of one's own."""
    filler = disk / "filler"
    about = os.statvfs(disk)
    with filler.open("wb") as file:
        for _ in range(about.f_bavail - pages):
            file.write(bytes(about.f_frsize))
    try:
        yield
    finally:
        filler.unlink()


@dataclasses.dataclass
class Thing:
    """One kind of thing that is saved: `write(v)` saves its version v, and `read()` is the last version that is whole;
    it raises where something is not. `prepare(v)` does what is no saving."""

    write: Callable[[int], object]
    read: Callable[[], int]
    prepare: Callable[[int], object] = lambda version: None
    version: int = 0

    def save(self) -> None:
        """Save the first version."""
        self.version = 1
        self.prepare(1)
        self.write(1)
        assert self.read() == 1

    def survives(self, full) -> bool:
        """Save the next version while the disk is `full`; returns whether that failed. What is there afterwards is the
        version before or the new one, whole, and the error says in words what to do."""
        wanted = self.version + 1
        self.prepare(wanted)
        problem = None
        try:
            with full:
                self.write(wanted)
        except Exception as error:
            problem = error
        left = self.read()
        assert left in ((self.version, wanted) if problem else (wanted,)), f"{left} is there instead of {self.version}"
        self.version = left
        if problem is not None and not _too_large(problem):
            told = no_room(problem)
            assert told, f"not said in words: {problem!r}"
            assert "the disk is full: free" in str(told)
        return problem is not None


def _too_large(error: BaseException | None) -> bool:
    """Whether it comes from `files_up_to`."""
    return error is not None and (
        getattr(error, "errno", None) == errno.EFBIG or "os error 27" in str(error) or _too_large(error.__cause__)
    )


def things(home: Path, run: Run) -> dict[str, Thing]:
    """All that is saved in the workspace `home`, by name; `run` is a trained one in it."""
    options = TrainOptions(path="library:tunes", n_epochs=1, **SMALL)
    resumed_run = make_run(home / "runs" / "resumed", options)
    trainer = Trainer(options, make_rolls([SONG] * 3), np.arange(2), np.arange(2, 3))
    file, parcel = home / "out.capsule.zip", home / "out.zip"

    def resumed() -> int:
        trainer.restore(resumed_run.checkpoint("last"))
        return trainer.steps

    (resumed_run.path / "checkpoints").mkdir()
    (home / "people").mkdir()

    def train_to(version: int) -> None:
        trainer.steps = version
        save_as(resumed_run, trainer, {"title": "x"}, checkpoint.milestone(version))

    def pieces() -> int:
        found = history.history()
        assert all(len(piece.song()) == len(SONG) for piece in found)
        return max(int(piece.title) for piece in found)

    def copies() -> int:
        found = [r for r in list_runs() if r.name.startswith("copy-")]
        assert all(checkpoint.load(r.model()) for r in found)
        return max(int(r.name[5:]) for r in found)

    def brought() -> int:
        found = [name for name in list_data_sets() if name.startswith("parcel ")]
        assert all(load_data_set(name).songs and load_decisions(name) for name in found)
        return max(int(name[7:]) for name in found)

    note = lambda version: keeping.annotate(run, str(version))  # noqa: E731
    save_data_set(DataSet("parcel", (Entry.of("a", SONG),)), "parcel")
    content = export_data_set("parcel")
    of_run = capsule.export_run(run)
    return {
        "a training's checkpoint": Thing(train_to, resumed),
        "a model": Thing(
            lambda v: checkpoint.save(home / "model", trainer.model, {"title": str(v)}),
            lambda: int(checkpoint.load(home / "model")[1]["title"]),
        ),
        "a data set": Thing(
            lambda v: save_data_set(DataSet("tunes", tuple(Entry.of(str(i), SONG) for i in range(v))), "tunes"),
            lambda: len(load_data_set("tunes").songs),
        ),
        "decisions": Thing(
            lambda v: decide("parcel", str(v), {"a": Choice(mute=(v,))}),
            lambda: load_decisions("parcel").choices["a"].mute[0],
        ),
        "a composed piece": Thing(
            lambda v: history.add(history.Request("bach-chorales", options={"seed": 1}), SONG, str(v), "0" * 16), pieces
        ),
        "options": Thing(
            lambda v: run.write_options(dataclasses.replace(options, n_epochs=v)), lambda: run.options().n_epochs
        ),
        "a note": Thing(note, lambda: int(run.about().note)),
        "the log of epochs": Thing(
            lambda v: run.write_metrics([{"epoch": i + 1} for i in range(v)]), lambda: len(run.metrics())
        ),
        "an exported capsule": Thing(
            lambda v: replace_file(file, capsule.export_run(run)),
            lambda: int(capsule._unpack(file)[0]["note"]), note,
        ),
        "an imported capsule": Thing(lambda v: capsule.import_run(of_run, f"copy-{v}"), copies),
        "an exported data set": Thing(
            lambda v: replace_file(parcel, b"%d" % v + content), lambda: int(parcel.read_bytes()[: -len(content)])
        ),
        "an imported data set": Thing(lambda v: import_data_set(content, f"parcel {v}"), brought),
        "who is in the class": Thing(
            lambda v: people.enter(f"Person {v}", "a word of mine", "the code", "the code"), lambda: len(people.names())
        ),
    }  # fmt: skip
