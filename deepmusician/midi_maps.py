"""Tempo, meter and key: between the meta events of a MIDI file and the maps of a Song.

They are taken from every track, though the specification wants them in the first; of two at one beat the later in the
file holds. A tempo of 0, a meter of 0 beats, a key of more than seven accidentals cannot be: it is left out and
reported. SMPTE ticks are seconds, so such a file's own tempos say nothing about time.

Source: The Complete MIDI 1.0 Detailed Specification, Standard MIDI Files 1.0 (RP-001), MMA 1996.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from deepmusician.midi_bytes import Container, write_number
from deepmusician.midi_events import KEY_SIGNATURE, META, SET_TEMPO, TIME_SIGNATURE, Events
from deepmusician.notes import KEY, METER, TEMPO, Song
from deepmusician.plurals import count

MICROSECONDS_A_MINUTE = 60_000_000
SLOWEST_BPM = MICROSECONDS_A_MINUTE / 0xFFFFFF


def read_maps(events: Events, container: Container) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Tempo, meter and key map (see notes) of a file, and in words what had to be left out of them."""
    rows: dict[int, dict[float, tuple]] = {SET_TEMPO: {}, TIME_SIGNATURE: {}, KEY_SIGNATURE: {}}
    bad: Counter[str] = Counter()
    for meta in sorted(events.metas, key=lambda m: m.tick):
        if meta.kind in rows:
            what, read, _ = _KINDS[meta.kind]
            beat = meta.tick * container.tick_scale / container.ticks_per_beat
            if (row := read(meta.body)) is None:
                bad[what] += 1
            else:
                rows[meta.kind][beat] = (beat, *row)
    if container.fixed_bpm is not None:
        rows[SET_TEMPO] = {0: (0, container.fixed_bpm)}
    tempos, meters, keys = (np.array(list(rows[kind].values()), dtype) for kind, (_, _, dtype) in _KINDS.items())
    return tempos, meters, keys, [f"left out {count(n, what)} that cannot be" for what, n in bad.items()]


def write_maps(song: Song) -> list[tuple[float, bytes]]:
    """(beat, meta event) of every tempo, meter and key of a song, in order of time."""
    rows = [(beat, _write_tempo(bpm)) for beat, bpm in song.tempos.tolist()]
    rows += [(beat, _write_meter(*meter)) for beat, *meter in song.meters.tolist()]
    rows += [(beat, _write_key(*key)) for beat, *key in song.keys.tolist()]
    return sorted(rows, key=lambda row: row[0])


def write_meta(kind: int, body: bytes) -> bytes:
    """A meta event without its delta time."""
    return bytes([META, kind]) + write_number(len(body)) + body


def _read_tempo(body: bytes) -> tuple | None:
    microseconds = int.from_bytes(body[:3], "big") if len(body) >= 3 else 0
    return (MICROSECONDS_A_MINUTE / microseconds,) if microseconds else None


def _write_tempo(bpm: float) -> bytes:
    return write_meta(SET_TEMPO, round(MICROSECONDS_A_MINUTE / bpm).to_bytes(3, "big"))


def _read_meter(body: bytes) -> tuple | None:
    fits = len(body) >= 2 and body[0] > 0 and body[1] <= 7
    return (body[0], 1 << body[1]) if fits else None


def _write_meter(numerator: int, denominator: int) -> bytes:
    # 24 MIDI clocks a metronome click, 8 demisemiquavers a beat
    return write_meta(TIME_SIGNATURE, bytes([numerator, denominator.bit_length() - 1, 24, 8]))


def _read_key(body: bytes) -> tuple | None:
    fifths = int.from_bytes(body[:1], "big", signed=True)
    fits = len(body) >= 2 and -7 <= fifths <= 7 and body[1] <= 1
    return (fifths, body[1] == 1) if fits else None


def _write_key(fifths: int, minor: bool) -> bytes:
    return write_meta(KEY_SIGNATURE, bytes([fifths & 0xFF, minor]))


_KINDS = {
    SET_TEMPO: ("tempo", _read_tempo, TEMPO),
    TIME_SIGNATURE: ("meter", _read_meter, METER),
    KEY_SIGNATURE: ("key", _read_key, KEY),
}
