"""Keys and scales: which pitches a scale holds, and in which key some notes sound.

A scale is written as a tonic and a name, "D dorian" or "F# minor"; it is a set of pitch classes, 0 for C. Knows nothing
of models.

Source of the key estimate: Krumhansl & Kessler, Psychological Review 1982 (probe-tone profiles), compared with the
sounding time of each pitch class by correlation.
"""

from __future__ import annotations

import numpy as np

from deepmusician.errors import OptionError
from deepmusician.notes import Song
from deepmusician.roll import KEYS, LOWEST

TONICS = ("C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")
SCALES = {  # semitones above the tonic
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "harmonic minor": (0, 2, 3, 5, 7, 8, 11),
    "melodic minor": (0, 2, 3, 5, 7, 8, 9, 10, 11),  # upwards and downwards: the whole stock of a piece in minor
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "lydian": (0, 2, 4, 6, 7, 9, 11),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "locrian": (0, 1, 3, 5, 6, 8, 10),
    "major pentatonic": (0, 2, 4, 7, 9),
    "minor pentatonic": (0, 3, 5, 7, 10),
    "blues": (0, 3, 5, 6, 7, 10),
    "whole-tone": (0, 2, 4, 6, 8, 10),
    "octatonic": (0, 2, 3, 5, 6, 8, 9, 11),
}
_LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_SIGNS = {"": 0, "#": 1, "♯": 1, "b": -1, "♭": -1}
_MAJOR = np.array([6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88])
_MINOR = np.array([6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17])
_PROFILES = np.array([np.roll(mode, tonic) for mode in (_MAJOR, _MINOR) for tonic in range(12)])
_CENTRED = _PROFILES - _PROFILES.mean(axis=1, keepdims=True)
_UNIT = _CENTRED / np.linalg.norm(_CENTRED, axis=1, keepdims=True)
FITS = 0.95  # share of the sounding time in natural minor below which the wider melodic minor is suggested


def parse_scale(text: str) -> frozenset[int]:
    """The pitch classes of "D dorian", "Bb minor", "F♯ blues". Raises OptionError for a tonic or scale unknown."""
    tonic, _, name = text.strip().partition(" ")
    letter, sign = tonic[:1].upper(), tonic[1:]
    if letter not in _LETTERS or sign not in _SIGNS:
        raise OptionError(f"a scale begins with its tonic, such as C, F# or Bb, got {text!r}; try 'C major'")
    name = " ".join(name.split()).lower()
    if name not in SCALES:
        raise OptionError(f"a scale is one of {', '.join(SCALES)} after its tonic, got {text!r}; try 'C major'")
    root = _LETTERS[letter] + _SIGNS[sign]
    return frozenset((root + step) % 12 for step in SCALES[name])


def allowed_keys(text: str) -> np.ndarray:
    """Which of the 88 keys lie in a scale: bool [88]."""
    classes = parse_scale(text)
    return np.array([(LOWEST + k) % 12 in classes for k in range(KEYS)])


def pitch_class_beats(song: Song) -> np.ndarray:
    """How many beats each pitch class sounds, [12], drums left out."""
    pitched = song.notes[~song.notes["drum"]]
    return np.bincount(pitched["pitch"] % 12, weights=pitched["duration"], minlength=12)


def find_key(song: Song) -> tuple[int, str] | None:
    """The likeliest key by ear: its tonic's pitch class, and "major" or "minor"; None where nothing tells."""
    best = int(likeliest_keys(pitch_class_beats(song)[None])[0])
    return (best % 12, "major" if best < 12 else "minor") if best >= 0 else None


def likeliest_keys(beats: np.ndarray) -> np.ndarray:
    """As `find_key`, of many songs by the beats [S, 12] for which their pitch classes sound: the tonic's pitch class,
    12 more where minor, -1 where nothing tells."""
    centred = beats - beats.mean(1, keepdims=True)
    centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-300)
    best = (centred @ _UNIT.T).round(9).argmax(1)  # of keys as likely the first, whatever rounding makes of them
    return np.where(np.ptp(beats, axis=1) == 0, -1, best)


def find_scale(song: Song) -> str | None:
    """A scale to keep to for music like this song, as `parse_scale` reads it; None where nothing tells.

    It is that of the key found; in minor with its raised degrees, where the song has them.
    """
    key = find_key(song)
    if key is None:
        return None
    tonic, mode = TONICS[key[0]], key[1]
    plain = f"{tonic} {mode}"
    return plain if mode == "major" or share_in_scale(song, plain) >= FITS else f"{tonic} melodic minor"


def share_in_scale(song: Song, scale: str) -> float:
    """Share of the sounding time that lies in a scale, 0..1; 1 where nothing sounds."""
    weights = pitch_class_beats(song)
    return float(weights[sorted(parse_scale(scale))].sum() / weights.sum()) if weights.sum() else 1.0
