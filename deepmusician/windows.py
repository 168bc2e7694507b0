"""Training windows cut out of songs: a source of `seq_len` frames and the target that follows.

Songs are split into training and held-out ones before anything is cut, and no window reaches from one song into the
next: frames before a song's start are silent, frames after its end are masked out. With a step of `seq_len` every
frame is a target exactly once, the first included, so sums over windows are sums over frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from deepmusician.errors import LibraryError
from deepmusician.library import DataSet, Progress, read_source
from deepmusician.notes import Song
from deepmusician.options import TrainOptions
from deepmusician.roll import KEYS, drop_silence, pack, parse_division, skyline, to_roll

if TYPE_CHECKING:
    from deepmusician.models.contract import Batch


@dataclass(frozen=True)
class Rolls:
    """The sounding keys of many songs end to end: `packed` uint8 [F, 11], `lengths` int [S] frames a song."""

    packed: np.ndarray
    lengths: np.ndarray

    @property
    def starts(self) -> np.ndarray:
        """Frame at which each song begins [S]."""
        return np.concatenate([[0], np.cumsum(self.lengths)[:-1]]).astype(np.int64)

    def __len__(self) -> int:
        return len(self.lengths)

    def sounding(self, song: int) -> np.ndarray:
        """bool [T, 88] of one song."""
        start = self.starts[song]
        return np.unpackbits(self.packed[start : start + self.lengths[song]], axis=1, count=KEYS).astype(bool)

    def frequencies(self, songs: Iterable[int]) -> np.ndarray:
        """Share of the frames of `songs` in which each key sounds, float [88]."""
        counts, frames = np.zeros(KEYS), 0
        for song in songs:
            sounding = self.sounding(song)
            counts += sounding.sum(0)
            frames += len(sounding)
        return counts / max(frames, 1)


def song_frames(song: Song, division: Fraction, voices: str = "all", remove_zeros: bool = False) -> np.ndarray:
    """What a model sees of a song: bool [T, 88], perhaps only its melody, perhaps without the silent frames."""
    roll = to_roll(skyline(song) if voices == "melody" else song, division)
    return (drop_silence(roll) if remove_zeros else roll).sounding


def make_rolls(songs: Sequence[Song], division: str = "1/16", voices: str = "all", remove_zeros: bool = False) -> Rolls:
    """Put songs on a grid. Raises LibraryError where no frame sounds."""
    grid = parse_division(division)
    packed = [pack(song_frames(song, grid, voices, remove_zeros)) for song in songs]
    if not sum(map(len, packed)):
        raise LibraryError("no note of the music lies on the 88 keys of a piano; choose other files")
    return Rolls(np.concatenate(packed), np.array([len(p) for p in packed], np.int64))


def read_rolls(
    options: TrainOptions, data: DataSet | None = None, progress: Progress | None = None
) -> tuple[tuple[str, ...], Rolls]:
    """The songs of `data`, else of `options.path`, by name and on the grid; those with no playable note left out."""
    data = data or read_source(options.path, progress)
    rolls = make_rolls(data.songs, options.division, options.voices, options.remove_zeros)
    kept = np.nonzero(rolls.lengths)[0]
    return tuple(data.names[i] for i in kept), Rolls(rolls.packed, rolls.lengths[kept])


def split_songs(n_songs: int, valid_fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the training and of the held-out songs, disjoint; at least one is held out of two or more.

    A single song cannot be split by song: it is trained on and nothing is held out.
    """
    order = np.random.default_rng(seed).permutation(n_songs)
    held_out = min(max(1, round(n_songs * valid_fraction)), n_songs - 1)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


@dataclass(frozen=True)
class Windows:
    """Windows over some songs of `rolls`; `seq_len` frames of source, as many of target, every `stride` frames."""

    rolls: Rolls
    songs: np.ndarray
    seq_len: int
    stride: int

    def places(self, rng: np.random.Generator | None = None) -> np.ndarray:
        """Song and first target frame of each window, int [N, 2].

        With `rng` they come in random order, and each song's begin at a random place before its start, as far as the
        last window is not filled anyway: no frame is lost and no window added.
        """
        places = [self._places(song, rng) for song in self.songs]
        joined = np.concatenate(places) if places else np.zeros((0, 2), np.int64)
        return joined if rng is None else rng.permutation(joined)

    def _places(self, song: int, rng: np.random.Generator | None) -> np.ndarray:
        length = int(self.rolls.lengths[song])
        spare = min(-length % self.stride, self.seq_len - 1)
        first = 0 if rng is None else -int(rng.integers(spare + 1))
        begins = np.arange(first, length, self.stride)
        return np.stack([np.full(len(begins), song), begins], 1)

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """All windows in order, untransposed, `batch_size` at a time."""
        places = self.places()
        for i in range(0, len(places), batch_size):
            some = places[i : i + batch_size]
            yield self.batch(some, np.zeros(len(some), np.int64))

    def batch(self, places: np.ndarray, steps: np.ndarray) -> Batch:
        """The windows at `places` [B, 2], each moved by `steps` [B] semitones, or less where a key would be lost."""
        import torch

        from deepmusician.models.contract import Batch

        frames, inside = self._gather(places)
        frames = transpose_windows(frames, steps)
        window = torch.from_numpy(frames).float()
        mask = torch.from_numpy(inside[:, self.seq_len :])
        return Batch(window[:, : self.seq_len], window[:, self.seq_len :], mask)

    def _gather(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Frames uint8 [B, 2 seq_len, 88] and whether each lies inside its song."""
        song, begin = places[:, :1], places[:, 1:]
        at = begin + np.arange(-self.seq_len, self.seq_len)
        inside = (at >= 0) & (at < self.rolls.lengths[song])
        packed = self.rolls.packed[np.where(inside, at + self.rolls.starts[song], 0)]
        frames = np.unpackbits(packed, axis=2, count=KEYS)
        return frames * inside[..., None].astype(np.uint8), inside


def transpose_windows(frames: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Move each window [B, W, 88] by its number of semitones [B], as far as its keys stay on the keyboard."""
    used = frames.any(1)
    lowest, highest = used.argmax(1), KEYS - 1 - used[:, ::-1].argmax(1)
    steps = np.clip(steps, -lowest, KEYS - 1 - highest)
    columns = (np.arange(KEYS) - steps[:, None]) % KEYS  # what leaves one end is silent, so the ring loses nothing
    return np.take_along_axis(frames, columns[:, None, :], 2)
