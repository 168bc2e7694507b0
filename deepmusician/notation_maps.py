"""Time in a music21 score: its measures, and its tempo, meter and key maps, on paper and as played.

A measure shorter or longer than its meter (a pickup, a measure cut by a repeat sign) has a meter of its own, so that
bar lines stay where they are written. After a jump, what held at its goal on paper holds again. It does not know notes.

Sources: music21's stream, tempo, meter and key modules.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from deepmusician.notes import DEFAULT_METER

if TYPE_CHECKING:
    from music21.key import KeySignature
    from music21.meter import TimeSignature
    from music21.stream import Measure, Stream
    from music21.tempo import MetronomeMark

LIKE_MINOR = {"minor", "aeolian", "dorian", "phrygian", "locrian"}

Events = list[tuple[Fraction, tuple]]  # (beat, values), in order of time


@dataclass(frozen=True)
class Grid:
    """When each measure begins (ascending) and how long it is, in beats, on paper."""

    starts: list[Fraction]
    lengths: list[Fraction]

    def measure_at(self, beat: Fraction) -> int:
        """Index of the measure in which a beat lies."""
        return max(bisect_right(self.starts, beat) - 1, 0)


def beats_of(offset: Any) -> Fraction:
    """A music21 offset or quarter length as an exact number of beats."""
    return Fraction(offset).limit_denominator(65535)  # as fine as music21 itself goes


def value_at(events: list[tuple], beat: Fraction) -> Any:
    """The value of the last (beat, value) event up to `beat`; the first of them must lie before it."""
    return events[bisect_right(events, beat, key=lambda event: event[0]) - 1][1]


def measures_of(parts: list[Stream]) -> list[list[Measure]]:
    """The measures of each part."""
    return [list(part.getElementsByClass("Measure")) for part in parts]


def find_grid(parts: list[Stream]) -> Grid | None:
    """The measures, if all parts have the same; None if they do not, or have none."""
    columns = [[beats_of(m.offset) for m in measures] for measures in measures_of(parts)]
    starts = columns[0]
    if not starts or any(column != starts for column in columns) or sorted(set(starts)) != starts:
        return None
    end = max(beats_of(part.highestTime) for part in parts)
    lengths = [b - a for a, b in zip(starts, [*starts[1:], max(end, starts[-1])], strict=True)]
    return Grid(starts, lengths)


def occurrences(grid: Grid, order: list[int]) -> Iterator[tuple[int, Fraction]]:
    """(measure, how much later than on paper it is played) for each measure in playing order."""
    now = grid.starts[0]
    for measure in order:
        yield measure, now - grid.starts[measure]
        now += grid.lengths[measure]


# --- tempo, meter and key on paper --------------------------------------------------------------------------------


def read_tempos(parts: list[Stream]) -> Events:
    """(quarter notes a minute,) of the tempo marks of all parts: a direction may stand in any of them."""
    from music21.tempo import MetronomeMark

    def values(mark: MetronomeMark) -> tuple | None:
        bpm = mark.getQuarterBPM()
        return (float(bpm),) if bpm and bpm > 0 else None

    marks = [event for part in parts for event in _events(part, (MetronomeMark,), values)]
    return _settled(sorted(marks, key=lambda event: event[0]))


def read_meters(parts: list[Stream]) -> Events:
    """(numerator, denominator) of the time signatures of the first part that has any."""
    from music21.meter import TimeSignature

    def values(sign: TimeSignature) -> tuple | None:
        fits = 0 < sign.numerator < 256 and sign.denominator in (1, 2, 4, 8, 16, 32, 64, 128)
        return (sign.numerator, sign.denominator) if fits else None

    return _of_first_part(parts, (TimeSignature,), values)


def read_keys(parts: list[Stream]) -> Events:
    """(fifths, minor) of the key signatures of the first part that has any; staves need not agree."""
    from music21.key import Key, KeySignature

    def values(sign: KeySignature) -> tuple | None:
        minor = isinstance(sign, Key) and sign.mode in LIKE_MINOR
        return (sign.sharps, minor) if sign.sharps is not None and -7 <= sign.sharps <= 7 else None

    return _of_first_part(parts, (KeySignature,), values)


def meters_of_measures(grid: Grid, meters: Events) -> Events:
    """The meter of each measure, where it changes; a measure that does not fill its meter has one of its own."""
    signs = [(Fraction(-1), DEFAULT_METER), *meters]
    found = []
    for start, length in zip(grid.starts, grid.lengths, strict=True):
        numerator, denominator = value_at(signs, start)
        full = length == Fraction(4 * numerator, denominator)
        found.append((start, (numerator, denominator) if full else _meter_of(length)))
    return _settled((start, meter) for start, meter in found if meter)


def _meter_of(length: Fraction) -> tuple[int, int] | None:
    """The meter of a measure of `length` beats, in the largest note value from a crotchet down that counts it out."""
    for denominator in (4, 8, 16, 32, 64):
        count = length * denominator / 4
        if count.denominator == 1 and 0 < count < 256:
            return int(count), denominator
    return None


def _of_first_part(parts: list[Stream], kinds: tuple[type, ...], values: Callable) -> Events:
    return next((_settled(events) for part in parts if (events := _events(part, kinds, values))), [])


def _events(part: Stream, kinds: tuple[type, ...], values: Callable[[Any], tuple | None]) -> Events:
    found = [(beats_of(e.offset), values(e)) for e in part.flatten().getElementsByClass(kinds)]
    return [(beat, row) for beat, row in found if row is not None]


def _settled(events: Iterable[tuple[Fraction, tuple]]) -> Events:
    """Without what changes nothing; of two at one beat the later holds."""
    settled: Events = []
    for beat, values in dict(events).items():
        if not settled or settled[-1][1] != values:
            settled.append((beat, values))
    return settled


# --- as played ----------------------------------------------------------------------------------------------------


def play_events(events: Events, grid: Grid, order: list[int]) -> Events:
    """What is in force when the measures are played in `order`."""
    played: list[tuple[Fraction, tuple]] = []
    before = -1
    for measure, shift in occurrences(grid, order):
        start = grid.starts[measure]
        end = start + grid.lengths[measure]
        if measure != before + 1:
            played += [(start + shift, values) for beat, values in events if beat <= start][-1:]
        played += [(beat + shift, values) for beat, values in events if start <= beat < end]
        before = measure
    return _settled(played)
