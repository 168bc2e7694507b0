"""Housekeeping: what the workspace holds, how much room it takes, and what can be cleared out without loss.

A clear-out never touches what a person named, starred or annotated, what is at work, what another run began with, nor
anything of the library that was not deleted already. Files that share their bytes (hard links) count once.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from deepmusician.branching import lineage
from deepmusician.checkpoint import MILESTONES
from deepmusician.errors import OptionError, RunError
from deepmusician.keeping import delete, list_deleted
from deepmusician.milestones import timeline
from deepmusician.runs import Run, list_runs
from deepmusician.shelf import BIN
from deepmusician.workspace import cache_dir, runs_dir, workspace

_DRAFT = re.compile(r"\..+\.\d+\.tmp")  # what a kill leaves of a file or folder being written
STALE = 3600.0  # seconds after which nobody is writing a draft any more
_MADE_NAME = re.compile(r".*-\d+")  # as names are made where none is given


@dataclass(frozen=True)
class Share:
    """One kind of thing in the workspace: how many there are, their bytes, and the bytes a clear-out would free."""

    name: str
    title: str
    count: int
    bytes: int
    clearable: int


def usage() -> list[Share]:
    """What the workspace holds, the things a clear-out may take included."""
    runs = list_runs()
    library, bin_ = workspace() / "library", workspace() / "library" / BIN
    data_sets = [p for p in library.glob("*") if p.is_dir() and p != bin_]
    samples = [s for run in runs for s in run.samples()]
    rest = [p for p in workspace().iterdir() if p.name not in ("runs", "library", "cache", "bin", "listening")]
    tests = [p for p in (workspace() / "listening").glob("*") if p.is_dir()]
    clearing = {name: _size(_targets(name)) for name in CLEARABLE}
    return [
        Share("runs", "Runs", len(runs), _size([runs_dir()]), 0),
        Share("unnamed", "… of them unnamed, unstarred, not at work", len(_unnamed()), _size(_targets("unnamed")), 0),
        Share("samples", "… their samples", len(samples), _size(samples), 0),
        Share("milestones", "… models of single epochs", *_counted(_all_milestones(runs)), clearing["milestones"]),
        Share("leftovers", "… left by kills", *_counted(_targets("leftovers")), clearing["leftovers"]),
        Share("bin", "Deleted runs and data sets", *_counted(_targets("bin")), clearing["bin"]),
        Share("library", "Data sets", len(data_sets), _size(data_sets), 0),
        Share("cache", "Built-in music, converted", *_counted(list(cache_dir().glob("*"))), clearing["cache"]),
        Share("listening", "Listening tests, clips and votes", len(tests), _size([workspace() / "listening"]), 0),
        Share("rest", "All else", *_counted(rest), 0),
    ]  # fmt: skip


def clear(names: Iterable[str]) -> int:
    """Clear out the kinds named, of CLEARABLE; returns the bytes freed. Raises OptionError for any other name."""
    before = _size([workspace()])
    for name in names:
        if name not in CLEARABLE:
            raise OptionError(f"what can be cleared out is {', '.join(CLEARABLE)}, got {name!r}")
        if name == "cache" and any(run.status().live for run in list_runs()):
            raise RunError("a training may be reading the converted music; clear it out when none is at work")
        for path in _targets(name):
            if name == "unnamed":
                _to_bin(Run(path))
            elif path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
    return max(0, before - _size([workspace()]))


def _to_bin(run: Run) -> None:
    try:
        delete(run)
    except RunError:  # it has begun to train meanwhile
        return


def _targets(name: str) -> list[Path]:
    return CLEARABLE[name]()


def is_kept(run: Run) -> bool:
    """Whether no clear-out may touch it: named, starred, annotated or at work."""
    about = run.about()
    return (
        about.named or about.starred or bool(about.note) or not _MADE_NAME.fullmatch(run.name)
        or run.status().live or run.is_locked()
    )  # fmt: skip


def _unnamed() -> list[Path]:
    """Runs that nobody would miss by name."""
    begun: set[str] = set()
    runs = list_runs()
    for run in runs:
        try:
            begun |= {source.partition("@")[0] for source in lineage(run.options())}
        except RunError:
            continue
    return [run.path for run in runs if not is_kept(run) and run.name not in begun]


def _all_milestones(runs: list[Run]) -> list[Path]:
    return [path for run in runs for path in (run.path / MILESTONES).glob("epoch-*")]


def _milestones() -> list[Path]:
    """Models of single epochs, but for those chosen, and those that a branch began with."""
    runs = [run for run in list_runs() if not is_kept(run)]
    return [
        moment.model
        for run in runs
        for moment in timeline(run)
        if moment.model and moment.model.parent.name == MILESTONES and moment.epoch > 0 and not moment.chosen
    ]


def _leftovers() -> list[Path]:
    """Drafts that nobody is writing any more, wherever files and folders are written; not in a run that is at work."""
    kinds = [path for path in _folders(workspace()) if path not in (runs_dir(), cache_dir())]
    places = [workspace(), runs_dir(), *kinds, *(folder for kind in kinds for folder in _folders(kind))]
    drafts = {path for place in places for path in place.glob(".*.tmp")}
    drafts |= {path for run in list_runs() if not run.is_locked() for path in run.path.rglob(".*.tmp")}
    now = time.time()
    return sorted(path for path in drafts if _DRAFT.fullmatch(path.name) and now - path.lstat().st_mtime > STALE)


def _folders(place: Path) -> list[Path]:
    return [path for path in place.iterdir() if path.is_dir() and not path.is_symlink()]


def _bin() -> list[Path]:
    deleted = workspace() / "library" / BIN
    return [*(run.path for run in list_deleted()), *(deleted.glob("*") if deleted.is_dir() else ())]


def _cache() -> list[Path]:
    return list(cache_dir().glob("*"))


CLEARABLE: dict[str, Callable[[], list[Path]]] = {
    "bin": _bin,
    "cache": _cache,
    "milestones": _milestones,
    "leftovers": _leftovers,
    "unnamed": _unnamed,
}


def _counted(paths: list[Path]) -> tuple[int, int]:
    return len(paths), _size(paths)


def _size(paths: Iterable[Path]) -> int:
    """Bytes on disk below `paths`; what lies there under two names counts once, links are not followed."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for path in paths:
        files = [path] if not path.is_dir() else (Path(top, f) for top, _, names in os.walk(path) for f in names)
        for file in files:
            try:
                about = file.lstat()
            except OSError:
                continue
            if (about.st_dev, about.st_ino) not in seen:
                seen.add((about.st_dev, about.st_ino))
                total += about.st_size
    return total
