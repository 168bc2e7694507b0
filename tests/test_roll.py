import time
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepmusician.errors import MidiError, OptionError
from deepmusician.notes import NOTE, Song
from deepmusician.roll import (
    KEYS,
    PLANES,
    Roll,
    drop_silence,
    frames_of,
    from_roll,
    off_keyboard,
    pack,
    parse_division,
    roll_from_frames,
    skyline,
    to_roll,
    top_note,
    transpose_roll,
    unpack,
)

CROTCHET, SEMIQUAVER, TRIPLET = Fraction(1, 4), Fraction(1, 16), Fraction(1, 24)


def column(roll, pitch):
    """Readable: one character a frame, `#` struck, `-` held, `.` silent."""
    k = pitch - 21
    pairs = zip(roll.sounding[:, k], roll.onset[:, k], strict=True)
    return "".join("#" if on else "-" if sounds else "." for sounds, on in pairs)


def rows(song):
    return [(n["onset"], n["duration"], int(n["pitch"])) for n in song.notes]


# ---- the grid


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1/16", SEMIQUAVER), ("1/24", TRIPLET), ("0.25", CROTCHET), ("1", Fraction(1)), (CROTCHET, CROTCHET)],
)
def test_division_is_read_as_a_part_of_a_whole_note(text, expected):
    assert parse_division(text) == expected


@pytest.mark.parametrize("text", ["", "quaver", "1/0", "0", "-1/4", "16", "1/1000", "nan", "inf", None])
def test_nonsense_division_is_refused_with_an_example(text):
    with pytest.raises(OptionError, match=r"division must .*1/16"):
        parse_division(text)


def test_frames_per_beat_follow_the_division():
    song = Song.from_notes([(0, 1, 60)])
    assert to_roll(song, SEMIQUAVER).frames_per_beat == 4
    assert to_roll(song, TRIPLET).frames_per_beat == 6
    assert to_roll(song, Fraction(1, 2)).frames_per_beat == Fraction(1, 2)


# ---- Song to Roll


def test_held_note_is_struck_once_and_fills_its_frames():
    roll = to_roll(Song.from_notes([(0.5, 1, 60)]))
    assert column(roll, 60) == "..#---"
    assert roll.sounding.sum() == 4


def test_lowest_and_highest_key_are_the_outer_columns():
    roll = to_roll(Song.from_notes([(0, 1, 21), (0, 1, 108)]), CROTCHET)
    assert np.flatnonzero(roll.sounding[0]).tolist() == [0, 87]


def test_onset_goes_to_the_nearest_frame_not_the_one_before():
    early, late = Song.from_notes([(0.99, 1, 60)]), Song.from_notes([(1.01, 1, 60)])
    assert column(to_roll(early, CROTCHET), 60) == column(to_roll(late, CROTCHET), 60) == ".#"


def test_half_a_frame_always_rounds_upwards():
    roll = to_roll(Song.from_notes([(0.5, 1, 60), (1.5, 1, 62)]), CROTCHET)
    assert column(roll, 60) == ".#."
    assert column(roll, 62) == "..#"


def test_note_much_shorter_than_a_frame_keeps_one_frame():
    assert column(to_roll(Song.from_notes([(1, 0.001, 60)]), CROTCHET), 60) == ".#"


def test_end_goes_to_the_nearest_frame():
    assert column(to_roll(Song.from_notes([(0, 1.2, 60)])), 60) == "#----"


def test_triplets_fall_on_the_triplet_grid():
    roll = to_roll(Song.from_notes([(i / 3, 1 / 3, 60 + i) for i in range(3)]), Fraction(1, 12))
    assert [column(roll, 60 + i) for i in range(3)] == ["#..", ".#.", "..#"]


def test_repeated_note_keeps_its_own_onset():
    assert column(to_roll(Song.from_notes([(0, 1, 60), (1, 1, 60)])), 60) == "#---#---"


def test_key_struck_while_it_sounds_keeps_both_onsets_and_the_later_end():
    assert column(to_roll(Song.from_notes([(0, 2, 60), (0.5, 0.5, 60)])), 60) == "#-#-----"


def test_strokes_in_one_frame_become_the_loudest():
    notes = np.array([(0, 1, 60, 30, 0, 0, 0), (0.01, 0.5, 60, 90, 0, 0, 0), (0.02, 1, 60, 50, 0, 0, 0)], NOTE)
    roll = to_roll(Song(notes))
    assert column(roll, 60) == "#---"
    assert roll.velocity[:, 39].tolist() == [90] * 4


