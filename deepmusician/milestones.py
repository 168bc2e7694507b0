"""Hear it learn: the models a run keeps of chosen epochs, the same piece composed at each, and the choice by ear.

    runs/NAME/milestones/epoch-0004/  weights and card of that epoch, without the optimiser
    runs/NAME/samples/epoch-0004.mid  the same piece at every epoch: the same start, the same random numbers
    runs/NAME/checkpoints/            what training goes on from (last), what validation liked best (best), and the
                                      milestone that a person made the run's model (chosen)

Weights are shared with the checkpoint of the same epoch where the file system can (hard links). Knows nothing of how
a model learns or composes.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepmusician.atomic import AtomicFolder, flush
from deepmusician.checkpoint import CARD, MILESTONES, WEIGHTS, milestone, read_card
from deepmusician.errors import RunError
from deepmusician.runs import Run, command_apart

EPOCH = re.compile(r"epoch-(\d{4,})")


@dataclass(frozen=True)
class Moment:
    """A run at one epoch: its sample and its model where they were kept, and how it scored: on songs `held_out`, or
    where there are none on those it learnt."""

    epoch: int
    sample: Path | None
    model: Path | None
    scores: dict[str, Any]
    best: bool  # validation's choice
    chosen: bool  # a person's
    held_out: bool = True


def timeline(run: Run) -> list[Moment]:
    """The epochs of which something was kept, the untrained model first."""
    samples = {number: path for path in run.samples() if (number := _epoch(path.stem)) is not None}
    models = _models(run)
    reports = run.metrics()
    scores = {r.get("epoch"): r.get("valid") or r.get("train") or {} for r in reports}
    unjudged = {r.get("epoch") for r in reports if not r.get("valid")}
    best, chosen = (_linked(run, which) for which in ("best", "chosen"))
    return [
        Moment(n, samples.get(n), models.get(n), scores.get(n, {}), n == best, n == chosen, n not in unjudged)
        for n in sorted({*samples, *models})
    ]


def _models(run: Run) -> dict[int, Path]:
    """The folders that hold a whole epoch's model, milestones before checkpoints."""
    found: dict[int, Path] = {}
    for place in ("checkpoints", MILESTONES):
        for folder in (run.path / place).glob("epoch-*"):
            number = _epoch(folder.name)
            if number is not None and (folder / CARD).is_file():
                found[number] = folder
    return found


def _epoch(name: str) -> int | None:
    match = EPOCH.fullmatch(name)
    return int(match[1]) if match else None


def _linked(run: Run, which: str) -> int | None:
    folder = run.checkpoint(which)
    return _epoch(folder.resolve().name) if folder else None


def keep(run: Run, folder: Path, epoch: int) -> Path:
    """Keep the model of a checkpoint `folder` as the milestone of `epoch`; returns its folder."""
    target = run.path / MILESTONES / milestone(epoch)
    with AtomicFolder(target) as draft:
        shutil.copyfile(folder / CARD, draft / CARD)
        try:
            os.link(folder / WEIGHTS, draft / WEIGHTS)
        except OSError:  # a file system without hard links
            shutil.copyfile(folder / WEIGHTS, draft / WEIGHTS)
    return target


def choose(run: Run, epoch: int) -> Path:
    """Make the model of `epoch` the one the run composes with, calibrated as its best one would be.

    Raises RunError where that model was not kept.
    """
    folder = _models(run).get(epoch)
    if folder is None:
        kept = ", ".join(map(str, sorted(_models(run)))) or "none"
        raise RunError(f"run {run.name} did not keep its model of epoch {epoch}; kept are {kept}")
    if folder.parent.name != MILESTONES:
        try:
            folder = keep(run, folder, epoch)
        except OSError:
            raise RunError(f"the model of epoch {epoch} has just been cleared away; choose another one") from None
    calibrate_if_missing(folder)
    point(run.path / "checkpoints" / "chosen", folder)
    return folder


def choose_apart(run: Run, epoch: int) -> subprocess.Popen | None:
    """As `choose`, at once where that model is calibrated, else in a process of its own, which is returned.

    What goes wrong in it is the last line of its standard error.
    """
    folder = _models(run).get(epoch)
    if folder is None or _is_calibrated(folder):
        choose(run, epoch)
        return None
    how = {"text": True, "encoding": "utf-8"}
    return command_apart(["runs", "choose", run.name, str(epoch)], subprocess.DEVNULL, subprocess.PIPE, **how)


def let_validation_choose(run: Run) -> None:
    """Undo `choose`."""
    (run.path / "checkpoints" / "chosen").unlink(missing_ok=True)


def calibrate_if_missing(folder: Path) -> None:
    """Find the settings at which a model composes music as full and as restless as it learnt, and keep them."""
    if _is_calibrated(folder):
        return
    from deepmusician.calibration import calibrate_checkpoint

    calibrate_checkpoint(folder)


def _is_calibrated(folder: Path) -> bool:
    """Whether its settings were found, or there are none to find: a model of expression composes nothing."""
    card = read_card(folder)
    return "fullness" in card or card["model"].get("arrangement") == "expression"


def forget_after(run: Run, epoch: int) -> None:
    """Remove samples and milestones of epochs that are about to be trained anew, but for the chosen one."""
    for path in [*run.samples(), *(run.path / MILESTONES).glob("epoch-*")]:
        number = _epoch(path.stem)
        if number is None or number <= epoch or (path.is_dir() and number == _linked(run, "chosen")):
            continue
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def point(link: Path, folder: Path) -> None:
    """Let `link` name `folder` in one step, wherever the run is moved to."""
    draft = link.with_name(f".{link.name}.{os.getpid()}.tmp")
    draft.unlink(missing_ok=True)
    draft.symlink_to(os.path.relpath(folder, link.parent))
    os.replace(draft, link)
    flush(link.parent)


def prune(run: Run) -> None:
    """Remove the checkpoints nothing points to, but for the newest of them in case the last one proves damaged."""
    folder = run.path / "checkpoints"
    used = {(folder / link).resolve().name for link in ("last", "best")}
    spare = sorted(p for p in folder.glob("epoch-*") if p.name not in used)
    places = (folder.name, f"{folder.name}/epoch-*", MILESTONES, "samples", "baselines")
    drafts = [draft for place in places for draft in run.path.glob(f"{place}/.*.tmp")]
    for path in [*spare[:-1], *drafts]:  # drafts are left by a kill; the lock makes them ours
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
