"""Training windows cut out of songs: some frames of source, and the target that follows.

Songs are split into training and held-out ones before anything is cut, and no window reaches from one song into the
next: source frames before a song's start are silent, target frames after its end are masked out. With a step of
`seq_len` every frame is a target exactly once, the first included, so sums over windows are sums over frames.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from deepmusician.decisions import HELD_OUT, TRAINING
from deepmusician.errors import LibraryError
from deepmusician.roll import KEYS
from deepmusician.rolls import Rolls

if TYPE_CHECKING:
    from deepmusician.models.contract import Batch


def split_songs(
    n_songs: int, valid_fraction: float, seed: int, styles: np.ndarray | None = None, sides: np.ndarray | None = None,
    kin: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Indices of the training and of the held-out songs, disjoint; at least one is held out of two or more.

    With `styles` [n_songs] each style is split for itself, so that all are learnt and judged. Songs that `sides`
    [n_songs] pins stand where they are pinned; the others make up the share, as chance has it. Songs of the same number
    in `kin` [n_songs] are copies of one another and stand on one side, or the model would be judged on what it has
    seen; they are parted only by pins, or where all there is are copies. A single song, of all or of a style, cannot be
    split by song: it is trained on and nothing of it is held out. Raises LibraryError where nothing is left to train
    on.
    """
    order = np.random.default_rng(seed).permutation(n_songs)
    sides = np.full(n_songs, "") if sides is None else sides
    kin = np.arange(n_songs) if kin is None else kin
    follow = {int(kin[i]): str(sides[i]) for i in order if sides[i]} | {
        int(k): HELD_OUT for k in kin[sides == HELD_OUT]
    }
    held_out: list[int] = []
    for style in np.unique(styles) if styles is not None else [None]:
        mine = order if style is None else order[styles[order] == style]
        free = [i for i in mine if not sides[i] and int(kin[i]) not in follow]
        held = [i for i in mine if (sides[i] or follow.get(int(kin[i]))) == HELD_OUT]
        if len(held) == len(mine):  # what only follows its copies is trained on then
            held = [i for i in held if sides[i]]
        if len(held) == len(mine):
            raise LibraryError("every song is pinned as held out: none is left to train on; let one go in the Library")
        wanted = min(max(1, round(len(mine) * valid_fraction)), len(mine) - 1) - len(held)
        most = len(free) if len(free) + len(held) < len(mine) else len(free) - 1  # one song at least is trained on
        chosen = _whole_kin(free, kin, max(min(wanted, most), 0), most)
        follow |= {int(kin[i]): HELD_OUT if i in chosen else TRAINING for i in free}
        held_out += [*held, *chosen]
    held = np.array(sorted(held_out), np.int64)
    return np.setdiff1d(order, held), held


