"""The near-duplicates of a large data set, marked in its catalogue: pieces of the same notes, and nearly the same."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from functools import lru_cache
from itertools import repeat
from pathlib import Path

import numpy as np

from deepmusician.catalogue import Catalogue
from deepmusician.collected import shard_file
from deepmusician.columns import Columns, bounds, open_columns
from deepmusician.copies import Lines, lines
from deepmusician.sketches import find_twins

ROUND = 1_000_000  # hashes of sketches that are compared at a time


def mark_twins(catalogue: Catalogue, folder: Path) -> None:
    """Mark every piece that is the same as an earlier one, or nearly the same as a larger one."""
    question = "SELECT id, shard, place, music FROM pieces WHERE place IS NOT NULL ORDER BY name"
    found = array("q")
    for *numbers, music in catalogue.ask(question):
        found.extend((*numbers, int.from_bytes(music[:8], "little", signed=True)))
    pieces = np.frombuffer(found, np.int64).reshape(-1, 4)
    _, first, like = np.unique(pieces[:, 3], return_index=True, return_inverse=True)
    id_, again = pieces[:, 0], np.flatnonzero(first[like] != np.arange(len(pieces)))
    same = zip(id_[again].tolist(), id_[first[like[again]]].tolist(), repeat(1.0))
    first.sort()
    id_, at = id_[first], pieces[first, 1:3]
    order = np.lexsort((at[:, 1], at[:, 0]))
    blocks = np.split(order, np.flatnonzero(np.diff(at[order, 0])) + 1)
    grams, sizes = np.zeros(len(id_), np.int64), np.zeros(len(id_), np.int64)

    def columns(number: int) -> Columns:  # not kept open, or all that was looked at would count as memory in use
        return open_columns(shard_file(folder, number))

    for mine in blocks:
        notes = columns(int(at[mine[0], 0]))
        grams[mine], sizes[mine] = notes.grams[at[mine, 1]], np.diff(notes.sketch_at)[at[mine, 1]]

    def sketches() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        for mine in blocks:
            notes = columns(int(at[mine[0], 0]))
            counts, wanted = np.diff(notes.sketch_at), np.zeros(len(notes), bool)
            wanted[at[mine, 1]] = True
            yield mine, bounds(counts[at[mine, 1]]), notes.sketch[np.repeat(wanted, counts)]

    @lru_cache(maxsize=256)
    def all_lines(i: int) -> Lines:
        number, place = at[i].tolist()
        return lines(columns(number).song(place))

    twins = find_twins(sketches, grams, sizes, all_lines, rounds=1 + int(sizes.sum()) // ROUND)
    near = [(int(id_[twin.index]), int(id_[twin.original]), twin.share) for twin in twins]
    catalogue.mark_twins([*same, *near])
