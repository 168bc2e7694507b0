"""A survey: thousands of pieces at a glance, all together. The numbers are those that `glance` gives for one song.

Columns of notes are counted by piece in NumPy, without a loop over pieces but for those whose tempo or meter changes;
where numba is installed, in machine code (survey_kernel). Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

from deepmusician.columns import DRUM, Columns
from deepmusician.glance import FRAMES_PER_BEAT, signature_name, usual_meter
from deepmusician.notes import bar_beats
from deepmusician.roll import KEYS, LOWEST
from deepmusician.scales import TONICS, likeliest_keys

_WHOLE, _REAL = ("notes", "lost", "drums", "tracks", "bars", "frames", "low", "high"), ("minutes", "tempo_bpm")
NUMBERS = np.dtype([*((name, "i8") for name in _WHOLE), *((name, "f8") for name in (*_REAL, "density", "polyphony"))])
_KEYS = [f"≈ {tonic} {mode}" for mode in ("major", "minor") for tonic in TONICS]


class Survey(NamedTuple):
    """What a Glance tells, of each of P pieces: `numbers` [P] NUMBERS, named as its fields, `low` and `high` -1 where
    nothing is learnt; `keys` and `meters` in words; `classes` float [P, 12]."""

    numbers: np.ndarray
    keys: list[str]
    meters: list[str]
    classes: np.ndarray


def survey(columns: Columns) -> Survey:
    """Each piece at a glance."""
    pieces, ticks = len(columns), columns.ticks.astype(np.int64)
    numbers = np.zeros(pieces, NUMBERS)
    if not pieces:
        return Survey(numbers, [], [], np.zeros((0, 12)))
    found = (_compiled() or _counted)(columns)
    kept, end, beats = found.kept, found.end / ticks, found.whole / ticks
    numbers["notes"], numbers["drums"], numbers["tracks"] = kept, found.drums, found.tracks
    numbers["lost"] = np.diff(columns.notes) - kept - found.drums
    numbers["bars"], numbers["minutes"] = _bars(columns, end), _seconds(columns, end) / 60
    numbers["frames"] = np.ceil(end * FRAMES_PER_BEAT - 1e-6)
    numbers["tempo_bpm"] = _tempos(columns, beats)
    numbers["low"], numbers["high"] = np.where(kept > 0, [found.low, found.high], -1)
    numbers["density"] = np.divide(kept, end, out=np.zeros(pieces), where=found.end > 0)
    numbers["polyphony"] = np.divide(found.total, found.sounding, out=np.zeros(pieces), where=kept > 0)
    classes = found.classes / ticks[:, None]
    return Survey(numbers, _keys(columns, classes), _meters(columns, beats), classes)


class Counted(NamedTuple):
    """Of each piece, int64 [P]. Learnt is what `glance` says; times are ticks.

    Notes that are learnt, and of drums; tracks that are learnt from; the end of all notes, and of the learnt ones;
    how long the learnt ones last in all, and for how long any sounds; their lowest and highest pitch. `classes`
    [P, 12]: for how long each pitch class sounds, off the keyboard too.
    """

    kept: np.ndarray
    drums: np.ndarray
    tracks: np.ndarray
    whole: np.ndarray
    end: np.ndarray
    total: np.ndarray
    sounding: np.ndarray
    low: np.ndarray
    high: np.ndarray
    classes: np.ndarray


@cache
def _compiled() -> Callable[[Columns], Counted] | None:
    """As `_counted`, compiled; None where numba is not installed."""
    try:
        from deepmusician.survey_kernel import count
    except ImportError:
        return None

    def compiled(columns: Columns) -> Counted:
        rows = (columns.notes, columns.onset, columns.length, columns.pitch, columns.sound, columns.track)
        found, classes = count(*map(np.ascontiguousarray, (*rows, columns.part_at)), LOWEST, KEYS, DRUM)
        return Counted(*found, classes)

    return compiled


def _counted(columns: Columns) -> Counted:
    pieces, piece, drum = len(columns), columns.piece_of, columns.sound >= DRUM
    pitch, ends = columns.pitch, columns.onset.astype(np.int64) + columns.length
    learnt = ~drum & (pitch >= LOWEST) & (pitch < LOWEST + KEYS)
    count = lambda chosen: np.bincount(piece[chosen], minlength=pieces)  # noqa: E731
    kept, sounds = count(learnt), np.flatnonzero(np.diff(columns.notes))
    some = np.flatnonzero(kept)
    first = (np.cumsum(kept) - kept)[some]
    whole, end, low, high = np.zeros((4, pieces), np.int64)
    if len(sounds):
        whole[sounds] = np.maximum.reduceat(ends, columns.notes[:-1][sounds])
    if len(some):
        end[some] = np.maximum.reduceat(ends[learnt], first)
        low[some], high[some] = np.minimum.reduceat(pitch[learnt], first), np.maximum.reduceat(pitch[learnt], first)
    onset, length = columns.onset[learnt].astype(np.int64), columns.length[learnt]
    total, sounding = _sounding(onset, ends[learnt], kept, length, piece[learnt])
    where = piece[~drum] * 12 + pitch[~drum] % 12
    classes = np.bincount(where, weights=columns.length[~drum], minlength=12 * pieces).astype(np.int64).reshape(-1, 12)
    tracks = _tracks(columns, piece[learnt], learnt)
    return Counted(kept, count(drum), tracks, whole, end, total, sounding, low, high, classes)


def _tracks(columns: Columns, piece: np.ndarray, learnt: np.ndarray) -> np.ndarray:
    used = np.zeros(len(columns.parts), bool)
    used[columns.part_at[piece] + columns.track[learnt]] = True
    before = np.append(0, np.cumsum(used))
    return np.diff(before[columns.part_at])


def _rows(at: np.ndarray, begins: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The piece of each row of a map, and the beat at which the row ends; the last row of piece p ends at last[p]."""
    piece = np.repeat(np.arange(len(at) - 1), np.diff(at))
    ends = np.append(begins[1:], 0.0)
    ends[at[1:][np.diff(at) > 0] - 1] = last[np.diff(at) > 0]
    return piece, ends


