"""Splicing: what is outside a part stays as it was, note for note; what is new goes where it belongs."""

import numpy as np
import pytest

from deepmusician.errors import OptionError
from deepmusician.notes import METER, NOTE, Song, Track
from deepmusician.splice import follow, replace_part, span_of_bars


def song(*rows, tracks=1, **fields):
    """Rows of (onset, duration, pitch[, track[, program[, drum]]])."""
    full = [(on, dur, pitch, 70, *(rest + [0, 0, False][len(rest) :])) for on, dur, pitch, *rest in rows]
    notes = np.array([(on, dur, p, v, prog, drum, track) for on, dur, p, v, track, prog, drum in full], NOTE)
    return Song(notes, tracks=tuple(Track() for _ in range(tracks)), **fields)


def rows(of):
    return [(n["onset"], n["duration"], n["pitch"]) for n in of.notes]


def held(*pitches):
    return np.isin(np.arange(128), pitches)


def test_only_what_sounds_in_the_part_is_replaced():
    old = song((0, 1, 60), (1, 1, 62), (2, 1, 64), (3, 1, 65))
    new = replace_part(old, song((0, 2, 50)), 1, 3)
    assert rows(new) == [(0, 1, 60), (1, 2, 50), (3, 1, 65)]


def test_a_note_that_reaches_into_the_part_is_cut_and_its_end_beyond_stays():
    old = song((0, 8, 60))
    assert rows(replace_part(old, song((0, 1, 72)), 2, 4)) == [(0, 2, 60), (2, 1, 72), (4, 4, 60)]


def test_a_held_note_goes_on_into_the_part_and_out_of_it():
    old = song((0, 8, 60))
    assert rows(replace_part(old, song((0, 1, 60)), 2, 4, held(60))) == [(0, 3, 60), (4, 4, 60)]
    assert rows(replace_part(old, song((0, 2, 60)), 2, 4, held(60))) == [(0, 8, 60)]  # never interrupted
    assert rows(replace_part(old, song((0, 2, 60)), 2, 4)) == [(0, 2, 60), (2, 6, 60)]  # struck anew


def test_drums_stay():
    old = song((0, 1, 60), (1, 1, 36, 1, 0, True), (1, 1, 62), tracks=2)
    new = replace_part(old, song((0, 1, 70)), 1, 2)
    assert new.notes["drum"].sum() == 1 and rows(new) == [(0, 1, 60), (1, 1, 36), (1, 1, 70)]


def test_new_notes_take_the_track_instrument_and_loudness_of_the_voice_they_are_nearest_to():
    old = song((0, 4, 40, 0, 42), (0, 4, 76, 1, 40), (4, 4, 41, 0, 42), (4, 4, 77, 1, 40), tracks=2)
    new = replace_part(old, Song.from_notes([(0, 2, 45), (2, 2, 70)], velocity=9), 4, 8)
    assert new.notes[2:][["pitch", "track", "program", "velocity"]].tolist() == [(45, 0, 42, 70), (70, 1, 40, 70)]
    loud = replace_part(old, Song.from_notes([(0, 2, 45)], velocity=9), 4, 8, loud=True)
    assert loud.notes["velocity"].tolist() == [70, 70, 9]


def test_a_part_that_ends_before_it_begins_is_refused():
    with pytest.raises(OptionError, match="got 3 to 3"):
        replace_part(song((0, 1, 60)), song((0, 1, 60)), 3, 3)


def test_what_follows_leaves_the_song_as_it_is_and_takes_its_instrument():
    old = song((0, 1, 60, 0, 40), ticks_per_beat=96)
    new = follow(old, song((0, 1, 64), ticks_per_beat=480), 1)
    assert rows(new) == [(0, 1, 60), (1, 1, 64)]
    assert set(new.notes["program"]) == {40} and new.ticks_per_beat == 480 and new.tempo_bpm == old.tempo_bpm


def test_what_follows_may_have_a_tempo_and_an_instrument_of_its_own():
    new = follow(song((0, 1, 60, 0, 40)), song((0, 1, 64)), 1, tempo_bpm=60, program=73)
    assert new.notes["program"].tolist() == [40, 73] and [t.program for t in new.tracks] == [0, 73]
    assert new.tempos.tolist() == [(0, 120), (1, 60)]


def test_bars_are_counted_from_one_through_every_meter():
    tune = song((0, 13, 60), meters=np.array([(0, 3, 4), (6, 4, 4)], METER))
    assert span_of_bars(tune, 1, 1) == (0, 3) and span_of_bars(tune, 2, 3) == (3, 10)
    assert span_of_bars(tune, 4, 4) == (10, 14)  # the last bar is a whole one
    for first, last in ((0, 1), (3, 2), (1, 5)):
        with pytest.raises(OptionError, match="between 1 and 4"):
            span_of_bars(tune, first, last)
