"""What music is like in numbers: one pure function a feature, each on a clip of music given as a Roll.

Beats are crotchets; a bar is four of them, as composed pieces count, whatever a file's own meter says. A bar that a
clip does not fill is left out. In silence every feature is 0. Times are as exact as the grid, and where a roll holds
no onsets of its own, strokes of a key that never rested are one note: only clips on the same grid with the same planes
can be compared. Knows nothing of models, files or statistics; `overlap` and `twosample` compare what stands here.

Sources: Yang & Lerch, On the Evaluation of Generative Models in Music, Neural Computing and Applications 2020; Dong et
al., MusPy, ISMIR 2020, and MuseGAN, AAAI 2018; Wu & Yang, The Jazz Transformer on the Front Line, ISMIR 2020; those of
single features stand with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from deepmusician.metrics import held_share, scale_consistency
from deepmusician.roll import LOWEST, Roll, from_roll

BEATS_A_BAR = 4
DISSONANT = (1, 2, 6)  # interval classes: seconds and sevenths, the tritone
# beats of a note's length, and what such notes are called; others count with the nearest ratio
LENGTHS = {
    0.25: "a quarter of a beat", 0.5: "half a beat", 1.0: "one beat", 1.5: "a beat and a half", 2.0: "two beats",
    3.0: "three beats", 4.0: "four beats or more",
}  # fmt: skip


def pitch_range(roll: Roll) -> float:
    """max(pitch) - min(pitch) over all sounding keys, in semitones. Source: Yang & Lerch 2020 (PR)."""
    keys = np.flatnonzero(roll.sounding.any(0))
    return float(keys[-1] - keys[0]) if len(keys) else 0.0


def pitch_class_entropy(roll: Roll) -> float:
    """-Σ p(c) log2 p(c) over the 12 pitch classes c, p(c) the share of notes in it, in bits.

    0 for one pitch class, log2 12 = 3.58 for all alike. Source: Wu & Yang 2020 (H1).
    """
    counts = np.bincount(from_roll(roll).notes["pitch"] % 12, minlength=12)
    p = counts[counts > 0] / max(counts.sum(), 1)
    return float(-(p * np.log2(p)).sum()) + 0.0  # no minus zero


def scale(roll: Roll) -> float:
    """`metrics.scale_consistency`: the largest share of sounding cells in one major scale. Source: Mogren 2016."""
    return scale_consistency(roll.sounding)


def polyphony(roll: Roll) -> float:
    """Mean number of sounding keys over the frames in which any sounds, in notes. Source: MusPy."""
    voices = roll.sounding.sum(1)
    return float(voices[voices > 0].mean()) if voices.any() else 0.0


def polyphony_rate(roll: Roll) -> float:
    """Share of all frames in which two keys or more sound. Source: MuseGAN; MusPy."""
    return float((roll.sounding.sum(1) >= 2).mean()) if len(roll) else 0.0


def density(roll: Roll) -> float:
    """Mean number of sounding keys over all frames, in notes a frame. Source: Boulanger-Lewandowski et al. 2012."""
    return float(roll.sounding.sum(1).mean()) if len(roll) else 0.0


def onset_rate(roll: Roll) -> float:
    """Notes that begin, divided by the clip's beats: notes a beat. Source: Yang & Lerch 2020 (NC, here by time)."""
    return len(from_roll(roll).notes) * float(roll.frames_per_beat) / len(roll) if len(roll) else 0.0


def rest_share(roll: Roll) -> float:
    """Share of frames in which nothing sounds. Source: MusPy (empty beat rate, here by frames)."""
    return float((~roll.sounding.any(1)).mean()) if roll.sounding.any() else 0.0


def empty_bar_rate(roll: Roll) -> float:
    """Share of bars in which nothing sounds. Source: MuseGAN (EB); MusPy."""
    bars = _bars(roll.sounding, roll)
    return float((~bars.any((1, 2))).mean()) if bars.any() else 0.0


def held(roll: Roll) -> float:
    """Share of frames in which the same keys sound as in the frame before."""
    return held_share(roll.sounding) if roll.sounding.any() else 0.0


def note_lengths(roll: Roll) -> np.ndarray:
    """Shares of the notes by length, [7] for LENGTHS, summing to 1. Source: Yang & Lerch 2020 (NLH)."""
    return _shares(from_roll(roll).notes["duration"])


