"""A piece at a glance: key, tempo, meter, range, density and polyphony of the notes a model learns from.

Learnt is what has one of the 88 keys: no drums, nothing below A0 or above C8. Knows nothing of files or data sets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deepmusician.notes import Song, bar_beats
from deepmusician.roll import playable
from deepmusician.scales import TONICS, find_key

FRAMES_PER_BEAT = 4  # of 1/16, on which frames are counted here
PASSING = 0.05  # a meter that holds for less of the song is an upbeat or a passing bar
_FIFTHS = ["C♭", "G♭", "D♭", "A♭", "E♭", "B♭", "F", "C", "G", "D", "A", "E", "B", "F♯", "C♯", "G♯", "D♯", "A♯"]


@dataclass(frozen=True)
class Glance:
    """What a song is, in numbers and words; pitches are MIDI's, None where nothing is learnt."""

    notes: int  # learnt
    lost: int  # with a pitch, but off the keyboard
    drums: int
    tracks: int  # with a note that is learnt
    bars: int
    minutes: float
    frames: int  # of 1/16, up to the last learnt note's end
    key: str
    tempo_bpm: float
    meter: str
    low: int | None
    high: int | None
    density: float  # notes a beat
    polyphony: float  # notes at once, on average while any sounds
    classes: tuple[float, ...]  # beats for which each pitch class sounds, from C on


def glance(song: Song) -> Glance:
    """Look at a song."""
    learnt = playable(song.notes)
    notes, drums = song.notes[learnt], int(song.notes["drum"].sum())
    end = float((notes["onset"] + notes["duration"]).max()) if len(notes) else 0.0
    return Glance(
        len(notes), len(learnt) - len(notes) - drums, drums, len(np.unique(notes["track"])), bar_count(song, end),
        float(song.seconds_at(end)) / 60, int(np.ceil(end * FRAMES_PER_BEAT - 1e-6)), key_name(song), song.tempo_bpm,
        meter_name(song), int(notes["pitch"].min()) if len(notes) else None,
        int(notes["pitch"].max()) if len(notes) else None, len(notes) / end if end else 0.0, polyphony(notes),
        tuple(pitch_classes(song).tolist()),
    )  # fmt: skip


def key_name(song: Song) -> str:
    """The key the file names first, else the likeliest by ear ("≈ D minor"); empty where nothing sounds."""
    if len(song.keys):
        return signature_name(int(song.keys["fifths"][0]), bool(song.keys["minor"][0]))
    found = find_key(song)
    return f"≈ {TONICS[found[0]]} {found[1]}" if found else ""


def signature_name(fifths: int, minor: bool) -> str:
    """The key of a signature of so many sharps, or flats below 0."""
    return f"{_FIFTHS[fifths + 7 + 3 * minor]} {'minor' if minor else 'major'}"  # C minor has E♭'s signature


def meter_name(song: Song) -> str:
    """The meter of most of the song, and whether it changes for more than a bar or two: "3/4", "4/4, changing"."""
    return usual_meter(song.meters, song.beats)


def usual_meter(meters: np.ndarray, beats: float) -> str:
    """As `meter_name`, of a map of meters in a song of so many beats."""
    names = [f"{numerator}/{denominator}" for _, numerator, denominator in meters.tolist()]
    if len(names) == 1:
        return names[0]
    ends = np.append(meters["beat"][1:], max(beats, float(meters["beat"][-1])))
    spans = dict.fromkeys(names, 0.0)
    for name, span in zip(names, ends - meters["beat"], strict=True):
        spans[name] += float(span)
    used = [name for name, span in spans.items() if span > PASSING * sum(spans.values())] or names[:1]
    return max(used, key=spans.__getitem__) + (", changing" if len(used) > 1 else "")


def bar_count(song: Song, end: float) -> int:
    """How many bars begin before beat `end`; a new meter begins a new bar."""
    begins = song.meters["beat"]
    ends = np.minimum(np.append(begins[1:], np.inf), end)
    return int(np.ceil(np.maximum(ends - begins, 0) / bar_beats(song.meters) - 1e-9).sum())


def polyphony(notes: np.ndarray) -> float:
    """Notes that sound at once, on average over the time in which any does; 0 for none."""
    if not len(notes):
        return 0.0
    ends = np.maximum.accumulate(notes["onset"] + notes["duration"])  # notes come in order of their onsets
    gaps = np.maximum(notes["onset"][1:] - ends[:-1], 0).sum()
    return float(notes["duration"].sum() / (ends[-1] - notes["onset"][0] - gaps))


def pitch_classes(song: Song) -> np.ndarray:
    """Beats for which each pitch class sounds, from C on, float [12]; drums have none."""
    pitched = song.notes[~song.notes["drum"]]
    return np.bincount(pitched["pitch"] % 12, weights=pitched["duration"], minlength=12)


def density_over_time(song: Song, most: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Notes a beat along the song, in at most `most` stretches of whole bars of its first meter: the beats at which the
    stretches begin and end [K + 1], and their densities [K]."""
    notes = song.notes[playable(song.notes)]
    bar = float(bar_beats(song.meters[:1])[0])
    bars = max(int(np.ceil(song.beats / bar - 1e-9)), 1)
    edges = np.arange(0, bars + (step := -(-bars // most)), step) * bar
    counts, _ = np.histogram(notes["onset"], edges)
    return edges, counts / (step * bar)
