"""From events to notes: which note-off ends which note-on, and which instrument plays, by the specification.

A note belongs to a part: one channel of one track of the file. Within a part and a pitch:
- a note-on of velocity 0 is a note-off;
- "the transmitter must send a corresponding Note Off for every Note On": where notes of one pitch overlap, the first
  note-off ends the first note-on, and both notes are kept;
- a note-on that no note-off can belong to (the one a stack of ons and offs leaves over) ends at the next note-on of
  that pitch, at All Notes Off, or at the end of the track, whichever is first, and is reported;
- a note of no length gets one tick and is reported; a note-off with nothing to end is harmless.
The instrument is the one in force at the note-on. A track that names none borrows from the nearest track before it,
else after it, that names one on the same port and channel, since a synthesiser's channel is one.

Where readers part from this (symusic 0.6, pretty_midi 0.2): symusic drops the note-on without an end and shifts the
ends of all later notes of that pitch, and lends no instrument, so that the second desks of a whole orchestra play piano
in one real file. pretty_midi ends overlapping notes together at the first note-off, drops notes of no length and takes
the instrument at the note-off. mido leaves pairing to its caller.

It knows neither files nor songs. Source: MIDI 1.0 Detailed Specification 4.2, "Assignment of Note On/Off Commands".
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, deque
from dataclasses import dataclass

import numpy as np

from deepmusician.errors import MidiError
from deepmusician.limits import DEFAULTS, Limits
from deepmusician.midi_events import PORT, Events, Program
from deepmusician.notes import Touched
from deepmusician.plurals import count

ALL_SOUND_OFF, ALL_NOTES_OFF = 120, 123

Part = tuple[int, int]  # track of the file, channel from 0

REPAIRS = {
    "endless": "closed {} without a note-off, at the next note on that key or the end of the track",
    "doubled": "left out {} told twice at one moment with one note-off",
    "short": "gave {} of no length one tick",
}


@dataclass(frozen=True)
class Paired:
    """Notes in file order: `start` [N] indexes the note-on events, `end` [N] is in ticks, `part` [N] indexes `parts`.

    `program` [N] is each note's instrument; `repairs` says in words what was mended, `touched` counts the notes.
    """

    start: np.ndarray
    end: np.ndarray
    part: np.ndarray
    program: np.ndarray
    parts: list[Part]
    repairs: list[str]
    touched: Touched


def pair_notes(events: Events, limits: Limits = DEFAULTS) -> Paired:
    """Give every note-on its end and its instrument. Raises MidiError above the limit of notes."""
    note = np.flatnonzero(events.status < 0xA0)
    is_on = (events.status[note] > 0x8F) & (events.two[note] > 0)
    if (total := np.count_nonzero(is_on)) > limits.notes:
        raise MidiError(f"a song may have at most {limits.notes:,} notes, got {total:,}; split it into pieces")
    code = _part_code(events, note)
    has_notes = np.zeros(16 * len(events.ends), bool)
    has_notes[code[is_on]] = True
    if not (ours := has_notes[code]).all():  # a note-off of a part without notes ends nobody else's
        note, is_on, code = note[ours], is_on[ours], code[ours]
    parts: list[Part] = [divmod(code, 16) for code in np.flatnonzero(has_notes).tolist()]
    number = np.cumsum(has_notes, dtype=np.int32) - 1
    key = number[code] << 7 | events.one[note]
    if len(parts) < 512:
        key = key.astype(np.uint16)  # NumPy sorts 16 bits by counting, several times faster
    counts: Counter[str] = Counter()
    end = _find_ends(events, note, key, is_on, counts)
    start = np.flatnonzero(end >= 0)
    end = end[start]
    counts["short"] = _lengthen(events.tick[start], end)
    part = number[_part_code(events, start)]
    repairs = [words.format(count(counts[what], "note")) for what, words in REPAIRS.items() if counts[what]]
    touched = Touched(counts["doubled"], counts["endless"], counts["short"])
    return Paired(start, end, part, _programs(events, start, part, parts), parts, repairs, touched)


def _part_code(events: Events, index: np.ndarray) -> np.ndarray:
    """Track * 16 + channel of the events at `index`."""
    return events.track[index] << 4 | events.status[index] & 0x0F


# --- ends ---------------------------------------------------------------------------------------------------------


def _find_ends(
    events: Events, note: np.ndarray, key: np.ndarray, is_on: np.ndarray, counts: Counter[str]
) -> np.ndarray:
    """End tick of the note that each event begins, -1 where none begins; int64, one for each of the events."""
    order = np.argsort(key, kind="stable")
    end = np.full(len(events.status), -1, np.int64)
    tangled = _end_alternating(events, note[order], key[order], is_on[order], end)
    silences = _silences(events) if tangled else {}
    for group in tangled:
        _end_tangled(events, group, silences, end, counts)
    return end


def _end_alternating(
    events: Events, note: np.ndarray, key: np.ndarray, is_on: np.ndarray, end: np.ndarray
) -> list[np.ndarray]:
    """Fill `end` for every key whose events go on, off, on, off; return the other keys' events, key by key."""
    if not len(note):
        return []
    new = np.append(True, key[1:] != key[:-1])
    after_on = np.append(False, is_on[:-1]) & ~new
    wrong = (is_on == after_on) | is_on & np.append(new[1:], True)
    tangled: list[np.ndarray] = []
    if wrong.any():
        group = np.cumsum(new) - 1
        left = np.bincount(group[wrong], minlength=group[-1] + 1)[group] > 0
        tangled = np.split(note[left], np.flatnonzero(new[left])[1:])
        note = note[~left]
    end[note[0::2]] = events.tick[note[1::2]]
    return tangled


