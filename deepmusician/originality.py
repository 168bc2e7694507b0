"""Is it new? The longest passages a piece shares with the training music, wherever they lie and in whatever key.

A song is read as its chords: the keys that sound whenever any is struck, one after the other. Neither how long a chord
lasts nor when it comes counts, so a passage is found again however its rhythm is shifted or stretched; chords are
compared from their highest key down and by how that key moved, so it is found in every transposition. A few chords
changed, left out or put in do not part a passage.

An index holds the hash of every `n` chords in a row of all training songs, sorted. A piece looks its own up, and hits
that lie in line (the same song, the same transposition, about the same number of chords on) make up a passage. `n` is
as small as the music allows without everything being a hit. What is shorter than `n` chords is not seen, nor is a tune
that was taken over with other chords under it: a high share proves copying from the page, a low one does not prove
invention.

How much is much? Human pieces share, too, cadences above all. `calibrate` measures human pieces that were not learnt
from against the same index, and `Human` speaks in their terms. Knows nothing of models or files.

Source: Burrows et al. and Uitdenbogerd & Zobel, Melodic Matching Techniques for Large Music Databases, ACM Multimedia
1999 (n-grams of intervals); Altschul et al., Basic Local Alignment Search Tool, J. Mol. Biol. 1990 (seeds in line).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from deepmusician.errors import OptionError
from deepmusician.roll import KEYS, Roll

GRAMS = (3, 4, 5, 6, 8, 10, 12, 16)  # chords in a row, of which the index takes the fewest that will do
HITS = 24  # how often an n-gram of the training songs may stand in them on average
COMMON = 4000  # what stands there more often is nobody's
CHANGED = 2  # chords in a row that may differ within a passage, or be left out, or put in
PERCENTILE = 95  # of what human pieces share: what goes beyond is unusual
SURE = 0.01  # the chance that a finding about several pieces is one, at most

_rng = np.random.default_rng(20201)  # any numbers will do, if they are always the same
_SHAPE, _STEP = (_rng.integers(1, 1 << 63, n, np.uint64) for n in (KEYS, 2 * KEYS - 1))
_PLACE = _rng.integers(1, 1 << 63, max(GRAMS), np.uint64) | np.uint64(1)


@dataclass(frozen=True)
class Chords:
    """A piece as the index sees it: for each stroke [E] its frame, the highest key sounding, and a hash of the chord
    from that key down."""

    frame: np.ndarray
    top: np.ndarray
    shape: np.ndarray
    frames: int  # of the whole piece

    def __len__(self) -> int:
        return len(self.frame)

    def end(self, chord: int) -> int:
        """The frame at which `chord` is over: the next one begins, or the piece ends."""
        return int(self.frame[chord + 1]) if chord + 1 < len(self) else self.frames


def read_chords(roll: Roll) -> Chords:
    """The chords of a roll: one for each frame in which a key is struck or comes out of silence."""
    before = np.concatenate([np.zeros_like(roll.sounding[:1]), roll.sounding[:-1]])
    struck = np.flatnonzero((roll.sounding & (roll.onset | ~before)).any(1))
    sounding = roll.sounding[struck]
    top = KEYS - 1 - sounding[:, ::-1].argmax(1)
    which, key = np.nonzero(sounding)
    starts = np.searchsorted(which, np.arange(len(struck)))
    parts = _SHAPE[top[which] - key]
    shape = np.add.reduceat(parts, starts) if len(struck) else np.zeros(0, np.uint64)
    return Chords(struck, top, _mixed(shape), len(roll))


def _mixed(x: np.ndarray) -> np.ndarray:
    """Every bit of the result depends on all of `x`, uint64 (the finaliser of MurmurHash3)."""
    x = (x ^ (x >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    x = (x ^ (x >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return x ^ (x >> np.uint64(33))


def _grams(chords: Chords, n: int) -> np.ndarray:
    """A hash for every `n` chords in a row [E - n + 1]: their shapes, and how the highest key moved between them."""
    count = max(len(chords) - n + 1, 0)
    moved = _mixed(chords.shape[1:] + _STEP[np.diff(chords.top) + KEYS - 1])
    hashes = chords.shape[:count] * _PLACE[0]
    for j in range(1, n):
        hashes = hashes + moved[j - 1 : j - 1 + count] * _PLACE[j]
    return hashes


@dataclass(frozen=True)
class Passage:
    """Chords `begin` to `end` (not included) of a piece, and where they stand: chords of a training song.

    `semitones` is how much higher the training song has them.
    """

    begin: int
    end: int
    song: int
    song_begin: int
    song_end: int
    semitones: int

    def __len__(self) -> int:
        return self.end - self.begin


@dataclass(frozen=True)
class Shared:
    """What a piece shares: for each chord the longest passage it lies in, by its place in `passages`, or -1."""

    chords: Chords
    passage: np.ndarray
    passages: tuple[Passage, ...]

    @property
    def reach(self) -> np.ndarray:
        """Chords of the longest shared passage that each chord lies in, 0 where it lies in none; int [E]."""
        lengths = np.array([len(p) for p in self.passages] + [0], np.int64)
        return lengths[self.passage]

    @property
    def longest(self) -> int:
        """Chords of the longest shared passage."""
        return int(self.reach.max()) if len(self.chords) else 0

    def share(self, mark: int) -> float:
        """Share of the chords that lie in passages longer than `mark` chords."""
        return float((self.reach > mark).mean()) if len(self.chords) else 0.0

    def bars(self, bar_frames: int, mark: int) -> list[Bar]:
        """Each bar of `bar_frames` frames, up to the end of the piece."""
        return [self.bar(begin, begin + bar_frames, mark) for begin in range(0, max(self.chords.frames, 1), bar_frames)]

    def bar(self, begin: int, end: int, mark: int) -> Bar:
        """The frames `begin` to `end` (not included)."""
        inside = np.flatnonzero((self.chords.frame >= begin) & (self.chords.frame < end))
        reach = self.reach[inside]
        if not reach.any():
            return Bar(0.0, 0, None)
        best = self.passages[self.passage[inside[reach.argmax()]]]
        covered = float(((inside >= best.begin) & (inside < best.end)).mean())
        return Bar(covered * min(1.0, len(best) / (2 * max(mark, 1))), len(best), best)


@dataclass(frozen=True)
class Bar:
    """How much of a bar stands in the training music.

    `shade` is the share of its chords that lie in its longest shared passage, times that passage's length beside the
    mark: 1/2 at what only one human chord in twenty goes beyond, 1 from twice as much on.
    """

    shade: float
    chords: int
    passage: Passage | None


class Index:
    """The training songs by every `n` chords in a row; see the module."""

    def __init__(self, songs: Iterable[Roll], n: int | None = None) -> None:
        self.songs = [read_chords(roll) for roll in songs]
        if n is not None and n not in GRAMS:
            raise OptionError(f"n must be one of {', '.join(map(str, GRAMS))} chords, got {n}")
        for self.n in GRAMS if n is None else (n,):
            hashes = [_grams(chords, self.n) for chords in self.songs]
            joined = np.concatenate([*hashes, np.zeros(0, np.uint64)])
            order = np.argsort(joined, kind="stable")
            self.hashes = joined[order]
            if n is not None or _mean_hits(self.hashes) <= HITS:
                break
        lengths = [len(h) for h in hashes]
        self.song = np.repeat(np.arange(len(self.songs)), lengths)[order]
        starts = np.repeat(np.cumsum([0, *lengths])[:-1], lengths)
        self.chord = (np.arange(len(joined)) - starts)[order]
        tops = [chords.top[: len(h)] for chords, h in zip(self.songs, hashes, strict=True)]
        self.top = np.concatenate([*tops, np.zeros(0, np.int64)])[order]

    def search(self, piece: Roll | Chords, without: int | None = None) -> Shared:
        """The longest passages of a piece that stand in the songs; `without` leaves one of them out."""
        chords = piece if isinstance(piece, Chords) else read_chords(piece)
        at, hit = self._hits(chords, without)
        passages = list(_chain(_runs(at, self.song[hit], self.chord[hit], self.top[hit] - chords.top[at], self.n)))
        passages.sort(key=len)
        passage = np.full(len(chords), -1)
        for i, found in enumerate(passages):  # longer ones over shorter ones
            passage[found.begin : found.end] = i
        used = np.unique(passage[passage >= 0])
        place = np.full(len(passages) + 1, -1)
        place[used] = np.arange(len(used))
        return Shared(chords, place[passage], tuple(passages[i] for i in used))

    def _hits(self, chords: Chords, without: int | None) -> tuple[np.ndarray, np.ndarray]:
        """Chord of the piece, and place in the index, of each n-gram that stands in both."""
        grams = _grams(chords, self.n)
        first, last = (np.searchsorted(self.hashes, grams, side) for side in ("left", "right"))
        count = np.where(last - first > COMMON, 0, last - first)
        at = np.repeat(np.arange(len(grams)), count)
        hit = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + np.repeat(first, count)
        if without is not None:
            keep = self.song[hit] != without
            at, hit = at[keep], hit[keep]
        return at, hit


def _mean_hits(hashes: np.ndarray) -> float:
    """How often an entry of sorted `hashes` stands in them, a mean over all."""
    if not len(hashes):
        return 0.0
    counts = np.diff(np.append(np.flatnonzero(np.append(True, hashes[1:] != hashes[:-1])), len(hashes)))
    return float((counts.astype(float) ** 2).sum() / len(hashes))


def _runs(at: np.ndarray, song: np.ndarray, chord: np.ndarray, semitones: np.ndarray, n: int) -> np.ndarray:
    """Hits in line, over up to CHANGED chords that differ: rows of song, semitones, chord - at, first and end of at.

    A chord that differs spoils the `n` n-grams it is in. Rows are sorted by song, semitones and first.
    """
    ahead = chord - at
    order = np.lexsort((at, ahead, semitones, song))
    line = np.stack([song, semitones, ahead], 1)[order]
    at = at[order]
    breaks = np.append(True, (line[1:] != line[:-1]).any(1) | (np.diff(at) > n + CHANGED))
    first = np.flatnonzero(breaks[: len(at)])
    last = np.append(first[1:], len(at)) - 1
    rows = np.column_stack([line[first], at[first], at[last] + n]) if len(at) else np.zeros((0, 5), np.int64)
    return rows[np.lexsort((rows[:, 3], rows[:, 1], rows[:, 0]))]


def _chain(runs: np.ndarray) -> Iterator[Passage]:
    """Runs of one song and transposition, joined where the next goes on soon after with a few chords more or less."""
    line, chains = None, []
    for song, semitones, ahead, begin, end in runs.tolist():
        if line != (song, semitones):
            line, chains = (song, semitones), []
        chains = [c for c in chains if c.end + CHANGED >= begin]  # those that can still go on
        best = Passage(begin, end, song, begin + ahead, end + ahead, semitones)
        for c in chains:
            drift = ahead - (c.song_end - c.end)
            if 0 < abs(drift) <= CHANGED and end > c.end and end + ahead > c.song_end and end - c.begin > len(best):
                best = Passage(c.begin, end, song, c.song_begin, end + ahead, semitones)
        chains.append(best)
        yield best


# ---- how much is much


@dataclass(frozen=True)
class Human:
    """What human pieces that were not learnt from share with the training songs.

    `mark`: a passage longer than that many chords holds at most one in twenty of their chords. `shares` are those of
    each piece in such passages, `longest` the chords of its longest passage; both sorted. `held_out` of the pieces were
    held out; the others are training songs, each beside all songs but itself.
    """

    mark: int
    shares: tuple[float, ...]
    longest: tuple[int, ...]
    held_out: int

    @property
    def limit(self) -> float:
        """The share that hardly any human piece goes beyond."""
        return float(np.percentile(self.shares, PERCENTILE)) if self.shares else 1.0

    @property
    def mean(self) -> float:
        """The mean share of human pieces."""
        return float(np.mean(self.shares)) if self.shares else 0.0


ENOUGH = 20  # human pieces; where fewer are held out, training songs help out


def calibrate(index: Index, held_out: Sequence[Roll]) -> Human:
    """Measure human pieces against the index."""
    found = [index.search(roll) for roll in held_out]
    spare = range(len(index.songs))[:: max(1, len(index.songs) // max(ENOUGH - len(found), 1))]
    if len(found) < ENOUGH and len(index.songs) > 1:
        found += [index.search(index.songs[i], without=i) for i in spare][: ENOUGH - len(found)]
    found = [shared for shared in found if len(shared.chords)]
    reach = np.concatenate([shared.reach for shared in found] + [np.zeros(0, np.int64)])
    mark = max(index.n, int(np.ceil(np.percentile(reach, PERCENTILE)))) if len(reach) else index.n
    shares = tuple(sorted(shared.share(mark) for shared in found))
    return Human(mark, shares, tuple(sorted(shared.longest for shared in found)), len(held_out))


def memorised(pieces: Sequence[Shared], human: Human) -> str | None:
    """A warning where composed pieces quote the training songs far more than human pieces do; None where they do not.

    Said where a rank test rules out chance at 1 % and the mean share is beyond what hardly any human piece reaches.
    """
    from scipy.stats import mannwhitneyu

    shares = [piece.share(human.mark) for piece in pieces if len(piece.chords)]
    if not shares or not human.shares or np.mean(shares) <= human.limit:
        return None
    if mannwhitneyu(shares, human.shares, alternative="greater").pvalue > SURE:
        return None
    return (
        f"It has learnt its music by heart: {np.mean(shares):.0%} of what it composes stands in the training songs in "
        f"passages of more than {human.mark} chords; of human pieces it is {human.mean:.0%}. Train on more music, for "
        "fewer epochs, with more dropout or a smaller network."
    )


def verdict(piece: Shared, human: Human) -> tuple[bool, str]:
    """Whether one piece quotes more than nearly all human pieces do, and a sentence that says how much."""
    share = piece.share(human.mark)
    much = share > human.limit
    begin = "More than nearly any human piece" if much else "No more than human pieces do"
    if not human.shares:
        begin = "There is no human piece to compare with"
    longest = f", the longest of {piece.longest}" if piece.longest else ""
    return much, (
        f"{begin}: {share:.0%} of its chords stand in the training songs, in passages of more than {human.mark} "
        f"chords{longest}. Of human pieces that were not learnt from, {human.mean:.0%} do, rarely more than "
        f"{human.limit:.0%}."
    )
