"""A survey: thousands of pieces at a glance, all together. The numbers are those that `glance` gives for one song.

Columns of notes are counted by piece in NumPy, without a loop over pieces but for those whose tempo or meter changes.
Knows nothing of files.
"""

from __future__ import annotations

import numpy as np

from deepmusician.columns import DRUM, Columns
from deepmusician.glance import FRAMES_PER_BEAT, Glance, signature_name, usual_meter
from deepmusician.roll import KEYS, LOWEST
from deepmusician.scales import TONICS, likeliest_keys


def survey(columns: Columns) -> list[Glance]:
    """Each piece at a glance."""
    pieces, ticks = len(columns), columns.ticks.astype(np.int64)
    if not pieces:
        return []
    piece, drum = columns.piece_of, columns.sound >= DRUM
    pitch, ends = columns.pitch, columns.onset.astype(np.int64) + columns.length
    learnt = ~drum & (pitch >= LOWEST) & (pitch < LOWEST + KEYS)
    count = lambda chosen: np.bincount(piece[chosen], minlength=pieces)  # noqa: E731
    kept, drums, notes = count(learnt), count(drum), np.diff(columns.notes)
    some = np.flatnonzero(kept)
    mine = {"pitch": pitch[learnt], "end": ends[learnt], "onset": columns.onset[learnt].astype(np.int64)}
    first = (np.cumsum(kept) - kept)[some]
    end = np.zeros(pieces, np.int64)
    low, high = np.zeros(pieces, np.int64), np.zeros(pieces, np.int64)
    if len(some):
        end[some] = np.maximum.reduceat(mine["end"], first)
        low[some], high[some] = np.minimum.reduceat(mine["pitch"], first), np.maximum.reduceat(mine["pitch"], first)
    end_beats = end / ticks
    whole = np.zeros(pieces, np.int64)
    sounding = np.flatnonzero(notes)
    if len(sounding):
        whole[sounding] = np.maximum.reduceat(ends, columns.notes[:-1][sounding])
    beats = whole / ticks
    values = zip(
        kept.tolist(), (notes - kept - drums).tolist(), drums.tolist(), _tracks(columns, piece[learnt], learnt),
        _bars(columns, end_beats).tolist(), (_seconds(columns, end_beats) / 60).tolist(),
        np.ceil(end_beats * FRAMES_PER_BEAT - 1e-6).astype(int).tolist(), *_keys(columns, piece, drum),
        _tempos(columns, beats), _meters(columns, beats), low.tolist(), high.tolist(),
        np.divide(kept, end_beats, out=np.zeros(pieces), where=end > 0).tolist(),
        _polyphony(mine["onset"], mine["end"], kept, columns.length[learnt], piece[learnt]).tolist(), strict=True,
    )  # fmt: skip
    return [
        Glance(n, *some, key, tempo, meter, low if n else None, high if n else None, density, voices, classes)
        for n, *some, key, classes, tempo, meter, low, high, density, voices in values
    ]


def _tracks(columns: Columns, piece: np.ndarray, learnt: np.ndarray) -> list[int]:
    used = np.zeros(len(columns.parts), bool)
    used[columns.part_at[piece] + columns.track[learnt]] = True
    before = np.append(0, np.cumsum(used))
    return np.diff(before[columns.part_at]).tolist()


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
    lengths = meters["numerator"] * 4.0 / meters["denominator"]
    bars = np.ceil(np.maximum(np.minimum(ends, end[piece]) - begins, 0) / lengths - 1e-9)
    return np.bincount(piece, weights=bars, minlength=len(columns)).astype(int)


def _seconds(columns: Columns, end: np.ndarray) -> np.ndarray:
    """Seconds from the start of each piece to its beat `end`."""
    begins = columns.tempos["beat"]
    piece, ends = _rows(columns.tempo_at, begins, np.full(len(columns), np.inf))
    spans = np.maximum(np.minimum(ends, end[piece]) - begins, 0) * 60.0 / columns.tempos["bpm"]
    return np.bincount(piece, weights=spans, minlength=len(columns))


def _tempos(columns: Columns, beats: np.ndarray) -> list[float]:
    """The tempo that holds for most of each piece; the first of those that hold as long."""
    at, bpm, begins = columns.tempo_at, columns.tempos["bpm"], columns.tempos["beat"]
    tempos = bpm[at[:-1]]
    for piece in np.flatnonzero(np.diff(at) > 1):
        here = slice(at[piece], at[piece + 1])
        last = max(beats[piece], begins[here][-1])
        tempos[piece] = bpm[here][np.argmax(np.diff(begins[here], append=last))]
    return tempos.tolist()


def _meters(columns: Columns, beats: np.ndarray) -> list[str]:
    at, rows = columns.meter_at.tolist(), columns.meters
    many = zip(at[:-1], at[1:], beats.tolist(), strict=True)
    return [usual_meter(rows[first:last], length) for first, last, length in many]


def _keys(columns: Columns, piece: np.ndarray, drum: np.ndarray) -> tuple[list[str], list[tuple[float, ...]]]:
    """The key of each piece in words, and for how many beats each of its pitch classes sounds."""
    pitched = ~drum
    where = piece[pitched] * 12 + columns.pitch[pitched] % 12
    sums = np.bincount(where, weights=columns.length[pitched], minlength=12 * len(columns))
    classes = sums.reshape(-1, 12) / columns.ticks[:, None]
    heard = likeliest_keys(classes)
    keys = [f"≈ {TONICS[best % 12]} {'major' if best < 12 else 'minor'}" for best in range(24)]
    names = [keys[best] if best >= 0 else "" for best in heard.tolist()]
    for i in np.flatnonzero(np.diff(columns.key_at)):
        key = columns.keys[columns.key_at[i]]
        names[i] = signature_name(int(key["fifths"]), bool(key["minor"]))
    return names, [*map(tuple, classes.tolist())]


def _polyphony(
    onset: np.ndarray, end: np.ndarray, counts: np.ndarray, length: np.ndarray, piece: np.ndarray
) -> np.ndarray:
    """Notes that sound at once, on average over the time in which any does."""
    result, some = np.zeros(len(counts)), np.flatnonzero(counts)
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
    result[some] = total / (reached[last] - onset[first] - silent)
    return result
