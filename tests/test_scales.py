"""Scales and keys: which keys a scale holds, and which key some notes are in."""

import pytest

from deepmusician.errors import OptionError
from deepmusician.notes import Song
from deepmusician.roll import LOWEST
from deepmusician.scales import SCALES, allowed_keys, find_key, find_scale, parse_scale, share_in_scale


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("C major", {0, 2, 4, 5, 7, 9, 11}),
        ("a minor", {9, 11, 0, 2, 4, 5, 7}),
        ("F# minor", {6, 8, 9, 11, 1, 2, 4}),
        ("F♯ minor", {6, 8, 9, 11, 1, 2, 4}),
        ("Bb  Major pentatonic", {10, 0, 2, 5, 7}),
        ("D dorian", {2, 4, 5, 7, 9, 11, 0}),
        ("Cb major", {11, 1, 3, 4, 6, 8, 10}),
    ],
)
def test_a_scale_is_read_as_people_write_it(text, classes):
    assert parse_scale(text) == classes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("H major", "begins with its tonic"),
        ("C", "is one of major, minor"),
        ("C majors", "got 'C majors'"),
        ("", "C, F#"),
    ],
)
def test_what_is_no_scale_is_refused_with_an_example(text, message):
    with pytest.raises(OptionError, match=message):
        parse_scale(text)


def test_allowed_keys_are_those_of_the_scale_on_the_whole_keyboard():
    keys = allowed_keys("C major")
    assert len(keys) == 88 and keys.sum() == 52  # the white keys of a piano
    assert keys[60 - LOWEST] and not keys[61 - LOWEST]


def tune(*pitches):
    return Song.from_notes([(i, 1, pitch) for i, pitch in enumerate(pitches)])


def test_the_key_is_found_by_ear():
    assert find_key(tune(62, 64, 66, 67, 69, 71, 73, 74, 69, 66, 62)) == (2, "major")
    assert find_key(Song.from_notes([])) is None


def test_the_scale_to_keep_to_has_the_raised_degrees_where_the_song_has_them():
    natural = (57, 59, 60, 62, 64, 65, 67, 69, 64, 60, 57)
    assert find_scale(tune(*natural)) == "A minor"
    assert find_scale(tune(*natural, 68, 69, 68, 69)) == "A melodic minor"
    assert parse_scale("A minor") < parse_scale("A melodic minor")


def test_share_in_scale_counts_beats_not_notes():
    song = Song.from_notes([(0, 3, 60), (3, 1, 61)])
    assert share_in_scale(song, "C major") == 0.75


def test_no_scale_repeats_or_leaves_its_octave():
    for steps in SCALES.values():
        assert len(set(steps)) == len(steps) and set(steps) <= set(range(12)) and steps[0] == 0