def onset_intervals(roll: Roll) -> np.ndarray:
    """Shares of the times between successive strokes by length, [7] for LENGTHS. Notes struck together are one stroke.

    Source: Yang & Lerch 2020 (IOI, here as a histogram).
    """
    return _shares(np.diff(np.unique(from_roll(roll).notes["onset"])))


def groove_consistency(roll: Roll) -> float:
    """1 - mean over neighbouring bars of the share of frames in which one is struck in and the other is not.

    1 where every bar has one rhythm. Source: Wu & Yang 2020 (GS); MusPy.
    """
    struck = _bars(_onsets(roll), roll).any(2)
    return 1.0 - float((struck[1:] != struck[:-1]).mean()) if len(struck) > 1 and struck.any() else 0.0


def self_similarity(roll: Roll) -> np.ndarray:
    """Which bars are alike: [bars, bars], |A ∩ B| / |A ∪ B| of their sounding cells (Jaccard), 1 for two silent bars.

    Source: Foote, Visualizing Music and Audio using Self-Similarity, ACM Multimedia 1999.
    """
    bars = _bars(roll.sounding, roll).reshape(-1, _bar_frames(roll) * roll.sounding.shape[1]).astype(np.float32)
    both = bars @ bars.T
    size = bars.sum(1)
    either = size[:, None] + size[None] - both
    return np.where(either > 0, both / np.maximum(either, 1), 1.0)


def repetition(roll: Roll) -> float:
    """Mean over all bars but the first of the likeness (`self_similarity`) to the earlier bar that is most alike."""
    alike = self_similarity(roll)
    if len(alike) < 2 or not roll.sounding.any():
        return 0.0
    return float(np.mean([alike[bar, :bar].max() for bar in range(1, len(alike))]))


def voice_leading(roll: Roll) -> float:
    """Mean way from a key that newly sounds to the nearest key of the frame before, in semitones; after silence none.

    Source: Tymoczko, The Geometry of Musical Chords, Science 2006 (efficient voice leading), simplified to the nearest.
    """
    steps: list[int] = []
    changes = 1 + np.flatnonzero((roll.sounding[1:] & ~roll.sounding[:-1]).any(1) & roll.sounding[:-1].any(1))
    for t in changes:
        before, new = np.flatnonzero(roll.sounding[t - 1]), np.flatnonzero(roll.sounding[t] & ~roll.sounding[t - 1])
        steps += np.abs(new[:, None] - before).min(1).tolist()
    return float(np.mean(steps)) if steps else 0.0


def melodic_interval(roll: Roll) -> float:
    """Mean |interval| between successive notes of the top voice (the highest key, where it is struck), in semitones.

    Source: Yang & Lerch 2020 (PI), of the skyline.
    """
    top = len(roll.sounding[0]) - 1 - roll.sounding[:, ::-1].argmax(1) if len(roll) else np.zeros(0, int)
    line = top[_onsets(roll)[np.arange(len(top)), top]]
    return float(np.abs(np.diff(line)).mean()) if len(line) > 1 else 0.0


def dissonance_share(roll: Roll) -> float:
    """Share of the pairs of keys sounding together whose interval class is 1, 2 or 6 (seconds, sevenths, tritones).

    Source: Huron, Interval-Class Content in Equally Tempered Pitch-Class Sets, Music Perception 1994 (the classes of
    negative consonance).
    """
    sums = np.zeros((len(roll), 12))
    for c in range(12):
        sums[:, c] = roll.sounding[:, (c - LOWEST) % 12 :: 12].sum(1)
    harsh = sum((sums * np.roll(sums, -k, 1)).sum() / (2 if k == 6 else 1) for k in DISSONANT)
    voices = sums.sum(1)
    pairs = (voices * (voices - 1) / 2).sum()
    return float(harsh / pairs) if pairs else 0.0


# ---- all of them


@dataclass(frozen=True)
class Feature:
    """One feature: how it is measured, what it is called, its unit, and what is said where it is too low or too high.

    A histogram has `classes`; its `less` and `more` then have a place for the class's name.
    """

    name: str
    measure: Callable[[Roll], float | np.ndarray]
    title: str
    unit: str
    less: str
    more: str
    classes: tuple[str, ...] = ()


