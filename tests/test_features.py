"""Every feature has a value computed by hand, on music small enough to do so."""

from math import log2

import numpy as np
import pytest

from deepmusician import features as f
from deepmusician.features import FEATURES, LENGTHS, measure
from deepmusician.notes import Song
from deepmusician.roll import KEYS, Roll, roll_from_frames, to_roll

BAR = 16  # semiquavers


def roll_of(*notes, bars=2):
    """(onset beats, duration beats, pitch) on a grid of semiquavers, filled up with silence to whole bars."""
    roll = to_roll(Song.from_notes(notes), "1/16")
    planes = [np.zeros((bars * BAR, KEYS), plane.dtype) for plane in (roll.sounding, roll.onset, roll.velocity)]
    for plane, short in zip(planes, (roll.sounding, roll.onset, roll.velocity), strict=True):
        plane[: len(short)] = short[: bars * BAR]
    return Roll(*planes, roll.division)


# two bars: a chord of C for two beats, then G alone for one; the second bar rests but for a last quaver, B with F
MUSIC = roll_of((0, 2, 60), (0, 2, 64), (2, 1, 67), (7.5, 0.5, 71), (7.5, 0.5, 65))


@pytest.mark.parametrize(
    ("feature", "value"),
    [
        ("pitch_range", 11),  # 60 to 71
        ("pitch_class_entropy", log2(5)),  # five notes, five classes
        ("scale", 1.0),  # all in C major
        ("polyphony", (8 * 2 + 4 * 1 + 2 * 2) / 14),  # 14 of 32 frames sound
        ("polyphony_rate", 10 / 32),
        ("density", 24 / 32),
        ("onset_rate", 5 / 8),
        ("rest_share", 18 / 32),
        ("empty_bar_rate", 0.0),
        ("held", 28 / 31),  # frames 8, 12, 30 differ from the one before: 31 - 3
        ("voice_leading", 3.0),  # from the chord G's nearest key is E; B and F come out of silence
        ("melodic_interval", (3 + 4) / 2),  # E, G, B on top
        ("dissonance_share", 2 / 10),  # eight frames of a third, two of a tritone
        ("repetition", 0.0),  # no cell of the second bar sounds in the first
    ],
)
def test_value_counted_by_hand(feature, value):
    assert FEATURES[feature].measure(MUSIC) == pytest.approx(value)


def test_notes_out_of_key_lower_scale_consistency():
    assert f.scale(roll_of((0, 2, 60), (2, 1, 61), (3, 1, 62))) == pytest.approx(0.75)


def test_an_empty_bar_is_counted_and_an_unfilled_one_left_out():
    assert f.empty_bar_rate(roll_of((0, 4, 60), bars=4)) == 0.75
    assert f.empty_bar_rate(to_roll(Song.from_notes([(0, 1, 60), (9, 1, 60)]), "1/16")) == 0.5  # of two whole bars


def test_lengths_are_shares_of_the_nearest_class():
    shares = f.note_lengths(roll_of((0, 0.25, 60), (1, 0.5, 60), (2, 0.5, 60), (4, 4, 60)))
    assert shares.tolist() == [0.25, 0.5, 0, 0, 0, 0, 0.25]
    assert f.note_lengths(roll_of((0, 8, 60))).tolist() == [0, 0, 0, 0, 0, 0, 1]  # longer than any class


def test_intervals_between_strokes_count_chords_once():
    struck = f.onset_intervals(roll_of((0, 1, 60), (0, 1, 64), (1, 1, 60), (2, 1, 60), (4, 1, 60)))
    shares = dict(zip(LENGTHS, struck, strict=True))
    assert shares[1.0] == pytest.approx(2 / 3) and shares[2.0] == pytest.approx(1 / 3)


def test_groove_of_one_rhythm_is_1_and_each_stroke_apart_lowers_it():
    same = roll_of((0, 1, 60), (2, 1, 60), (4, 1, 72), (6, 1, 72))
    assert f.groove_consistency(same) == 1.0
    other = roll_of((0, 1, 60), (2, 1, 60), (4, 1, 72), (7, 1, 72))
    assert f.groove_consistency(other) == pytest.approx(1 - 2 / BAR)  # two of sixteen frames


def test_a_bar_that_comes_again_is_alike_whichever_it_was():
    roll = roll_of((0, 4, 60), (4, 4, 64), (8, 2, 60), (10, 2, 62), bars=3)
    alike = f.self_similarity(roll)
    assert alike[0].tolist() == pytest.approx([1, 0, 8 / 24])  # 8 cells in common, 16 + 16 - 8 in all
    assert f.repetition(roll) == pytest.approx((0 + 8 / 24) / 2)


def test_the_top_voice_moves_only_where_it_is_struck():
    held = roll_of((0, 4, 72), (0, 1, 60), (1, 1, 62), (4, 1, 74))
    assert f.melodic_interval(held) == 2  # 72 to 74; below it moves, but is not the top


def test_a_stroke_repeated_is_two_notes_where_the_roll_knows_it_and_one_where_not():
    roll = roll_of((0, 1, 60), (1, 1, 60))
    assert f.onset_rate(roll) == 2 / 8
    flat = roll_from_frames(roll.sounding.astype(np.uint8), roll.division)
    assert f.onset_rate(flat) == 1 / 8


def test_in_silence_and_in_nothing_every_feature_is_0():
    silence = Roll(*(np.zeros((32, KEYS), kind) for kind in (bool, bool, np.uint8)))
    nothing = Roll(*(np.zeros((0, KEYS), kind) for kind in (bool, bool, np.uint8)))
    for table in (measure([silence]), measure([nothing])):
        assert not any(values.any() for values in table.values())


def test_a_table_has_a_row_a_clip_and_a_column_a_class():
    table = measure([MUSIC, MUSIC])
    assert {name: x.shape for name, x in table.items()} == {
        name: (2, max(1, len(feature.classes))) for name, feature in FEATURES.items()
    }
    assert measure([])["note_lengths"].shape[0] == 0


def test_every_feature_tells_its_formula_unit_and_source():
    for feature in FEATURES.values():
        assert feature.measure.__doc__ and feature.unit and feature.less != feature.more
        assert ("{}" in feature.less) == bool(feature.classes) == ("{}" in feature.more)
