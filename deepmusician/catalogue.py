"""The catalogue of a large data set: every file looked at and every piece found, in one SQLite file beside the notes.

A file (source) is known by its place, size, time and hash, so a later call reads only what is new or changed. A piece
is known by its name, what became of it and why, where its notes lie (shard and place in it), what it is at a glance,
and which piece it is nearly the same as. A shard's rows come in one transaction, after its file. Knows no notes.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deepmusician.errors import LibraryError

FILE, SHARDS = "catalogue.sqlite", "shards"
FORM = 1  # raise it when the form changes: older data sets are then refused with a word
GLANCE = (
    "notes", "lost", "drums", "tracks", "bars", "minutes", "frames", "key", "tempo_bpm", "meter", "low", "high",
    "density", "polyphony",
)  # fmt: skip
PIECE = ("name", "status", "reason", "style", "side", "place", "title", "repairs", "touched", "music", *GLANCE)
_SCHEMA = f"""
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE sources (
    id INTEGER PRIMARY KEY, root TEXT, label TEXT, size INTEGER, mtime INTEGER, digest BLOB, UNIQUE (root, label)
);
CREATE TABLE pieces (
    id INTEGER PRIMARY KEY, source INTEGER, shard INTEGER, {", ".join(PIECE)},
    twin INTEGER, twin_share REAL, UNIQUE (name)
);
CREATE INDEX pieces_source ON pieces (source);
CREATE INDEX pieces_style ON pieces (style);
"""


class Catalogue:
    """The SQLite file of one data set; `writing` makes it where it is not there. One thread at a time."""

    def __init__(self, folder: Path, writing: bool = False) -> None:
        self.path = folder / FILE
        if not writing and not self.path.exists():
            raise LibraryError(f"data set {folder.name} has no catalogue; ingest its files again")
        try:
            mode = "rwc" if writing else "ro"
            self.db = sqlite3.connect(f"{self.path.resolve().as_uri()}?mode={mode}", uri=True, isolation_level=None)
            if writing and not self.db.execute("SELECT name FROM sqlite_master").fetchone():
                self.db.executescript(f"BEGIN; {_SCHEMA} INSERT INTO meta VALUES ('form', '{FORM}'); COMMIT;")
            form = self.said("form")
        except sqlite3.Error as error:
            raise self._damaged(error) from error
        if form != FORM:
            raise LibraryError(f"data set {folder.name} has form {form}, not {FORM}; ingest its files again")

    def _damaged(self, error: Exception) -> LibraryError:
        return LibraryError(f"data set {self.path.parent.name} is damaged ({error}); delete it and ingest it again")

    def __enter__(self) -> Catalogue:
        return self

    def __exit__(self, *_: object) -> None:
        self.db.close()

    def ask(self, question: str, values: Sequence = ()) -> Iterator[tuple]:
        """The rows that answer an SQL question. Raises LibraryError where the file is damaged."""
        try:
            yield from self.db.execute(question, values)
        except sqlite3.Error as error:
            raise self._damaged(error) from error

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Everything within the block, or nothing."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    # ---- what is said of the whole

    def said(self, name: str) -> Any:
        """A value that `say` kept, None where there is none."""
        found = next(self.ask("SELECT value FROM meta WHERE name = ?", (name,)), None)
        return json.loads(found[0]) if found else None

    def say(self, name: str, value: Any) -> None:
        """Keep a value under a name."""
        self.db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, json.dumps(value)))

    # ---- files

    def known(self, root: str, label: str) -> tuple[int, int, bytes] | None:
        """Size, time and hash of a file as it was read."""
        question = "SELECT size, mtime, digest FROM sources WHERE root = ? AND label = ?"
        return next(self.ask(question, (root, label)), None)

    def any_known(self) -> bool:
        """Whether any file was read yet."""
        return next(self.ask("SELECT 1 FROM sources LIMIT 1"), None) is not None

    def add(
        self, shard: int, sources: Sequence[tuple[str, str, int, int, bytes]], pieces: Sequence[tuple],
        same: Collection[int] = (),
    ) -> None:  # fmt: skip
        """Keep what was found in some files, in the place of what was found in them before.

        Of each file root, label, size, time and digest; of each piece its file's place among these, and what PIECE
        names. Files at the places `same` have another time, and the pieces they had.
        """
        with self._whole():
            first = next(self.ask("SELECT IFNULL(MAX(id), 0) + 1 FROM sources"))[0]
            rows = ((first + i, *source) for i, source in enumerate(sources))
            if self._inserted("INSERT OR IGNORE INTO sources VALUES (?, ?, ?, ?, ?, ?)", rows) < len(sources):
                pieces = self._in_place_of_known(first, sources, pieces, same)
            self._add_pieces(first, shard, pieces)

    def _inserted(self, statement: str, rows: Iterable[tuple]) -> int:
        before = self.db.total_changes
        self.db.executemany(statement, rows)
        return self.db.total_changes - before

    def _in_place_of_known(
        self, first: int, sources: Sequence[tuple], pieces: Sequence[tuple], same: Collection[int]
    ) -> list[tuple]:
        """Bring known sources up to date; the pieces, counted from those that these had."""
        ids = []
        for i, (root, label, *about) in enumerate(sources):
            (row,) = next(self.ask("SELECT id FROM sources WHERE root = ? AND label = ?", (root, label)))
            ids.append(row)
            if row != first + i:
                self.db.execute("UPDATE sources SET size = ?, mtime = ?, digest = ? WHERE id = ?", (*about, row))
                if i not in same:
                    self.db.execute("DELETE FROM pieces WHERE source = ?", (row,))
        last = {row: i for i, row in enumerate(ids)}  # an archive may hold two members of one name
        return [(ids[i] - first, *piece) for i, *piece in pieces if last[ids[i]] == i]

    def _add_pieces(self, first: int, shard: int, pieces: Sequence[tuple]) -> None:
        values = ", ".join(f"?{i + 2}" for i in range(len(PIECE)))
        names = f"source, shard, {', '.join(PIECE)}"
        insert = f"INSERT OR IGNORE INTO pieces ({names}) VALUES (?1 + {first}, {shard}, {values})"
        self.db.execute("SAVEPOINT pieces")
        if self._inserted(insert, pieces) < len(pieces):  # another piece is called so
            self.db.execute("ROLLBACK TO pieces")
            for i, name, *piece in pieces:
                if not self._inserted(insert, [(i, name, *piece)]):
                    self.db.execute(insert, (i, self._free(name), *piece))
        self.db.execute("RELEASE pieces")

    def _free(self, name: str) -> str:
        """A name that no piece has: a.mid, a.mid (2)."""
        number, free = 1, name
        while next(self.ask("SELECT 1 FROM pieces WHERE name = ?", (free,)), None):
            number += 1
            free = f"{name} ({number})"
        return free

    def shards(self) -> set[int]:
        """The shards that hold notes of pieces."""
        return {shard for (shard,) in self.ask("SELECT DISTINCT shard FROM pieces WHERE place IS NOT NULL")}

    # ---- pieces

    def mark_twins(self, twins: Iterable[tuple[int, int, float]]) -> None:
        """Say of pieces (by id) which piece they are nearly the same as, and of all others that they are none."""
        with self._whole():
            self.db.execute("UPDATE pieces SET twin = NULL, twin_share = NULL WHERE twin IS NOT NULL")
            self.db.executemany("UPDATE pieces SET twin = ?2, twin_share = ?3 WHERE id = ?1", twins)

    def totals(self) -> dict[str, float]:
        """Files, pieces and what they hold, counted over the whole data set; `toneless` hold nothing to learn."""
        counted = ("pieces", "kept", "repaired", "refused", "twins")
        summed = ("notes", "lost", "drums", "bars", "minutes", "frames")
        names = (*counted, "toneless", *summed)
        states = ", ".join(f"SUM(status = '{state}')" for state in counted[1:4])
        sums = ", ".join(f"SUM({name})" for name in summed)
        row = next(self.ask(f"SELECT COUNT(*), {states}, SUM(twin IS NOT NULL), SUM(notes = 0), {sums} FROM pieces"))
        files = next(self.ask("SELECT COUNT(DISTINCT source) FROM pieces"))[0]
        return {"files": files} | {name: value or 0 for name, value in zip(names, row, strict=True)}

    def styles(self) -> list[tuple[str, int]]:
        """The styles that pieces with music are in, and how many there are of each, the most first."""
        question = "SELECT style, COUNT(*) FROM pieces WHERE place IS NOT NULL AND style != '' GROUP BY style"
        return sorted(self.ask(question), key=lambda row: (-row[1], row[0]))

    def refusals(self, most: int) -> list[tuple[str, str]]:
        """Names and reasons of the first refused pieces."""
        question = "SELECT name, reason FROM pieces WHERE status = 'refused' ORDER BY name LIMIT ?"
        return list(self.ask(question, (most,)))
