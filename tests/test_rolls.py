"""Rolls: songs end to end with their planes and styles, from data sets and from roll files."""

import numpy as np
import pytest

from deepmusician.errors import LibraryError
from deepmusician.notes import NOTE, Song
from deepmusician.options import TrainOptions
from deepmusician.roll import KEYS, PLANES, frames_of, pack, parse_division, to_roll
from deepmusician.rolls import Rolls, make_rolls, read_npz, read_rolls, song_frames
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


# ---- roll files


@pytest.fixture
def file(tmp_path):
    frames = np.random.default_rng(0).random((12, KEYS)) < 0.1
    path = tmp_path / "set.npz"
    np.savez(path, train=pack(frames), train_lengths=[5, 7], valid=pack(frames[:3]), valid_lengths=[3])
    return path


def test_a_roll_file_holds_its_splits(file):
    train, valid = read_npz(file, "train"), read_npz(str(file), "valid")
    assert train.lengths.tolist() == [5, 7] and valid.lengths.tolist() == [3]
    assert isinstance(train, Rolls) and train.planes == "sounding"
    np.testing.assert_array_equal(train.sounding(0)[:3], valid.sounding(0))


def test_a_split_that_is_not_there_is_refused_with_those_there_are(file):
    with pytest.raises(LibraryError, match=r"set\.npz has no split called test; it has train, valid"):
        read_npz(file, "test")


@pytest.mark.parametrize(
    ("packed", "lengths", "reason"),
    [
        (np.zeros((4, 11), bool), [4], r"must be uint8 \[frames, 11\], 88 keys packed, got bool \[4, 11\]"),
        (np.zeros((4, 88), np.uint8), [4], r"got uint8 \[4, 88\]"),
        (np.zeros(4, np.uint8), [4], r"got uint8 \[4\]"),
        (np.zeros((4, 11), np.uint8), [4.0], "must be whole numbers, one a sequence, got float64"),
        (np.zeros((4, 11), np.uint8), [[4]], r"one a sequence, got int64 \[1, 1\]"),
        (np.zeros((0, 11), np.uint8), np.zeros(0, int), r"one a sequence, got int64 \[0\]"),
        (np.zeros((4, 11), np.uint8), [2, 3], "sum to its 4 frames, got 2 at least and a sum of 5"),
        (np.zeros((4, 11), np.uint8), [5, -1], "must be above 0 .* got -1 at least"),
    ],
)
def test_arrays_of_another_form_are_refused(tmp_path, packed, lengths, reason):
    np.savez(tmp_path / "odd.npz", valid=packed, valid_lengths=lengths)
    with pytest.raises(LibraryError, match=reason):
        read_npz(tmp_path / "odd.npz", "valid")


def test_pickled_arrays_are_never_loaded(tmp_path):
    np.savez(tmp_path / "odd.npz", valid=np.array([{"a": 1}], object), valid_lengths=[1])
    with pytest.raises(LibraryError, match=r"cannot be read as an \.npz file of rolls"):
        read_npz(tmp_path / "odd.npz", "valid")


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04", b"\x93NUMPY\x01\x00", b"\x80\x04N."])
def test_what_is_no_roll_file_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "odd.npz").write_bytes(content)
    with pytest.raises(LibraryError, match=r"odd\.npz cannot be read as an \.npz file of rolls .*; give another"):
        read_npz(tmp_path / "odd.npz", "valid")


def test_a_roll_file_with_any_byte_changed_is_read_or_refused(file):
    whole = file.read_bytes()
    rng = np.random.default_rng(1)
    for place in rng.choice(len(whole), 300, replace=False):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ int(rng.integers(1, 256))]) + whole[place + 1 :])
        try:
            assert len(read_npz(file, "train")) == 2
        except LibraryError as error:
            assert "set.npz" in str(error)


def test_a_roll_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(LibraryError, match="No such file"):
        read_npz(tmp_path / "none.npz", "valid")
