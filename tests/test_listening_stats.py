"""What votes prove, by hand."""

from math import inf, isnan, sqrt

import pytest

from deepmusician import listening_stats as stats


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [
        (0, 10, 0.0, 1 - 0.025**0.1),  # the rule for no success at all
        (10, 10, 0.025**0.1, 1.0),
        (1, 1, 0.025, 1.0),
        (5, 10, 0.187086, 0.812914),  # Clopper and Pearson's table
        (8, 10, 0.443905, 0.974789),
    ],
)
def test_the_exact_interval_of_a_share(k, n, low, high):
    assert stats.clopper_pearson(k, n) == pytest.approx((low, high), abs=1e-6)


def test_no_votes_say_nothing_and_more_right_than_votes_are_refused():
    nothing = stats.Share(0, 0)
    assert isnan(nothing.value)
    assert nothing.interval == (0, 1)
    with pytest.raises(ValueError, match=r"k must be 0\.\.n, got 3 of 2"):
        stats.clopper_pearson(3, 2)


def test_d_prime_with_the_log_linear_correction():
    # H = 8.5 / 10 = 0.85 and F = 3.5 / 10 = 0.35; z(0.85) = 1.036433, z(0.35) = -0.385320
    d, _, bias = stats.d_prime(8, 9, 3, 9)
    assert d == pytest.approx(1.421754, abs=1e-5)
    assert bias == pytest.approx(-(1.036433 - 0.385320) / 2, abs=1e-5)


def test_a_perfect_listener_stays_finite_and_a_guesser_has_none():
    assert stats.d_prime(10, 10, 0, 10).d == pytest.approx(2 * 1.690622, abs=1e-5)  # z(10.5 / 11)
    assert stats.d_prime(5, 10, 5, 10).d == 0


def test_the_error_of_d_prime_at_one_half():
    # p (1 - p) / (n φ(0)²) = ¼ / (11 · 0.159155) for each side
    assert stats.d_prime(5, 10, 5, 10).error == pytest.approx(sqrt(2 * 0.25 / (11 * 0.1591549)), abs=1e-5)
    low, high = stats.d_prime(5, 10, 5, 10).interval
    assert (low + high, high) == pytest.approx((0, 1.959964 * sqrt(2 * 0.25 / (11 * 0.1591549))), abs=1e-5)


def test_the_interval_over_listeners_is_students():
    # mean 2, deviation 1, t(0.975, 2) = 4.302653
    assert stats.mean_interval([1, 2, 3]) == pytest.approx((2 - 4.302653 / sqrt(3), 2 + 4.302653 / sqrt(3)), abs=1e-5)
    assert stats.mean_interval([1]) is None


def test_the_chance_that_a_fair_coin_does_it():
    assert stats.p_value(5, 5) == pytest.approx(2 / 32)
    assert stats.p_value(0, 0) == 1


def test_how_many_votes_tell_sixty_per_cent_from_guessing():
    # ((1.959964 · 0.5 + 0.841621 · √0.24) / 0.1)² = 193.85
    assert stats.votes_to_tell(0.6) == stats.votes_to_tell(0.4) == 194
    assert stats.votes_to_tell(0.5) == inf


def test_how_many_votes_prove_equivalence():
    # (1.644854 + 1.281552)² · 0.25 / 0.01 = 214.1
    assert stats.votes_for_equivalence(0.1) == 215
    assert stats.votes_for_equivalence(0.2) == 54


@pytest.mark.parametrize(
    ("k", "n", "name"),
    [(41, 100, stats.OPEN), (250, 500, stats.EQUIVALENT), (70, 100, stats.DIFFERENT), (0, 0, stats.OPEN)],
)
def test_a_verdict_says_different_equivalent_or_open(k, n, name):
    verdict = stats.judge(k, n, 0.1)
    assert verdict.name == name


def test_equivalence_is_two_one_sided_tests_so_its_interval_is_at_ninety_per_cent():
    verdict = stats.judge(250, 500, 0.1)
    assert verdict.interval == stats.clopper_pearson(250, 500, 0.9)
    assert stats.judge(250, 500, 0.03).name == stats.OPEN


def test_a_small_difference_can_be_sure_and_still_count_as_the_same():
    verdict = stats.judge(5300, 10_000, 0.1)
    assert (verdict.different, verdict.equivalent) == (True, True)
    assert verdict.name == stats.EQUIVALENT


def test_many_votes_of_listeners_who_disagree_prove_less():
    alike = stats.judge(250, 500, 0.1, [0.48, 0.5, 0.52, 0.5, 0.5])
    apart = stats.judge(250, 500, 0.1, [0.1, 0.9, 0.2, 0.8, 0.5])
    assert (alike.name, apart.name) == (stats.EQUIVALENT, stats.OPEN)


def test_votes_missing_is_the_nearer_of_two_ways_to_mean_something():
    assert stats.votes_missing(0, 0, 0.1) == 215
    assert stats.votes_missing(50, 100, 0.1) == 115  # towards equivalence
    assert stats.votes_missing(13, 20, 0.1) < 100  # (13.5 / 21) is sooner told from a half
    assert stats.votes_missing(215, 430, 0.1) == 0
