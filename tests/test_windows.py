"""Windows: split by song, never across songs, each frame a target exactly once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepmusician.errors import LibraryError
from deepmusician.notes import Song
from deepmusician.roll import pack
from deepmusician.windows import Rolls, Windows, make_rolls, split_songs, transpose_windows


def rolls(*lengths: int) -> Rolls:
    """Song s, frame t sounds key s and key 20 + t % 60, so every frame tells where it is from."""
    songs = []
    for s, length in enumerate(lengths):
        roll = np.zeros((length, 88), bool)
        roll[:, s] = True
        roll[np.arange(length), 20 + np.arange(length) % 60] = True
        songs.append(pack(roll))
    return Rolls(np.concatenate(songs), np.array(lengths))


@given(st.integers(1, 60), st.floats(0.01, 0.5), st.integers(0, 99))
def test_no_song_is_on_both_sides_and_none_is_lost(n, fraction, seed):
    train, valid = split_songs(n, fraction, seed)
    assert sorted([*train, *valid]) == list(range(n))
    assert len(train) >= 1
    assert len(valid) >= 1 or n == 1


@pytest.mark.parametrize("n", [2, 3, 5])
def test_a_few_files_still_hold_one_out(n):
    train, valid = split_songs(n, 0.1, 0)
    assert len(valid) == 1 and not set(train) & set(valid)


def test_every_frame_is_a_target_exactly_once_the_first_included():
    data = rolls(10, 7, 1)
    seen = []
    for batch in Windows(data, np.arange(3), seq_len=4, stride=4).batches(2):
        for target, mask in zip(batch.target, batch.mask, strict=True):
            seen += [tuple(np.nonzero(frame.numpy())[0]) for frame in target[mask]]
    assert sorted(seen) == sorted((s, 20 + t) for s, n in enumerate([10, 7, 1]) for t in range(n))


def test_a_window_never_reaches_into_another_song():
    data = rolls(10, 7, 5)
    for batch in Windows(data, np.arange(3), seq_len=4, stride=3).batches(4):
        for source, target in zip(batch.source, batch.target, strict=True):
            songs = np.nonzero(np.concatenate([source, target])[:, :20].any(0))[0]
            assert len(songs) == 1


def test_the_source_is_what_comes_before_the_target():
    data = rolls(12)
    windows = Windows(data, np.array([0]), seq_len=4, stride=4)
    batch = windows.batch(np.array([[0, 4]]), np.array([0]))
    assert np.nonzero(batch.source[0][:, 20:].numpy())[1].tolist() == [0, 1, 2, 3]
    assert np.nonzero(batch.target[0][:, 20:].numpy())[1].tolist() == [4, 5, 6, 7]


def test_the_first_source_is_silence():
    batch = next(Windows(rolls(12), np.array([0]), 4, 4).batches(1))
    assert batch.source.sum() == 0 and batch.mask.all()


def test_shuffled_and_shifted_windows_lose_no_frame():
    data = rolls(30, 17)
    windows = Windows(data, np.arange(2), seq_len=5, stride=5)
    for seed in range(20):
        places = windows.places(np.random.default_rng(seed))
        batch = windows.batch(places, np.zeros(len(places), int))
        assert int(batch.mask.sum()) == 47


def test_shifting_adds_no_window_and_makes_use_of_the_last_ones_room():
    windows = Windows(rolls(10, 12), np.arange(2), seq_len=4, stride=4)
    shifted = [windows.places(np.random.default_rng(seed)) for seed in range(50)]
    assert {len(places) for places in shifted} == {len(windows.places())} == {6}
    firsts = [{int(p[p[:, 0] == song, 1].min()) for p in shifted} for song in (0, 1)]
    assert firsts == [{-2, -1, 0}, {0}]


def test_the_same_seed_gives_the_same_windows():
    windows = Windows(rolls(30, 17), np.arange(2), 5, 5)
    first, second = (windows.places(np.random.default_rng(3)) for _ in range(2))
    assert (first == second).all()
    assert not np.array_equal(first, windows.places(np.random.default_rng(4)))


def test_stride_one_takes_every_frame_as_a_start():
    assert len(Windows(rolls(30), np.array([0]), 5, 1).places()) == 30


def test_transposing_windows_stops_at_the_end_of_the_keyboard():
    window = np.zeros((2, 3, 88), np.uint8)
    window[0, :, 85] = 1
    window[1, :, 40] = 1
    moved = transpose_windows(window, np.array([5, -5]))
    assert np.nonzero(moved[0, 0])[0].tolist() == [87]
    assert np.nonzero(moved[1, 0])[0].tolist() == [35]


def test_frequencies_are_shares_of_the_frames_of_the_songs_asked_for():
    shares = rolls(10, 30).frequencies([1])
    assert shares[1] == 1.0 and shares[0] == 0.0 and shares[20] == pytest.approx(1 / 30)


def test_songs_outside_the_keyboard_are_an_error_in_words():
    with pytest.raises(LibraryError, match="no note of the music lies on the 88 keys"):
        make_rolls([Song.from_notes([(0, 1, 5)])])


def test_melody_only_and_without_silence():
    song = Song.from_notes([(0, 1, 60), (0, 1, 72), (3, 1, 62)])
    (length,) = make_rolls([song], "1/4").lengths
    assert length == 4
    melody = make_rolls([song], "1/4", "melody", remove_zeros=True).sounding(0)
    assert [np.nonzero(f)[0].tolist() for f in melody] == [[72 - 21], [62 - 21]]
