"""An on-screen keyboard: a few bars are played on it, by mouse, touch, letters or a MIDI keyboard, and become a song.

The component beside this file (keyboard.js, .html, .css) sounds, records and shows; it asks no outside host. What it
hands over comes from a browser, so it is checked here before it is believed. Knows nothing of what is done with the
song.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from deepmusician.errors import MidiError
from deepmusician.notes import NOTE, Song
from deepmusician.plurals import count

TICKS_PER_BEAT = 480
GRIDS = (0.0, 0.5, 0.25)  # beats; 0 keeps the times as they were played
LIMITS = {
    "tempo": (40, 240),  # beats a minute
    "bars": (1, 2, 4, 8, 16),
    "meters": (2, 3, 4, 6),  # quarter notes in a bar
    "pitch": (21, 108),  # the piano's 88 keys
    "notes": 2000,
}
_HERE = Path(__file__)
_show = st.components.v2.component(
    "deepmusician_keyboard",
    **{kind: _HERE.with_suffix(f".{kind}").read_text("utf-8") for kind in ("html", "css", "js")},
)


def keyboard(key: str) -> Song | None:
    """Show a keyboard and return what was played on it, at its tempo; None where there is nothing yet.

    What was played stays when another page was visited. `key` tells this keyboard from others.
    """
    place = f"{key}.take"  # the component's own state goes when another page is opened
    told = _show(
        key=key, data={"take": st.session_state.get(place), "limits": LIMITS}, on_take_change=lambda: None
    ).take
    if told is not None:
        played = song_of(told)  # what cannot be right is not remembered
        st.session_state[place] = told
        return played
    return song_of(st.session_state[place]) if place in st.session_state else None


def song_of(take: Any) -> Song | None:
    """The song of what the component tells, its notes on the chosen grid; None where it has no notes.

    `take` names tempo (beats a minute), bars, meter (beats in a bar), snap (beats, 0 for none) and notes as [onset,
    duration, pitch, velocity], times in beats. Raises MidiError for anything a keyboard cannot have played.
    """
    if not isinstance(take, Mapping):
        raise MidiError(f"what was played must be a table, got {type(take).__name__}; record it again")
    low, high = LIMITS["tempo"]
    tempo = _number(take.get("tempo"), "tempo", low, high)
    bars, meter, snap = (
        _one_of(take.get(name), name, choices)
        for name, choices in (("bars", LIMITS["bars"]), ("meter", LIMITS["meters"]), ("snap", GRIDS))
    )
    notes = take.get("notes")
    if not isinstance(notes, list) or len(notes) > LIMITS["notes"]:
        found = len(notes) if isinstance(notes, list) else "none"
        raise MidiError(f"at most {LIMITS['notes']:,} notes can be played, got {found}; record fewer bars")
    longest = max(LIMITS["bars"]) * meter  # fewer bars may have been chosen after they were played
    rows = [_note(note, longest, snap) for note in notes]
    if not rows:
        return None
    title = f"{count(bars, 'bar')} played"
    return Song(_one_a_stroke(rows), TICKS_PER_BEAT, meters=[(0, meter, 4)], title=title).with_tempo(tempo)


def _note(note: Any, longest: float, snap: float) -> tuple[float, float, int, int]:
    """Onset and duration in beats on the grid, pitch and velocity."""
    if not isinstance(note, list) or len(note) != 4:
        raise MidiError("a note played must be [onset, duration, pitch, velocity]; record it again")
    onset = _number(note[0], "the onset of a note", 0, longest)
    duration = _number(note[1], "the duration of a note", 0, longest)
    pitch = _number(note[2], "pitch", *LIMITS["pitch"])
    velocity = _number(note[3], "velocity", 1, 127)
    step = snap or 1 / TICKS_PER_BEAT
    onset, duration = floor(onset / step + 0.5) * step, max(floor(duration / step + 0.5), 1) * step
    return onset, duration, int(pitch), int(velocity)


def _one_a_stroke(rows: list[tuple[float, float, int, int]]) -> np.ndarray:
    """Notes as an array; of two on one key at one time, which the grid may make, the longer one."""
    longest = {(onset, pitch): (onset, duration, pitch, velocity) for onset, duration, pitch, velocity in sorted(rows)}
    return np.array([(*note, 0, False, 0) for note in longest.values()], NOTE)


def _number(value: Any, name: str, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise MidiError(f"{name} must be {low}..{high}, got {value!r}; record it again")
    return float(value)


def _one_of(value: Any, name: str, choices: tuple[float, ...]) -> Any:
    if isinstance(value, bool) or value not in choices:
        raise MidiError(f"{name} must be one of {', '.join(f'{c:g}' for c in choices)}, got {value!r}; record it again")
    return value