def test_velocity_is_that_of_the_last_stroke():
    notes = np.array([(0, 0.5, 60, 30, 0, 0, 0), (0.5, 0.5, 60, 127, 0, 0, 0)], NOTE)
    assert to_roll(Song(notes)).velocity[:, 39].tolist() == [30, 30, 127, 127]


def test_drums_are_left_out():
    notes = np.array([(0, 1, 60, 80, 0, False, 0), (0, 9, 36, 80, 0, True, 0)], NOTE)
    assert np.flatnonzero(to_roll(Song(notes)).sounding.any(axis=0)).tolist() == [39]
    assert off_keyboard(Song(notes)) == 0


def test_notes_off_the_keyboard_are_left_out_and_counted():
    song = Song.from_notes([(0, 1, 20), (0, 1, 21), (0, 1, 108), (0, 9, 109)])
    assert to_roll(song).sounding.shape == (4, KEYS)
    assert off_keyboard(song) == 2


def test_song_without_notes_is_a_roll_of_no_frames_and_back():
    roll = to_roll(Song.from_notes([]))
    assert len(roll) == 0
    assert len(from_roll(roll)) == 0


def test_absurdly_long_song_is_refused_before_memory_is_asked_for():
    with pytest.raises(MidiError, match="20,000 beats, got 1,000,000,000"):
        to_roll(Song.from_notes([(0, 1e9, 60)]))


def test_note_before_the_start_is_refused():
    with pytest.raises(MidiError, match="before beat 0, got -1"):
        to_roll(Song.from_notes([(-1, 2, 60)]))


def test_many_overlapping_long_notes_do_not_multiply_the_work():
    song = Song.from_notes([(i / 100, 10_000, 60) for i in range(20_000)])
    began = time.perf_counter()
    assert len(to_roll(song)) == 40_800
    assert time.perf_counter() - began < 5  # note by note, 20,000 × 40,000 cells


# ---- Roll to Song and the round trip


@st.composite
def songs_on_a_grid(draw):
    """Notes that do not overlap on a key: gaps of 0 frames are repeated notes."""
    division = draw(st.sampled_from([Fraction(1, n) for n in (1, 2, 4, 12, 16, 20, 24, 28, 96)] + [Fraction(3, 16)]))
    notes = []
    for pitch in draw(st.sets(st.integers(21, 108), max_size=6)):
        frame = 0
        for gap, length, velocity in draw(
            st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9), st.integers(1, 127)), max_size=6)
        ):
            beats = [float(Fraction(f) * division * 4) for f in (frame + gap, length)]
            notes.append((*beats, pitch, velocity, 0, False, 0))
            frame += gap + length
    return Song(np.array(notes, NOTE)), division


@settings(max_examples=200, deadline=None)
@given(songs_on_a_grid())
def test_every_note_on_the_grid_survives_the_round_trip(case):
    song, division = case
    back = from_roll(to_roll(song, division))
    np.testing.assert_array_equal(back.notes, song.notes)


@settings(max_examples=50, deadline=None)
@given(songs_on_a_grid())
def test_onsets_and_ends_off_a_roll_are_whole_ticks(case):
    song = from_roll(to_roll(*case))
    ticks = song.notes["onset"] * song.ticks_per_beat
    np.testing.assert_allclose(ticks, np.rint(ticks), atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(songs_on_a_grid())
def test_roll_of_a_roll_is_the_same_roll(case):
    once = to_roll(*case)
    twice = to_roll(from_roll(once), once.division)
    for plane in ("sounding", "onset", "velocity"):
        np.testing.assert_array_equal(getattr(once, plane), getattr(twice, plane))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 40), st.floats(0.01, 8), st.integers(21, 108), st.integers(1, 127)),
        max_size=30,
    )
)
def test_any_song_sounds_where_a_plain_loop_says(rows):
    notes = np.array([(on, dur, pitch, vel, 0, False, 0) for on, dur, pitch, vel in rows], NOTE)
    roll = to_roll(Song(notes))
    expected = np.zeros((len(roll), KEYS), bool)
    struck = np.zeros_like(expected)
    for on, dur, pitch, _ in rows:
        start = int(on * 4 + 0.5 + 1e-9)
        expected[start : max(int((on + dur) * 4 + 0.5 + 1e-9), start + 1), pitch - 21] = True
        struck[start, pitch - 21] = True
    np.testing.assert_array_equal(roll.sounding, expected)
    np.testing.assert_array_equal(roll.onset, struck)
    np.testing.assert_array_equal(roll.velocity > 0, expected)


