"""Read and write Standard MIDI Files: bytes to Song and back.

Beats are ticks divided by the file's division, nothing is quantised. A Song track is one channel of one track of the
file; a track that rests throughout stays where it names an instrument. Pedals, bends, controllers and lyrics are not
part of a Song. `Song.repairs` says what was mended on the way in; what cannot be mended is a MidiError.

Decisions, each kept by a test (the bytes: midi_bytes; the events: midi_events; notes and
instruments: midi_notes; tempo, meter and key: midi_maps):
- Format 2 holds patterns, not voices: they are laid one after another.

It does not know the other notations (see formats) nor sound (see render).
Source: The Complete MIDI 1.0 Detailed Specification, Standard MIDI Files 1.0 (RP-001), MMA 1996.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from deepmusician.atomic import write_output
from deepmusician.errors import MidiError
from deepmusician.limits import DEFAULTS, Limits
from deepmusician.midi_bytes import (
    DRUM_CHANNEL,
    Container,
    decode_text,
    load_bytes,
    named_errors,
    open_container,
    write_number,
)
from deepmusician.midi_events import (
    END_OF_TRACK,
    PROGRAM_CHANGE,
    TRACK_NAME,
    Events,
)
from deepmusician.midi_maps import MICROSECONDS_A_MINUTE, SLOWEST_BPM, read_maps, write_maps, write_meta
from deepmusician.midi_notes import Paired, Part, pair_notes
from deepmusician.midi_scan import scan
from deepmusician.notes import NOTE, Song, Touched, Track


def read_midi(source: str | Path | bytes, name: str = "", limits: Limits = DEFAULTS) -> Song:
    """Read a Standard MIDI File (.mid .midi .kar .rmi) of any format from a path or from bytes.

    Raises MidiError if it is not MIDI, holds no notes, or is beyond a limit. The message begins with the file's
    name, unless the caller has a `name` for it and shows that itself.
    """
    data, own_name = load_bytes(source, limits)
    with named_errors("" if name else own_name):
        return _read(data, limits)


def _read(data: bytes, limits: Limits) -> Song:
    container = open_container(data, limits)
    events = scan(container)
    repairs = [*container.repairs, *events.repairs]
    moved = np.zeros(len(container.chunks), bool)
    if container.format == 2 and len(container.chunks) > 1:
        moved = _lay_in_a_row(events)
        repairs.append(f"its {len(container.chunks)} patterns (format 2) are laid one after another")
    paired = pair_notes(events, limits)
    if not len(paired.start):
        raise MidiError("the file holds no notes; choose one with music in it")
    parts = sorted({*paired.parts, *_resting(events, paired.parts)})
    notes = _notes(events, paired, parts, container)
    tempos, meters, keys, map_repairs = read_maps(events, container)
    song = Song(
        notes,
        container.ticks_per_beat,
        tempos,
        meters,
        keys,
        _tracks(events, parts, notes, container.format),
        _names(events).get(0, ""),
        (*repairs, *paired.repairs, *map_repairs),
        _touched(events, paired, moved),
    )
    check_length(song, limits)
    return song


def _touched(events: Events, paired: Paired, moved: np.ndarray) -> Touched:
    """What scanning, pairing and laying patterns in a row (`moved`, by track of the file) did to notes."""
    whole = Touched(*map(sum, zip(events.touched, paired.touched, strict=True)))
    tracks = np.array([track for track, _ in paired.parts], np.int64)[paired.part]
    elsewhere = int(moved[tracks].sum())
    return whole._replace(moved=whole.moved + elsewhere)


def check_length(song: Song, limits: Limits = DEFAULTS) -> None:
    """Raise MidiError if a song is longer than the limits of beats and hours allow."""
    if song.beats > limits.beats:
        raise MidiError(f"a song may last at most {limits.beats:,} beats, got {song.beats:,.0f}; split it into pieces")
    if song.seconds > 3600 * limits.hours:
        hours = f"at most {limits.hours:g} hours, got {song.seconds / 3600:,.1f}"
        raise MidiError(f"a song may last {hours}; check its tempo, or split it")


def _lay_in_a_row(events: Events) -> np.ndarray:
    """Let each track begin where the one before it ends, in place; return which tracks that moved."""
    starts = np.concatenate([[0], np.cumsum(events.ends)]).tolist()
    events.tick = events.tick + np.repeat(starts[:-1], np.diff(events.bounds))
    events.programs = [p._replace(tick=p.tick + starts[p.track]) for p in events.programs]
    events.metas = [m._replace(tick=m.tick + starts[m.track]) for m in events.metas]
    events.ends = starts[1:]
    return np.array(starts[:-1]) > 0


# --- notes and tracks ---------------------------------------------------------------------------------------------


def _resting(events: Events, sounding: list[Part]) -> list[Part]:
    """Parts with an instrument and no note, one for each track of the file that sounds nothing."""
    busy = {track for track, _ in sounding}
    silent: dict[int, Part] = {}
    for change in events.programs:
        if change.track not in busy:
            silent.setdefault(change.track, (change.track, change.channel))
    return list(silent.values())


def _notes(events: Events, paired: Paired, parts: list[Part], container: Container) -> np.ndarray:
    number = {part: i for i, part in enumerate(parts)}
    track = np.array([number[part] for part in paired.parts])
    drum = np.array([channel == DRUM_CHANNEL for _, channel in paired.parts])
    notes = np.empty(len(paired.start), NOTE)
    start = events.tick[paired.start]
    notes["onset"] = start * container.tick_scale / container.ticks_per_beat
    notes["duration"] = (paired.end - start) * container.tick_scale / container.ticks_per_beat
    notes["pitch"] = events.one[paired.start]
    notes["velocity"] = events.two[paired.start]
    notes["program"] = paired.program
    notes["drum"] = drum[paired.part]
    notes["track"] = track[paired.part]
    return notes


def _names(events: Events) -> dict[int, str]:
    """First name that says something, by track of the file."""
    names: dict[int, str] = {}
    for meta in events.metas:
        if meta.kind == TRACK_NAME and not names.get(meta.track):
            names[meta.track] = decode_text(meta.body)
    return names


def _tracks(events: Events, parts: list[Part], notes: np.ndarray, format_: int) -> tuple[Track, ...]:
    names = _names(events)
    first, program = np.unique(notes["track"], return_index=True)
    programs = dict(zip(first.tolist(), notes["program"][program].tolist(), strict=True))
    resting = {(c.track, c.channel): c.program for c in reversed(events.programs)}
    # in format 0 the one name is the piece's; it names a part only where there is one part
    named = format_ != 0 or len(parts) == 1
    return tuple(
        Track(
            names.get(part[0], "") if named else "",
            programs.get(i, resting.get(part, 0)),
            part[1] == DRUM_CHANNEL,
        )
        for i, part in enumerate(parts)
    )


# --- writing ------------------------------------------------------------------------------------------------------

PITCHED_CHANNELS = [channel for channel in range(16) if channel != DRUM_CHANNEL]
_OFF, _SET_UP, _ON = 0, 1, 2  # at one tick a key is released before it is struck again


def write_midi(song: Song, path: str | Path | None = None) -> bytes:
    """Write format 1: a conductor track (title, tempo, meter, key), then one track for each of the song's.

    Every pitched track has a channel of its own as far as 15 go; beyond that tracks of one program share one, and
    beyond 15 programs those too, with a program change before each note that needs it. Drums are on channel 10. The
    same song gives the same bytes; they are also written to `path`, whole or not at all, where one is given. What comes
    back by read_midi differs only so far: times are whole ticks and tempos whole microseconds; of two notes of one
    pitch and track, one inside the other, the ends are exchanged; a track of both drums and tones becomes two, and its
    instrument is that of its first note. Raises MidiError for values MIDI has no room for.
    """
    _check_writable(song)
    bodies = [_conductor(song), *_track_bodies(song)]
    data = b"MThd" + struct.pack(">IHHH", 6, 1, len(bodies), song.ticks_per_beat)
    data += b"".join(b"MTrk" + struct.pack(">I", len(body)) + body for body in bodies)
    if path is not None:
        try:
            write_output(Path(path), data)
        except OSError as error:
            raise MidiError(f"{path} cannot be written: {error.strerror}; choose another place") from error
    return data


def _check_writable(song: Song) -> None:
    """Raise MidiError where a value of the song does not fit the format."""
    notes, last_tick = song.notes, 2.0**28 - 1
    denominators = song.meters["denominator"].astype(int)
    checks = [
        ("ticks_per_beat", 1, 32767, np.array([song.ticks_per_beat])),
        ("onset in ticks", 0, last_tick, notes["onset"] * song.ticks_per_beat),
        ("duration in ticks", 0, last_tick, notes["duration"] * song.ticks_per_beat),
        ("pitch", 0, 127, notes["pitch"]),
        ("velocity", 1, 127, notes["velocity"]),
        ("program", 0, 127, np.array([*notes["program"], *(track.program for track in song.tracks)])),
        ("tempo in beats a minute", SLOWEST_BPM, MICROSECONDS_A_MINUTE, song.tempos["bpm"]),
        ("meter numerator", 1, 255, song.meters["numerator"]),
        ("meter denominator", 1, 128, denominators),
        ("number of bits set in a meter denominator", 1, 1, np.bitwise_count(denominators)),
        ("number of sharps or flats in a key", -7, 7, song.keys["fifths"]),
    ]
    for what, low, high, values in checks:
        wrong = values[(values < low) | (values > high)]
        if len(wrong):
            raise MidiError(f"MIDI needs {what} within {low:g}..{high:g}, got {wrong[0]:g}; change it before writing")


def _tick(song: Song, beats: np.ndarray | float) -> np.ndarray:
    return np.rint(np.asarray(beats) * song.ticks_per_beat).astype(int)


def _conductor(song: Song) -> bytes:
    rows = [(0, write_meta(TRACK_NAME, _encode(song.title)))] if song.title else []
    rows += [(int(_tick(song, beat)), event) for beat, event in write_maps(song)]
    return _track_body(rows)


def _track_bodies(song: Song) -> list[bytes]:
    """Events of each track. Program changes are decided in the order a synthesiser hears all tracks together."""
    channels = _channels(song)
    rows: list[list[tuple[int, int, bytes]]] = [[] for _ in song.tracks]
    on_channel: dict[int, int] = {}  # program in force
    in_track: dict[Part, int] = {}
    for tick, track, kind, end, pitch, velocity, program, drum in _in_playing_order(song):
        channel = DRUM_CHANNEL if drum else channels[track]
        event = b""
        if on_channel.get(channel) != program or in_track.get((track, channel)) != program:
            on_channel[channel] = in_track[track, channel] = program
            event = bytes([PROGRAM_CHANGE | channel, program])
        if kind == _ON:
            event += (b"\x00" if event else b"") + bytes([0x90 | channel, pitch, velocity])
            rows[track].append((end, _OFF, bytes([0x80 | channel, pitch, 0])))
        if event:
            rows[track].append((tick, kind, event))
    return [_named_body(track.name, events) for track, events in zip(song.tracks, rows, strict=True)]


def _named_body(name: str, events: list[tuple[int, int, bytes]]) -> bytes:
    in_time = [(tick, event) for tick, _, event in sorted(events, key=lambda row: row[:2])]
    return _track_body([(0, write_meta(TRACK_NAME, _encode(name)))] * bool(name) + in_time)


def _in_playing_order(song: Song) -> list[tuple]:
    """(tick, track, kind, end tick, pitch, velocity, program, drum): each track's set-up, and all notes."""
    notes = song.notes
    start = _tick(song, notes["onset"])
    end = start + np.maximum(_tick(song, notes["duration"]), 1)
    columns = [start, notes["track"], np.full(len(notes), _ON), end]
    columns += [notes[name] for name in ("pitch", "velocity", "program", "drum")]
    rows = list(zip(*(c.tolist() for c in columns), strict=True))
    first = {row[1]: row for row in reversed(rows)}
    for i, track in enumerate(song.tracks):
        program, drum = first[i][6:] if i in first else (track.program, track.drum)
        rows.append((0, i, _SET_UP, 0, 0, 0, program, drum))
    return sorted(rows)


def _channels(song: Song) -> list[int]:
    """Channel from 0 for the tones of each track; only tracks that need one take one."""
    drums_only = set(np.flatnonzero([track.drum for track in song.tracks]).tolist())
    drums_only |= set(song.notes["track"].tolist())
    drums_only -= set(song.notes["track"][~song.notes["drum"]].tolist())
    pitched = [i for i in range(len(song.tracks)) if i not in drums_only]
    keys = pitched
    if len(pitched) > len(PITCHED_CHANNELS):
        keys = [song.tracks[i].program for i in pitched]
    number = {key: n for n, key in enumerate(dict.fromkeys(keys))}
    channels = [DRUM_CHANNEL] * len(song.tracks)
    for i, key in zip(pitched, keys, strict=True):
        channels[i] = PITCHED_CHANNELS[number[key] % len(PITCHED_CHANNELS)]
    return channels


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _track_body(rows: Iterable[tuple[int, bytes]]) -> bytes:
    """Events of (tick, bytes), in order of time, with their delta times and the end mark."""
    body, now = bytearray(), 0
    for tick, event in rows:
        body += write_number(tick - now) + event
        now = tick
    return bytes(body) + b"\x00" + write_meta(END_OF_TRACK, b"")
