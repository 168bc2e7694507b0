"""Windows: split by song, never across songs, each frame a target exactly once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepmusician.errors import LibraryError
from deepmusician.notes import NOTE, Song
from deepmusician.roll import KEYS, pack
from deepmusician.rolls import Rolls, make_rolls
from deepmusician.windows import Windows, split_songs, transpose_windows


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


@pytest.mark.parametrize("styles", [None, np.zeros(10, int)])
def test_one_style_is_split_as_ever(styles):
    assert split_songs(10, 0.2, 3, styles)[1].tolist() == [6, 9]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.floats(0.01, 0.5), st.integers(0, 99))
def test_every_style_of_two_songs_or_more_is_learnt_and_judged(styles, fraction, seed):
    styles = np.array(styles)
    train, valid = split_songs(len(styles), fraction, seed, styles)
    assert sorted([*train, *valid]) == list(range(len(styles)))
    several = {s for s in range(4) if (styles == s).sum() > 1}
    assert set(styles[valid]) == several and set(styles[train]) == set(styles)


def sides(n, training=(), held=()):
    pinned = np.full(n, "", "U8")
    pinned[list(training)], pinned[list(held)] = "training", "held out"
    return pinned


def test_pinned_songs_stand_where_they_are_pinned_and_the_share_stays():
    assert split_songs(10, 0.2, 3)[1].tolist() == [6, 9]
    assert split_songs(10, 0.2, 3, sides=sides(10))[1].tolist() == [6, 9]
    assert split_songs(10, 0.2, 3, sides=sides(10, held=[0]))[1].tolist() in ([0, 6], [0, 9])
    assert split_songs(10, 0.2, 3, sides=sides(10, held=[0, 1, 2]))[1].tolist() == [0, 1, 2]
    train, valid = split_songs(10, 0.2, 3, sides=sides(10, training=[6, 9]))
    assert len(valid) == 2 and not {6, 9} & set(valid) and {6, 9} <= set(train)


def test_where_every_song_is_pinned_to_training_none_is_held_out():
    assert split_songs(3, 0.5, 0, sides=sides(3, training=[0, 1, 2]))[1].tolist() == []


def test_where_every_song_is_pinned_as_held_out_a_sentence_says_so():
    with pytest.raises(LibraryError, match="none is left to train on; let one go in the Library"):
        split_songs(2, 0.5, 0, sides=sides(2, held=[0, 1]))


@given(st.lists(st.sampled_from(["", "training", "held out"]), min_size=2, max_size=30), st.integers(0, 9))
def test_something_is_always_trained_on_and_pins_are_obeyed(pins, seed):
    pins = np.array([*pins, ""])
    train, valid = split_songs(len(pins), 0.3, seed, sides=pins)
    assert len(train) and sorted([*train, *valid]) == list(range(len(pins)))
    assert (pins[train] != "held out").all() and (pins[valid] != "training").all()


def test_copies_stand_on_one_side():
    kin = np.arange(10)
    kin[2] = 9
    assert split_songs(10, 0.2, 3, kin=kin)[1].tolist() == [2, 9]  # chance names 9 first, then 6
    kin[[2, 3]] = 9, 9
    held = split_songs(10, 0.2, 3, kin=kin)[1].tolist()
    assert len(held) == 2 and not {2, 3, 9} & set(held)  # three are more than the share
    assert split_songs(4, 0.25, 0, kin=np.zeros(4, int))[1].shape == (1,)  # nothing but copies: parted all the same
    assert sorted(split_songs(4, 0.25, 0, kin=np.array([0, 0, 1, 1]))[1].tolist()) in ([0, 1], [2, 3])


def test_copies_of_pinned_songs_follow_them_even_into_another_style():
    styles, kin = np.array([0, 0, 0, 0, 1, 1, 1, 1]), np.array([0, 1, 2, 3, 0, 5, 6, 7])
    train, valid = split_songs(8, 0.25, 0, styles, sides(8, held=[0]), kin)
    assert valid.tolist() == [0, 4]
    train, valid = split_songs(8, 0.25, 0, styles, sides(8, training=[0]), kin)
    assert {0, 4} <= set(train.tolist()) and len(valid) == 2
    assert split_songs(2, 0.5, 0, sides=sides(2, held=[0]), kin=np.zeros(2, int))[1].tolist() == [0]


@given(st.lists(st.integers(0, 6), min_size=2, max_size=30), st.floats(0.05, 0.5), st.integers(0, 9))
def test_something_is_learnt_and_something_judged_whatever_is_a_copy_of_what(kin, fraction, seed):
    train, valid = split_songs(len(kin), fraction, seed, kin=np.array(kin))
    assert len(train) and len(valid) and sorted([*train, *valid]) == list(range(len(kin)))
    if len(set(kin)) > 1:
        known = {kin[i] for i in train} & {kin[i] for i in valid}
        assert not known or min(kin.count(k) for k in set(kin)) > len(kin) // 2


def shares(balance, *lengths, epochs=40, seq_len=4, stride=4):
    """How often a frame of each song is a target, an epoch on average, and the windows of each epoch."""
    data = rolls(*lengths)
    windows = Windows(data, np.arange(len(lengths)), seq_len, stride, balance=balance)
    counts, sizes = np.zeros(len(lengths)), set()
    for seed in range(epochs):
        places = windows.places(np.random.default_rng(seed))
        counts += np.bincount(places[:, 0], minlength=len(lengths))
        sizes.add(len(places))
    return (counts / epochs).tolist(), sizes


def test_balance_shares_the_windows_among_the_songs_however_long():
    assert shares(0.0, 160, 16, 16) == ([40, 4, 4], {48})
    even, sizes = shares(1.0, 160, 16, 16)
    assert even == [16, 16, 16] and sizes == {48}
    half, _ = shares(0.5, 160, 16, 16)  # in proportion to the roots of 40, 4 and 4
    assert half == pytest.approx(
        [48 * 40**0.5 / (40**0.5 + 4), 48 * 2 / (40**0.5 + 4), 48 * 2 / (40**0.5 + 4)], abs=0.3
    )


def test_balance_goes_through_a_short_song_whole_before_any_window_comes_again():
    windows = Windows(rolls(160, 16, 16), np.arange(3), 4, 4, balance=1.0)
    places = windows.places(np.random.default_rng(0))
    short = places[places[:, 0] == 1]
    assert len(short) == 16
    assert sorted(np.maximum(short[:, 1], 0).tolist()) == sorted([0, 4, 8, 12] * 4)
    long = places[places[:, 0] == 0]
    assert len({int(begin) for begin in long[:, 1]}) == len(long)


def test_balance_leaves_windows_in_order_as_they_are():
    data = rolls(20, 4)
    plain, balanced = (Windows(data, np.arange(2), 4, 4, balance=b) for b in (0.0, 1.0))
    assert (plain.places() == balanced.places()).all()


def test_balance_of_songs_alike_loses_no_frame():
    windows = Windows(rolls(12, 12, 12), np.arange(3), 4, 4, balance=1.0)
    places = windows.places(np.random.default_rng(5))
    assert sorted(map(tuple, places.tolist())) == [(s, b) for s in range(3) for b in (0, 4, 8)]


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


def test_a_window_that_begins_before_its_song_is_the_shorter_one_from_the_first_frame_on():
    windows = Windows(rolls(12), np.array([0]), seq_len=4, stride=4)
    batch = windows.batch(np.array([[0, -1], [0, 3]]), np.zeros(2, int))
    assert batch.source[0].sum() == 0
    assert batch.mask.tolist() == [[True, True, True, False], [True] * 4]
    assert np.nonzero(batch.target[0][:, 20:].numpy())[1].tolist() == [0, 1, 2]
    assert np.nonzero(batch.target[1][:, 20:].numpy())[1].tolist() == [3, 4, 5, 6]
    assert batch.source[1, 0].sum() == 0  # before the song
    assert np.nonzero(batch.source[1][:, 20:].numpy())[1].tolist() == [0, 1, 2]
    assert batch.begin.tolist() == [0, 3]


def test_masked_frames_are_silent():
    batch = Windows(rolls(10), np.array([0]), 4, 4).batch(np.array([[0, -2], [0, 8]]), np.array([0, 3]))
    assert not batch.mask.all() and batch.target[~batch.mask].sum() == 0


@pytest.mark.parametrize(("source_len", "heard"), [(None, [2, 3, 4, 5]), (1, [5]), (6, [0, 1, 2, 3, 4, 5])])
def test_the_source_is_as_long_as_asked_and_the_target_stays(source_len, heard):
    windows = Windows(rolls(12), np.array([0]), 4, 4, source_len)
    batch = windows.batch(np.array([[0, 6]]), np.array([0]))
    assert np.nonzero(batch.source[0][:, 20:].numpy())[1].tolist() == heard
    assert np.nonzero(batch.target[0][:, 20:].numpy())[1].tolist() == [6, 7, 8, 9]


def test_all_planes_stand_in_a_window_with_velocities_up_to_one():
    notes = np.array([(0, 1, 60, 127, 0, 0, 0), (1, 1, 60, 64, 0, 0, 0)], NOTE)
    data = make_rolls([Song(notes)], "1/4", planes="velocity")
    (batch,) = Windows(data, np.array([0]), 2, 2).batches(1)
    assert batch.target.shape == (1, 2, 3 * KEYS)
    planes = batch.target[0].reshape(2, 3, KEYS)[:, :, 60 - 21]
    assert planes[0].tolist() == [1, 1, 1]
    assert planes[1].tolist() == pytest.approx([1, 1, 64 / 127])


def test_windows_say_of_which_style_they_are_where_there_are_several():
    songs = [Song.from_notes([(0, 1, 60)])] * 3
    plain, two = make_rolls(songs), make_rolls(songs, styles=np.array([0, 1, 1]), style_names=("a", "b"))
    places = np.array([[2, 0], [0, 0]])
    assert Windows(plain, np.arange(3), 4, 4).batch(places, np.zeros(2, int)).style is None
    style = Windows(two, np.arange(3), 4, 4).batch(places, np.zeros(2, int)).style
    assert style.tolist() == [[0, 1], [1, 0]] and style.is_floating_point()


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


def test_a_silent_window_stays_silent_wherever_it_is_moved():
    assert transpose_windows(np.zeros((1, 3, 88), np.uint8), np.array([5])).sum() == 0


@pytest.mark.parametrize("step", [-3, 4])
def test_all_planes_are_transposed_alike(step):
    song = Song.from_notes([(0, 1, 60), (1, 2, 64), (1, 1, 108)][: 3 if step < 0 else 2])
    frames = make_rolls([song], planes="velocity").frames(0)
    moved = make_rolls([song.transpose(step)], planes="velocity").frames(0)
    np.testing.assert_array_equal(transpose_windows(frames[None], np.array([step]))[0], moved)