def test_tempo_and_instrument_are_chosen_on_the_way_back():
    song = from_roll(to_roll(Song.from_notes([(0, 1, 60)])), tempo_bpm=90, program=40)
    assert song.tempo_bpm == 90
    assert song.notes["program"].tolist() == [40]
    assert song.tracks[0].program == 40


def test_run_without_an_onset_still_becomes_a_note():
    sounding = np.zeros((4, KEYS), bool)
    sounding[1:3, 39] = True
    roll = Roll(sounding, np.zeros_like(sounding), np.zeros((4, KEYS), np.uint8), CROTCHET)
    song = from_roll(roll)
    assert rows(song) == [(1, 2, 60)]
    assert song.notes["velocity"].tolist() == [80]


def test_onset_on_a_silent_key_makes_no_note():
    onset = np.ones((4, KEYS), bool)
    roll = Roll(np.zeros_like(onset), onset, np.zeros((4, KEYS), np.uint8))
    assert len(from_roll(roll)) == 0


def test_unbroken_run_is_one_held_note():
    sounding = np.zeros((6, KEYS), bool)
    sounding[[0, 1, 3, 4, 5], 39] = True
    roll = roll_from_frames(sounding, CROTCHET)
    assert column(roll, 60) == "#-.#--"
    assert rows(from_roll(roll)) == [(0, 2, 60), (3, 3, 60)]


def test_planes_of_the_wrong_shape_are_refused():
    plane = np.zeros((4, 128), bool)
    with pytest.raises(MidiError, match=r"\[frames, 88\]"):
        Roll(plane, plane, plane.astype(np.uint8))


# ---- Roll to frames and back


@settings(max_examples=100, deadline=None)
@given(songs_on_a_grid())
def test_a_roll_comes_back_from_frames_that_hold_all_planes(case):
    roll = to_roll(*case)
    frames = frames_of(roll, "velocity")
    assert frames.shape == (len(roll), 3 * KEYS) and frames.dtype == np.uint8
    back = roll_from_frames(frames, roll.division)
    for plane in ("sounding", "onset", "velocity"):
        np.testing.assert_array_equal(getattr(back, plane), getattr(roll, plane))
    assert back.division == roll.division


@pytest.mark.parametrize("planes", PLANES)
def test_each_choice_of_planes_begins_with_those_before_it(planes):
    roll = to_roll(Song.from_notes([(0, 1, 60), (1, 1, 60), (0, 2, 64)]))
    frames = frames_of(roll, planes)
    assert frames.shape[1] == KEYS * (PLANES.index(planes) + 1)
    np.testing.assert_array_equal(frames, frames_of(roll, "velocity")[:, : frames.shape[1]])


@pytest.mark.parametrize(("planes", "notes"), [("sounding", "#-------"), ("onset", "#---#---")])
def test_only_the_onset_plane_tells_a_repeated_note_from_a_held_one(planes, notes):
    roll = to_roll(Song.from_notes([(0, 1, 60), (1, 1, 60)]))
    assert column(roll_from_frames(frames_of(roll, planes)), 60) == notes


@pytest.mark.parametrize(("planes", "velocities"), [("onset", [80, 80]), ("velocity", [30, 127])])
def test_only_the_velocity_plane_tells_how_hard_a_note_is_struck(planes, velocities):
    notes = np.array([(0, 0.5, 60, 30, 0, 0, 0), (0.5, 0.5, 60, 127, 0, 0, 0)], NOTE)
    song = from_roll(roll_from_frames(frames_of(to_roll(Song(notes)), planes)))
    assert song.notes["velocity"].tolist() == velocities


def test_in_frames_a_key_out_of_silence_is_struck_even_where_the_roll_does_not_say_so():
    sounding = np.zeros((4, KEYS), bool)
    sounding[1:3, 39] = True
    frames = frames_of(Roll(sounding, np.zeros_like(sounding), sounding.astype(np.uint8)), "onset")
    assert frames[:, KEYS + 39].tolist() == [0, 1, 0, 0]


def test_frames_that_contradict_themselves_still_make_a_roll():
    frames = np.zeros((3, 3 * KEYS), np.uint8)
    frames[1:, 39] = 1  # sounds, but neither struck nor loud
    frames[0, [KEYS + 5, 2 * KEYS + 5]] = 1  # struck and loud, but silent
    roll = roll_from_frames(frames)
    assert column(roll, 60) == ".#-"
    assert roll.onset.sum() == 1
    assert roll.velocity[:, 39].tolist() == [0, 1, 1] and roll.velocity.sum() == 2


