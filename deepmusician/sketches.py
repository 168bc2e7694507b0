"""Sketches: near-duplicates among a hundred thousand pieces, in time and memory that grow as their number does.

A piece's sketch is a sample of its interval n-grams (see copies): those whose hash lies below a threshold, so two
pieces that share music share what is sampled of it, whatever else they hold. Of the pieces that share an n-gram each is
compared with the largest only; those alike enough by their sketches are then compared by all their n-grams.

Sources: Broder, On the Resemblance and Containment of Documents, 1997; Irber et al., Lightweight Compositional Analysis
with FracMinHash, 2022.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

import numpy as np

from deepmusician.columns import DRUM, Columns, bounds
from deepmusician.copies import FEW, GRID, INTERVALS, LIKE, POWERS, Lines, contained, hashed
from deepmusician.roll import KEYS, LOWEST

LEAST, SHARE, MOST = 64, 1 / 8, 512  # n-grams in a sketch, about; the share of them that is taken in between
MAYBE, SURE = 0.5, 0.9  # of a sketch: two pieces are compared for good; they are copies without
_ALL = float(2**64)


def sketched(columns: Columns) -> Columns:
    """The same columns with a sketch of each piece."""
    piece, grams, counts = (_compiled() or _sampled)(columns)
    edges = bounds(np.bincount(piece, minlength=len(columns))).tolist()
    for first, last in pairwise(edges):
        grams[first:last].sort()
    once = np.append(True, (grams[1:] != grams[:-1]) | (piece[1:] != piece[:-1])) if len(grams) else np.zeros(0, bool)
    per_piece = np.bincount(piece[once], minlength=len(columns))
    return replace(columns, sketch=grams[once], sketch_at=bounds(per_piece), grams=counts.astype(np.int64))


def _thresholds(counts: np.ndarray) -> np.ndarray:
    """The largest hash that a sketch takes in, of pieces with so many n-grams."""
    counts = np.maximum(counts, 1)
    share = np.minimum(np.maximum(SHARE, LEAST / counts), MOST / counts)
    return np.minimum(share * _ALL, _ALL - 4096).astype(np.uint64)


@cache
def _compiled() -> Callable[[Columns], tuple[np.ndarray, np.ndarray, np.ndarray]] | None:
    """As `_sampled`, compiled; None where numba is not installed."""
    try:
        from deepmusician.sketch_kernel import grams
    except ImportError:
        return None
    fixed = (POWERS, np.uint64(pow(int(POWERS[0]), -1, 2**64)), LOWEST, KEYS, DRUM, LEAST, SHARE, MOST, _ALL)
    plain = np.ascontiguousarray

    def compiled(columns: Columns) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        notes = (plain(columns.onset), plain(columns.pitch), plain(columns.sound))
        return grams(plain(columns.notes), *notes, GRID / columns.ticks, *fixed)

    return compiled


def _sampled(columns: Columns) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Piece and hash of every n-gram that a sketch takes in, a piece at a time, and how many n-grams each piece has."""
    piece, grams = _grams(columns)
    counts = np.bincount(piece, minlength=len(columns))
    kept = grams <= _thresholds(counts)[piece]
    order = np.argsort(piece[kept], kind="stable")
    return piece[kept][order], grams[kept][order], counts


def _grams(columns: Columns) -> tuple[np.ndarray, np.ndarray]:
    """Piece and hash of every n-gram of the upper line, then of the lower one."""
    heard = np.flatnonzero((columns.sound < DRUM) & ((columns.pitch - np.uint8(LOWEST)) < KEYS))  # wraps round below
    piece = columns.piece_of[heard]
    scale = GRID / columns.ticks
    moment = np.rint(columns.onset[heard] * scale[piece]).astype(np.int64)
    new = (moment[1:] != moment[:-1]) | (piece[1:] != piece[:-1])
    first = np.flatnonzero(np.append(True, new)) if len(heard) else heard
    owner, runs = piece[first], len(first) - INTERVALS
    if runs < 1:
        return owner[:0], np.zeros(0, np.uint64)
    whole = owner[:runs] == owner[INTERVALS:]  # none reaches into the next piece
    pitch = columns.pitch[heard]
    lines = (lowest_or_highest.reduceat(pitch, first) for lowest_or_highest in (np.maximum, np.minimum))
    parts = [_hashed(line, kind, owner[:runs], whole) for kind, line in enumerate(lines)]
    piece, grams = (np.concatenate(both) for both in zip(*parts, strict=True))
    return piece, grams


