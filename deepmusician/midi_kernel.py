"""The compiled reader: thousands of well-kept MIDI files at once, bytes to columns of notes, in machine code.

It reads only what is in good order: format 0 or 1, whole chunks, every event in its place, every note-on with its
note-off, every instrument named where it plays. A file with anything else about it is passed over with a mark, and read
by `midi`, which mends and reports; of the others the columns equal what `midi` reads (a test holds both against each
other). So nothing is lost here for the sake of speed, and without numba everything is read by `midi`.

The bytes are a stranger's, and machine code checks no index by itself: what is read is known to be there (PAD bytes lie
behind a file's own), what is written has been seen to have room. A test runs the same code uncompiled, where every
index is checked, over files that lie. Times are ticks. It knows neither Song nor disk.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from deepmusician.order_kernel import ordered

TEMPO, METER, KEY, NAME = 0, 1, 2, 3  # kinds of rows in `Read.metas`
PAD = 16  # bytes behind the last file that may be read, whatever they are: more than one event's head takes
SLOT = 16 * 128  # channel and pitch
DRUM = 128  # added to a note's program on channel 10
_MAX_CHANGES = 200_000  # as midi_events: more is refused there, in words
_BIG = 2**31  # ticks; later than any limit of beats allows
_PITCH, _INDEX = 23, 2**23 - 1  # a note in one number: onset << 30 | pitch << 23 | its place in the file

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy")


class Read(NamedTuple):
    """What was read of F files. Notes [N] of all read files end to end, each file's in order of onset, then pitch.

    `plain` bool [F] says which files were read; of the others all counts are 0. `notes`, `parts`, `metas` int64 [F + 1]
    are the bounds of each file's rows. Of each note `onset` and `length` uint32 in ticks, `track` uint16 the part
    of the file, `pitch`, `velocity` and `sound` (its program, and DRUM) uint8. `part` int32 [K, 3] track of the file,
    channel, program. `meta` int64 [M, 4]: kind, tick (a name's track), and two values: microseconds a beat; numerator
    and denominator; fifths and minor; a name's place among the bytes and its length. `head` int64 [F, 3]: format, ticks
    a beat, notes of no length.
    """

    plain: np.ndarray
    notes: np.ndarray
    parts: np.ndarray
    metas: np.ndarray
    onset: np.ndarray
    length: np.ndarray
    track: np.ndarray
    pitch: np.ndarray
    velocity: np.ndarray
    sound: np.ndarray
    part: np.ndarray
    meta: np.ndarray
    head: np.ndarray


def read_files(data: np.ndarray, starts: np.ndarray, ends: np.ndarray, limits: tuple[int, int, int, float]) -> Read:
    """Read the files that lie from `starts` to `ends`, int64 [F], in uint8 `data`, each with PAD bytes behind it that
    may be read, whatever they are. `limits` are notes, tracks, beats and seconds of one song."""
    if len(starts) and (starts.min() < 0 or (ends < starts).any() or ends.max() + PAD > len(data)):
        raise ValueError(f"the files must lie within {len(data)} bytes, {PAD} of them behind the last")
    most_notes, *others = limits
    return Read(*_read_files(data, starts, ends, min(most_notes, _INDEX), *others))


@_compiled
def _read_files(data, starts, ends, most_notes, most_tracks, most_beats, most_seconds):
    files, size, longest = len(starts), np.int64(0), np.int64(0)
    for file in range(files):
        size += ends[file] - starts[file]
        longest = max(longest, ends[file] - starts[file])
    plain = np.zeros(files, np.bool_)
    notes, parts, metas = (np.zeros(files + 1, np.int64), np.zeros(files + 1, np.int64), np.zeros(files + 1, np.int64))
    head = np.zeros((files, 3), np.int64)
    room = size // 6 + 8  # a note with its end takes six bytes at least
    onset, length, track = np.empty(room, np.uint32), np.empty(room, np.uint32), np.empty(room, np.uint16)
    pitch, velocity, sound = np.empty(room, np.uint8), np.empty(room, np.uint8), np.empty(room, np.uint8)
    part = np.empty((size // 16 + 64 * files, 3), np.int32)
    meta = np.empty((size // 8 + 64 * files, 4), np.int64)
    # of one file: its notes, what goes with each, as they wait for their ends, and room to put them in order
    room = min(longest // 6 + 8, most_notes + 1)
    rows, other = np.empty(room, np.int64), np.empty(room, np.int64)
    rest, waits, edges = np.empty(room, np.uint64), np.empty(room, np.int32), np.empty(room + 2, np.int64)
    front, back = np.full(SLOT, -1, np.int32), np.zeros(SLOT, np.int32)
    for file in range(files):
        n, k, m = notes[file], parts[file], metas[file]
        count, k, m = _read_file(
            data, starts[file], ends[file], most_notes, most_tracks, k, m,
            rows, rest, waits, front, back, part, meta, head[file],
        )  # fmt: skip
        if count < 0:
            front[:] = -1
        elif count > 0:
            m = _order_maps(meta, metas[file], m)
            order = ordered(rows, other, edges, count)
            last = np.int64(0)
            for i in range(count):
                word = order[i]
                about = rest[word & _INDEX]
                begin, lasts = word >> 30, np.int64(about >> np.uint64(32))
                onset[n + i], length[n + i], track[n + i] = begin, lasts, np.uint16(about >> np.uint64(16))
                pitch[n + i], velocity[n + i] = word >> _PITCH & 127, np.uint8(about >> np.uint64(8))
                sound[n + i] = np.uint8(about)
                last = max(last, begin + lasts)
            if m >= 0 and _fits(last, meta, metas[file], m, head[file, 1], most_beats, most_seconds):
                plain[file], n = True, n + count
        if plain[file]:
            notes[file + 1], parts[file + 1], metas[file + 1] = n, k, m
        else:
            notes[file + 1], parts[file + 1], metas[file + 1] = notes[file], parts[file], metas[file]
    n, k, m = notes[-1], parts[-1], metas[-1]
    return (
        plain, notes, parts, metas,
        onset[:n], length[:n], track[:n], pitch[:n], velocity[:n], sound[:n], part[:k], meta[:m], head,
    )  # fmt: skip


_NOTHING = (-1, -1, -1)


@_compiled
def _read_file(data, at, end, most_notes, most_tracks, k, m, rows, rest, waits, front, back, part, meta, head):
    """How many notes a file has, and the rows reached after its parts and metas; -1 where it is not in good order."""
    if end - at < 22 or _word(data, at) != 0x4D546864 or _word(data, at + 4) != 6:
        return _NOTHING
    kind, promised, division = _half(data, at + 8), _half(data, at + 10), _half(data, at + 12)
    if kind > 1 or division == 0 or division > 0x7FFF:
        return _NOTHING
    head[0], head[1], head[2] = kind, division, 0
    n, first_part, at = np.int64(0), k, at + 14
    tracks = changes = 0
    changed = np.zeros(16, np.int64)  # tracks that name an instrument on a channel
    owes = np.zeros((16, 2), np.int64)  # tracks with notes on a channel before they name any: which never do, which do
    while at + 8 <= end:
        start, stop = at + 8, at + 8 + _word(data, at + 4)
        whole = _word(data, at) == 0x4D54726B and stop <= end and stop - start >= 4
        if not whole or tracks >= most_tracks or _half(data, stop - 3) != 0xFF2F or data[stop - 1] != 0:
            return _NOTHING
        if k + 16 > len(part):
            return _NOTHING
        n, k, m, short, more = _read_track(
            data, start, stop, tracks, n, k, m, rows, rest, waits, front, back, part, meta, changed, owes, first_part
        )
        changes += more
        if n < 0 or n > most_notes or changes > _MAX_CHANGES:
            return _NOTHING
        head[2] += short
        tracks, at = tracks + 1, stop
    if tracks < promised or not tracks:
        return _NOTHING
    for channel in range(16):  # an instrument would be borrowed of another track
        if (owes[channel, 0] and changed[channel]) or (owes[channel, 1] and changed[channel] > 1):
            return _NOTHING
    return n, k, m


@_compiled
def _read_track(data, at, end, track, n, k, m, rows, rest, waits, front, back, part, meta, changed, owes, first_part):
    """Rows reached after one track, its notes of no length, its changes; the first is -1 where anything is amiss.

    `front` and `back` hold the notes that wait for their end on each slot, first come first; -1 for none, as they leave
    it.
    """
    bad = (-1, -1, -1, 0, 0)
    program, named = np.zeros(16, np.int64), np.zeros(16, np.bool_)
    sounds = np.full(16, -1, np.int64)  # the instrument of the first note of each channel
    tick = running = waiting = short = changes = np.int64(0)
    rest_channel, rest_program, begin, room = np.int64(-1), np.int64(0), n, len(rows)
    ended = False
    while at < end:  # an event's delta, status and two bytes are in PAD at the latest
        delta, after = np.int64(data[at]), at + 1
        if delta > 0x7F:
            delta, after = _number(data, at)
        tick, at = tick + delta, after
        if tick > _BIG or at < 0 or at >= end:
            return bad
        status = np.int64(data[at])
        if status >= 0xF0:
            at += 1
            code = np.int64(-1)
            if status == 0xFF:
                code, at = np.int64(data[at]), at + 1
            elif status != 0xF0 and status != 0xF7:
                return bad
            size, at = _number(data, at)
            if at < 0 or at + size > end:
                return bad
            if code == 0x2F:
                ended = at + size == end
                break
            m, more = _add_meta(data, at, size, code, track, tick, meta, m)
            if m < 0:
                return bad
            changes += more
            at += size
            continue
        if status > 0x7F:
            running, at = status, at + 1
        elif running == 0:
            return bad
        kind, channel = running >> 4, running & 15
        one, two = np.int64(data[at]), np.int64(data[at + 1])
        if kind == 0xC or kind == 0xD:
            at += 1
            if one > 0x7F or at > end:
                return bad
            if kind == 0xC:
                changes += 1
                if rest_channel < 0:
                    rest_channel, rest_program = channel, one
                changed[channel] += not named[channel]
                named[channel], program[channel] = True, one
            continue
        at += 2
        if one | two > 0x7F or at > end:
            return bad
        slot = channel << 7 | one
        if kind == 9 and two > 0:
            if n >= room:
                return bad
            rows[n] = tick << 30 | one << _PITCH | n
            rest[n] = channel << 16 | two << 8 | program[channel] | DRUM * (channel == 9)
            waits[n] = -1
            if front[slot] < 0:
                front[slot] = n
            else:
                waits[back[slot]] = n
            back[slot] = n
            if sounds[channel] < 0:
                sounds[channel] = program[channel] | 128 * named[channel]
            n, waiting = n + 1, waiting + 1
        elif (kind == 8 or kind == 9) and front[slot] >= 0:
            done = front[slot]
            front[slot], waiting = waits[done], waiting - 1
            length = tick - (rows[done] >> 30)
            if length == 0:
                short, length = short + 1, np.int64(1)
            rest[done] |= np.uint64(length << 32)
    if not ended or waiting:
        return bad
    if n == begin and rest_channel >= 0:
        part[k, 0], part[k, 1], part[k, 2] = track, rest_channel, rest_program
        k += 1
    rank = np.zeros(16, np.uint64)
    for channel in range(16):
        if sounds[channel] >= 0:
            if k - first_part > 0xFFFF:
                return bad
            rank[channel] = (k - first_part) << 16
            part[k, 0], part[k, 1], part[k, 2] = track, channel, sounds[channel] & 127
            k += 1
            if sounds[channel] < 128:
                owes[channel, np.int64(named[channel])] += 1
    for i in range(begin, n):
        about = rest[i]
        rest[i] = about & np.uint64(0xFFFFFFFF0000FFFF) | rank[about >> np.uint64(16) & np.uint64(15)]
    return n, k, m, short, changes


@_compiled
def _add_meta(data, at, size, code, track, tick, meta, m):
    """The next free row, -1 where the event cannot be, and whether it is one that is counted."""
    kind, one, two = -1, np.int64(0), np.int64(0)
    if code == 0x51:
        if size >= 3:
            one = np.int64(data[at]) << 16 | np.int64(data[at + 1]) << 8 | np.int64(data[at + 2])
        kind = TEMPO
        if one == 0:
            return -1, 0
    elif code == 0x58:
        if size < 2 or data[at] == 0 or data[at + 1] > 7:
            return -1, 0
        kind, one, two = METER, np.int64(data[at]), np.int64(1) << np.int64(data[at + 1])
    elif code == 0x59:
        if size < 2 or data[at + 1] > 1:
            return -1, 0
        one = np.int64(data[at])
        one -= 256 * (one > 127)
        if one < -7 or one > 7:
            return -1, 0
        kind, two = KEY, np.int64(data[at + 1])
    elif code == 0x03:
        kind, tick, one, two = NAME, track, at, size
    if kind < 0:
        return m, np.int64(code == 0x21)
    if m >= len(meta):
        return -1, 0
    meta[m, 0], meta[m, 1], meta[m, 2], meta[m, 3] = kind, tick, one, two
    return m + 1, 1


@_compiled
def _order_maps(meta, begin, end):
    """The row reached after one file's metas, -1 where there is no room for them.

    Each kind's rows come in order of time, one a tick, the last in the file; tempo and meter from tick 0 on.
    """
    if end + 2 > len(meta):
        return -1
    for kind, one, two in ((TEMPO, 500_000, 0), (METER, 4, 4)):  # what MIDI assumes where a file says nothing
        first = _BIG + 1
        for i in range(begin, end):
            if meta[i, 0] == kind:
                first = min(first, meta[i, 1])
        if first > 0:
            meta[end, 0], meta[end, 1], meta[end, 2], meta[end, 3] = kind, 0, one, two
            end += 1
    size = end - begin
    rows, words = meta[begin:end].copy(), np.empty(size, np.int64)
    for i in range(size):
        words[i] = rows[i, 0] << 55 | rows[i, 1] << _PITCH | i  # a track's number, a tick up to 2³¹
    order = ordered(words, np.empty(size, np.int64), np.empty(size + 2, np.int64), size)
    at = begin
    for j in range(size):
        i = order[j] & _INDEX
        same = at > begin and rows[i, 0] != NAME and meta[at - 1, 0] == rows[i, 0] and meta[at - 1, 1] == rows[i, 1]
        at -= same
        for c in range(4):
            meta[at, c] = rows[i, c]
        at += 1
    return at


@_compiled
def _fits(last, meta, m, stop, division, most_beats, most_seconds):
    """Whether a song that ends at tick `last` is surely within the limits: at its slowest tempo throughout."""
    slowest = np.int64(0)
    for i in range(m, stop):
        if meta[i, 0] == TEMPO:
            slowest = max(slowest, meta[i, 2])
    beats = last / division
    return last < _BIG and beats <= most_beats and beats * slowest / 1e6 <= most_seconds


@_compiled
def _number(data, at):
    """A variable-length number and the place after it, -1 where it is longer than four bytes."""
    value = np.int64(0)
    for _ in range(4):
        byte = np.int64(data[at])
        at += 1
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, np.int64(at)
    return np.int64(0), np.int64(-1)


@_compiled
def _word(data, at):
    return _half(data, at) << 16 | _half(data, at + 2)


@_compiled
def _half(data, at):
    return np.int64(data[at]) << 8 | np.int64(data[at + 1])
