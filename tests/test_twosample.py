"""The classifier two-sample test: it cannot tell what is of one kind, and names what gives another kind away."""

import numpy as np
import pytest

from deepmusician.errors import OptionError
from deepmusician.twosample import interval, telltales, two_sample


def clips(seed, n=30, columns=6):
    return np.random.default_rng(seed).normal(size=(n, columns))


def test_music_of_one_kind_is_told_apart_half_of_the_time():
    results = [two_sample(clips(seed, 20), clips(seed + 100, 20), seed=seed) for seed in range(3)]
    assert sum(not r.low < 0.5 < r.high for r in results) <= 1  # one in twenty may miss
    assert sum(len(r.telltales) for r in results) <= 1
    assert np.mean([r.accuracy for r in results]) == pytest.approx(0.5, abs=0.1)


def test_music_of_another_kind_is_told_apart_and_by_what():
    other = clips(1)
    other[:, 2] -= 4
    other[:, 4] += 2
    found = two_sample(other, clips(2))
    assert found.accuracy > 0.9 and found.low > 0.5
    assert [(t.column, t.higher) for t in found.telltales] == [(2, False), (4, True)]


def test_a_difference_in_spread_alone_is_told_too():
    assert two_sample(3 * clips(1, 60), clips(2, 60)).low > 0.5


def test_clips_of_one_piece_are_never_on_both_sides():
    """Both sets are noise, but the clips of a piece are all but equal: whoever had seen one would know the others."""
    pieces = np.repeat(np.arange(8), 6)
    a, b = (clips(seed, 8)[pieces] + 0.001 * clips(9, 48) for seed in (1, 2))
    apart = two_sample(a, b, pieces, pieces)
    assert apart.low < 0.5 and apart.pieces == 16
    assert two_sample(a, b).accuracy > 0.95  # as if each clip were a piece


def test_the_sets_are_made_equally_large():
    found = two_sample(clips(1, 50), clips(2, 12))
    assert (found.clips, found.pieces) == (12, 24)


@pytest.mark.parametrize(
    ("right", "tries", "low", "high"),
    [(5, 10, 0.1871, 0.8129), (0, 10, 0.0, 0.3085), (10, 10, 0.6915, 1.0), (50, 100, 0.3983, 0.6017)],
)
def test_the_interval_is_clopper_and_pearsons(right, tries, low, high):
    """Values of published tables."""
    assert interval(right, tries) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_only_what_chance_cannot_explain_is_named():
    a, b = clips(1, 40, 30), clips(2, 40, 30)
    assert telltales(a, b) == ()
    a[:, 7] += 3
    (found,) = telltales(a, b)
    assert (found.column, found.higher) == (7, True) and found.auc > 0.95


def test_too_few_pieces_are_refused_in_words():
    with pytest.raises(OptionError, match="at least 2 pieces of each, got 1 and 5"):
        two_sample(clips(1, 6), clips(2, 5), np.zeros(6))
