"""Song: the one musical object. Everything is read into it and written out of it.

Times are in beats (quarter notes). Each is a whole number of ticks divided by `ticks_per_beat`, stored as the
nearest float64, so `round(beats * ticks_per_beat)` gives the tick back exactly. Seconds come from the tempo map.
A song knows nothing of files, grids or sound.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from deepmusician.errors import MidiError

NOTE = np.dtype(
    [
        ("onset", "f8"),  # beats from the start
        ("duration", "f8"),  # beats, > 0
        ("pitch", "u1"),  # MIDI number 0..127, 60 = middle C
        ("velocity", "u1"),  # 1..127
        ("program", "u1"),  # General MIDI 0..127
        ("drum", "?"),  # channel 10: pitch names an instrument, not a tone
        ("track", "u2"),  # index into Song.tracks
    ]
)
TEMPO = np.dtype([("beat", "f8"), ("bpm", "f8")])  # quarter notes a minute from this beat on
METER = np.dtype([("beat", "f8"), ("numerator", "u1"), ("denominator", "u1")])
KEY = np.dtype([("beat", "f8"), ("fifths", "i1"), ("minor", "?")])  # fifths: -7 (flats) .. 7 (sharps)

DEFAULT_BPM = 120.0  # what MIDI assumes where a file names no tempo
DEFAULT_METER = (4, 4)
SHORTEST_BAR = 0.25  # beats: a semiquaver


class Touched(NamedTuple):
    """How many notes reading could not take as they stand in the file; what was done to them."""

    dropped: int = 0  # in the file, not in the song
    closed: int = 0  # begun and never ended: an end was given to them
    moved: int = 0  # begin or end elsewhere than the file says
    changed: int = 0  # of another velocity than the file says


UNTOUCHED = Touched()


@dataclass(frozen=True)
class Track:
    """One part of a song, as its file names it."""

    name: str = ""
    program: int = 0
    drum: bool = False


def _events(rows: Iterable[tuple], dtype: np.dtype) -> np.ndarray:
    return np.array(list(rows), dtype=dtype)


@dataclass(frozen=True, eq=False)
class Song:
    """Notes [N] of NOTE sorted by onset, then pitch, with the maps that give them time and meaning.

    `tempos` and `meters` start at beat 0; `keys` may be empty. `repairs` tells, in words, what a reader mended,
    and `touched` how many notes that cost or changed.
    """

    notes: np.ndarray
    ticks_per_beat: int = 480
    tempos: np.ndarray = field(default_factory=lambda: _events([(0, DEFAULT_BPM)], TEMPO))
    meters: np.ndarray = field(default_factory=lambda: _events([(0, *DEFAULT_METER)], METER))
    keys: np.ndarray = field(default_factory=lambda: _events([], KEY))
    tracks: tuple[Track, ...] = (Track(),)
    title: str = ""
    repairs: tuple[str, ...] = ()
    touched: Touched = UNTOUCHED

    def __post_init__(self) -> None:
        if self.ticks_per_beat < 1:
            raise MidiError(f"ticks_per_beat must be at least 1, got {self.ticks_per_beat}")
        notes = np.asarray(self.notes, dtype=NOTE)
        if len(notes) and not (np.isfinite(notes["onset"]).all() and (notes["duration"] > 0).all()):
            raise MidiError("every note needs a finite onset and a duration above 0 beats")
        if len(notes) and notes["track"].max() >= len(self.tracks):
            raise MidiError(f"a note names track {notes['track'].max()}, but the song has {len(self.tracks)}")
        if not _in_order(notes):
            notes = notes[np.lexsort((notes["pitch"], notes["onset"]))]
        object.__setattr__(self, "notes", notes)
        object.__setattr__(self, "tempos", _from_zero(np.asarray(self.tempos, TEMPO), (0, DEFAULT_BPM)))
        object.__setattr__(self, "meters", _from_zero(np.asarray(self.meters, METER), (0, *DEFAULT_METER)))
        object.__setattr__(self, "keys", np.asarray(self.keys, KEY))
        if not (self.tempos["bpm"] > 0).all():
            raise MidiError(f"tempo must be above 0 beats a minute, got {self.tempos['bpm'].min():g}")

    @classmethod
    def from_notes(cls, rows: Iterable[tuple[float, float, int]], velocity: int = 80, **fields: object) -> Song:
        """Build a one-track song from (onset beats, duration beats, pitch) rows."""
        notes = _events([(on, dur, pitch, velocity, 0, False, 0) for on, dur, pitch in rows], NOTE)
        return cls(notes, **fields)  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self.notes)

    @property
    def beats(self) -> float:
        """When the last note ends, in beats; 0 for a song with no notes."""
        return float((self.notes["onset"] + self.notes["duration"]).max()) if len(self.notes) else 0.0

    @property
    def seconds(self) -> float:
        """When the last note ends, in seconds."""
        return float(self.seconds_at(self.beats))

    @property
    def tempo_bpm(self) -> float:
        """The tempo that holds for most of the song, in quarter notes a minute."""
        ends = np.append(self.tempos["beat"][1:], max(self.beats, self.tempos["beat"][-1]))
        return float(self.tempos["bpm"][np.argmax(ends - self.tempos["beat"])])

    @cached_property
    def _tempo_seconds(self) -> np.ndarray:
        """Seconds at which each tempo begins [K]."""
        spans = np.diff(self.tempos["beat"]) * 60.0 / self.tempos["bpm"][:-1]
        return np.concatenate([[0.0], np.cumsum(spans)])

    def seconds_at(self, beats: np.ndarray | float) -> np.ndarray:
        """Seconds from the start at each of `beats`, through every tempo change."""
        beats = np.asarray(beats, float)
        i = np.clip(np.searchsorted(self.tempos["beat"], beats, side="right") - 1, 0, None)
        return self._tempo_seconds[i] + (beats - self.tempos["beat"][i]) * 60.0 / self.tempos["bpm"][i]

    def beats_at(self, seconds: np.ndarray | float) -> np.ndarray:
        """Inverse of `seconds_at`."""
        seconds = np.asarray(seconds, float)
        i = np.clip(np.searchsorted(self._tempo_seconds, seconds, side="right") - 1, 0, None)
        return self.tempos["beat"][i] + (seconds - self._tempo_seconds[i]) * self.tempos["bpm"][i] / 60.0

    def bar_starts(self) -> np.ndarray:
        """Beat at which each bar begins, up to the song's end; a new meter begins a new bar.

        How long they are `bar_beats` says.
        """
        end = self.beats  # a meter may lie a hundred million beats beyond the last note
        ends = np.minimum(np.append(self.meters["beat"][1:], end), end)
        spans = zip(self.meters["beat"], ends, bar_beats(self.meters), strict=True)
        return np.concatenate([np.arange(start, end - 1e-9, length) for start, end, length in spans])

    def select(self, tracks: Iterable[int] | None = None, drums: bool = True) -> Song:
        """Keep the notes of `tracks` (all where None), and drums only if asked. Track numbers stay as they are."""
        keep = np.ones(len(self.notes), bool)
        if tracks is not None:
            wanted = sorted(set(tracks))
            unknown = [t for t in wanted if not 0 <= t < len(self.tracks)]
            if unknown:
                raise MidiError(f"track must be 0..{len(self.tracks) - 1}, got {unknown[0]}")
            keep &= np.isin(self.notes["track"], wanted)
        if not drums:
            keep &= ~self.notes["drum"]
        return replace(self, notes=self.notes[keep])

    def transpose(self, semitones: int) -> Song:
        """Move every pitched note; drums stay. Raises MidiError if a note would leave MIDI's 0..127."""
        notes = self.notes.copy()
        pitched = ~notes["drum"]
        moved = notes["pitch"][pitched].astype(int) + semitones
        if len(moved) and not 0 <= moved.min() <= moved.max() <= 127:
            raise MidiError(f"transposing by {semitones:+d} moves a note outside MIDI's 0..127; use a smaller step")
        notes["pitch"][pitched] = moved
        return replace(self, notes=notes)

    def with_program(self, program: int) -> Song:
        """Play every pitched note on one General MIDI instrument (0..127)."""
        if not 0 <= program <= 127:
            raise MidiError(f"program must be 0..127 (General MIDI), got {program}")
        notes = self.notes.copy()
        notes["program"][~notes["drum"]] = program
        tracks = tuple(t if t.drum else replace(t, program=program) for t in self.tracks)
        return replace(self, notes=notes, tracks=tracks)

    def with_tempo(self, bpm: float) -> Song:
        """Replace the tempo map by one tempo, in quarter notes a minute."""
        return replace(self, tempos=_events([(0, bpm)], TEMPO))


