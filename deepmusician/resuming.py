"""The places a training goes on from: its checkpoints, which of them is last and best, and what a kill left ahead.

Knows nothing of what happens between two of them.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepmusician.checkpoint import CARD, MILESTONES, milestone
from deepmusician.errors import CheckpointError, RunError
from deepmusician.milestones import forget_after, keep, point, prune
from deepmusician.music_card import fingerprint
from deepmusician.options import TrainOptions, milestone_epochs
from deepmusician.windows import split_rolls

if TYPE_CHECKING:
    from deepmusician.rolls import Rolls
    from deepmusician.runs import Run
    from deepmusician.training import Trainer

log = logging.getLogger(__name__)
Saved = list[tuple[Path, dict[str, Any]]]  # checkpoints and their cards, the last one first


def save_as(run: Run, trainer: Trainer, card: dict[str, Any], name: str) -> Path:
    """Save a checkpoint of the run under `name` and let `last` point to it."""
    folder = trainer.save(run.path / "checkpoints" / name, card)
    point(run.path / "checkpoints" / "last", folder)
    return folder


def saved(run: Run) -> Saved:
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


def split(
    run: Run, options: TrainOptions, names: tuple[str, ...], rolls: Rolls, places: Saved
) -> tuple[np.ndarray, np.ndarray]:
    """The training and the held-out songs. A run that goes on keeps those it began with, whatever was pinned since.

    Raises RunError where the music is not what it was.
    """
    if not places:
        return split_rolls(rolls, options.valid_fraction, options.seed)
    before = places[0][1]["data"]
    if before.get("fingerprint") != fingerprint(rolls):
        raise RunError(
            f"the music in {options.path} has changed since run {run.name} began, by its files or by "
            "what was decided of them in the Library; undo that, or start a new run"
        )
    held_out = np.isin(names, before["held_out"])
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def restore(trainer: Trainer, places: Saved) -> Path:
    """Let the trainer stand where the first of `places` that is sound left off; returns that one.

    Raises CheckpointError where none is.
    """
    for folder, _ in places:
        try:
            trainer.restore(folder)
            return folder
        except CheckpointError as error:
            log.warning("%s; going on from the one before", error)
            problem = error
    raise problem


def cut_back(run: Run, trainer: Trainer, options: TrainOptions, folder: Path) -> None:
    """Remove what a kill left ahead of the place `folder`, and do what it may have left undone right after saving."""
    reports = run.metrics()[: trainer.epoch]
    run.write_metrics(reports)  # what came after the checkpoint is redone
    forget_after(run, trainer.epoch)
    if reports and folder.name == milestone(len(reports)):
        record(run, options, reports[-1])


def record(run: Run, options: TrainOptions, report: dict[str, Any]) -> None:
    """Let the checkpoint of a finished epoch be the best or a milestone, and clear away what is not needed; done
    again, it changes nothing."""
    epoch = report["epoch"]
    folder = run.path / "checkpoints" / milestone(epoch)
    if report["best"]:
        point(run.path / "checkpoints" / "best", folder)
    kept = (run.path / MILESTONES / milestone(epoch) / CARD).is_file()
    if not kept and epoch in milestone_epochs(options.milestones, epoch):
        keep(run, folder, epoch)
    prune(run)
