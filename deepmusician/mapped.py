"""Rolls larger than memory: packed, on disk, mapped; the same bits that `make_rolls` would hold in memory.

They are laid out once from the columns of a large data set, many pieces at a time and without a loop over them, and
kept in the cache for as long as music, decisions and grid are the same. What was looked at is given back now and then,
so that a shuffled epoch over gigabytes needs the memory of a few windows.
"""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np

from deepmusician.atomic import AtomicFolder
from deepmusician.collected import Collection, shard
from deepmusician.columns import DRUM, Columns
from deepmusician.decisions import AS_READ
from deepmusician.quota import check_room
from deepmusician.roll import KEYS, LOWEST, nearest_frame, pack, raster
from deepmusician.workspace import cache_dir

FORM = 1  # raise it when the bits come out differently
BLOCK = 60_000  # frames that are unpacked at a time
GIVE_BACK = 16_000_000  # bytes looked at, after which their pages are let go
AROUND = 1 << 16  # bytes that come with a page that is asked for
_FILES = ("packed", "onset", "velocity")
Frames = list[np.ndarray]  # of some pieces end to end: packed, then perhaps onset and velocity
LayOut = Callable[[Sequence], tuple[Frames, np.ndarray]]  # songs -> their frames and lengths


class Pages:
    """Counts what is looked at of mapped arrays, and lets their pages go."""

    def __init__(self, arrays: Sequence[np.ndarray | None]) -> None:
        self.maps = [array._mmap for array in arrays if isinstance(array, np.memmap) and array._mmap is not None]
        self.seen = 0

    def looked_at(self, size: int, places: int = 1) -> None:
        """So many bytes were, at so many places; after some of them all pages are let go. They stay in the system's
        cache."""
        self.seen += size + places * AROUND
        if self.maps and self.seen >= GIVE_BACK and hasattr(mmap, "MADV_DONTNEED"):
            self.seen = 0
            for each in self.maps:
                each.madvise(mmap.MADV_DONTNEED)


def key_of(collection: Collection, about: Sequence[str]) -> str:
    """A name for the rolls of exactly this music, decided so, on a grid that `about` says."""
    entries = collection.entries
    said = (FORM, collection.folder.resolve(), collection.revision, entries.style, entries.decisions.to_json(), *about)
    return hashlib.sha256(repr(said).encode()).hexdigest()[:24]


