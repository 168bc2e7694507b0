"""The fast scanner: every plain event of a MIDI file in good order at once.

It relies on one fact: an event of two data bytes (a note, a controller, a bend) holds exactly three bytes below 128:
the end of its delta time and its data. So between two events of any other kind the bytes below 128, taken by threes,
*are* the events, and NumPy reads them all together. Python steps only from one other event to the next. Any byte out
of place sends the whole file to the careful scanner (see midi_events), whose table this one's equals.

Why not symusic or mido: symusic reads two to three times as fast, but loses notes, names, channels and instruments in
silence (see midi_notes), so its result would need this very scan to be trusted; mido takes fifty times as long and
refuses files that can be mended.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from deepmusician.midi_bytes import Container, read_number
from deepmusician.midi_events import (
    END_OF_TRACK,
    ESCAPE,
    MAX_CHANGES,
    META,
    PRESSURE,
    PROGRAM_CHANGE,
    SYSEX,
    WANTED_METAS,
    Events,
    Meta,
    Program,
)
from deepmusician.midi_events import scan as scan_carefully

_HIGH_BYTES = bytes(range(0x80, 0x100))


class _Damaged(Exception):
    """Something that only the careful scanner can read."""


def scan(container: Container) -> Events:
    """Read every event of every track; what a damaged file cannot give is counted in `repairs`.

    Raises MidiError above MAX_CHANGES program changes and meta events.
    """
    try:
        return _scan_fast(container)
    except _Damaged:
        return scan_carefully(container)


@dataclass
class _Runs:
    """Stretches of plain events: their bytes, and the ticks that odd events took just before each."""

    spans: list[bytes] = field(default_factory=list)
    highs: list[slice] = field(default_factory=list)  # of each run, in the list of the file's bytes above 127
    low: list[int] = field(default_factory=list)  # bytes below 128 before each run, in the file
    first: list[int] = field(default_factory=list)  # index of each run's first event
    lead: list[int] = field(default_factory=list)  # ticks
    events: int = 0


def _scan_fast(container: Container) -> Events:
    data = container.data
    raw = np.frombuffer(data, np.uint8)
    high_at = np.flatnonzero(raw > 0x7F)
    high = raw[high_at]
    # how many bytes below 128 precede each byte above 127
    lows = high_at.astype(np.int32) - np.arange(len(high_at), dtype=np.int32)
    # where each odd event may begin
    odd = np.flatnonzero((high >= PROGRAM_CHANGE) & ((high < 0xE0) | (high >= 0xF0)))
    if len(odd) > MAX_CHANGES:
        raise _Damaged  # or made to fill the memory with them
    walk = _Walk(data, list(zip(high_at[odd].tolist(), lows[odd].tolist(), strict=True)), high_at)
    bounds = [0]
    for track, (start, end) in enumerate(container.chunks):
        walk.track(track, start, end)
        bounds.append(walk.runs.events)
    columns = _decode(walk.runs, high, lows, bounds)
    _place_odd_events(walk, columns[0], bounds)
    return Events(*columns, bounds, walk.ends, walk.programs, walk.metas)


class _Walk:
    """Steps from odd event to odd event (metas, sysex, programs, pressure), noting the plain runs between."""

    def __init__(self, data: bytes, stops: list[tuple[int, int]], high_at: np.ndarray) -> None:
        self.data, self.stops, self.high_at = data, stops, high_at
        self.next_stop = 0
        self.runs = _Runs()
        self.programs: list[Program] = []  # ticks still count from the plain event before
        self.metas: list[Meta] = []
        self.meta_index: list[int] = []
        self.ends: list[int] = []

    def track(self, track: int, at: int, end: int) -> None:
        since, one_byte = 0, 0  # ticks since the last plain event; a running status of one data byte, or 0
        while True:
            delta, position = self._number(at, end)
            status = self._byte(position, end)
            if not (one_byte if status < 0x80 else _is_odd(status)):
                position = self._stop_after(at, end)
                event, delta = self._delta_before(position, at)
                self._add_run(at, event, since)
                since, one_byte, status = 0, 0, self.data[position]
            since += delta
            at = position + 1
            if status < 0xF0:
                one_byte, at = (one_byte, at) if status < 0x80 else (status, at + 1)
                self._one_byte(track, one_byte, self._byte(at - 1, end), since)
                continue
            kind, body, at = self._long_event(status, at, end)
            if kind == END_OF_TRACK:
                break
            if kind in WANTED_METAS:
                self.metas.append(Meta(track, since, kind, body))
                self.meta_index.append(self.runs.events)
        if at < end:
            raise _Damaged  # bytes after the end mark are reported
        self.ends.append(since)

    def _byte(self, at: int, end: int) -> int:
        if at >= end:
            raise _Damaged
        return self.data[at]

    def _number(self, at: int, end: int) -> tuple[int, int]:
        try:
            return read_number(self.data, at, end)
        except IndexError as error:
            raise _Damaged from error

    def _stop_after(self, at: int, end: int) -> int:
        """Position of the first odd status byte of an event after `at`, an event's first byte."""
        low = at - int(self.high_at.searchsorted(at))
        for k in range(self.next_stop, len(self.stops)):
            position, before = self.stops[k]
            # one byte below 128 into an event stands its status; elsewhere this is part of a delta time
            if position >= at and (before - low) % 3 == 1:
                self.next_stop = k
                if position < end:
                    return position
                break
        raise _Damaged

    def _delta_before(self, stop: int, at: int) -> tuple[int, int]:
        """First byte of the event whose status is at `stop`, and its delta time."""
        first = stop - 1
        if first < at or self.data[first] > 0x7F:
            raise _Damaged
        while first > at and self.data[first - 1] > 0x7F:
            first -= 1
        if stop - first > 4:
            raise _Damaged
        return first, read_number(self.data, first, stop)[0]

    def _one_byte(self, track: int, status: int, value: int, since: int) -> None:
        if value > 0x7F or len(self.programs) > MAX_CHANGES:
            raise _Damaged
        if status < PRESSURE:
            self.programs.append(Program(track, self.runs.events, since, status & 0x0F, value))

    def _add_run(self, at: int, end: int, since: int) -> None:
        first, last = self.high_at.searchsorted((at, end)).tolist()
        events, rest = divmod(end - at - (last - first), 3)
        if rest:
            raise _Damaged
        self.runs.spans.append(self.data[at:end])
        self.runs.highs.append(slice(first, last))
        self.runs.low.append(at - first)
        self.runs.first.append(self.runs.events)
        self.runs.lead.append(since)
        self.runs.events += events

    def _long_event(self, status: int, at: int, end: int) -> tuple[int, bytes, int]:
        """Kind (-1 unless meta), body and end of a meta or sysex event whose status stands before `at`."""
        if status not in (META, SYSEX, ESCAPE):
            raise _Damaged
        kind = self._byte(at, end) if status == META else -1
        size, at = self._number(at + (status == META), end)
        if at + size > end:
            raise _Damaged
        return kind, self.data[at : at + size] if kind in WANTED_METAS else b"", at + size


