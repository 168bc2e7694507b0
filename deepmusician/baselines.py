"""What needs no learning: four simple models of music, scored on the same songs as a network, and able to compose.

`silence` knows how rarely any key sounds; `key_frequencies` how often each does; `repeat_last` copies the frame before,
knowing how often a sounding key sounds on and a silent one begins; `markov` knows which chord followed which, and
where it has not seen a chord, how each key goes on. All are fitted by counting, all give every frame a probability
above zero, and all can be drawn from, so that they are compared in nats a frame and by ear.

Conventions: a song is bool [T, 88]; the frame before its first is silent; likelihood in nats a frame.
Sources: Witten & Bell, IEEE Trans. Information Theory 1991 (how far to trust what was counted).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from deepmusician.metrics import precision_recall_f1, repeat_last

KEYS = 88
NAMES = ("silence", "key_frequencies", "repeat_last", "markov")
SHRINK = 2.0  # so many frames' worth of what all keys do is mixed into what is known of one


@dataclass
class Counts:
    """What is counted in training songs, in one pass; `add` one song after the other."""

    keys: np.ndarray = field(default_factory=lambda: np.full((2, KEYS), 0.5))  # [silent/sounding, key]
    steps: np.ndarray = field(default_factory=lambda: np.zeros((2, 2, KEYS)))  # [before, now, key]
    chords: Counter[tuple[bytes, bytes]] = field(default_factory=Counter)  # (chord before, chord now), packed

    def add(self, song: np.ndarray) -> None:
        """Count one song."""
        before = repeat_last(song)
        self.keys += np.stack([(~song).sum(0), song.sum(0)])
        for was in (0, 1):
            on = (song & (before == was)).sum(0)
            self.steps[was] += np.stack([(before == was).sum(0) - on, on])
        self.chords.update(zip(_packed(before), _packed(song), strict=True))


class KeysApart:
    """Keys that sound or not each for itself, with a probability given the same key in the frame before."""

    def __init__(self, on: np.ndarray) -> None:
        self.on = np.clip(np.broadcast_to(on, (2, KEYS)), 1e-6, 1 - 1e-6)  # [before, key]

    def nll(self, song: np.ndarray) -> np.ndarray:
        """Nats of each frame [T]."""
        p = np.take_along_axis(self.on, repeat_last(song).astype(np.int64), 0)
        return -np.where(song, np.log(p), np.log1p(-p)).sum(1)

    def next(self, before: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw the frame after `before` [88]."""
        return rng.random(KEYS) < self.on[before.astype(np.int64), np.arange(KEYS)]


class Markov:
    """Chords that follow one another as often as they did; a chord met for the first time goes on key by key.

    Of a chord heard N times with T different ones after it, what was counted is trusted by N / (N + T).
    """

    def __init__(self, chords: Counter[tuple[bytes, bytes]], apart: KeysApart) -> None:
        self.apart, self.after = apart, {}
        followers: dict[bytes, dict[bytes, int]] = {}
        for (before, now), times in chords.items():
            followers.setdefault(before, {})[now] = times
        for before, counted in followers.items():
            heard = sum(counted.values())
            self.after[before] = heard / (heard + len(counted)), heard, counted

    def nll(self, song: np.ndarray) -> np.ndarray:
        """Nats of each frame [T]."""
        apart = self.apart.nll(song)
        found = np.empty(len(song))
        for t, (before, now) in enumerate(zip(_packed(repeat_last(song)), _packed(song), strict=True)):
            trust, heard, counted = self.after.get(before, (0.0, 1, {}))
            seen = trust * counted.get(now, 0) / heard
            found[t] = -np.logaddexp(np.log(seen), np.log1p(-trust) - apart[t]) if seen else apart[t] - np.log1p(-trust)
        return found

    def next(self, before: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw the frame after `before` [88]."""
        trust, heard, counted = self.after.get(_packed(before[None])[0], (0.0, 1, {}))
        if rng.random() >= trust:
            return self.apart.next(before, rng)
        chord = rng.choice(len(counted), p=np.fromiter(counted.values(), float) / heard)
        return np.unpackbits(np.frombuffer(list(counted)[chord], np.uint8))[:KEYS].astype(bool)


Baseline = KeysApart | Markov


def fit(songs: Iterable[np.ndarray]) -> dict[str, Baseline]:
    """Count the training songs; the models by name."""
    counts = Counts()
    for song in songs:
        counts.add(song)
    common = counts.steps.sum(2) + 0.5  # [before, now], of all keys together
    copied = (common[:, 1] / common.sum(1))[:, None]
    each = counts.steps + SHRINK * np.stack([1 - copied, copied], 1)
    share = counts.keys[1].sum() / counts.keys.sum()
    return {
        "silence": KeysApart(np.array(share)),
        "key_frequencies": KeysApart(counts.keys[1] / counts.keys.sum(0)),
        "repeat_last": KeysApart(copied),
        "markov": Markov(counts.chords, KeysApart(each[:, 1] / each.sum(1))),
    }


def compose(model: Baseline, n_frames: int, seed: int = 0) -> np.ndarray:
    """Draw a piece, bool [T, 88], that begins as songs do, after silence."""
    rng, frame, piece = np.random.default_rng(seed), np.zeros(KEYS, bool), []
    for _ in range(n_frames):
        frame = model.next(frame, rng)
        piece.append(frame)
    return np.stack(piece)


def baselines(
    train: Iterable[np.ndarray], held_out: Iterable[np.ndarray], planes: str = "sounding"
) -> dict[str, dict[str, float]]:
    """What the four reach on the held-out rolls (bool [T, 88] each); what they know comes from `train`.

    `silence` and `repeat_last` also make a plain prediction, with its hits. They know nothing of strokes and
    velocities: beside a model of more `planes` their likelihoods are left out, being of less.
    """
    return judge(fit(train), held_out, planes)


def judge(
    models: dict[str, Baseline], held_out: Iterable[np.ndarray], planes: str = "sounding"
) -> dict[str, dict[str, float]]:
    """As `baselines`, with models that were fitted before."""
    songs = list(held_out)
    frames = max(sum(map(len, songs)), 1)
    now = np.concatenate([*songs, np.zeros((0, KEYS), bool)])
    before = np.concatenate([*map(repeat_last, songs), np.zeros((0, KEYS), bool)])
    copied = precision_recall_f1(int((now & before).sum()), int((before & ~now).sum()), int((now & ~before).sum()))
    found = {
        "silence": {**precision_recall_f1(0, 0, int(now.sum())), "density": 0.0},
        "repeat_last": {**copied, "density": float(before.sum()) / frames},
    }
    if planes != "sounding":
        return found
    for name, model in models.items():
        found.setdefault(name, {})["nll"] = float(sum(model.nll(song).sum() for song in songs)) / frames
    return {name: found[name] for name in NAMES}


def _packed(frames: np.ndarray) -> list[bytes]:
    """Each frame of bool [T, 88] as 11 bytes, to look it up by."""
    return [row.tobytes() for row in np.packbits(frames, axis=1)]
