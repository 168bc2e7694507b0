"""Splicing: new notes after a song or in the place of a part of it, all else kept as it is.

What lies outside the part sounds exactly as before. A note that reaches into the part is cut where the part begins, or
ends, unless the new notes hold it. New notes go to the track whose notes around them are nearest in pitch, on its
instrument. Drums stay. Times are in beats. Knows nothing of models.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf, lcm

import numpy as np

from deepmusician.errors import OptionError
from deepmusician.notes import NOTE, TEMPO, Song, Track

NEAR_BEATS = 16.0  # notes that far from a part tell which voices play there
MOST_TICKS = 32_767  # a beat, in MIDI
_SAME = 1e-6  # beats, a small part of a tick


def replace_part(
    song: Song, new: Song, start: float, end: float, held: np.ndarray | None = None, loud: bool = False
) -> Song:
    """`song` with `new`, whose times count from `start`, in the place of what sounds from `start` to `end`.

    `held` bool [128] are the pitches that `new` begins with by holding rather than striking them. The new notes are as
    loud as those around, unless `loud`: then they keep their velocities. Raises OptionError for an empty part.
    """
    if not 0 <= start < end:
        raise OptionError(f"a part must end after it begins, from beat 0 on, got {start:g} to {end:g}; choose another")
    old, stop = song.notes, song.notes["onset"] + song.notes["duration"]
    gone = ~old["drum"] & (old["onset"] < end - _SAME) & (stop > start + _SAME)
    heads, tails = old[gone & (old["onset"] < start - _SAME)], old[gone & (stop > end + _SAME)]
    heads["duration"] = start - heads["onset"]
    tails["duration"] += tails["onset"] - end
    tails["onset"] = end
    notes = new.notes.copy()
    notes["onset"] += start
    notes = _voiced(notes, song, start, end, loud)
    notes, heads = _held_on(notes, heads, start, held)
    notes, heads, tails = _hold_into(notes, heads, tails, end)
    return _with_notes(song, new, np.concatenate([old[~gone], heads, notes, tails]))


def follow(song: Song, new: Song, at: float, tempo_bpm: float | None = None, program: int | None = None) -> Song:
    """`song` as it is, then `new`, whose times count from beat `at`.

    It goes on in the song's last tempo and on its instruments, unless others are named.
    """
    notes = new.notes.copy()
    notes["onset"] += at
    tracks, tempos = song.tracks, song.tempos
    if program is None:
        notes = _voiced(notes, song, at, inf, False)
    else:
        notes["program"], notes["track"] = program, len(tracks)
        tracks = (*tracks, Track(program=program))
    if tempo_bpm is not None:
        tempos = np.append(tempos[tempos["beat"] < at], np.array([(at, tempo_bpm)], TEMPO))
    joined = replace(song, tracks=tracks, tempos=tempos)
    return _with_notes(joined, new, np.concatenate([song.notes, notes]))


def span_of_bars(song: Song, first: int, last: int) -> tuple[float, float]:
    """Where bars `first` to `last` begin and end, in beats; 1 is the first bar. Raises OptionError."""
    starts = song.bar_starts()
    if not 1 <= first <= last <= len(starts):
        raise OptionError(f"bars must lie between 1 and {len(starts)}, got {first} to {last}; the song has no others")
    if last < len(starts):
        return float(starts[first - 1]), float(starts[last])
    meter = song.meters[np.searchsorted(song.meters["beat"], starts[-1] + 1e-9, side="right") - 1]
    return float(starts[first - 1]), float(starts[-1] + 4 * meter["numerator"] / meter["denominator"])


def _voiced(notes: np.ndarray, song: Song, start: float, end: float, loud: bool) -> np.ndarray:
    """New notes [N] on the tracks of the song: each on that whose notes around are nearest in pitch."""
    pitched = song.notes[~song.notes["drum"]]
    if not len(pitched):
        melodic = [i for i, track in enumerate(song.tracks) if not track.drum]
        notes["track"] = melodic[0] if melodic else 0
        return notes
    stop = pitched["onset"] + pitched["duration"]
    around = pitched[(pitched["onset"] < end + NEAR_BEATS) & (stop > start - NEAR_BEATS)]
    around = around if len(around) else pitched
    tracks = np.unique(around["track"])
    voices = [around[around["track"] == track] for track in tracks]
    middle = np.array([np.median(voice["pitch"]) for voice in voices])
    place = np.abs(notes["pitch"].astype(float)[:, None] - middle).argmin(1)
    notes["track"] = tracks[place]
    notes["program"] = np.array([np.bincount(voice["program"]).argmax() for voice in voices])[place]
    if not loud:
        notes["velocity"] = np.array([round(float(np.median(voice["velocity"]))) for voice in voices])[place]
    return notes


def _held_on(
    notes: np.ndarray, heads: np.ndarray, start: float, held: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Let notes that were cut at `start` sound on where the new ones hold them."""
    used = np.zeros(len(notes), bool)
    for head in heads if held is not None else ():
        at = np.flatnonzero(~used & (notes["pitch"] == head["pitch"]) & (notes["onset"] < start + _SAME))
        if held[head["pitch"]] and len(at):
            head["duration"] += notes["duration"][at[0]]
            used[at[0]] = True
    return notes[~used], heads


def _hold_into(
    notes: np.ndarray, heads: np.ndarray, tails: np.ndarray, end: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Let the new notes, and those held on, sound into what was cut off at `end`."""
    used = np.zeros(len(tails), bool)
    for group in (heads, notes):
        for note in group:
            reaches = abs(note["onset"] + note["duration"] - end) < _SAME
            at = np.flatnonzero(~used & (tails["pitch"] == note["pitch"])) if reaches else ()
            if len(at):
                for name in ("velocity", "track", "program"):  # outside it sounds as before
                    note[name] = tails[name][at[0]]
                note["duration"] += tails["duration"][at[0]]
                used[at[0]] = True
    return notes, heads, tails[~used]


def _with_notes(song: Song, new: Song, notes: np.ndarray) -> Song:
    ticks = lcm(song.ticks_per_beat, new.ticks_per_beat)  # both songs' times are whole numbers of these
    ticks = ticks if ticks <= MOST_TICKS else song.ticks_per_beat
    return replace(song, notes=np.asarray(notes, NOTE), ticks_per_beat=ticks)
