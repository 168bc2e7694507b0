"""Copies: pieces of a data set that are nearly the same music, in whatever key, tempo or file they come.

Two lines of a piece are read, the highest and the lowest note of each moment, as the intervals from note to note. Runs
of INTERVALS of them are its n-grams; what two pieces have in common of these tells how much of the shorter one stands
in the other. Rhythm is not looked at, so a copy in doubled note values is found; another harmonisation of a tune is
not one, since only its upper line is the same. Knows nothing of files.

Sources: Downie, Evaluating a Simple Approach to Music Information Retrieval, 1999 (interval n-grams); Broder, On the
Resemblance and Containment of Documents, 1997.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepmusician.notes import Song
from deepmusician.roll import playable

INTERVALS = 7  # in an n-gram: eight notes
LIKE = 0.7  # share of the shorter piece's n-grams that a copy has in common with the other
FEW = 16  # n-grams in common, below which pieces must be alike in length too
COMMON = 40  # an n-gram in more pieces than this, a scale perhaps, tells nothing
GRID = 8  # moments a beat: notes of a chord that are struck a little apart are one
POWERS = np.array([pow(0x9E3779B97F4A7C15, i + 1, 2**64) for i in range(INTERVALS)], np.uint64)


@dataclass(frozen=True)
class Copy:
    """Piece `index` has `share` of the shorter one's music in common with its original, `semitones` higher."""

    index: int
    share: float
    semitones: int


@dataclass(frozen=True)
class Group:
    """A piece, the longest of its kind, and its copies; places in the sequence that was searched."""

    original: int
    copies: tuple[Copy, ...]

    @property
    def members(self) -> tuple[int, ...]:
        """The original's place and the copies'."""
        return (self.original, *(copy.index for copy in self.copies))


@dataclass(frozen=True)
class Lines:
    """The n-grams of a piece uint64 [N], each once and sorted, and the pitch each begins on uint8 [N]."""

    grams: np.ndarray
    pitches: np.ndarray


def lines(song: Song) -> Lines:
    """Read the highest and the lowest line of a song."""
    notes = song.notes[playable(song.notes)]
    if not len(notes):
        return Lines(np.zeros(0, np.uint64), np.zeros(0, np.uint8))
    moments = np.rint(notes["onset"] * GRID)
    first = np.flatnonzero(np.append(True, moments[1:] != moments[:-1]))
    pitch = notes["pitch"].astype(np.int64)
    both = [_grams(reduce.reduceat(pitch, first), i) for i, reduce in enumerate((np.maximum, np.minimum))]
    grams, pitches = (np.concatenate(parts) for parts in zip(*both, strict=True))
    grams, where = np.unique(grams, return_index=True)
    return Lines(grams, pitches[where].astype(np.uint8))


def _grams(line: np.ndarray, kind: int) -> tuple[np.ndarray, np.ndarray]:
    """The n-grams of one line and the pitches they begin on; a short line is one n-gram, a repeated note none."""
    steps = np.diff(line).astype(np.uint64)  # a fall wraps round, and still is one number
    size = min(INTERVALS, len(steps))
    if not size:
        return np.zeros(0, np.uint64), line[:0]
    runs = np.lib.stride_tricks.sliding_window_view(steps, size)
    moving = runs.any(1)
    grams = hashed((runs[moving] * POWERS[:size]).sum(1, dtype=np.uint64), kind, size)
    return grams, line[: len(runs)][moving]


def hashed(sums: np.ndarray, kind: int, size: int) -> np.ndarray:
    """The n-grams of `size` intervals of the upper (0) or lower (1) line whose intervals, each times its power, sum up
    to `sums`, uint64 [N]."""
    grams = sums * np.uint64(2) + np.uint64(kind)
    grams ^= grams >> np.uint64(31)
    return grams * np.uint64(0xBF58476D1CE4E5B9) + np.uint64(size)


def find_copies(pieces: Sequence[Lines]) -> list[Group]:
    """The groups of copies, the largest first; a piece is in one group at most."""
    sizes = np.array([len(piece.grams) for piece in pieces])
    like: dict[int, list[int]] = defaultdict(list)
    for a, b in _alike(pieces, sizes):
        like[a].append(b)
        like[b].append(a)
    groups, free = [], set(like)
    for i in sorted(like, key=lambda i: (-sizes[i], i)):
        if i not in free:
            continue
        mine = [j for j in sorted(like[i]) if j in free]
        free -= {i, *mine}
        if mine:
            groups.append(Group(i, tuple(_copy(pieces, i, j) for j in mine)))
    return sorted(groups, key=lambda group: (-len(group.copies), group.original))


def kin(pieces: Sequence[Lines]) -> np.ndarray:
    """A number for each piece int [N], the same for copies of one another."""
    numbers = np.arange(len(pieces))
    for group in find_copies(pieces):
        numbers[list(group.members)] = group.original
    return numbers


def _alike(pieces: Sequence[Lines], sizes: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of pieces that are copies of one another."""
    if len(pieces) < 2:
        return []
    grams = np.concatenate([piece.grams for piece in pieces])
    owner = np.repeat(np.arange(len(pieces)), sizes)
    order = np.argsort(grams, kind="stable")
    grams, owner = grams[order], owner[order]
    begins = np.flatnonzero(np.append(True, grams[1:] != grams[:-1])) if len(grams) else np.zeros(0, np.int64)
    many = np.diff(np.append(begins, len(grams)))
    # sizes without the n-grams that tell nothing, or pieces full of scales would be like nothing
    telling = np.repeat(many <= max(COMMON, len(pieces) // 10), many)
    sizes = np.bincount(owner[telling], minlength=len(pieces))
    grams, owner = grams[telling], owner[telling]
    pairs = []
    for apart in range(1, int(many.max(initial=1))):
        same = np.flatnonzero(grams[apart:] == grams[:-apart])
        if not len(same):
            break
        pairs.append(owner[same] * len(pieces) + owner[same + apart])
    if not pairs:
        return []
    codes, shared = np.unique(np.concatenate(pairs), return_counts=True)
    a, b = codes // len(pieces), codes % len(pieces)
    small, large = np.minimum(sizes[a], sizes[b]), np.maximum(sizes[a], sizes[b])
    alike = (shared >= LIKE * small) & ((shared >= FEW) | (shared >= LIKE * large))
    return list(zip(a[alike].tolist(), b[alike].tolist(), strict=True))


def _copy(pieces: Sequence[Lines], original: int, index: int) -> Copy:
    one, other = pieces[original], pieces[index]
    common, here, there = np.intersect1d(one.grams, other.grams, assume_unique=True, return_indices=True)
    steps = other.pitches[there].astype(int) - one.pitches[here]
    values, votes = np.unique(steps, return_counts=True)
    return Copy(index, len(common) / min(len(one.grams), len(other.grams)), int(values[votes.argmax()]))


def contained(one: Lines, other: Lines) -> tuple[int, int, int]:
    """How many n-grams two pieces have in common, how many the one with fewer has, and the one with more."""
    common = len(np.intersect1d(one.grams, other.grams, assume_unique=True))
    few, many = sorted((len(one.grams), len(other.grams)))
    return common, few, many