def planes_of(
    collection: Collection, grid: Fraction, n_planes: int, remove_zeros: bool, by_song: LayOut | None,
    about: Sequence[str], progress: Callable[[int, int], None] | None = None,
) -> tuple[list[np.ndarray | None], np.ndarray]:  # fmt: skip
    """The mapped planes of a collection's songs and the frames of each, laid out now if they are not there yet.

    `by_song` lays out songs one by one where pieces cannot be laid out together, such as their melodies.
    """
    home = cache_dir() / "rolls"
    home.mkdir(exist_ok=True)
    folder = home / key_of(collection, about)
    if not folder.is_dir():
        check_room()
        with AtomicFolder(folder) as draft:
            _write(draft, collection, grid, n_planes, remove_zeros, by_song, progress)
    planes = [_open(folder / f"{name}.bin", KEYS if name == "velocity" else KEYS // 8) for name in _FILES[:n_planes]]
    return [*planes, *[None] * (3 - n_planes)], np.load(folder / "lengths.npy", allow_pickle=False)


def _open(path: Path, width: int) -> np.ndarray:
    if not path.stat().st_size:
        return np.zeros((0, width), np.uint8)
    return np.memmap(path, np.uint8, "r").reshape(-1, width)


def _write(
    draft: Path, collection: Collection, grid: Fraction, n_planes: int, remove_zeros: bool, by_song: LayOut | None,
    progress: Callable[[int, int], None] | None,
) -> None:  # fmt: skip
    kept, lengths = collection.entries.kept, []
    files = [(draft / f"{name}.bin").open("wb") for name in _FILES[:n_planes]]
    try:
        for place, frames, many in _laid_out(collection, kept, grid, n_planes, remove_zeros, by_song):
            for file, plane in zip(files, frames, strict=True):
                file.write(np.ascontiguousarray(plane).data)
            lengths.append(many)
            if progress:
                progress(place, len(kept))
    finally:
        for file in files:
            file.close()
    np.save(draft / "lengths.npy", np.concatenate([np.zeros(0, np.int64), *lengths]), allow_pickle=False)


def _laid_out(
    collection: Collection, kept: np.ndarray, grid: Fraction, n_planes: int, remove_zeros: bool, by_song: LayOut | None
) -> Iterator[tuple[int, Frames, np.ndarray]]:
    """Songs done, and the frames and lengths of the next ones, in order: those of one shard together."""
    entries, index = collection.entries, collection.entries.index
    for run in _runs(kept, index.shard):
        names = [index.names[i] for i in kept[run].tolist()]
        if by_song or any(entries.decisions.of(name) != AS_READ for name in names):
            lay_out = by_song or (lambda songs: songs_together(songs, grid, n_planes, remove_zeros))
            for at in range(run.start, run.stop, 16):
                songs = collection.songs[at : min(at + 16, run.stop)]
                yield at + len(songs), *lay_out(songs)
            continue
        columns = shard(collection.folder, int(index.shard[kept[run.start]]))
        pieces = index.place[kept[run]]
        for at, some in _in_blocks(columns, pieces, grid):
            yield run.start + at + len(some), *together(columns, some, grid, n_planes, remove_zeros)


def _runs(kept: np.ndarray, shards: np.ndarray, most: int = 512) -> Iterator[slice]:
    """Stretches of songs that lie in one shard."""
    edges = np.append(np.flatnonzero(np.diff(shards[kept], prepend=-1)), len(kept)).tolist()
    for first, last in pairwise(edges):
        yield from (slice(at, min(at + most, last)) for at in range(first, last, most))


def _in_blocks(columns: Columns, pieces: np.ndarray, grid: Fraction) -> Iterator[tuple[int, np.ndarray]]:
    """Pieces that together have about BLOCK frames."""
    last = np.array([int(columns.onset[columns.notes[p + 1] - 1]) for p in pieces.tolist()]) / columns.ticks[pieces]
    frames = np.cumsum(last / float(4 * grid)).astype(np.int64) // BLOCK
    edges = np.append(np.flatnonzero(np.diff(frames, prepend=-1)), len(pieces)).tolist()
    for first, end in pairwise(edges):
        yield first, pieces[first:end]


def songs_together(songs: Sequence, grid: Fraction, n_planes: int, remove_zeros: bool) -> tuple[Frames, np.ndarray]:
    """As `together`, of songs."""
    from deepmusician.columns import of_songs

    return together(of_songs(songs), np.arange(len(songs)), grid, n_planes, remove_zeros)


def together(
    columns: Columns, pieces: np.ndarray, grid: Fraction, n_planes: int, remove_zeros: bool
) -> tuple[Frames, np.ndarray]:
    """The frames of some pieces, end to end, and how many each has.

    All of them lie on one time line, one after another, so each key's notes are laid out at once: where a piece ends no
    note of it sounds on.
    """
    counts = (columns.notes[pieces + 1] - columns.notes[pieces]).astype(np.int64)
    before = np.cumsum(counts) - counts
    note = np.repeat(columns.notes[pieces] - before, counts) + np.arange(counts.sum())
    piece = np.repeat(np.arange(len(pieces)), counts)
    pitch = columns.pitch[note]
    heard = (columns.sound[note] < DRUM) & (pitch >= LOWEST) & (pitch < LOWEST + KEYS)
    note, piece, pitch = note[heard], piece[heard], pitch[heard]
    scale = columns.ticks[pieces][piece]
    onset, per_beat = columns.onset[note] / scale, Fraction(1, 4) / grid
    start = nearest_frame(onset, per_beat)
    end = np.maximum(nearest_frame(onset + columns.length[note] / scale, per_beat), start + 1)
    lengths = np.zeros(len(pieces), np.int64)
    np.maximum.at(lengths, piece, end)
    shift = (np.cumsum(lengths) - lengths)[piece]
    frames = int(lengths.sum())
    roll = raster(start + shift, end + shift, pitch.astype(np.int64) - LOWEST, columns.velocity[note], frames, grid)
    planes = [roll.sounding, roll.onset, roll.velocity][:n_planes]
    if remove_zeros and frames:
        keep = roll.sounding.any(1)
        lengths = np.bincount(np.repeat(np.arange(len(pieces)), lengths)[keep], minlength=len(pieces))
        planes = [plane[keep] for plane in planes]
    return [plane if i == 2 else pack(plane) for i, plane in enumerate(planes)], lengths