def _end_tangled(
    events: Events, group: np.ndarray, silences: dict[Part, list[int]], end: np.ndarray, counts: Counter[str]
) -> None:
    """Fill `end` for one key of one part whose events `group` do not simply alternate."""
    ticks = events.tick[group].tolist()
    ons = ((events.status[group] > 0x8F) & (events.two[group] > 0)).tolist()
    endless = _without_off(ons)
    waiting: deque[int] = deque()
    for i, on in enumerate(ons):
        if not on and waiting:
            end[group[waiting.popleft()]] = ticks[i]
        elif on and i not in endless:
            waiting.append(i)
    track = bisect_right(events.bounds, int(group[0])) - 1
    silent = silences.get((track, int(events.status[group[0]]) & 0x0F), [])
    following = events.ends[track]
    struck_after = False
    for i in reversed([i for i, on in enumerate(ons) if on]):
        if i in endless and struck_after and following == ticks[i]:
            counts["doubled"] += 1  # the same key struck once, told twice
        elif i in endless:
            counts["endless"] += 1
            end[group[i]] = max(min([following, *_next(silent, ticks[i])]), ticks[i] + 1)
        following, struck_after = ticks[i], True


def _next(ticks: list[int], after: int) -> list[int]:
    """The first of `ticks` (ascending) that comes after one, in a list; an empty one where there is none."""
    place = bisect_right(ticks, after)
    return ticks[place : place + 1]  # never a longer slice: with as many silences as notes that takes for ever


def _without_off(ons: list[bool]) -> set[int]:
    """The note-ons that a stack of ons and offs leaves over."""
    stack: list[int] = []
    for i, on in enumerate(ons):
        if on:
            stack.append(i)
        elif stack:
            stack.pop()
    return set(stack)


def _silences(events: Events) -> dict[Part, list[int]]:
    """Ticks of All Notes Off and All Sound Off of each part that has any."""
    found = (events.status & 0xF0 == 0xB0) & np.isin(events.one, (ALL_SOUND_OFF, ALL_NOTES_OFF))
    ticks: dict[Part, list[int]] = {}
    for event in np.flatnonzero(found).tolist():
        track = bisect_right(events.bounds, event) - 1
        ticks.setdefault((track, int(events.status[event]) & 0x0F), []).append(int(events.tick[event]))
    return ticks


def _lengthen(start: np.ndarray, end: np.ndarray) -> int:
    """Give notes of no length one tick, in place; return how many there were."""
    short = end <= start
    end[short] = start[short] + 1
    return int(np.count_nonzero(short))


# --- instruments --------------------------------------------------------------------------------------------------


class _Changes:
    """The program changes of one track on one channel: event index, tick and program of each, ascending."""

    def __init__(self, changes: list[Program]) -> None:
        self.index = np.array([c.index for c in changes])
        self.tick = np.array([c.tick for c in changes])
        self.program = np.array([0, *(c.program for c in changes)], np.uint8)  # 0 before the first


def _programs(events: Events, start: np.ndarray, part: np.ndarray, parts: list[Part]) -> np.ndarray:
    """Instrument of each note, uint8 [N]; 0 (piano) where the file names none."""
    programs = np.zeros(len(start), np.uint8)
    port = {m.track: m.body[0] for m in events.metas if m.kind == PORT and m.body}
    listed: dict[Part, dict[int, list[Program]]] = {}  # by port and channel, what one synthesiser hears; by track
    for change in events.programs:
        tracks = listed.setdefault((port.get(change.track, 0), change.channel), {})
        tracks.setdefault(change.track, []).append(change)
    on_channel = {place: {t: _Changes(c) for t, c in tracks.items()} for place, tracks in listed.items()}
    for number, (track, channel) in enumerate(parts):
        changes = on_channel.get((port.get(track, 0), channel))
        if changes:
            mine = np.flatnonzero(part == number)
            programs[mine] = _programs_at(changes, track, start[mine], events.tick)
    return programs


def _programs_at(changes: dict[int, _Changes], track: int, start: np.ndarray, tick: np.ndarray) -> np.ndarray | int:
    """Instrument at the note-on events `start`: the track's own last change, else a neighbour's, else 0."""
    own = changes.get(track, _NONE)
    if len(own.index) and own.index[-1] <= start[0]:
        return int(own.program[-1])
    others = changes.keys() - {track}
    lender = min(others, key=lambda other: (other > track, abs(other - track)), default=None)
    lent = changes.get(lender, _NONE)
    last_own = np.searchsorted(own.index, start, side="right")
    last_lent = np.searchsorted(lent.tick, tick[start], side="right")
    return np.where(last_own, own.program[last_own], lent.program[last_lent])


_NONE = _Changes([])
