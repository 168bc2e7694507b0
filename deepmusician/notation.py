"""From a music21 score to a Song: what a player makes sound of what is written.

Decisions:
- Repeats are played (see repeats). Tied notes are one note. Transposing instruments sound where they sound.
- Grace notes have no time of their own on paper and no place on a grid: they are left out, and counted in `repairs`.
  Chord symbols, ornaments and articulation make no sound of their own.
- Loudness follows the last dynamic sign of the part (mf = 80). Every part or staff becomes a track.

It does not know files. Source: music21's stream, note, chord and instrument modules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from math import lcm
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from deepmusician.errors import MidiError
from deepmusician.limits import DEFAULTS, Limits
from deepmusician.midi import check_length
from deepmusician.midi_bytes import DRUM_CHANNEL, MAX_TEXT
from deepmusician.notation_maps import (
    Events,
    Grid,
    beats_of,
    find_grid,
    measures_of,
    meters_of_measures,
    occurrences,
    play_events,
    read_keys,
    read_meters,
    read_tempos,
    value_at,
)
from deepmusician.notes import KEY, METER, NOTE, TEMPO, Song, Touched, Track
from deepmusician.plurals import count
from deepmusician.repeats import playing_order

if TYPE_CHECKING:
    from music21.stream import Stream

TICKS = 480  # a beat; more where the score divides it otherwise
MOST_TICKS = 10080  # where no MIDI division holds them all; then times are rounded
LOUDNESS = {
    "pppp": 8,
    "ppp": 16,
    "pp": 33,
    "p": 49,
    "mp": 64,
    "mf": 80,
    "f": 96,
    "ff": 112,
    "fff": 126,
    "ffff": 127,
}
SNARE = 38  # where a drum's pitch is not told
NAMELESS = {"MusicXML Part"}  # what Finale calls a part without a name

_REPAIRS = {
    "grace": ("grace note", "left out {}"),
    "range": ("note", "left out {} beyond MIDI's range"),
}


class Row(NamedTuple):
    """One written note; times in beats, the rest as in notes.NOTE."""

    onset: Fraction
    duration: Fraction
    pitch: int
    velocity: int
    program: int
    drum: bool
    track: int
    tie: str  # "start", "continue", "stop" or ""


def song_from_music21(score: Stream, limits: Limits = DEFAULTS) -> Song:
    """Play a music21 score (or part, or any stream of notes) as a Song. The score is left as it is.

    Raises MidiError if it holds no notes, or is beyond a limit.
    """
    parts = _parts(score)
    if len(parts) > limits.tracks:
        raise MidiError(f"a score may have at most {limits.tracks} parts, got {len(parts)}; split it into pieces")
    if any(part.atSoundingPitch is False for part in (score, *parts)):
        score = score.toSoundingPitch()
        parts = _parts(score)
    counts: Counter[str] = Counter()
    rows = [row for i, part in enumerate(parts) for row in _rows(part, i, counts)]
    if not rows:
        raise MidiError("the score holds no notes; choose one with music in it")
    repairs = [words.format(count(counts[w], thing)) for w, (thing, words) in _REPAIRS.items() if counts[w]]
    rows, maps, repair = _play(score, parts, rows)
    rows = _join_ties(rows)
    if len(rows) > limits.notes:
        raise MidiError(f"a song may have at most {limits.notes:,} notes, got {len(rows):,}; split it into pieces")
    tracks = tuple(_track(part, rows, i) for i, part in enumerate(parts))
    repairs += [repair] if repair else []
    ticks, rounded = _ticks(rows, maps)
    if rounded:
        repairs.append(f"moved {count(rounded, 'note')} to the nearest of {ticks:,} ticks a beat")
    touched = Touched(dropped=counts["grace"] + counts["range"], moved=rounded)
    song = _song(rows, maps, ticks, tracks=tracks, title=_title(score), repairs=tuple(repairs), touched=touched)
    check_length(song, limits)
    return song


def _parts(score: Stream) -> list[Stream]:
    return list(getattr(score, "parts", [])) or [score]


def _play(score: Stream, parts: list[Stream], rows: list[Row]) -> tuple[list[Row], list[Events], str]:
    """Notes, and tempos, meters and keys, in the order of playing, and what could not be followed."""
    from music21.spanner import RepeatBracket

    maps = [read_tempos(parts), read_meters(parts), read_keys(parts)]
    grid = find_grid(parts)
    if grid is None:
        return rows, maps, ""
    maps[1] = meters_of_measures(grid, maps[1])
    order, repair = playing_order(measures_of(parts), list(score[RepeatBracket]))
    if order != list(range(len(grid.starts))):
        rows = _play_rows(rows, grid, order)
        maps = [play_events(events, grid, order) for events in maps]
    return rows, maps, repair


# --- notes --------------------------------------------------------------------------------------------------------


def _rows(part: Stream, track: int, counts: Counter[str]) -> Iterator[Row]:
    from music21 import dynamics, harmony, instrument

    flat = part.flatten()
    players = [(beats_of(i.offset), i) for i in flat.getElementsByClass(instrument.Instrument)]
    signs = [(beats_of(d.offset), LOUDNESS.get(d.value)) for d in flat.getElementsByClass(dynamics.Dynamic)]
    loudness = [(Fraction(-1), LOUDNESS["mf"]), *(sign for sign in signs if sign[1])]
    for element in flat.notes:
        if isinstance(element, harmony.Harmony):
            continue  # a chord symbol names a chord, nobody plays it
        onset, duration = beats_of(element.offset), beats_of(element.duration.quarterLength)
        program, drum = _player_at(players, onset)
        written = Row(onset, duration, 0, value_at(loudness, onset), program, drum, track, "")
        for note in getattr(element, "notes", [element]):
            yield from _sound(note, written, counts)


def _sound(note: Any, written: Row, counts: Counter[str]) -> Iterator[Row]:
    """The row of one note, perhaps of a chord; nothing where it cannot sound."""
    from music21.note import Unpitched

    unpitched = isinstance(note, Unpitched)
    pitch = _drum_pitch(note) if unpitched else round(note.pitch.ps)
    tie = note.tie.type if note.tie else ""  # never the chord's: that is the tie of its first tied note
    if written.duration <= 0:
        counts["grace"] += 1
    elif not 0 <= pitch <= 127:
        counts["range"] += 1
    else:
        louder = note.volume.velocity if note.hasVolumeInformation() else None
        velocity = max(1, min(127, round(louder or written.velocity)))
        yield written._replace(pitch=pitch, velocity=velocity, drum=written.drum or unpitched, tie=tie)


def _drum_pitch(note: Any) -> int:
    return getattr(note.storedInstrument, "percMapPitch", None) or SNARE


def _player_at(players: list[tuple[Fraction, Any]], onset: Fraction) -> tuple[int, bool]:
    """Program and drum at a beat: of the last instrument named, the first of those named together."""
    from music21.instrument import UnpitchedPercussion

    now = max((beat for beat, _ in players if beat <= onset), default=None)
    player = next((player for beat, player in players if beat == now), None)
    drum = isinstance(player, UnpitchedPercussion) or getattr(player, "midiChannel", None) == DRUM_CHANNEL
    return 0 if drum or player is None else player.midiProgram or 0, drum


def _play_rows(rows: list[Row], grid: Grid, order: list[int]) -> list[Row]:
    """The notes in the order the measures are played."""
    by_measure: dict[int, list[Row]] = {}
    for row in rows:
        by_measure.setdefault(grid.measure_at(row.onset), []).append(row)
    return [
        row._replace(onset=row.onset + shift)
        for measure, shift in occurrences(grid, order)
        for row in by_measure.get(measure, [])
    ]


def _join_ties(rows: list[Row]) -> list[Row]:
    """Make one note of those that ties bind: same track and pitch, the one beginning where the other ends."""
    joined: list[Row] = []
    waiting: dict[tuple, list[int]] = {}  # tied notes by track, pitch and end -> their places in `joined`
    for row in sorted(rows, key=lambda row: row.onset):
        bound = waiting.get((row.track, row.pitch, row.onset)) if row.tie in ("continue", "stop") else None
        if bound:
            place = bound.pop(0)
            joined[place] = joined[place]._replace(duration=row.onset + row.duration - joined[place].onset)
        else:
            place = len(joined)
            joined.append(row)
        if row.tie in ("start", "continue"):
            waiting.setdefault((row.track, row.pitch, row.onset + row.duration), []).append(place)
    return joined


# --- the song -----------------------------------------------------------------------------------------------------


def _ticks(rows: list[Row], maps: list[Events]) -> tuple[int, int]:
    """Ticks a beat that hold all times, and how many notes lie between them where no MIDI division does."""
    times = {time.denominator for row in rows for time in (row.onset, row.duration)}
    times |= {beat.denominator for events in maps for beat, _ in events}
    ticks = TICKS
    for denominator in times:
        ticks = lcm(ticks, denominator)
        if ticks > 32767:  # looked at each time: of thousands it would grow to thousands of digits
            between = [any(MOST_TICKS % time.denominator for time in (row.onset, row.duration)) for row in rows]
            return MOST_TICKS, sum(between)
    return ticks, 0


def _song(rows: list[Row], maps: list[Events], ticks: int, **fields: Any) -> Song:
    """Count all times in ticks and build the song; `maps` are tempos, meters and keys."""

    def beats(time: Fraction, least: int = 0) -> float:
        return max(round(time * ticks), least) / ticks

    notes = [(beats(row.onset), beats(row.duration, 1), *row[2:-1]) for row in rows]
    tempos, meters, keys = (
        np.array([(beats(beat), *values) for beat, values in events], dtype)
        for events, dtype in zip(maps, (TEMPO, METER, KEY), strict=True)
    )
    return Song(np.array(notes, NOTE), ticks, tempos, meters, keys, **fields)


def _track(part: Stream, rows: list[Row], number: int) -> Track:
    first = min((row for row in rows if row.track == number), default=None)
    name = getattr(part, "partName", None) or ""
    name = "" if name in NAMELESS else _one_line(name)
    return Track(name, first.program if first else 0, first.drum if first else False)


def _title(score: Stream) -> str:
    about = score.metadata
    return _one_line(about.title or about.movementName or "") if about else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())[:MAX_TEXT]
