"""Faults made on purpose: trainings killed at any moment or at any write, and what a run leaves, to be compared.

Used by test_faults.py and, in long, by benchmarks/faults.py.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import random
import signal
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

from deepmusician import audition, resuming
from deepmusician.runner import train_run
from deepmusician.runs import Run
from deepmusician.training import Trainer

SMALL = {"hidden_size": 24, "classifier_size": 16, "num_layers": 1, "decoder_n_layers": 1, "seq_len": 8}
SMALL |= {"batch_size": 4}
DECODER = {"arrangement": "decoder"}
FAMILIES = {
    "gru": {},
    "lstm": {"backbone": "lstm", "attention": "dot"},
    "rnn": {**DECODER, "backbone": "rnn", "teacher_forcing_ratio": 0.5},
    "tcn": {**DECODER, "backbone": "tcn"},
    "transformer": {**DECODER, "backbone": "transformer", "attention_heads": 2, "memory": 16},
    "nade": {**DECODER, "head": "chord", "skip": True},
    "keywise": {**DECODER, "backbone": "biaxial", "head": "intervals", "hidden_size": 8},
    "committee": {**DECODER, "members": 2, "averaging": 0.9},
    "expression": {"arrangement": "expression", "backbone": "lstm", "planes": "velocity", "skip": True},
}
TIMES = ("seconds", "frames_per_second")  # of a report: all that may differ
# what a training is at, in the words of a table, by what it is called in the code
PHASES = {
    "a step": (Trainer, "_step"),
    "scoring": (Trainer, "_report"),
    "composing": (audition, "compose"),
    "saving": (Trainer, "save"),
    "after saving": (resuming, "record"),
    "calibrating": (audition, "calibrate"),
    "judging": (audition, "judge_best"),
}
BETWEEN = "between"  # reading, measuring baselines, and whatever else is not of PHASES
WRITES = ("fsync", "replace", "rename", "symlink", "link", "unlink", "rmdir")


def left(run: Run) -> dict[str, str]:
    """All that a training leaves but times, each under its name: every epoch's figures, every file of models, samples
    and baselines, and which epoch is last and which is best."""
    found = {f"epoch {r['epoch']}": json.dumps({k: v for k, v in r.items() if k not in TIMES}) for r in run.metrics()}
    for folder in ("checkpoints", "milestones", "samples", "baselines"):
        for file in sorted((run.path / folder).rglob("*")):
            name = str(file.relative_to(run.path))
            if file.is_symlink():
                found[name] = os.readlink(file)
            elif file.name == "trainer.json":
                place = json.loads(file.read_text())
                place["report"] = {k: v for k, v in (place.get("report") or {}).items() if k not in TIMES}
                found[name] = json.dumps({k: v for k, v in place.items() if k not in TIMES})
            elif file.name == "card.json":
                card = json.loads(file.read_text())
                found[name] = json.dumps({k: v for k, v in card.items() if k not in ("title", "command")})
            elif file.is_file():
                found[name] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def different(one: Run, other: Run) -> list[str]:
    """What two runs do not have alike, by name."""
    mine, its = left(one), left(other)
    return sorted(name for name in {*mine, *its} if mine.get(name) != its.get(name))


class Killed:
    """Trainings in forked processes, killed at random moments, told apart by what they were at.

    The forks share what the parent has imported, so that a start costs no time; `data` spares them the reading.
    """

    def __init__(self, rng: random.Random, data=None) -> None:
        self.rng, self.data = rng, data
        self.at = mmap.mmap(-1, 9)  # what the child is at, and how many writes and steps it has done, shared with it
        self.fatal: int | None = None  # the number of the write or step that kills it
        self.where: Counter[str] = Counter()

    @contextmanager
    def watched(self):
        """Within the block, a training's process says what it is at."""
        originals = {key: getattr(*key) for key in PHASES.values()}
        for number, (holder, name) in enumerate(PHASES.values(), 1):
            setattr(holder, name, self._telling(number, originals[holder, name]))
        try:
            yield self
        finally:
            for (holder, name), original in originals.items():
                setattr(holder, name, original)

    def _telling(self, number, call):
        def told(*args, **named):
            before, self.at[0] = self.at[0], number
            try:
                if call.__name__ == "_step":
                    self._count()
                return call(*args, **named)
            finally:
                self.at[0] = before

        return told

    def train(self, run: Run, after: float | None = None, at: int | None = None) -> bool:
        """Train or go on until it ends, or until it is killed: `after` so many seconds, or at the write or step of
        that number. Returns whether it was killed."""
        self.at[0] = 0
        self.at[1:9] = bytes(8)
        child = os.fork()
        if child == 0:
            self._child(run, at)
        if after is not None:
            time.sleep(after)
            if os.waitpid(child, os.WNOHANG)[0]:
                return False
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            assert os.waitstatus_to_exitcode(status) == 0, f"{run.name} failed: {run.status().message}"
            return False
        self.where[[BETWEEN, *PHASES][self.at[0]]] += 1
        return True

    def _child(self, run: Run, at: int | None) -> None:
        code = 1
        try:
            self.fatal = at
            for name in WRITES:
                setattr(os, name, self._counted(getattr(os, name)))
            train_run(run, resume=True, data=self.data)
            code = 0
        finally:
            os._exit(code)

    def _counted(self, call):
        def counted(*args, **named):
            if self.rng.random() < 0.5:  # it dies before or after it
                self._count()
                return call(*args, **named)
            result = call(*args, **named)
            self._count()
            return result

        return counted

    def _count(self) -> None:
        number = self.moments() + 1
        self.at[1:9] = number.to_bytes(8, "little")
        if number == self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def moments(self) -> int:
        """How many writes (flushed, renamed, linked or removed something) and steps the last one has done."""
        return int.from_bytes(self.at[1:9], "little")

    def kill_to_the_end(self, run: Run, seconds: float, moments: int, most: int) -> int:
        """Kill a training at most `most` times, at random within `seconds` or at a random one of `moments` writes and
        steps, and let it go on each time; then let it end. Returns how often it was killed."""
        kills = 0
        while kills < most:
            by_time = self.rng.random() < 0.5
            how = {"after": self.rng.uniform(0, seconds)} if by_time else {"at": self.rng.randint(1, moments)}
            if not self.train(run, **how):
                return kills
            assert not run.is_locked(), "a lock outlived its process"
            kills += 1
        self.train(run)
        return kills


def make_run(folder: Path, options) -> Run:
    """A run of these options that has not begun, in `folder`."""
    run = Run(folder)
    folder.mkdir(parents=True)
    run.write_options(options)
    return run
