"""What votes of a blind listening test say, and what they do not yet say: pure functions on counts.

Knows nothing of music, listeners or databases. Shares are 0..1. A vote counts as one trial of its own; where few
listeners give many votes each, the interval over listeners is the wider and the more honest one.

Sources: Clopper & Pearson, Biometrika 26, 1934 (exact interval); Hautus, Behavior Research Methods 27, 1995 (log-linear
d′); Gourevitch & Galanter, Psychometrika 32, 1967 (its variance); Schuirmann, J. Pharmacokinetics 15, 1987 (TOST);
Chow, Shao & Wang, Sample Size Calculations, 2008, section 4.1 (how many votes).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, inf, sqrt
from typing import NamedTuple

LEVEL = 0.95  # of intervals
ALPHA = 0.05  # how often a test may claim what is not so
POWER = 0.8  # how often it should see what is so


class Interval(NamedTuple):
    """Where a true value may lie."""

    low: float
    high: float


@dataclass(frozen=True)
class Share:
    """`k` of `n` votes, their share and its exact interval; nan and 0..1 where there are no votes."""

    k: int
    n: int

    @property
    def value(self) -> float:
        """The share itself."""
        return self.k / self.n if self.n else float("nan")

    @property
    def interval(self) -> Interval:
        """Clopper and Pearson's, at LEVEL."""
        return clopper_pearson(self.k, self.n)


def clopper_pearson(k: int, n: int, level: float = LEVEL) -> Interval:
    """Every share under which `k` of `n` or more, and `k` or fewer, are no rarer than (1 - level) / 2."""
    from scipy.stats import beta

    if not 0 <= k <= n:
        raise ValueError(f"k must be 0..n, got {k} of {n}")
    tail = (1 - level) / 2
    low = float(beta.ppf(tail, k, n - k + 1)) if k else 0.0
    high = float(beta.ppf(1 - tail, k + 1, n - k)) if k < n else 1.0
    return Interval(low, high)


class Sensitivity(NamedTuple):
    """How far apart two kinds sound: d′ in standard deviations (0: not at all), its standard error, and the bias c.

    c above 0 means that listeners are slow to say "machine"; below 0, that they say it easily.
    """

    d: float
    error: float
    bias: float

    @property
    def interval(self) -> Interval:
        """d′ ± 1.96 standard errors, 95 %."""
        return Interval(self.d - 1.959964 * self.error, self.d + 1.959964 * self.error)


def d_prime(hits: int, signals: int, alarms: int, noises: int) -> Sensitivity:
    """d′ = z(H) - z(F) with H = (hits + ½) / (signals + 1) and F = (alarms + ½) / (noises + 1).

    `hits` of `signals` machine clips, and `alarms` of `noises` human ones, were called machine. The halves (log-linear
    correction) keep a perfect listener finite.
    """
    from scipy.stats import norm

    hit, alarm = (hits + 0.5) / (signals + 1), (alarms + 0.5) / (noises + 1)
    z_hit, z_alarm = float(norm.ppf(hit)), float(norm.ppf(alarm))
    variance = sum(
        p * (1 - p) / (n + 1) / float(norm.pdf(z)) ** 2 for p, n, z in ((hit, signals, z_hit), (alarm, noises, z_alarm))
    )
    return Sensitivity(z_hit - z_alarm, sqrt(variance), -(z_hit + z_alarm) / 2)


def mean_interval(values: Sequence[float], level: float = LEVEL) -> Interval | None:
    """Student's interval of the mean over listeners; None for fewer than two."""
    from statistics import mean, stdev

    from scipy.stats import t

    if len(values) < 2:
        return None
    half = float(t.ppf((1 + level) / 2, len(values) - 1)) * stdev(values) / sqrt(len(values))
    return Interval(mean(values) - half, mean(values) + half)


def p_value(k: int, n: int) -> float:
    """How often a fair coin lands at least as unevenly as `k` of `n`; 1 for no votes. Exact, two-sided."""
    from scipy.stats import binomtest

    return float(binomtest(k, n, 0.5).pvalue) if n else 1.0


DIFFERENT, EQUIVALENT, OPEN = "different", "equivalent", "open"


@dataclass(frozen=True)
class Verdict:
    """Whether a share is another than one half (`different`), proven to lie within `bound` of it (`equivalent`), both
    (a small difference that is sure), or neither (`open`).

    `interval` is the one that decides equivalence: at 1 - 2 · ALPHA, which is two one-sided tests at ALPHA each.
    """

    different: bool
    equivalent: bool
    interval: Interval
    p: float
    bound: float

    @property
    def name(self) -> str:
        """The stronger of the two findings: equivalence speaks of size, difference only of being sure."""
        return EQUIVALENT if self.equivalent else DIFFERENT if self.different else OPEN


def judge(k: int, n: int, bound: float, by_listener: Sequence[float] = ()) -> Verdict:
    """What `k` of `n` votes prove about a share of one half.

    With the shares `by_listener`, five or more, equivalence must hold over listeners as well: votes of one listener
    are alike, and many votes of few people prove less than they seem to.
    """
    interval = clopper_pearson(k, n, 1 - 2 * ALPHA)
    over = mean_interval(by_listener, 1 - 2 * ALPHA) if len(by_listener) >= 5 else None
    if over:
        interval = Interval(min(interval.low, over.low), max(interval.high, over.high))
    p = p_value(k, n)
    within = n > 0 and interval.low > 0.5 - bound and interval.high < 0.5 + bound
    return Verdict(p < ALPHA, within, interval, p, bound)


def votes_to_tell(share: float) -> float:
    """Votes with which a true `share` is told from one half, at ALPHA two-sided, with POWER; inf for one half itself.

    n = ((z(1 - α/2) · ½ + z(POWER) · √(p (1 - p))) / (p - ½))²
    """
    from scipy.stats import norm

    if share == 0.5:
        return inf
    spread = sqrt(share * (1 - share))
    return ceil(((float(norm.ppf(1 - ALPHA / 2)) * 0.5 + float(norm.ppf(POWER)) * spread) / (share - 0.5)) ** 2)


def votes_for_equivalence(bound: float) -> int:
    """Votes with which a true share of one half is proven to lie within `bound` of it, with POWER.

    n = (z(1 - α) + z((1 + POWER) / 2))² · ¼ / bound²
    """
    from scipy.stats import norm

    return ceil((float(norm.ppf(1 - ALPHA)) + float(norm.ppf((1 + POWER) / 2))) ** 2 * 0.25 / bound**2)


def votes_missing(k: int, n: int, bound: float) -> int:
    """How many more votes until this means something: until what was seen is told from one half, or equivalence is
    proven, whichever needs fewer. 0 where the votes suffice by this reckoning; a plan, not a promise."""
    wanted = votes_for_equivalence(bound)
    if n:
        wanted = min(wanted, votes_to_tell((k + 0.5) / (n + 1)))  # a first vote is no certainty
    return max(0, int(wanted) - n)
