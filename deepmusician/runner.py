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
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import Timeout

from deepmusician.advice import doubts, findings
from deepmusician.atomic import no_room, replace_file
from deepmusician.baselines import compose as compose_simply
from deepmusician.baselines import fit, judge
from deepmusician.budget import promise, read_contract, write_contract
from deepmusician.checkpoint import CARD, MILESTONES, milestone
from deepmusician.errors import CheckpointError, DeepMusicianError, DiskFullError, RunError
from deepmusician.lab import in_turn, settled
from deepmusician.metrics import held_share
from deepmusician.midi import write_midi
from deepmusician.milestones import calibrate_if_missing, forget_after, keep, point, prune
from deepmusician.music_card import describe_data, describe_songs, fingerprint
from deepmusician.options import TEMPO_BPM, GenerateOptions, milestone_epochs, to_dict
from deepmusician.plurals import count
from deepmusician.quota import check_room
from deepmusician.recipes import train_command
from deepmusician.roll import from_roll, parse_division, roll_from_frames
from deepmusician.rolls import Rolls, read_rolls
from deepmusician.runs import Run, Status
from deepmusician.slots import training_slot
from deepmusician.windows import split_rolls

if TYPE_CHECKING:
    from deepmusician.notes import Song
    from deepmusician.rolls import Sources
    from deepmusician.training import Trainer

log = logging.getLogger(__name__)

