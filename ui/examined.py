"""Data sets as the doctor sees them, kept in memory piece by piece: a decision about one has only that one looked at
again. And the one way in which pages decide."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from deepmusician.notes import Song
from deepmusician.options import TrainOptions
from ui import cached, converting, describe, figures, keys
from ui.page import sentences

if TYPE_CHECKING:
    from deepmusician.copies import Group
    from deepmusician.decisions import Choice, Decisions
    from deepmusician.doctor import Finding, Report, Totals
    from deepmusician.library import DataSet

KEPT = 6  # data sets, as read and as examined
ORDER = ("refused", "left out", "repaired", "kept")  # as read, so that a decision moves no row


@dataclass(frozen=True)
class Examined:
    """A data set, what is decided of it, and everything the doctor has to say."""

    name: str
    decisions: Decisions
    reports: tuple[Report, ...]
    where: tuple[str, ...]
    shares: tuple[float, ...]
    groups: tuple[Group, ...]
    totals: Totals
    findings: tuple[Finding, ...]
    rows: tuple[dict[str, Any], ...]
    problem: str  # why it cannot be split, else ""

    def of(self, name: str) -> int:
        """The place of the piece of that name, else of the first one."""
        return next((i for i, r in enumerate(self.reports) if r.name == name), 0)


class _Kept(OrderedDict):
    """The last few things made, by what they were made of."""

    def get_or(self, key: Any, make: Any, most: int) -> Any:
        if key not in self:
            self[key] = make()
            while len(self) > most:
                self.popitem(last=False)
        self.move_to_end(key)
        return self[key]


@st.cache_resource
def _shelves() -> tuple[_Kept, _Kept, _Kept]:
    """Data sets as read, their pieces as examined, and the wholes."""
    return _Kept(), _Kept(), _Kept()


def examined(name: str) -> Examined:
    """A saved data set or a corpus with everything the doctor says. Raises LibraryError where it cannot be read."""
    from deepmusician.decisions import Decisions
    from deepmusician.library import list_data_sets
    from deepmusician.shelf import load_decisions

    read, pieces, whole = _shelves()
    place = _place(name)
    data = read.get_or(place, lambda: _as_read(name), KEPT)
    decisions = load_decisions(name) if name in list_data_sets() else Decisions()
    return whole.get_or((place, decisions.to_json()), lambda: _examine(name, place, data, decisions, pieces), 4 * KEPT)


def _place(name: str) -> tuple[str, str, int]:
    """What tells data sets as read from one another: workspace, name and when the notes were written."""
    from deepmusician.catalogue import FILE
    from deepmusician.store import NOTES_FILE
    from deepmusician.workspace import workspace

    files = (Path(workspace(), "library", name, file) for file in (NOTES_FILE, FILE))
    return str(workspace()), name, max((file.stat().st_mtime_ns for file in files if file.exists()), default=0)


def _as_read(name: str) -> DataSet:
    from deepmusician.library import list_data_sets
    from deepmusician.shelf import load_as_read

    return load_as_read(name) if name in list_data_sets() else converting.read(name)


def _examine(name: str, place: tuple, data: DataSet, decisions: Decisions, pieces: _Kept) -> Examined:
    from deepmusician import doctor
    from deepmusician.errors import LibraryError

    entries = sorted(data.entries, key=lambda entry: ORDER.index(entry.status))
    known = pieces.get_or(place, dict, KEPT)
    reports = []
    with cached.progress_bar(f"Examining {name}") as progress:
        for i, entry in enumerate(entries):
            choice = decisions.of(entry.name)
            if (entry.name, choice) not in known:
                known[entry.name, choice] = doctor.examine(entry, choice)
                if i % 50 == 0:
                    progress(i, len(entries))
            reports.append(known[entry.name, choice])
    problem = ""
    try:
        where = doctor.sides(reports, TrainOptions.valid_fraction, TrainOptions.seed)
    except LibraryError as error:
        problem, where = str(error), [r.choice.side if r.is_in else "" for r in reports]
    shares, groups = doctor.shares(reports, where), doctor.copies(reports)
    found = doctor.findings(reports, where, groups)
    like = {copy.index: reports[group.original].name for group in groups for copy in group.copies}
    rows = [describe.row(r, where[i], shares[i], like.get(i, "")) for i, r in enumerate(reports)]
    return Examined(
        name, decisions, tuple(reports), tuple(where), tuple(shares), tuple(groups), doctor.totals(reports),
        tuple(found), tuple(rows), problem,
    )  # fmt: skip


# ---- deciding


def decide(name: str, what: str, changes: Mapping[str, Choice]) -> None:
    """Decide about pieces, from a button; the page then looks at the data set in which the decision is kept."""
    from deepmusician import shelf
    from ui.library_form import choose

    with sentences():
        kept_as = shelf.decide(name, what, changes)
        if kept_as != name:
            keys.NOTE.set(f"Kept as “{kept_as}”, a copy of your own: the built-in corpus stays as it is.")
            choose(kept_as)


def undo(name: str) -> None:
    """Take the last decision back."""
    from deepmusician.shelf import load_decisions, save_decisions

    with sentences():
        save_decisions(name, load_decisions(name).undo())


# ---- pictures


@st.cache_data(max_entries=60, show_spinner=False)
def pitch_pictures(beats: tuple[float, ...], dark: bool) -> tuple[bytes, bytes]:
    """The histogram of pitch classes as PNG, for a wide and for a narrow screen."""
    from deepmusician.charts import plot_pitch_classes

    def draw(axes: Any, palette: Any) -> None:
        plot_pitch_classes(beats, axes[0], palette)

    return figures.draw_png(draw, 5.4, 2.4, dark), figures.draw_png(draw, 4.2, 2.4, dark)


@st.cache_data(max_entries=60, show_spinner=False, hash_funcs={Song: cached.fingerprint})
def density_pictures(song: Song, dark: bool) -> tuple[bytes, bytes]:
    """Notes a beat along the piece as PNG, for a wide and for a narrow screen."""
    from deepmusician.charts import plot_density
    from deepmusician.glance import density_over_time

    def draw(axes: Any, palette: Any) -> None:
        plot_density(*density_over_time(song), axes[0], palette)

    return figures.draw_png(draw, 5.4, 2.4, dark), figures.draw_png(draw, 4.2, 2.4, dark)
