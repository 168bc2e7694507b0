"""Rolls: songs end to end with their planes and styles, from data sets."""

import numpy as np
import pytest

from deepmusician.errors import LibraryError
from deepmusician.notes import NOTE, Song
from deepmusician.options import TrainOptions
from deepmusician.roll import KEYS, PLANES, frames_of, parse_division, to_roll
from deepmusician.rolls import make_rolls, read_rolls, song_frames
from deepmusician.store import DataSet, Entry

LOUD = np.array([(0, 0.5, 60, 30, 0, 0, 0), (0.5, 0.5, 60, 120, 0, 0, 0), (0, 1, 67, 64, 0, 0, 0)], NOTE)
OFF_KEYBOARD = Song.from_notes([(0, 1, 5)])


def data_set(name, *songs):
    return DataSet(name, tuple(Entry.of(f"{i}.mid", song) for i, song in enumerate(songs)))


def tune(pitch, beats=2):
    return Song.from_notes([(0, beats, pitch)])


# ---- songs on a grid


@pytest.mark.parametrize("planes", PLANES)
def test_songs_come_back_from_rolls_with_the_planes_asked_for(planes):
    songs = [tune(60), Song(LOUD), tune(70, 3)]
    rolls = make_rolls(songs, planes=planes)
    assert rolls.planes == planes and rolls.packed.shape[1] == 11
    for i, song in enumerate(songs):
        expected = frames_of(to_roll(song), planes)
        np.testing.assert_array_equal(rolls.frames(i), expected)
        np.testing.assert_array_equal(rolls.sounding(i), expected[:, :KEYS].astype(bool))


def test_songs_of_one_source_have_one_style():
    rolls = make_rolls([tune(60), tune(62)])
    assert rolls.styles.tolist() == [0, 0] and len(rolls.style_names) == 1


def test_some_songs_alone_keep_their_frames_and_styles():
    rolls = make_rolls(
        [tune(60), Song(LOUD), tune(70)], "1/16", "all", False, "velocity", np.array([0, 1, 0]), ("a", "b")
    )
    some = rolls.only(np.array([2, 1]))
    assert some.styles.tolist() == [0, 1] and some.style_names == ("a", "b")
    np.testing.assert_array_equal(some.frames(0), rolls.frames(2))
    np.testing.assert_array_equal(some.frames(1), rolls.frames(1))


def test_frequencies_are_shares_of_the_frames_of_the_songs_asked_for():
    both = Song.from_notes([(0, 1, 21), (0, 4, 22)])
    shares = make_rolls([tune(60), both], planes="velocity").frequencies([1])
    assert shares[:3].tolist() == [0.25, 1, 0] and shares.sum() == 1.25


def test_songs_outside_the_keyboard_are_an_error_in_words():
    with pytest.raises(LibraryError, match="no note of the music lies on the 88 keys"):
        make_rolls([OFF_KEYBOARD])


def test_melody_only_and_without_silence():
    song = Song.from_notes([(0, 1, 60), (0, 1, 72), (3, 1, 62)])
    (length,) = make_rolls([song], "1/4").lengths
    assert length == 4
    melody = make_rolls([song], "1/4", "melody", remove_zeros=True).sounding(0)
    assert [np.nonzero(f)[0].tolist() for f in melody] == [[72 - 21], [62 - 21]]


def test_one_key_at_most_sounds_in_a_frame_of_a_melody_and_is_struck_when_uncovered():
    grace = Song.from_notes([(0, 0.25, 72), (0.25, 1.75, 60)])  # both begin in the first crotchet
    frames = song_frames(grace, parse_division("1/4"), "melody", planes="onset")
    assert [np.nonzero(f)[0].tolist() for f in frames] == [[72 - 21, 88 + 72 - 21], [60 - 21, 88 + 60 - 21]]


# ---- data sets


def test_one_data_set_is_read_by_its_songs_names_and_the_unplayable_are_left_out():
    names, rolls = read_rolls(
        TrainOptions(planes="onset", skip=True), data_set("mine", tune(60), OFF_KEYBOARD, tune(62))
    )
    assert names == ("0.mid", "2.mid")
    assert rolls.planes == "onset" and rolls.lengths.tolist() == [8, 8] and rolls.style_names == ("mine",)
    assert rolls.sounding(1)[0, 62 - 21]


def test_several_data_sets_are_as_many_styles_and_their_songs_names_stay_apart():
    sources = [("high", data_set("x", tune(90), tune(91))), ("low", data_set("y", OFF_KEYBOARD, tune(30)))]
    names, rolls = read_rolls(TrainOptions(), sources)
    assert names == ("high/0.mid", "high/1.mid", "low/1.mid")
    assert rolls.style_names == ("high", "low") and rolls.styles.tolist() == [0, 0, 1]


def test_a_style_without_a_playable_note_is_refused():
    sources = [("some", data_set("x", tune(60))), ("none", data_set("y", OFF_KEYBOARD))]
    with pytest.raises(LibraryError, match="no note of none lies on the 88 keys"):
        read_rolls(TrainOptions(), sources)


def test_sources_named_in_the_options_are_read(midi_folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (midi_folder / "tune-0.mid").rename(other / "tune-0.mid")
    names, rolls = read_rolls(TrainOptions(path=f"{midi_folder}|{other}"))
    assert rolls.style_names == ("my-midi", "other")
    assert names[-1] == "other/tune-0.mid" and rolls.styles.tolist() == [0, 0, 0, 0, 0, 1]
