"""The events of a MIDI file as columns: when, what, in which track. Nothing is interpreted, nothing is paired.

`scan` holds the careful scanner, which walks event by event and mends; midi_scan holds the fast one, for files in
good order. Tests hold them against each other.

Mended and counted: data bytes over 127 (velocity becomes 127; a note on no possible pitch is left out), undefined
events, data without a status, bytes after the end mark, a track cut off. Running status is let live through meta
events: the specification ends it there, but many files use it and mean one thing by it.

Source: The Complete MIDI 1.0 Detailed Specification, Standard MIDI Files 1.0 (RP-001), MMA 1996.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from deepmusician.errors import MidiError
from deepmusician.midi_bytes import Container, read_number
from deepmusician.notes import UNTOUCHED, Touched
from deepmusician.plurals import count

TRACK_NAME, PORT, END_OF_TRACK, SET_TEMPO, TIME_SIGNATURE, KEY_SIGNATURE = 0x03, 0x21, 0x2F, 0x51, 0x58, 0x59
WANTED_METAS = frozenset((TRACK_NAME, PORT, SET_TEMPO, TIME_SIGNATURE, KEY_SIGNATURE))
PROGRAM_CHANGE, PRESSURE = 0xC0, 0xD0  # the two channel messages of one data byte
META, SYSEX, ESCAPE = 0xFF, 0xF0, 0xF7
MAX_CHANGES = 200_000  # program changes and meta events of use
_SYSTEM_DATA_BYTES = {0xF1: 1, 0xF2: 2, 0xF3: 1}  # have no place in a file, but their length is known

# what is counted, its thing, and the sentence that reports it
_MENDED = {
    "velocity": ("velocity", "{} over 127 taken as 127"),
    "pitch": ("note event", "{} on a pitch above 127 left out"),
    "program": ("program change", "{} to a number above 127 left out"),
    "undefined": ("event", "{} of a kind that has no place in a file skipped"),
    "orphan": ("byte", "{} belonging to no event skipped"),
    "after": ("byte", "{} after a track's end mark ignored"),
    "late": ("note", "{} among them left out"),
    "open": ("track", "{} without an end mark read to the last event"),
    "cut": ("track", "{} cut off in the middle of an event read up to there"),
    "unread": ("byte", "{} of such an event not read"),
}


class Program(NamedTuple):
    """A program change, before the event `index` of the table."""

    track: int
    index: int
    tick: int
    channel: int
    program: int


class Meta(NamedTuple):
    """A meta event this package has a use for."""

    track: int
    tick: int
    kind: int
    body: bytes


@dataclass
class Events:
    """Channel messages of two data bytes in file order, as columns [N], and all else as lists.

    `tick` int64, `status` and data `one`, `two` uint8; events of track k are `bounds[k]` .. `bounds[k + 1]`, and it
    ends at tick `ends[k]`.
    """

    tick: np.ndarray
    status: np.ndarray
    one: np.ndarray
    two: np.ndarray
    bounds: list[int]
    ends: list[int]
    programs: list[Program] = field(default_factory=list)
    metas: list[Meta] = field(default_factory=list)
    repairs: list[str] = field(default_factory=list)
    touched: Touched = UNTOUCHED

    @property
    def track(self) -> np.ndarray:
        """Track of each event, int32 [N]."""
        return np.repeat(np.arange(len(self.ends), dtype=np.int32), np.diff(self.bounds))


def scan(container: Container) -> Events:
    """Read every event of every track, one after another; what cannot be read is counted in `repairs`.

    Raises MidiError above MAX_CHANGES program changes and meta events.
    """
    mended: Counter[str] = Counter()
    tick, status, one, two = array("q"), bytearray(), bytearray(), bytearray()
    bounds, ends = [0], []
    programs, metas = [], []
    for track, (start, end) in enumerate(container.chunks):
        for now, event, first, second in _messages(container.data[start:end], mended):
            if event == META and first in WANTED_METAS:
                metas.append(Meta(track, now, first, second))
            elif PROGRAM_CHANGE <= event < PRESSURE:
                programs.append(Program(track, len(tick), now, event & 0x0F, first))
            elif event < PROGRAM_CHANGE or 0xE0 <= event < 0xF0:
                tick.append(now)
                status.append(event)
                one.append(first)
                two.append(second)
            if len(programs) + len(metas) > MAX_CHANGES:
                raise MidiError(
                    f"a file may change tempo, meter, key, name or program at most {MAX_CHANGES:,} times, "
                    "this one does it more often; it was made to fill memory, choose another"
                )
        bounds.append(len(tick))
        ends.append(now)
    columns = [np.frombuffer(column, np.uint8) for column in (status, one, two)]
    repairs = [
        sentence.format(count(mended[what], thing)) for what, (thing, sentence) in _MENDED.items() if mended[what]
    ]
    touched = Touched(dropped=mended["dropped"] + mended["late"], changed=mended["velocity"])
    return Events(np.array(tick, np.int64), *columns, bounds, ends, programs, metas, repairs, touched)


def _messages(data: bytes, mended: Counter[str]) -> Iterator[tuple[int, int, int, Any]]:
    """Yield (tick, status, first data byte or meta type, second data byte or body), the end mark always last."""
    at = tick = running = began = 0
    try:
        while at < len(data):
            began = at
            delta, at = read_number(data, at, len(data))
            tick += delta
            status = data[at] if data[at] > 0x7F else running
            at += data[at] > 0x7F
            if not status:
                mended["orphan"] += 1
                at += 1
            elif status in (META, SYSEX, ESCAPE):
                kind = data[at] if status == META else -1
                size, at = read_number(data, at + (status == META), len(data))
                if at + size > len(data):
                    raise IndexError
                if kind == END_OF_TRACK:
                    if rest := data[at + size :]:
                        mended["after"] += len(rest)
                        mended["late"] += _notes_in(rest)
                    yield tick, META, END_OF_TRACK, b""
                    return
                yield tick, status, kind, data[at : at + size]
                at += size
            elif status > 0xF0:
                mended["undefined"] += 1
                at += _SYSTEM_DATA_BYTES.get(status, 0)
            else:
                running, size = status, 1 if PROGRAM_CHANGE <= status < 0xE0 else 2
                one, two = data[at], data[at + size - 1]
                at += size
                if _mend(status, one, two, mended):
                    yield tick, status, min(one, 127), min(two, 127)
        mended["open"] += 1
    except IndexError:
        mended["cut"] += 1
        mended["unread"] += len(data) - began
    yield tick, META, END_OF_TRACK, b""


def _notes_in(rest: bytes) -> int:
    """How many notes begin in bytes that no track should have: what leaving them out costs."""
    ends = rest.replace(b"\xff\x2f\x00", b"\xff\x01\x00")  # end marks there end nothing more
    events = _messages(ends, Counter())
    return sum(event & 0xF0 == 0x90 and second > 0 for _, event, _, second in events if event < META)


def _mend(status: int, one: int, two: int, mended: Counter[str]) -> bool:
    """Count what is wrong with a channel message; False if it cannot be kept."""
    kind = status & 0xF0
    if one > 0x7F and kind in (0x80, 0x90, PROGRAM_CHANGE):
        mended["program" if kind == PROGRAM_CHANGE else "pitch"] += 1
        mended["dropped"] += kind == 0x90 and two > 0
        return False
    mended["velocity"] += kind == 0x90 and two > 0x7F
    return True
