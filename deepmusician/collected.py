"""A large data set as any other: its entries and songs are made of the mapped notes when they are looked at.

A folder with a catalogue and shards of notes, as `ingest` leaves it, becomes a DataSet whose entries, songs, names and
sides are sequences; none is held in memory for longer than it is used. Decisions are carried out on looking, too.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, overload

import numpy as np

from deepmusician.catalogue import FILE, GLANCE, SHARDS, Catalogue
from deepmusician.columns import Columns, open_columns
from deepmusician.decisions import AS_READ, Choice, Decisions, treated
from deepmusician.errors import LibraryError
from deepmusician.glance import Glance
from deepmusician.notes import Song, Touched
from deepmusician.roll import is_learnt
from deepmusician.store import DataSet, Entry

OPEN = 8  # shards that are mapped at once: what was read of them, 20 MB each, counts as memory in use


def is_collected(folder: Path) -> bool:
    """Whether a data set's folder is one that `ingest` made."""
    return (folder / FILE).is_file()


@lru_cache(maxsize=OPEN)
def _shard(path: Path, changed: int) -> Columns:
    return open_columns(path)


def shard(folder: Path, number: int) -> Columns:
    """The columns of one shard, mapped."""
    path = shard_file(folder, number)
    return _shard(path, path.stat().st_mtime_ns if path.exists() else 0)


def shard_file(folder: Path, number: int) -> Path:
    """Where the notes of a shard lie."""
    return folder / SHARDS / f"{number:06d}.npy"


@dataclass(frozen=True, eq=False)
class Index:
    """What is known of all P pieces without their notes, by name: `id`, `shard` and `place` int64 [P], place -1 where a
    piece was refused; `drums_only` and `learnt` bool [P], as they were read; `sides`, to which they are pinned by the
    collection they come from."""

    names: tuple[str, ...]
    sides: tuple[str, ...]
    id: np.ndarray
    shard: np.ndarray
    place: np.ndarray
    drums_only: np.ndarray
    learnt: np.ndarray


class Entries(Sequence):
    """The entries of a data set in the order of their names; each is made when it is asked for."""

    def __init__(self, folder: Path, decisions: Decisions, style: str = "") -> None:
        self.folder, self.decisions, self.style = folder, decisions, style

    @cached_property
    def index(self) -> Index:
        """All pieces, without their notes."""
        about = "IFNULL(place, -1), IFNULL(notes + lost = 0, 0), IFNULL(notes > 0, 0)"
        question = f"SELECT name, side, id, shard, {about} FROM pieces"
        where, values = (" WHERE style = ?", (self.style,)) if self.style else ("", ())
        with Catalogue(self.folder) as catalogue:
            rows = list(catalogue.ask(f"{question}{where} ORDER BY name", values))
        names, sides = (tuple(row[i] for row in rows) for i in (0, 1))
        numbers = np.array([row[2:] for row in rows], np.int64).reshape(-1, 5)
        return Index(names, sides, *numbers[:, :3].T, *numbers[:, 3:].astype(bool).T)

    @cached_property
    def kept(self) -> np.ndarray:
        """The places of the entries that have a song, after what was decided."""
        found = self.index.place >= 0
        for i, choice in self._decided:
            emptied = choice.out or (choice.no_drums and self.index.drums_only[i])
            found[i] = not emptied and not (choice.mute and self[i].song is None)
        return np.flatnonzero(found)

    @cached_property
    def learnt(self) -> int:
        """How many of those `kept` are learnt from, after what was decided."""
        found = self.index.learnt.copy()
        for i, choice in self._decided:
            if choice.mute or choice.fit:
                song = self[i].song
                found[i] = song is not None and is_learnt(song)
        return int(found[self.kept].sum())

    @cached_property
    def _decided(self) -> list[tuple[int, Choice]]:
        """The places of the pieces with music that something is decided of, and what."""
        choices = self.decisions.choices
        place = {name: i for i, name in enumerate(self.index.names)} if choices else {}
        return [(place[name], c) for name, c in choices.items() if name in place and self.index.place[place[name]] >= 0]

    def __len__(self) -> int:
        return len(self.index.names)

    @overload
    def __getitem__(self, i: int) -> Entry: ...
    @overload
    def __getitem__(self, i: slice) -> tuple[Entry, ...]: ...
    def __getitem__(self, i: int | slice) -> Entry | tuple[Entry, ...]:
        if isinstance(i, slice):
            return tuple(self.some(range(len(self))[i]))
        return next(self.some([range(len(self))[i]]))

    def __iter__(self) -> Iterator[Entry]:
        return self.some(range(len(self)))

    def some(self, places: Iterable[int]) -> Iterator[Entry]:
        """The entries at `places`, one after another."""
        question = "SELECT status, reason, title, repairs, touched FROM pieces WHERE id = ?"
        with Catalogue(self.folder) as catalogue:
            for i in places:
                row = next(catalogue.ask(question, (int(self.index.id[i]),)))
                yield self._entry(i, *row)

    def _entry(self, i: int, status: Any, reason: str, title: str, repairs: str, touched: str) -> Entry:
        name, place = self.index.names[i], int(self.index.place[i])
        if place < 0:
            return Entry(name, None, status, reason)
        notes = shard(self.folder, int(self.index.shard[i]))
        song = notes.song(place, title, tuple(json.loads(repairs)), Touched(*json.loads(touched)))
        choice = self.decisions.of(name)
        entry = Entry(name, song, status, reason, self.side(i))
        return entry if choice == AS_READ else replace(treated(entry, choice), side=self.side(i))

    def side(self, i: int) -> str:
        """The side of the split a piece is pinned to: by a person, else by the collection it comes from."""
        return self.decisions.of(self.index.names[i]).side or self.index.sides[i]


