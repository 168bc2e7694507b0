"""What happens inside a run's process: wait for a slot, read the music, train, compose, save, and say so on disk.

Whoever starts it (a page, the command line, `accelerate launch`), the same function runs. Of several processes only
the first writes.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import Timeout

from deepmusician import audition, resuming
from deepmusician.advice import doubts, findings
from deepmusician.atomic import no_room
from deepmusician.budget import promise, read_contract, write_contract
from deepmusician.checkpoint import MILESTONES, milestone
from deepmusician.errors import DeepMusicianError, DiskFullError, RunError
from deepmusician.lab import in_turn, settled
from deepmusician.metrics import held_share
from deepmusician.music_card import describe_data, describe_songs
from deepmusician.options import milestone_epochs, to_dict
from deepmusician.plurals import count
from deepmusician.quota import check_room
from deepmusician.recipes import train_command
from deepmusician.rolls import Rolls, read_rolls
from deepmusician.runs import Run, Status
from deepmusician.slots import training_slot

if TYPE_CHECKING:
    from deepmusician.notes import Song
    from deepmusician.rolls import Sources

log = logging.getLogger(__name__)

STATUS_EVERY = 0.5  # seconds between two writes of the status
Progress = Callable[[Status], None]


def train_run(
    run: Run, on_status: Progress = lambda status: None, resume: bool = False, data: Sources | None = None
) -> Status:
    """Train `run` to its end, to a stop request or to a signal; returns and leaves behind what happened.

    With `resume` it goes on from its last checkpoint. `data` spares reading the music again. Raises RunError where
    another process trains it.
    """
    if resume:
        run.check_resumable()
    if process_rank() > 0:
        return _Session(run, on_status, data, writes=False).train(resume)
    try:
        with run.lock().acquire(timeout=5):
            return _Session(run, on_status, data).train_with_status(resume)
    except Timeout:
        raise RunError(f"run {run.name} is already training") from None


class _Session:
    """One process's work on a run."""

    def __init__(self, run: Run, on_status: Progress, data: Sources | None = None, writes: bool = True) -> None:
        self.run, self.on_status, self.data, self.writes = run, on_status, data, writes
        self.options = run.options()
        self.signalled = False
        self.status = Status("starting", n_epochs=self.options.n_epochs, message="Reading the music.", begun=True)
        self.written = 0.0

    def train_with_status(self, resume: bool) -> Status:
        """As `train`, with every end, good or bad, left in the run's status."""
        try:
            with self._signals(), training_slot(self.run, self._stopped):
                return self.train(resume)
        except DeepMusicianError as error:
            self._fail(error)
            raise
        except Exception as error:
            if full := no_room(error):
                self._fail(full)
                raise full from error
            self.say("failed", f"An unexpected error stopped it ({type(error).__name__}: {error}); see log.txt.")
            raise

    def _fail(self, error: DeepMusicianError) -> None:
        try:
            self.say("failed", str(error))
        except DiskFullError:  # not even for that is there room: a dead process's run is shown as interrupted
            log.error("%s", error)

    def train(self, resume: bool) -> Status:
        self.began = time.monotonic()
        self.say("starting", "Reading the music.")
        names, rolls = read_rolls(self.options, self.data, self._on_read)
        if self._stopped():
            done = len(self.run.metrics())
            where = f"after epoch {done}; resume goes on from here" if done else "before the first epoch"
            return self.say("stopped", f"Stopped {where}.")
        places = resuming.saved(self.run) if resume else []
        train, valid = resuming.split(self.run, self.options, names, rolls, places)
        data = describe_data(self.options, names, rolls, valid)
        self._promise(rolls, (train, valid))
        from deepmusician.training import Trainer, set_threads

        set_threads(self.options)
        self.trainer = Trainer(self.options, rolls, train, valid)
        command = f"deepmusician train {train_command(self.options)} --run {self.run.name}"
        self.card = {"title": self.run.name, "command": command, "data": data}
        if places:
            place = resuming.restore(self.trainer, places)
            if self.writes:
                resuming.cut_back(self.run, self.trainer, self.options, place)
        if self.trainer.steps == 0:
            self._begin(describe_songs(names, rolls, valid))
        if self.writes:
            judged = valid if len(valid) else train
            self.baselines = audition.references(self.run, self.trainer, self.options, judged)
            self.run.write_baselines(self.baselines)
        return self._epochs()

    def _promise(self, rolls: Rolls, parts: tuple[np.ndarray, np.ndarray]) -> None:
        """Before the first step of a run with a contract, measure what it will take, and fit it into its budget.

        Runs of one loss lab share what the first of them chose. Several processes at once are not measured.
        """
        self.contract = read_contract(self.run.path) if self.writes else None
        self.spent_before = self.contract.spent if self.contract else 0.0
        if self.contract is None or self.contract.pace or int(os.environ.get("WORLD_SIZE", "1")) > 1:
            return
        with in_turn(self.run):
            self.say("starting", "Measuring how long it will take.")
            options, contract = settled(self.run) or promise(self.contract, self.options, rolls, parts, self.began)
            self.options, self.contract = options, contract
            self.run.write_options(options)  # before the contract: if killed between the two, it is promised again
            write_contract(self.run.path, contract)
        self.status = replace(self.status, n_epochs=options.n_epochs)

    def _count_time(self) -> None:
        """Let the contract hold how long it has taken so far."""
        if self.contract:
            spent = self.spent_before + time.monotonic() - self.began
            self.contract = write_contract(self.run.path, replace(self.contract, spent=spent))

    def _begin(self, songs: list[dict[str, Any]]) -> None:
        """What is there before the first step: the weights to begin with, the songs, the model at epoch 0."""
        from deepmusician import checkpoint

        if self.options.start_from:
            from deepmusician.branching import read_start

            model, self.card["start"] = read_start(self.options.start_from, self.trainer.model)
            self.trainer.begin_with(model)
        if not self.writes:
            return
        self.run.write_songs(songs)
        kept = 0 in milestone_epochs(self.options.milestones, 0)
        if kept and self.trainer.model.composes:
            audition.keep_sample(self.run, 0, self._compose()[0])
        if kept or self.options.start_from:  # with the weights it began with, a branch can be repeated
            model, card = self.trainer.model, self.card | {"epoch": 0, "threshold": self.trainer.threshold}
            folder = self.run.path / MILESTONES / milestone(0)
            checkpoint.save(folder, model, card | {"options": to_dict(self.options)})

    def _epochs(self) -> Status:
        began = time.monotonic()
        self.done_at_start = self._batches_done()
        before, bounded, over = began, self._is_bounded(), False
        for report in self.trainer.epochs(self._stopped, lambda *a: self._on_batch(began, *a)):
            if self.writes:
                self._keep(report)
            now = time.monotonic()
            if self.trainer.epoch < self.options.n_epochs and bounded and self.contract.time_is_up(now - before):
                over = True
                break
            before = now
        finished = over or self.trainer.epoch >= self.options.n_epochs
        if self.writes and self.trainer.batch and not finished:
            place = f"{milestone(self.trainer.epoch)}+{self.trainer.batch:05d}"
            resuming.save_as(self.run, self.trainer, self.card, place)
        if self.writes and self.run.checkpoint("best") and self.trainer.model.composes:
            self.say("training", "Finding the settings by which it composes best.")
            audition.calibrate(self.run)  # after saving: it draws random numbers that the next step must not miss
            if finished:
                self.say("training", "Judging what it composes.")
                audition.judge_best(self.run, self.trainer)
        self._count_time()
        if over:
            return self.say("finished", self.contract.ending(self.trainer.epoch, self.options.n_epochs))
        if finished:
            return self.say("finished", f"Finished {count(self.options.n_epochs, 'epoch')}.")
        return self.say("stopped", f"Stopped in epoch {self.trainer.epoch + 1}; resume goes on from here.")

    def _is_bounded(self) -> bool:
        """Whether it ends with its budget: one that had ended so goes on to its last epoch when it is resumed."""
        if self.contract is None or int(os.environ.get("WORLD_SIZE", "1")) > 1:
            return False
        return not (self.spent_before and self.contract.time_is_up(0.0))

    def _keep(self, report: dict[str, Any]) -> None:
        """Everything a finished epoch leaves behind.

        Sample and log come before the checkpoint, which is gone on from once it is there: what a kill left ahead of it
        is cut back then, and nothing is missing.
        """
        song = None
        report["warnings"] = doubts(report, self.baselines)
        if self.trainer.model.composes:
            song, sounding = self._compose()
            report["composed"] = {"density": float(sounding.sum(1).mean()), "held_share": held_share(sounding)}
            report["warnings"] = findings(sounding, report, self.options, self.card["data"]) + report["warnings"]
        self.card["scores"] = {k: report[k] for k in ("epoch", "train", "valid", "threshold")}
        if song is not None:
            audition.keep_sample(self.run, report["epoch"], song)
        self.run.write_metrics([*self.run.metrics()[: report["epoch"] - 1], report])
        check_room()
        resuming.save_as(self.run, self.trainer, self.card, milestone(report["epoch"]))
        resuming.record(self.run, self.options, report)
        self._count_time()
        self.written = 0.0  # say so at once

    def _compose(self) -> tuple[Song, np.ndarray]:
        return audition.compose(self.trainer, self.options, self.card["data"])

    def _batches_done(self) -> int:
        return self.trainer.epoch * self.trainer.batches_per_epoch() + self.trainer.batch

    def _on_read(self, done: int, total: int) -> None:
        if time.monotonic() - self.written > STATUS_EVERY:
            self.say("starting", f"Reading the music: {done} of {total} files.")
            self.written = time.monotonic()

    def _on_batch(self, began: float, batch: int, n_batches: int, frames_per_second: float) -> None:
        done = self.trainer.epoch * n_batches + batch
        each = (time.monotonic() - began) / max(done - self.done_at_start, 1)
        left = each * max(self.options.n_epochs * n_batches - done, 0)
        left += self.contract.pace.finish_seconds if self.contract and self.contract.pace else 0.0
        message = f"Epoch {self.trainer.epoch + 1} of {self.options.n_epochs}."
        if batch == n_batches:
            message, self.written = f"Judging epoch {self.trainer.epoch + 1}: scoring it and composing a piece.", 0.0
        self.status = Status(
            "training", self.trainer.epoch, self.options.n_epochs, batch, n_batches, left, frames_per_second, message
        )
        self.on_status(self.status)
        if self.writes and time.monotonic() - self.written > STATUS_EVERY:
            self.run.write_status(self.status)
            self.written = time.monotonic()

    def say(self, state: str, message: str) -> Status:
        """Set and write the status."""
        epoch = self.trainer.epoch if hasattr(self, "trainer") else len(self.run.metrics())
        self.status = replace(self.status, state=state, message=message, epoch=epoch, seconds_left=None)
        if self.writes:
            self.run.write_status(self.status)
        self.on_status(self.status)
        return self.status

    def _stopped(self) -> bool:
        return self.signalled or self.run.stop_asked()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Let Ctrl-C and a polite kill end the training after the step under way; a second one ends it at once."""

        def ask(number: int, _: object) -> None:
            self.signalled = True
            signal.signal(number, before[number])

        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        for number in before:
            signal.signal(number, ask)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def process_rank() -> int:
    """Which of several processes this is, as launchers tell it."""
    return int(os.environ.get("RANK", "0"))