def bar_beats(meters: np.ndarray) -> np.ndarray:
    """How many beats a bar of each meter lasts.

    Bars shorter than SHORTEST_BAR are taken together: a hostile file could have a million.
    """
    lengths = meters["numerator"] * 4.0 / meters["denominator"]
    return lengths * np.ceil(SHORTEST_BAR / lengths)


def check_numbers(song: Song) -> None:
    """Raise MidiError for numbers that no reader gives: in a song that another program has written down."""
    notes, meters, keys = song.notes, song.meters, song.keys
    if any((notes[part] > 127).any() for part in ("pitch", "velocity", "program")) or (notes["onset"] < 0).any():
        raise MidiError("a note is out of range")
    times = (notes["duration"], song.tempos["bpm"], *(part["beat"] for part in (song.tempos, meters, keys)))
    if not all(np.isfinite(part).all() and (part >= 0).all() for part in times):
        raise MidiError("a time is no number")
    whole = meters["numerator"].all() and meters["denominator"].all()
    if not whole or (np.abs(keys["fifths"].astype(int)) > 7).any():
        raise MidiError("a meter or key is impossible")


def fingerprint(song: Song) -> str:
    """A short name for exactly these notes at this tempo on these instruments."""
    parts = (song.notes, song.tempos, song.meters)
    digest = hashlib.sha1(b"".join(part.tobytes() for part in parts) + repr(song.ticks_per_beat).encode())
    return digest.hexdigest()[:16]


def _in_order(notes: np.ndarray) -> bool:
    """Whether notes are sorted by onset, then pitch; looking costs less than sorting."""
    onset, pitch = notes["onset"], notes["pitch"]
    later = onset[1:] > onset[:-1]
    return bool((later | ((onset[1:] == onset[:-1]) & (pitch[1:] >= pitch[:-1]))).all())


def _from_zero(events: np.ndarray, default: tuple) -> np.ndarray:
    """Sort a map by beat, keep the last event of each beat, and let it start at beat 0."""
    events = events[np.argsort(events["beat"], kind="stable")]
    if len(events):
        events = events[np.append(events["beat"][1:] != events["beat"][:-1], True)]
    if not len(events) or events["beat"][0] > 0:
        events = np.concatenate([np.array([default], events.dtype), events])
    return events