STATUS_EVERY = 0.5  # seconds between two writes of the status
SAMPLE_FRAMES = 128
LEARNT = 2_000_000  # frames, spread over all songs, of which the baselines and the judges know at most, about
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
        train, valid = self._split(names, rolls, resume)
        data = describe_data(self.options, names, rolls, valid)
        self._promise(rolls, (train, valid))
        from deepmusician.training import Trainer, set_threads

        set_threads(self.options)
        self.trainer = Trainer(self.options, rolls, train, valid)
        command = f"deepmusician train {train_command(self.options)} --run {self.run.name}"
        self.card = {"title": self.run.name, "command": command, "data": data}
        if resume:
            self._restore()
        if self.trainer.steps == 0:
            self._begin(describe_songs(names, rolls, valid))
        if self.writes:
            self.baselines = self._references(rolls, train, valid if len(valid) else train)
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

    def _references(self, rolls: Rolls, train: np.ndarray, judged: np.ndarray) -> dict[str, dict[str, float]]:
        """What needs no learning reaches on the songs `judged`; each leaves a piece of its own, to be heard beside."""
        from deepmusician.scoring import references, spread

        train, judged = spread(rolls, train, LEARNT), spread(rolls, judged, LEARNT)
        if not self.trainer.model.composes:
            return references(self.trainer.model, rolls, train, judged)
        simple = fit(map(rolls.sounding, train))
        folder = self.run.path / "baselines"
        folder.mkdir(exist_ok=True)
        for name, model in simple.items():
            frames = compose_simply(model, SAMPLE_FRAMES, self.options.seed).view(np.uint8)
            roll = roll_from_frames(frames, parse_division(self.options.division))
            replace_file(folder / f"{name}.mid", write_midi(from_roll(roll, tempo_bpm=TEMPO_BPM)))
        return judge(simple, map(rolls.sounding, judged), rolls.planes)

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
            self._write_sample(0, self._compose()[0])
        if kept or self.options.start_from:  # with the weights it began with, a branch can be repeated
            model, card = self.trainer.model, self.card | {"epoch": 0, "threshold": self.trainer.threshold}
            folder = self.run.path / MILESTONES / milestone(0)
            checkpoint.save(folder, model, card | {"options": to_dict(self.options)})

    def _write_sample(self, epoch: int, song: Song) -> None:
        samples = self.run.path / "samples"
        samples.mkdir(exist_ok=True)
        replace_file(samples / f"epoch-{epoch:04d}.mid", write_midi(song))

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
            save_as(self.run, self.trainer, self.card, f"{milestone(self.trainer.epoch)}+{self.trainer.batch:05d}")
        if self.writes and self.run.checkpoint("best") and self.trainer.model.composes:
            self._calibrate()  # after saving: it draws random numbers that the next step must not miss
            if finished:
                self._judge()
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
            self._write_sample(report["epoch"], song)
        self.run.write_metrics([*self.run.metrics()[: report["epoch"] - 1], report])
        check_room()
        save_as(self.run, self.trainer, self.card, milestone(report["epoch"]))
        self._record(report)
        self._count_time()
        self.written = 0.0  # say so at once

    def _record(self, report: dict[str, Any]) -> None:
        """Let the checkpoint of a finished epoch be the best or a milestone, and clear away what is not needed; done
        again, it changes nothing."""
        epoch = report["epoch"]
        folder = self.run.path / "checkpoints" / milestone(epoch)
        if report["best"]:
            point(self.run.path / "checkpoints" / "best", folder)
        kept = (self.run.path / MILESTONES / milestone(epoch) / CARD).is_file()
        if not kept and epoch in milestone_epochs(self.options.milestones, epoch):
            keep(self.run, folder, epoch)
        prune(self.run)

    def _calibrate(self) -> None:
        """Let the best model, and the one chosen by ear, compose music as full and as restless as it learnt."""
        self.say("training", "Finding the settings by which it composes best.")
        for which in ("best", "chosen"):
            if folder := self.run.checkpoint(which):
                calibrate_if_missing(folder)

    def _judge(self) -> None:
        """Let the best model be judged in short; its card keeps the verdict."""
        from deepmusician.judging import judge_checkpoint
        from deepmusician.scoring import spread

        self.say("training", "Judging what it composes.")
        judge_checkpoint(
            self.run.checkpoint("best"), self.trainer.rolls,
            spread(self.trainer.rolls, self.trainer.train_songs, LEARNT), self.trainer.valid_songs,
        )  # fmt: skip

    def _compose(self) -> tuple[Any, np.ndarray]:
        """The same piece after every epoch: the same start, the same random numbers."""
        from deepmusician.generation import compose

        card = {
            "options": {"division": self.options.division},
            "threshold": self.trainer.threshold,
            "data": {"styles": self.card["data"]["styles"]},
        }
        choice = GenerateOptions(seq_len=SAMPLE_FRAMES, seed=self.options.seed)
        composed = compose((self.trainer.model, card), choice)
        return composed.song, composed.roll.sounding

    def _split(self, names: tuple[str, ...], rolls: Rolls, resume: bool) -> tuple[np.ndarray, np.ndarray]:
        """The training and the held-out songs. A run that goes on keeps those it began with, whatever was pinned since.

        Raises RunError where the music is not what it was.
        """
        self.saved = saved(self.run) if resume else []
        if not self.saved:
            return split_rolls(rolls, self.options.valid_fraction, self.options.seed)
        before = self.saved[0][1]["data"]
        if before.get("fingerprint") != fingerprint(rolls):
            raise RunError(
                f"the music in {self.options.path} has changed since run {self.run.name} began, by its files or by "
                "what was decided of them in the Library; undo that, or start a new run"
            )
        held_out = np.isin(names, before["held_out"])
        return np.flatnonzero(~held_out), np.flatnonzero(held_out)

    def _restore(self) -> None:
        if not self.saved:
            return
        for folder, _ in self.saved:
            try:
                self.trainer.restore(folder)
                break
            except CheckpointError as error:
                log.warning("%s; going on from the one before", error)
                problem = error
        else:
            raise problem
        if not self.writes:
            return
        reports = self.run.metrics()[: self.trainer.epoch]
        self.run.write_metrics(reports)  # what came after the checkpoint is redone
        forget_after(self.run, self.trainer.epoch)
        if reports and folder.name == milestone(len(reports)):  # a kill may have come right after it was saved
            self._record(reports[-1])

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


def saved(run: Run) -> list[tuple[Path, dict[str, Any]]]:
    """The checkpoints that a training can go on from, and their cards: the last one, then what was saved before it.

    Raises CheckpointError where there are some, and no card of them can be read.
    """
    from deepmusician.checkpoint import read_card
    from deepmusician.training import PLACE

    last = run.checkpoint("last")
    if last is None:
        return []
    earlier = sorted((p.parent for p in (run.path / "checkpoints").glob(f"epoch-*/{PLACE}")), reverse=True)
    found, problem = [], None
    for folder in dict.fromkeys([last.resolve(), *(p.resolve() for p in earlier if p.name < last.resolve().name)]):
        try:
            found.append((folder, read_card(folder)))
        except CheckpointError as error:
            problem = error
    if not found and problem:
        raise problem
    return found


def save_as(run: Run, trainer: Trainer, card: dict[str, Any], name: str) -> Path:
    """Save a checkpoint of the run under `name` and let `last` point to it."""
    folder = trainer.save(run.path / "checkpoints" / name, card)
    point(run.path / "checkpoints" / "last", folder)
    return folder


def process_rank() -> int:
    """Which of several processes this is, as launchers tell it."""
    return int(os.environ.get("RANK", "0"))
