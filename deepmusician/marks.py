"""Marks: 64 bits by which content is known again, that of a file or the notes of a piece, at the speed of memory.

A word's mark depends on its value and its place; what is marked are the words' marks summed up. They tell apart what
chance makes alike: among a hundred million files it would confuse two once in three thousand times. They are no secret
and no signature: who wants two files of one mark can make them, and would only have his own file taken for unchanged.

Source: Steele, Lea, Flood, Fast Splittable Pseudorandom Number Generators, 2014 (the mixing of bits).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from deepmusician.columns import Columns

STEP, MIX, SPREAD = (np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
WORD = 8  # bytes; a file begins at a multiple of them


def of_bytes(content: bytes) -> int:
    """The mark of a file's content."""
    padded = np.frombuffer(content + bytes(-len(content) % WORD), "<u8")
    places = np.arange(1, len(padded) + 1, dtype=np.uint64)
    return int(_ended(_mixed(padded + places * STEP).sum(dtype=np.uint64), np.uint64(len(content))))


def of_files(data: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The marks uint64 [F] of files that lie in uint8 `data` from `starts`, multiples of WORD, to `ends`, int64 [F]."""
    if compiled := _compiled():
        return compiled[0](data.view(np.uint64), starts, ends, STEP, MIX, SPREAD)
    files = zip(starts.tolist(), ends.tolist(), strict=True)
    return np.array([of_bytes(data[start:end].tobytes()) for start, end in files], np.uint64)


def of_music(columns: Columns) -> np.ndarray:
    """A mark of the notes of each piece, uint64 [P]: the same of files that hold the same music, whatever else."""
    rows = [np.ascontiguousarray(getattr(columns, name)) for name in ("onset", "length", "pitch", "velocity", "sound")]
    if compiled := _compiled():
        return compiled[1](np.ascontiguousarray(columns.notes), *rows, columns.ticks, STEP, MIX, SPREAD)
    onset, length, pitch, velocity, sound = (row.astype(np.uint64) for row in rows)
    places = np.arange(len(onset), dtype=np.uint64) - columns.notes[columns.piece_of].astype(np.uint64)
    voice = pitch | velocity << np.uint64(8) | sound << np.uint64(16)
    marks = _mixed((onset | length << np.uint64(32)) + (places + np.uint64(1)) * STEP ^ voice * SPREAD)
    sums = np.append(np.uint64(0), np.cumsum(marks, dtype=np.uint64))
    return _ended(np.diff(sums[columns.notes]), columns.ticks.astype(np.uint64))


def _mixed(words: np.ndarray) -> np.ndarray:
    words = (words ^ words >> np.uint64(32)) * MIX
    return words ^ words >> np.uint64(29)


def _ended(total: np.ndarray, size: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # of scalars numpy would warn
        total = (total + size * SPREAD) * MIX
    return total ^ total >> np.uint64(31)


@cache
def _compiled() -> tuple[Callable, Callable] | None:
    try:
        from deepmusician.mark_kernel import of_files, of_music
    except ImportError:
        return None
    return of_files, of_music