@pytest.mark.parametrize("shape", [(4, 128), (4, 0), (4, 352), (88,)])
def test_frames_of_another_width_are_refused(shape):
    with pytest.raises(MidiError, match=r"frames must be \[T, 88\] for each of 1 to 3 planes, got \["):
        roll_from_frames(np.zeros(shape, np.uint8))


# ---- changes to a roll


def test_dropping_silence_closes_rests_and_keeps_onsets():
    roll = drop_silence(to_roll(Song.from_notes([(1, 1, 60), (4, 1, 60)]), CROTCHET))
    assert column(roll, 60) == "##"
    assert roll.division == CROTCHET


def test_transposed_roll_equals_roll_of_the_transposed_song():
    song = Song.from_notes([(0, 1, 60), (1, 1, 64)])
    moved, expected = transpose_roll(to_roll(song), -5), to_roll(song.transpose(-5))
    for plane in ("sounding", "onset", "velocity"):
        np.testing.assert_array_equal(getattr(moved, plane), getattr(expected, plane))


def test_transposing_to_the_very_edge_is_allowed_and_no_further():
    roll = to_roll(Song.from_notes([(0, 1, 107)]))
    assert column(transpose_roll(roll, 1), 108) == "#---"
    with pytest.raises(MidiError, match=r"by \+2 pushes .* can move by -86\.\.\+1"):
        transpose_roll(roll, 2)


def test_packed_frame_is_eleven_bytes_with_the_lowest_key_first():
    packed = pack(to_roll(Song.from_notes([(0, 1, 21), (0, 1, 108)]), CROTCHET).sounding)
    assert packed.tolist() == [[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01]]


def test_unpacking_undoes_packing():
    sounding = np.random.default_rng(7).random((50, KEYS)) < 0.1
    back = unpack(pack(sounding))
    assert back.dtype == bool
    np.testing.assert_array_equal(back, sounding)


# ---- melodies


def test_only_the_top_note_of_a_frame_is_left():
    roll = top_note(to_roll(Song.from_notes([(0, 2, 60), (1, 1, 72)]), CROTCHET))
    assert (column(roll, 60), column(roll, 72)) == ("#.", ".#")
    assert roll.velocity[1, 39] == 0


def test_top_note_of_silence_is_silence():
    assert top_note(to_roll(Song.from_notes([(1, 1, 60)]), CROTCHET)).sounding[0].sum() == 0


def test_skyline_keeps_the_top_of_a_chord():
    song = Song.from_notes([(0, 1, 60), (0, 1, 64), (0, 1, 67)])
    assert rows(skyline(song)) == [(0, 1, 67)]


def test_covered_note_returns_when_the_higher_one_ends():
    song = Song.from_notes([(0, 4, 60), (1, 1, 72)])
    assert rows(skyline(song)) == [(0, 1, 60), (1, 1, 72), (2, 2, 60)]


def test_note_below_does_not_cut_the_melody():
    song = Song.from_notes([(0, 4, 72), (1, 1, 60), (2, 1, 62)])
    assert rows(skyline(song)) == [(0, 4, 72)]


def test_repeated_melody_notes_stay_apart():
    song = Song.from_notes([(0, 1, 72), (1, 1, 72), (0, 2, 60)])
    assert rows(skyline(song)) == [(0, 1, 72), (1, 1, 72)]


def test_skyline_leaves_drums_out_and_keeps_the_tempo():
    notes = np.array([(0, 1, 60, 80, 0, False, 0), (0, 1, 90, 80, 0, True, 0)], NOTE)
    melody = skyline(Song(notes).with_tempo(77))
    assert rows(melody) == [(0, 1, 60)]
    assert melody.tempo_bpm == 77


def test_skyline_of_nothing_is_nothing():
    assert len(skyline(Song.from_notes([]))) == 0


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 12), st.integers(21, 108)), max_size=25))
def test_skyline_is_the_highest_key_of_every_frame(frames):
    song = Song.from_notes([(on / 4, dur / 4, pitch) for on, dur, pitch in frames])
    all_keys, melody = to_roll(song).sounding, to_roll(skyline(song)).sounding
    assert (melody.sum(axis=1) == all_keys.any(axis=1)).all()
    highest = KEYS - 1 - all_keys[:, ::-1].argmax(axis=1)
    np.testing.assert_array_equal(melody[all_keys.any(axis=1)].argmax(axis=1), highest[all_keys.any(axis=1)])