class Songs(Sequence):
    """The songs of those entries that have one."""

    def __init__(self, entries: Entries) -> None:
        self.entries = entries

    def __len__(self) -> int:
        return len(self.entries.kept)

    def __getitem__(self, i: int | slice) -> Any:
        if isinstance(i, slice):
            return tuple(entry.song for entry in self.entries.some(self.entries.kept[i].tolist()))
        return self.entries[int(self.entries.kept[i])].song

    def __iter__(self) -> Iterator[Song | None]:
        return (entry.song for entry in self.entries.some(self.entries.kept.tolist()))


class Collection(DataSet):
    """A DataSet whose pieces lie on disk."""

    @cached_property
    def revision(self) -> str:
        """What tells its notes from those before it was last brought up to date."""
        with Catalogue(self.folder) as catalogue:
            return str(catalogue.said("revision"))

    @cached_property
    def kin(self) -> np.ndarray:
        """A number for each of `songs`, the same of near-duplicates, int64."""
        index = self.entries.index
        with Catalogue(self.folder) as catalogue:
            of = dict(catalogue.ask("SELECT id, twin FROM pieces WHERE twin IS NOT NULL"))
        roots = []
        for piece in index.id[self.entries.kept].tolist():
            while piece in of:  # what is the same as a piece that is nearly another
                piece = of[piece]
            roots.append(piece)
        return np.unique(np.array(roots, np.int64), return_inverse=True)[1]

    @property
    def folder(self) -> Path:
        """Where its notes and its catalogue lie."""
        return self.entries.folder

    @cached_property
    def songs(self) -> Songs:
        """As DataSet's, made one by one."""
        return Songs(self.entries)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The name of each of `songs`."""
        return tuple(self.entries.index.names[i] for i in self.entries.kept.tolist())

    @cached_property
    def sides(self) -> tuple[str, ...]:
        """The side of the split that each of `songs` is pinned to."""
        return tuple(map(self.entries.side, self.entries.kept.tolist()))

    @cached_property
    def learnt(self) -> int:
        """As DataSet's, counted by the catalogue."""
        return self.entries.learnt


def open_collection(name: str, folder: Path, decisions: Decisions | None = None, style: str = "") -> Collection:
    """A data set that `ingest` made, or its pieces of one style, with what was decided of them.

    Raises LibraryError where it is damaged, or nothing in it is of that style.
    """
    with Catalogue(folder) as catalogue:
        known = [style for style, _ in catalogue.styles()]
    if style and style not in known:
        close = difflib.get_close_matches(style, known, n=3, cutoff=0.4) or known[:5]
        raise LibraryError(f"{name} has no style {style}; it has {', '.join(close) or 'none'}")
    return Collection(f"{name}/{style}" if style else name, Entries(folder, decisions or Decisions(), style))


def totals(folder: Path) -> dict[str, float]:
    """Files, pieces and what they hold, counted by the catalogue."""
    with Catalogue(folder) as catalogue:
        return catalogue.totals()


def twins(folder: Path) -> list[str]:
    """The names of the pieces that are nearly the same as another."""
    with Catalogue(folder) as catalogue:
        return [name for (name,) in catalogue.ask("SELECT name FROM pieces WHERE twin IS NOT NULL ORDER BY name")]


def refusals(folder: Path, most: int) -> list[tuple[str, str]]:
    """Names and reasons of the first refused pieces."""
    with Catalogue(folder) as catalogue:
        return catalogue.refusals(most)


def styles(folder: Path) -> list[tuple[str, int]]:
    """The styles in it and how many pieces are in each, the most first."""
    with Catalogue(folder) as catalogue:
        return catalogue.styles()


@dataclass(frozen=True)
class Row:
    """One piece as the catalogue knows it; `at` is None where it was refused, `twin` names what it is nearly like."""

    name: str
    status: str
    reason: str
    at: Glance | None
    twin: str
    twin_share: float


def rows(folder: Path, first: int, most: int, search: str = "", status: str = "") -> tuple[list[Row], int]:
    """Pieces by name from number `first` on, at most `most`, and how many there are in all; perhaps only those whose
    name holds `search`, or of one status."""
    where, values = ["1"], []
    if search:
        where.append("instr(lower(p.name), lower(?)) > 0")
        values.append(search)
    if status:
        where.append("p.status = ?")
        values.append(status)
    condition = " AND ".join(where)
    columns = ", ".join(f"p.{name}" for name in GLANCE)
    question = (
        f"SELECT p.name, p.status, p.reason, IFNULL(t.name, ''), IFNULL(p.twin_share, 0), {columns} FROM pieces p "
        f"LEFT JOIN pieces t ON t.id = p.twin WHERE {condition} ORDER BY p.name LIMIT ? OFFSET ?"
    )
    with Catalogue(folder) as catalogue:
        found = [_row(*row) for row in catalogue.ask(question, (*values, most, first))]
        count = next(catalogue.ask(f"SELECT COUNT(*) FROM pieces p WHERE {condition}", values))[0]
    return found, count


def _row(name: str, status: str, reason: str, twin: str, share: float, *glance: Any) -> Row:
    return Row(name, status, reason, Glance(*glance, ()) if glance[0] is not None else None, twin, share)