def _bars(columns: Columns, end: np.ndarray) -> np.ndarray:
    """How many bars begin before beat `end` of each piece."""
    meters, begins = columns.meters, columns.meters["beat"]
    piece, ends = _rows(columns.meter_at, begins, np.full(len(columns), np.inf))
    spans = np.maximum(np.minimum(ends, end[piece]) - begins, 0)
    bars = np.ceil(spans / bar_beats(meters) - 1e-9)
    return np.bincount(piece, weights=bars, minlength=len(columns)).astype(int)


def _seconds(columns: Columns, end: np.ndarray) -> np.ndarray:
    """Seconds from the start of each piece to its beat `end`."""
    begins = columns.tempos["beat"]
    piece, ends = _rows(columns.tempo_at, begins, np.full(len(columns), np.inf))
    spans = np.maximum(np.minimum(ends, end[piece]) - begins, 0) * 60.0 / columns.tempos["bpm"]
    return np.bincount(piece, weights=spans, minlength=len(columns))


def _tempos(columns: Columns, beats: np.ndarray) -> np.ndarray:
    """The tempo that holds for most of each piece; the first of those that hold as long."""
    at, bpm, begins = columns.tempo_at, columns.tempos["bpm"], columns.tempos["beat"]
    tempos = bpm[at[:-1]]
    for piece in np.flatnonzero(np.diff(at) > 1):
        here = slice(at[piece], at[piece + 1])
        last = max(beats[piece], begins[here][-1])
        tempos[piece] = bpm[here][np.argmax(np.diff(begins[here], append=last))]
    return tempos


def _meters(columns: Columns, beats: np.ndarray) -> list[str]:
    """The meter of most of each piece, in words."""
    at, rows = columns.meter_at, columns.meters
    first = rows[at[:-1]]
    both = zip(first["numerator"].tolist(), first["denominator"].tolist(), strict=True)
    names = [f"{numerator}/{denominator}" for numerator, denominator in both]
    for piece in np.flatnonzero(np.diff(at) > 1).tolist():
        names[piece] = usual_meter(rows[at[piece] : at[piece + 1]], float(beats[piece]))
    return names


def _keys(columns: Columns, classes: np.ndarray) -> list[str]:
    """The key of each piece, in words, by what it names or else by the beats its pitch classes sound for."""
    names = [_KEYS[best] if best >= 0 else "" for best in likeliest_keys(classes).tolist()]
    for piece in np.flatnonzero(np.diff(columns.key_at)).tolist():
        key = columns.keys[columns.key_at[piece]]
        names[piece] = signature_name(int(key["fifths"]), bool(key["minor"]))
    return names


def _sounding(
    onset: np.ndarray, end: np.ndarray, counts: np.ndarray, length: np.ndarray, piece: np.ndarray
) -> np.ndarray:
    """How long the notes of each piece last in all, and for how long any sounds; int64 [2, P]."""
    result, some = np.zeros((2, len(counts)), np.int64), np.flatnonzero(counts)
    if not len(some):
        return result
    apart = piece.astype(np.int64) << 34  # one time line, with the pieces far from one another
    reached = np.maximum.accumulate(end + apart) - apart
    gaps = np.maximum(onset[1:] - reached[:-1], 0)
    first = (np.cumsum(counts) - counts)[some]
    gaps = np.append(gaps, 0)
    gaps[first[1:] - 1] = 0  # between pieces there is none
    silent, total = np.add.reduceat(gaps, first), np.add.reduceat(length.astype(np.int64), first)
    last = first + counts[some] - 1
    result[:, some] = total, reached[last] - onset[first] - silent
    return result