FEATURES: dict[str, Feature] = {
    feature.name: feature
    for feature in (
        Feature("pitch_range", pitch_range, "Pitch range", "semitones", "too narrow a range", "too wide a range"),
        Feature(
            "pitch_class_entropy", pitch_class_entropy, "Pitch-class entropy", "bits",
            "too few different notes", "too many different notes",
        ),
        Feature("scale", scale, "Scale consistency", "share", "too many notes out of key", "too few notes out of key"),
        Feature("polyphony", polyphony, "Polyphony", "notes where any sounds", "chords too thin", "chords too full"),
        Feature(
            "polyphony_rate", polyphony_rate, "Polyphony rate", "share of frames",
            "too seldom two notes at once", "too often two notes at once",
        ),
        Feature("density", density, "Density", "notes a frame", "too few notes sounding", "too many notes sounding"),
        Feature("onset_rate", onset_rate, "Onset rate", "notes a beat", "too few notes struck", "too many struck"),
        Feature("rest_share", rest_share, "Rests", "share of frames", "too few rests", "too many rests"),
        Feature(
            "empty_bar_rate", empty_bar_rate, "Empty bars", "share of bars", "too few empty bars", "too many empty bars"
        ),
        Feature("held", held, "Held frames", "share of frames", "too restless", "chords held too long"),
        Feature(
            "note_lengths", note_lengths, "Note lengths", "shares", "too few notes of {}", "too many notes of {}",
            tuple(LENGTHS.values()),
        ),
        Feature(
            "onset_intervals", onset_intervals, "Onset intervals", "shares",
            "strokes too seldom {} apart", "strokes too often {} apart", tuple(LENGTHS.values()),
        ),
        Feature(
            "groove_consistency", groove_consistency, "Groove consistency", "share",
            "rhythm changes too much from bar to bar", "rhythm too much alike from bar to bar",
        ),
        Feature(
            "repetition", repetition, "Repetition", "likeness", "bars seldom come again", "bars come again too often"
        ),
        Feature(
            "voice_leading", voice_leading, "Voice-leading step", "semitones", "voices move too little",
            "voices leap too wide",
        ),
        Feature(
            "melodic_interval", melodic_interval, "Melodic interval", "semitones", "melody moves too little",
            "leaps in the melody too wide",
        ),
        Feature("dissonance_share", dissonance_share, "Dissonance", "share of pairs", "too sweet", "too dissonant"),
    )
}  # fmt: skip


def measure(clips: Iterable[Roll]) -> dict[str, np.ndarray]:
    """Every feature of every clip: float [N, D], D = 1 or the classes of a histogram."""
    rows = [[np.atleast_1d(feature.measure(clip)) for feature in FEATURES.values()] for clip in clips]
    return {
        name: np.array([row[i] for row in rows], float).reshape(len(rows), max(1, len(feature.classes)))
        for i, (name, feature) in enumerate(FEATURES.items())
    }


def _bar_frames(roll: Roll) -> int:
    """Frames in a bar, at least one."""
    return max(1, round(BEATS_A_BAR * roll.frames_per_beat))


def _bars(plane: np.ndarray, roll: Roll) -> np.ndarray:
    """A plane [T, 88] by bars, [bars, frames a bar, 88]."""
    frames = _bar_frames(roll)
    whole = len(plane) // frames * frames
    return plane[:whole].reshape(-1, frames, plane.shape[1])


def _onsets(roll: Roll) -> np.ndarray:
    """Where notes begin, bool [T, 88]: what is struck or comes out of silence."""
    before = np.concatenate([np.zeros_like(roll.sounding[:1]), roll.sounding[:-1]])
    return roll.sounding & (roll.onset | ~before)


def _shares(beats: np.ndarray) -> np.ndarray:
    """Shares [7] of times in beats by the nearest of LENGTHS, as a ratio."""
    kinds = np.log2(np.array(list(LENGTHS)))
    nearest = np.abs(np.log2(np.asarray(beats, float))[:, None] - kinds).argmin(1)
    counts = np.bincount(nearest, minlength=len(kinds))
    return counts / max(counts.sum(), 1)