def _is_odd(status: int) -> bool:
    """Anything but a channel message of two data bytes."""
    return status >= 0xF0 or PROGRAM_CHANGE <= status < 0xE0


def _decode(
    runs: _Runs, high: np.ndarray, lows: np.ndarray, bounds: list[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Columns (tick, status, one, two) of all plain events; raises _Damaged unless every byte is in its place."""
    low = np.frombuffer(b"".join(runs.spans).translate(None, _HIGH_BYTES), np.uint8).reshape(-1, 3)
    # event of each byte above 127, and how many of the event's three bytes below 128 stand before it
    event, place = _places(runs, lows)
    high = np.concatenate([high[:0], *(high[span] for span in runs.highs)])
    if (place == 2).any():
        raise _Damaged  # a second data byte over 127
    tick = low[:, 0].astype(np.int64)
    if (of_delta := place == 0).any():
        _add_long_deltas(tick, event[of_delta], high[of_delta])
        event, high = event[~of_delta], high[~of_delta]
    if runs.first:
        tick[runs.first] += runs.lead
    np.cumsum(tick, out=tick)
    tick -= np.repeat(np.append(0, tick)[bounds[:-1]], np.diff(bounds))
    return tick, _fill_status(event, high, len(low), bounds), low[:, 1].copy(), low[:, 2].copy()


def _places(runs: _Runs, lows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    before = np.concatenate([lows[:0], *(lows[span] for span in runs.highs)])
    shift = 3 * np.array(runs.first, np.int32) - np.array(runs.low, np.int32)
    before += np.repeat(shift, [span.stop - span.start for span in runs.highs])
    event = before // 3
    return event, before - 3 * event


def _add_long_deltas(delta: np.ndarray, event: np.ndarray, high: np.ndarray) -> None:
    """Add the leading bytes of delta times above 127 to `delta`, in place."""
    if len(event) > 3 and (event[3:] == event[:-3]).any():
        raise _Damaged  # more than the four bytes a number may take
    shift = np.full(len(event), 7)
    for ahead in (1, 2):
        shift[:-ahead] += 7 * (event[ahead:] == event[:-ahead])
    np.add.at(delta, event, (high & 0x7F).astype(np.int64) << shift)


def _fill_status(event: np.ndarray, high: np.ndarray, events: int, bounds: list[int]) -> np.ndarray:
    """Status of every event: its own, or the one running since an earlier event of its track."""
    firsts = [first for first, last in pairwise(bounds) if first < last]
    found = event.searchsorted(firsts)
    if not np.array_equal(event[found[found < len(event)]], firsts):
        raise _Damaged  # data with no status to belong to
    if (event[1:] == event[:-1]).any():
        raise _Damaged  # a first data byte over 127
    if len(event) == events:
        return high
    return np.repeat(high, np.diff(np.append(event, events)))


def _place_odd_events(walk: _Walk, tick: np.ndarray, bounds: list[int]) -> None:
    """Turn the ticks of odd events from 'since the plain event before' into 'since the start'."""

    def absolute(track: int, index: int, since: int) -> int:
        return since + (int(tick[index - 1]) if index > bounds[track] else 0)

    walk.programs = [p._replace(tick=absolute(p.track, p.index, p.tick)) for p in walk.programs]
    placed = zip(walk.metas, walk.meta_index, strict=True)
    walk.metas = [m._replace(tick=absolute(m.track, index, m.tick)) for m, index in placed]
    walk.ends = [absolute(k, bounds[k + 1], since) for k, since in enumerate(walk.ends)]
