"""What a piece is at a glance, in the words of a table's row, and what a whole data set adds up to.

Source of the key estimate: Krumhansl & Kessler, Psychological Review 1982 (probe-tone profiles), compared with the
sounding time of each pitch class by correlation.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from deepmusician.notes import Song
from deepmusician.plots import NAMES

if TYPE_CHECKING:
    from deepmusician.library import DataSet, Entry

MAJOR = np.array([6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88])
MINOR = np.array([6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17])
_PROFILES = np.array([np.roll(mode, tonic) for mode in (MAJOR, MINOR) for tonic in range(12)])
_CENTRED = _PROFILES - _PROFILES.mean(axis=1, keepdims=True)
_FIFTHS = (
    "C♭",
    "G♭",
    "D♭",
    "A♭",
    "E♭",
    "B♭",
    "F",
    "C",
    "G",
    "D",
    "A",
    "E",
    "B",
    "F♯",
    "C♯",
    "G♯",
    "D♯",
    "A♯",
)
_UNIT = _CENTRED / np.linalg.norm(_CENTRED, axis=1, keepdims=True)


def key_name(song: Song) -> str:
    """The key the file names first, else the likeliest by ear ("≈ D minor"); empty where nothing sounds."""
    if len(song.keys):
        fifths, minor = int(song.keys["fifths"][0]), bool(song.keys["minor"][0])
        return (
            f"{_FIFTHS[fifths + 7 + 3 * minor]} {'minor' if minor else 'major'}"  # C minor has E♭'s signature
        )
    pitched = song.notes[~song.notes["drum"]]
    weights = np.bincount(pitched["pitch"] % 12, weights=pitched["duration"], minlength=12)
    if not len(pitched) or np.ptp(weights) == 0:
        return ""
    best = int(np.argmax(_UNIT @ (weights - weights.mean())))
    return f"≈ {NAMES[best % 12]} {'major' if best < 12 else 'minor'}"


def row(entry: Entry) -> dict[str, Any]:
    """One line of the library's table. Lengths in bars and minutes, tempo in quarter notes a minute."""
    line: dict[str, Any] = {"piece": entry.name, "read": entry.status}
    if entry.song is not None:
        line |= _numbers(entry.song)
    return line | {"remark": remark(entry)}


def remark(entry: Entry) -> str:
    """Why a piece was repaired or refused; its name, which many reasons begin with, stands beside it already."""
    return entry.reason.removeprefix(f"{entry.name}: ")


def _numbers(song: Song) -> dict[str, Any]:
    return {
        "notes": len(song),
        "bars": len(song.bar_starts()) if len(song) else 0,
        "minutes": song.seconds / 60,
        "tracks": len(np.unique(song.notes["track"])),
        "key": key_name(song),
        "tempo": song.tempo_bpm,
    }


def rows(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """The library's table; what was refused or repaired comes first, so that it is seen."""
    order = ("refused", "repaired", "kept")
    return [row(entry) for entry in sorted(entries, key=lambda entry: order.index(entry.status))]


def totals(data: DataSet) -> dict[str, float]:
    """How many pieces were kept, repaired and refused, and their notes, bars and minutes together."""
    counts = {
        state: sum(e.status == state for e in data.entries) for state in ("kept", "repaired", "refused")
    }
    numbers = [_numbers(song) for song in data.songs]
    return counts | {name: sum(n[name] for n in numbers) for name in ("notes", "bars", "minutes")}