def split_rolls(rolls: Rolls, valid_fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """`split_songs` of songs that know their styles, pins and copies."""
    return split_songs(len(rolls), valid_fraction, seed, rolls.styles, rolls.sides, rolls.kin)


def _whole_kin(songs: Sequence[int], kin: np.ndarray, wanted: int, most: int) -> set[int]:
    """The first `wanted` of the songs, or fewer, copies together; where none fits, the fewest copies there are."""
    groups: dict[int, list[int]] = {}
    for song in songs:
        groups.setdefault(int(kin[song]), []).append(song)
    chosen: set[int] = set()
    for group in groups.values():
        if len(chosen) + len(group) <= wanted:
            chosen |= set(group)
    if wanted and not chosen:
        least = min(groups.values(), key=len)
        chosen = set(least if len(least) <= most else songs[:wanted])
    return chosen


@dataclass(frozen=True)
class Windows:
    """Windows over some songs of `rolls`: `source_len` frames of source (`seq_len` where it is not given), then
    `seq_len` of target, every `stride` frames.

    `balance` from 0 to 1 says how far songs count alike in random order, however long they are: a song with n windows
    is drawn from in proportion to n ** (1 - balance).
    """

    rolls: Rolls
    songs: np.ndarray
    seq_len: int
    stride: int
    source_len: int | None = None
    balance: float = 0.0

    def places(self, rng: np.random.Generator | None = None) -> np.ndarray:
        """Song and first target frame of each window, int [N, 2].

        With `rng` they come in random order, and each song's begin at a random place before its start, as far as the
        last window is not filled anyway: no frame is lost and no window added.
        """
        if rng is not None and self.balance:
            return rng.permutation(self._balanced(rng))
        joined = self._all_places(rng)
        return joined if rng is None else rng.permutation(joined)

    def _all_places(self, rng: np.random.Generator | None) -> np.ndarray:
        """As `_places` of song after song, at once: with the same random numbers."""
        songs = np.asarray(self.songs, np.int64)
        lengths = self.rolls.lengths[songs]
        spare = np.minimum(-lengths % self.stride, self.seq_len - 1)
        first = np.zeros(len(songs), np.int64) if rng is None else -rng.integers(spare + 1)
        counts = -(-(lengths - first) // self.stride)
        before = np.cumsum(counts) - counts
        steps = np.arange(counts.sum()) - np.repeat(before, counts)
        return np.stack([np.repeat(songs, counts), np.repeat(first, counts) + steps * self.stride], 1)

    def _balanced(self, rng: np.random.Generator) -> np.ndarray:
        """As many places as ever, shared among the songs by `balance`.

        A song is gone through as often as its share holds all its windows, and a random part of them comes once more.
        """
        counts = -(-self.rolls.lengths[self.songs] // self.stride)
        weights = counts ** (1 - self.balance)
        ends = np.append(np.cumsum(weights / weights.sum() * counts.sum())[:-1], counts.sum())
        # systematic sampling: each song's share is rounded up or down by chance, and the sum stays
        quotas = np.diff(np.floor(ends + rng.random()).astype(np.int64), prepend=0)
        places = [np.zeros((0, 2), np.int64)]
        for song, count, quota in zip(self.songs, counts.tolist(), quotas.tolist(), strict=True):
            rounds, rest = divmod(quota, count)
            places += [self._places(song, rng) for _ in range(rounds)]
            if rest:
                places.append(rng.permutation(self._places(song, rng))[:rest])
        return np.concatenate(places)

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
        """The windows at `places` [B, 2], each moved by `steps` [B] semitones, or less where a key would be lost.

        A window that begins before its song is the shorter one from the song's first frame on.
        """
        import torch

        from deepmusician.models.contract import Batch
        from deepmusician.models.frames import to_model

        source_len = self.seq_len if self.source_len is None else self.source_len
        song, begin = places[:, :1], np.maximum(places[:, 1:], 0)
        at = begin + np.arange(-source_len, self.seq_len)
        inside = (at >= 0) & (at < np.minimum(self.rolls.lengths[song], places[:, 1:] + self.seq_len))
        frames = self.rolls.gather(song[:, 0], at, inside)
        window = to_model(transpose_windows(frames, steps))
        style = None
        if len(self.rolls.style_names) > 1:
            style = torch.eye(len(self.rolls.style_names))[torch.from_numpy(self.rolls.styles[song[:, 0]])]
        return Batch(
            window[:, :source_len], window[:, source_len:], torch.from_numpy(inside[:, source_len:]), style,
            torch.from_numpy(begin[:, 0].astype(np.int64)),
        )  # fmt: skip


def transpose_windows(frames: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Move each window [B, T, 88 · P] by its number of semitones [B], as far as its keys stay on the keyboard."""
    if not steps.any():
        return frames
    used = frames[..., :KEYS].any(1)
    lowest, highest = used.argmax(1), KEYS - 1 - used[:, ::-1].argmax(1)
    steps = np.where(used.any(1), np.clip(steps, -lowest, KEYS - 1 - highest), 0)
    planes = frames.reshape(*frames.shape[:2], -1, KEYS)
    moved = np.zeros_like(planes)
    for window, to, step in zip(planes, moved, steps, strict=True):  # copying slices is faster than one big gather
        to[..., max(step, 0) : KEYS + min(step, 0)] = window[..., max(-step, 0) : KEYS - max(step, 0)]
    return moved.reshape(frames.shape)
