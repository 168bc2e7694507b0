"""What needs no learning, by hand-computed values: its likelihoods, its hits, and what it composes."""

import math
from itertools import product

import numpy as np
import pytest
from test_metrics import frames

from deepmusician.baselines import NAMES, KeysApart, baselines, compose, fit, judge


def test_nll_of_fair_coins_is_88_log_2():
    assert KeysApart(np.array(0.5)).nll(frames("3", "4 5")) == pytest.approx(2 * [88 * math.log(2)], rel=1e-12)


def test_copying_is_scored_against_the_frame_before():
    # frames: {0}, {0}, {0 1}, {2}: hits 0+1+1+0, notes 1+1+2+1, copied 0+1+1+2
    table = baselines([frames("0", "0")], [frames("0", "0", "0 1", "2")])
    assert table["repeat_last"]["precision"] == 2 / 4
    assert table["repeat_last"]["recall"] == 2 / 5
    assert table["silence"]["recall"] == table["silence"]["density"] == 0


def test_silence_knows_only_how_rarely_any_key_sounds():
    # 2 of 176 cells sound in training, half a note of each key added: (2 + 44) of (176 + 88)
    p = (2 + 44) / (176 + 88)
    nll = baselines([frames("0", "0")], [frames("5 6")])["silence"]["nll"]
    assert nll == pytest.approx(-2 * math.log(p) - 86 * math.log(1 - p), rel=1e-12)


def test_copying_knows_how_often_keys_sound_on_and_begin():
    # 3 frames of 1 key: 1 began of 88 + 2 * 87 silent cells, 2 went on of 2; half a note added to each of the four
    on, begin = 2.5 / 3, 1.5 / (88 + 2 * 87 + 1)
    nll = baselines([frames("9", "9", "9")], [frames("9", "9")])["repeat_last"]["nll"]
    first = -math.log(begin) - 87 * math.log(1 - begin)
    second = -math.log(on) - 87 * math.log(1 - begin)
    assert nll == pytest.approx((first + second) / 2, rel=1e-12)


def test_copying_is_likelier_on_music_that_holds_its_notes():
    held, jumping = frames(*["10"] * 50), frames(*["10", "40"] * 25)
    assert baselines([held], [held])["repeat_last"]["nll"] < baselines([jumping], [jumping])["repeat_last"]["nll"]


def test_a_markov_chain_knows_which_chord_followed_and_copying_does_not():
    jumping = frames(*["10 14", "40 45", "20"] * 20)
    table = baselines([jumping], [jumping])
    assert table["markov"]["nll"] < 1 < table["repeat_last"]["nll"]


def test_a_chord_that_followed_is_trusted_by_how_often_it_was_heard():
    # after {1} came {2} three times and {3} once: trusted by 4 / (4 + 2); {2} has 3 of those 4
    model = fit([frames("1", "2", "1", "2", "1", "2", "1", "3")])["markov"]
    song = frames("1", "2")
    apart = math.exp(-model.apart.nll(song)[1])
    assert model.nll(song)[1] == pytest.approx(-math.log(4 / 6 * 3 / 4 + 2 / 6 * apart), rel=1e-12)


def test_an_unheard_chord_goes_on_key_by_key():
    model = fit([frames("1", "2")])["markov"]
    song = frames("50 60", "50")
    assert model.nll(song)[1] == pytest.approx(model.apart.nll(song)[1], rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_the_probabilities_of_all_next_frames_sum_to_one(name):
    # 84 keys are certain to be silent, so that the chords of the other four can be gone through
    model = fit([frames("0 1", "2", "0 1", "3", "", "0 1", "2")])[name]
    for apart in (model, getattr(model, "apart", model)):
        if isinstance(apart, KeysApart):
            apart.on = np.array(apart.on)
            apart.on[:, 4:] = 1e-300
    chords = [np.array([*on, *[0] * 84], bool) for on in product((0, 1), repeat=4)]
    for before in chords:
        total = sum(math.exp(-model.nll(np.stack([before, now]))[1]) for now in chords)
        assert total == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_each_composes_the_same_piece_from_the_same_seed(name):
    model = fit([frames(*["10 14 17", "40", "", "40 45"] * 20)])[name]
    piece = compose(model, 200, seed=3)
    assert piece.shape == (200, 88) and piece.dtype == bool
    assert (piece == compose(model, 200, seed=3)).all()
    assert (piece != compose(model, 200, seed=4)).any()


def test_the_chain_composes_the_chords_it_heard():
    piece = compose(fit([frames(*["10 14 17", "40", "40 45"] * 200)])["markov"], 60)
    heard = {(10, 14, 17), (40,), (40, 45), ()}
    share = np.mean([tuple(np.nonzero(frame)[0]) in heard for frame in piece])
    assert share > 0.7  # after a slip it must find back


def test_beside_models_of_more_planes_there_are_no_likelihoods():
    song = frames("1", "2")
    table = judge(fit([song]), [song], "velocity")
    assert set(table) == {"silence", "repeat_last"} and not any("nll" in row for row in table.values())
