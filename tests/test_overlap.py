"""Distances within and between sets, and what their overlap says; Yang & Lerch's measures on sets known by hand."""

import numpy as np
import pytest
from scipy.stats import norm

from deepmusician.errors import OptionError
from deepmusician.overlap import compare, inter_distances, intra_distances

RNG = np.random.default_rng(0)


def normal(mean, n=60, spread=1.0):
    return RNG.normal(mean, spread, (n, 1))


def test_distances_within_a_set_are_of_all_pairs_and_between_sets_of_all_couples():
    assert sorted(intra_distances(np.array([[0.0], [1.0], [3.0]]))) == [1, 2, 3]
    assert inter_distances(np.array([[0.0, 0.0]]), np.array([[3.0, 4.0], [0.0, 1.0]])).tolist() == [5, 1]


def test_clips_of_one_piece_are_no_pair():
    assert intra_distances(np.array([[0.0], [1.0], [3.0]]), np.array([7, 7, 8])).tolist() == [3, 2]


def test_sets_of_one_kind_overlap_nearly_whole_and_far_apart_ones_not_at_all():
    same = compare(normal(0), normal(0))
    assert same.area > 0.9 and same.own_area > 0.9 and same.kl < 0.05
    assert same.variety == pytest.approx(1, abs=0.25)
    far = compare(normal(20), normal(0))
    assert far.area < 0.01 and far.kl > 3


def test_the_overlap_of_two_spreads_is_that_of_their_densities():
    """Two sets of point-like clips: all distances within are near 0 or 1; the areas follow from counting."""
    judged = np.array([[0.0], [0.0], [0.0], [0.0]])
    reference = np.array([[0.0], [0.0], [1.0], [1.0]])
    found = compare(judged, reference)
    # within the reference: 2 pairs at 0, 4 at 1; between: 8 at 0, 8 at 1; within the judged: 6 at 0
    assert found.area == pytest.approx(1 / 3 + 1 / 2, abs=0.12)  # smoothed
    assert found.variety == 0


def test_a_feature_that_never_differs_overlaps_whole():
    constant = np.zeros((5, 1))
    found = compare(constant, constant)
    assert (found.area, found.variety) == (pytest.approx(1), 1) and found.kl == pytest.approx(0)


def test_no_divergence_is_below_zero_by_rounding():
    assert f"{compare(np.zeros((3, 1)), np.zeros((29, 1))).kl:.2f}" == "0.00"


def test_a_set_of_little_variety_is_seen_by_its_own_distances():
    found = compare(normal(0, spread=0.1), normal(0))
    assert found.variety < 0.2 and found.own_area < found.area


def test_divergence_is_that_of_gaussians_where_the_distances_are():
    """Densities of N(0, 1) and N(1, 1) by kernels: KL is 1/2, the overlap 2 Φ(-1/2)."""
    from deepmusician.overlap import _densities, _likeness

    p, q = _densities(RNG.normal(0, 1, 4000), RNG.normal(1, 1, 4000))
    area, kl = _likeness(p, q)
    assert area == pytest.approx(2 * norm.cdf(-0.5), abs=0.03) and kl == pytest.approx(0.5, abs=0.08)


def test_a_set_without_a_pair_is_refused_in_words():
    with pytest.raises(OptionError, match="at least 2 pieces"):
        compare(np.zeros((1, 1)), np.zeros((5, 1)))
    with pytest.raises(OptionError, match="at least 2 pieces"):
        compare(np.zeros((4, 1)), np.zeros((5, 1)), np.zeros(4))
