"""The compiled reader: thousands of well-kept MIDI files at once, bytes to columns of notes, in machine code.

It reads only what is in good order: format 0 or 1, whole chunks, every event in its place, every note-on with its
note-off, every instrument named where it plays. A file with anything else about it is passed over with a mark, and read
by `midi`, which mends and reports; of the others the columns equal what `midi` reads (a test holds both against each
other). So nothing is lost here for the sake of speed, and without numba everything is read by `midi`.

Every access is bounds-checked, since the bytes are a stranger's. Times are ticks. It knows neither Song nor disk.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

TEMPO, METER, KEY, NAME = 0, 1, 2, 3  # kinds of rows in `Read.metas`
SLOT = 16 * 128  # channel and pitch
_MAX_CHANGES = 200_000  # as midi_events: more is refused there, in words
_BIG = 2**31  # ticks; later than any limit of beats allows

_compiled = numba.njit(cache=True, boundscheck=True, nogil=True, error_model="numpy")


class Read(NamedTuple):
    """What was read of F files. Notes [N] of all read files end to end, each file's in order of onset, then pitch.

    `plain` bool [F] says which files were read; of the others all counts are 0. `notes`, `parts`, `metas` int64 [F + 1]
    are the bounds of each file's rows. `note` uint32 [N, 2] onset and length in ticks; `of` uint16 [N] the part;
    `voice` uint8 [N, 3] pitch, velocity, program. `part` int32 [K, 3] track of the file, channel, program. `meta` int64
    [M, 4]: kind, tick (a name's track), and two values: microseconds a beat; numerator and denominator; fifths and
    minor; a name's place among the bytes and its length. `head` int64 [F, 3]: format, ticks a beat, notes of no length.
    """

    plain: np.ndarray
    notes: np.ndarray
    parts: np.ndarray
    metas: np.ndarray
    note: np.ndarray
    of: np.ndarray
    voice: np.ndarray
    part: np.ndarray
    meta: np.ndarray
    head: np.ndarray


def read_files(data: np.ndarray, bounds: np.ndarray, limits: tuple[int, int, int, float]) -> Read:
    """Read the files at `bounds` [F + 1] of uint8 `data`; `limits` are notes, tracks, beats and seconds of one song."""
    return Read(*_read_files(data, bounds, *limits))


@_compiled
def _read_files(data, bounds, most_notes, most_tracks, most_beats, most_seconds):
    files, size = len(bounds) - 1, bounds[-1] - bounds[0]
    plain = np.zeros(files, np.bool_)
    notes, parts, metas = (np.zeros(files + 1, np.int64), np.zeros(files + 1, np.int64), np.zeros(files + 1, np.int64))
    head = np.zeros((files, 3), np.int64)
    room = size // 6 + 64  # a note takes six bytes at least
    note, of, voice = np.empty((room, 2), np.uint32), np.empty(room, np.uint16), np.empty((room, 3), np.uint8)
    waits = np.empty(room, np.int64)
    part = np.empty((size // 16 + 64 * files, 3), np.int32)
    meta = np.empty((size // 8 + 64 * files, 4), np.int64)
    for file in range(files):
        n, k, m = notes[file], parts[file], metas[file]
        sizes = _read_file(
            data, bounds[file], bounds[file + 1], most_notes, most_tracks, n, k, m,
            note, of, voice, waits, part, meta, head[file],
        )  # fmt: skip
        read = sizes[0] > n
        if read:
            sizes = _order_maps(meta, m, sizes, head[file])
            read = sizes[0] > n and _fits(note, n, sizes[0], meta, m, sizes[2], head[file, 1], most_beats, most_seconds)
        if read:
            plain[file] = True
            _order_notes(note, of, voice, n, sizes[0])
            notes[file + 1], parts[file + 1], metas[file + 1] = sizes
        else:
            notes[file + 1], parts[file + 1], metas[file + 1] = n, k, m
    n, k, m = notes[-1], parts[-1], metas[-1]
    return (
        plain, notes, parts, metas,
        note[:n].copy(), of[:n].copy(), voice[:n].copy(), part[:k].copy(), meta[:m].copy(), head,
    )  # fmt: skip


_NOTHING = (-1, -1, -1)


@_compiled
def _read_file(data, at, end, most_notes, most_tracks, n, k, m, note, of, voice, waits, part, meta, head):
    """Rows reached after one file's notes, parts and metas; -1 where it is not in good order."""
    if end - at < 22 or _word(data, at) != 0x4D546864 or _word(data, at + 4) != 6:
        return _NOTHING
    kind, promised, division = _half(data, at + 8), _half(data, at + 10), _half(data, at + 12)
    if kind > 1 or division == 0 or division > 0x7FFF:
        return _NOTHING
    head[0], head[1], head[2] = kind, division, 0
    first, first_part, at = n, k, at + 14
    tracks = changes = 0
    changed = np.zeros(16, np.int64)  # tracks that name an instrument on a channel
    owes = np.zeros((16, 2), np.int64)  # tracks with notes on a channel before they name any: which never do, which do
    while at + 8 <= end:
        start, stop = at + 8, at + 8 + _word(data, at + 4)
        whole = _word(data, at) == 0x4D54726B and stop <= end and stop - start >= 4
        if not whole or tracks >= most_tracks or _half(data, stop - 3) != 0xFF2F or data[stop - 1] != 0:
            return _NOTHING
        n, k, m, short, more = _read_track(
            data, start, stop, tracks, n, k, m, note, of, voice, waits, part, meta, changed, owes, first_part
        )
        changes += more
        if n < 0 or n - first > most_notes or changes > _MAX_CHANGES:
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
def _read_track(data, at, end, track, n, k, m, note, of, voice, waits, part, meta, changed, owes, first_part):
    """Rows reached after one track, its notes of no length, its changes; the first is -1 where anything is amiss."""
    bad = (-1, -1, -1, 0, 0)
    front, back = np.full(SLOT, -1, np.int64), np.empty(SLOT, np.int64)  # notes waiting for their end, first come
    program, named, early = np.zeros(16, np.int64), np.zeros(16, np.bool_), np.zeros(16, np.bool_)
    sounds = np.full(16, -1, np.int64)  # the instrument of the first note of each channel
    tick = running = waiting = short = changes = 0
    rest_channel, rest_program, begin = -1, 0, n
    ended = False
    while at < end:
        delta, at = _number(data, at, end)
        if at < 0 or at >= end:
            return bad
        tick += delta
        if tick > _BIG:
            return bad
        status = np.int64(data[at])
        if status >= 0xF0:
            at += 1
            code = -1
            if status == 0xFF:
                code, at = np.int64(data[at]), at + 1
            elif status != 0xF0 and status != 0xF7:
                return bad
            size, at = _number(data, at, end)
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
        if at >= end:
            return bad
        one = np.int64(data[at])
        if kind == 0xC or kind == 0xD:
            if one > 0x7F:
                return bad
            at += 1
            if kind == 0xC:
                changes += 1
                if rest_channel < 0:
                    rest_channel, rest_program = channel, one
                changed[channel] += not named[channel]
                named[channel], program[channel] = True, one
            continue
        if at + 1 >= end:
            return bad
        two = np.int64(data[at + 1])
        at += 2
        if one > 0x7F or two > 0x7F:
            return bad
        slot = channel << 7 | one
        if kind == 9 and two > 0:
            note[n, 0], of[n], waits[n] = tick, channel, -1
            voice[n, 0], voice[n, 1], voice[n, 2] = one, two, program[channel]
            if front[slot] < 0:
                front[slot] = n
            else:
                waits[back[slot]] = n
            back[slot] = n
            early[channel] |= not named[channel]
            if sounds[channel] < 0:
                sounds[channel] = program[channel]
            n, waiting = n + 1, waiting + 1
        elif (kind == 8 or kind == 9) and front[slot] >= 0:
            done = front[slot]
            front[slot], waiting = waits[done], waiting - 1
            length = tick - note[done, 0]
            short += length == 0
            note[done, 1] = max(length, 1)
    if not ended or waiting:
        return bad
    rank = np.zeros(16, np.int64)
    if n == begin and rest_channel >= 0:
        part[k, 0], part[k, 1], part[k, 2] = track, rest_channel, rest_program
        k += 1
    for channel in range(16):
        if sounds[channel] >= 0:
            rank[channel] = k - first_part
            part[k, 0], part[k, 1], part[k, 2] = track, channel, sounds[channel]
            k += 1
            if early[channel]:
                owes[channel, np.int64(named[channel])] += 1
    for i in range(begin, n):
        of[i] = rank[of[i]]
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
def _order_maps(meta, begin, sizes, head):
    """Let each kind's rows come in order of time, one a tick, the last in the file; tempo and meter from tick 0 on."""
    n, k, end = sizes
    if end + 2 > len(meta):
        return _NOTHING
    for kind, one, two in ((TEMPO, 500_000, 0), (METER, 4, 4)):  # what MIDI assumes where a file says nothing
        first = _BIG + 1
        for i in range(begin, end):
            if meta[i, 0] == kind:
                first = min(first, meta[i, 1])
        if first > 0:
            meta[end, 0], meta[end, 1], meta[end, 2], meta[end, 3] = kind, 0, one, two
            end += 1
    rows, keys = np.empty((end - begin, 4), np.int64), np.empty(end - begin, np.int64)
    for i in range(end - begin):
        for c in range(4):
            rows[i, c] = meta[begin + i, c]
        keys[i] = rows[i, 0] * (4 * _BIG) + rows[i, 1]
    order, at = _radix(keys), begin
    for j in range(end - begin):
        i = order[j]
        same = at > begin and rows[i, 0] != NAME and meta[at - 1, 0] == rows[i, 0] and meta[at - 1, 1] == rows[i, 1]
        at -= same
        for c in range(4):
            meta[at, c] = rows[i, c]
        at += 1
    return n, k, at


@_compiled
def _fits(note, n, end, meta, m, stop, division, most_beats, most_seconds):
    """Whether a song is surely within the limits of length: at its slowest tempo throughout."""
    last = slowest = np.int64(0)
    for i in range(n, end):
        last = max(last, np.int64(note[i, 0]) + np.int64(note[i, 1]))
    for i in range(m, stop):
        if meta[i, 0] == TEMPO:
            slowest = max(slowest, meta[i, 2])
    beats = last / division
    return last < _BIG and beats <= most_beats and beats * slowest / 1e6 <= most_seconds


@_compiled
def _order_notes(note, of, voice, begin, end):
    """Sort one file's notes by onset, then pitch, those of one onset and pitch as they stand in the file."""
    size, ordered, last = end - begin, True, np.int64(0)
    keys = np.empty(size, np.int64)
    for i in range(size):
        keys[i] = np.int64(note[begin + i, 0]) << 7 | np.int64(voice[begin + i, 0])
        ordered &= keys[i] >= last
        last = max(last, keys[i])
    if ordered:
        return
    order, was, voices = _radix(keys), np.empty((size, 3), np.int64), np.empty((size, 3), np.uint8)
    for i in range(size):
        was[i, 0], was[i, 1], was[i, 2] = note[begin + i, 0], note[begin + i, 1], of[begin + i]
        voices[i, 0], voices[i, 1], voices[i, 2] = voice[begin + i, 0], voice[begin + i, 1], voice[begin + i, 2]
    for i in range(size):
        j = order[i]
        note[begin + i, 0], note[begin + i, 1], of[begin + i] = was[j, 0], was[j, 1], was[j, 2]
        voice[begin + i, 0], voice[begin + i, 1], voice[begin + i, 2] = voices[j, 0], voices[j, 1], voices[j, 2]


@_compiled
def _radix(keys):
    """A stable order of whole numbers from 0 on, some bits at a time."""
    size, bits, last = len(keys), 11, np.int64(0)
    if size < 2048:
        bits = 8
    for i in range(size):
        last = max(last, keys[i])
    order, other = np.empty(size, np.int64), np.empty(size, np.int64)
    for i in range(size):
        order[i] = i
    mask, shift = (1 << bits) - 1, 0
    while last >> shift:
        places = np.zeros(mask + 2, np.int64)
        for i in range(size):
            places[(keys[i] >> shift & mask) + 1] += 1
        for i in range(mask + 1):
            places[i + 1] += places[i]
        for i in range(size):
            bucket = keys[order[i]] >> shift & mask
            other[places[bucket]] = order[i]
            places[bucket] += 1
        order, other = other, order
        shift += bits
    return order


@_compiled
def _number(data, at, end):
    """A variable-length number and the place after it, -1 where it is cut off or longer than four bytes."""
    value = np.int64(0)
    for _ in range(4):
        if at >= end:
            return np.int64(0), np.int64(-1)
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