def _hashed(line: np.ndarray, kind: int, owner: np.ndarray, whole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The n-grams of one line of all pieces, by the piece `owner` of each; those that `whole` tells, and that move."""
    runs, steps = len(owner), np.diff(line.astype(np.int64)).view(np.uint64)  # as in copies: a fall wraps round
    moved = bounds(steps != 0)
    moving = whole & (moved[INTERVALS : INTERVALS + runs] > moved[:runs])
    sums, term = np.zeros(runs, np.uint64), np.empty(runs, np.uint64)
    for i in range(INTERVALS):
        sums += np.multiply(steps[i : i + runs], POWERS[i], out=term)
    return owner[moving], hashed(sums[moving], kind, INTERVALS)


# ---- finding


@dataclass(frozen=True)
class Twin:
    """Piece `index` is nearly `original`: they have `share` of the shorter one's music in common."""

    index: int
    original: int
    share: float


def find_twins(
    sketches: Callable[[], Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]], grams: np.ndarray,
    sizes: np.ndarray, lines: Callable[[int], Lines], rounds: int = 1,
) -> list[Twin]:  # fmt: skip
    """The copies among P pieces, each with the largest piece it is like.

    `sketches()` gives blocks of (pieces [B], bounds [B + 1], hashes), `grams` [P] how many n-grams each piece has,
    `sizes` [P] how many hashes its sketch holds, and `lines(p)` all its n-grams. In each of some `rounds` over the
    sketches a part of the hashes is held in memory.
    """
    pairs = [_pairs(sketches(), grams, part, rounds) for part in range(rounds)]
    codes, shared = np.unique(np.concatenate(pairs), return_counts=True)
    large, small = np.divmod(codes, max(len(grams), 1))
    expected = _common(grams, sizes, large, small)
    likely = (shared >= MAYBE * expected) & (shared >= 2)
    about, large, small, shared = (shared / expected)[likely], large[likely], small[likely], shared[likely]
    order = np.lexsort((-about, small))
    sure = (about >= SURE) & (shared >= LEAST // 2)
    found: dict[int, Twin] = {}
    for i in order.tolist():
        a, b = int(large[i]), int(small[i])
        if b not in found and (share := min(float(about[i]), 1.0) if sure[i] else _share(lines(a), lines(b))):
            found[b] = Twin(b, found[a].original if a in found else a, share)
    return [found[b] for b in sorted(found)]


def _pairs(
    blocks: Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]], grams: np.ndarray, part: int, parts: int
) -> np.ndarray:
    """Codes large * P + small of the pieces that share an n-gram, once for each they share."""
    hashes, owners = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    for pieces, edges, some in blocks:
        owner = np.repeat(pieces, np.diff(edges))
        mine = some % np.uint64(parts) == part if parts > 1 else slice(None)
        hashes.append(some[mine])
        owners.append(owner[mine])
    hashed_, owner = np.concatenate(hashes), np.concatenate(owners)
    order = np.argsort(hashed_)
    again = hashed_[order][1:] == hashed_[order][:-1]
    some = order[np.append(again, False) | np.append(False, again)] if len(order) else order  # most are one piece's
    hashed_, owner = hashed_[some], owner[some]
    order = np.lexsort((owner, -grams[owner], hashed_))  # of each n-gram's owners the largest piece comes first
    hashed_, owner = hashed_[order], owner[order]
    if not len(owner):
        return owner
    begins = np.flatnonzero(np.append(True, hashed_[1:] != hashed_[:-1]))
    largest = np.repeat(owner[begins], np.diff(np.append(begins, len(owner))))
    other = largest != owner
    return largest[other] * len(grams) + owner[other]


def _common(grams: np.ndarray, sizes: np.ndarray, large: np.ndarray, small: np.ndarray) -> np.ndarray:
    """How many hashes of the smaller piece both sketches would hold, were it wholly in the larger one."""
    one, other = (_thresholds(grams[side]).astype(float) for side in (large, small))
    return np.maximum(sizes[small] * np.minimum(one / other, 1), 1)


def _share(large: Lines, small: Lines) -> float:
    """What they have in common of the smaller one; 0 where they are no copies."""
    shared, few, many = contained(large, small)
    return shared / few if few and shared >= LIKE * few and (shared >= FEW or shared >= LIKE * many) else 0.0
