"""Styles asked for in words: one, a mix, a change along the piece."""

import numpy as np
import pytest

from deepmusician.errors import OptionError
from deepmusician.styles import style_weights

NAMES = ("bach-chorales", "essen", "My tunes")


@pytest.mark.parametrize("text", [None, ""])
def test_without_a_word_all_styles_weigh_alike(text):
    np.testing.assert_allclose(style_weights(text, NAMES, 4), np.full((4, 3), 1 / 3))


def test_a_name_is_that_style_in_every_frame():
    assert style_weights("My tunes", NAMES, 2).tolist() == [[0, 0, 1], [0, 0, 1]]


def test_a_mix_weighs_its_styles_to_a_sum_of_one():
    np.testing.assert_allclose(style_weights("bach-chorales:0.7, essen:0.3", NAMES, 1), [[0.7, 0.3, 0]])
    np.testing.assert_allclose(style_weights("bach-chorales:3,essen:1", NAMES, 1), [[0.75, 0.25, 0]])
    np.testing.assert_allclose(style_weights("bach-chorales,essen", NAMES, 1), [[0.5, 0.5, 0]])


def test_a_change_fades_from_the_first_frame_to_the_last():
    weights = style_weights("bach-chorales > essen", NAMES, 5)
    np.testing.assert_allclose(weights[:, 0], [1, 0.75, 0.5, 0.25, 0])
    np.testing.assert_allclose(weights[:, 1], [0, 0.25, 0.5, 0.75, 1])


def test_a_change_may_have_many_stops_and_each_may_be_a_mix():
    weights = style_weights("bach-chorales>essen>bach-chorales:1,My tunes:1", NAMES, 5)
    np.testing.assert_allclose(weights[[0, 2, 4]], [[1, 0, 0], [0, 1, 0], [0.5, 0, 0.5]])
    np.testing.assert_allclose(weights.sum(1), 1)


def test_a_change_in_a_piece_of_one_frame_is_its_beginning():
    assert style_weights("bach-chorales>essen", NAMES, 1).tolist() == [[1, 0, 0]]


@pytest.mark.parametrize("text", ["jazz", "bach-chorales:1,jazz:2", "essen>jazz"])
def test_an_unknown_style_is_refused_with_those_there_are(text):
    with pytest.raises(OptionError, match="knows no style 'jazz'; it knows bach-chorales, essen, My tunes"):
        style_weights(text, NAMES, 4)


@pytest.mark.parametrize("weight", ["-1", "much", "nan", "inf", ""])
def test_a_weight_that_is_no_weight_is_refused(weight):
    with pytest.raises(OptionError, match=f"weight of essen must be a number from 0 up, got '{weight}'"):
        style_weights(f"essen:{weight}", NAMES, 4)


def test_a_mix_of_nothing_is_refused():
    with pytest.raises(OptionError, match="must not all be 0, got 'essen:0'"):
        style_weights("essen:0", NAMES, 4)
