"""Can they be told apart? A classifier is trained to tell two sets of clips from one another, and tried on new ones.

How often it is right on clips it has not seen is the measure: 50 % means it cannot tell, 100 % that it always can.
Clips of one piece are always on the same side, learnt from or tried, never both. The two sets are made equally large.
What it says is bounded by what it is shown and by how much there is: a classifier that cannot tell clips apart by
these features with so few clips does not prove that nobody can.

Sources: Lopez-Paz & Oquab, Revisiting Classifier Two-Sample Tests, ICLR 2017; Geurts, Ernst & Wehenkel, Extremely
Randomized Trees, Machine Learning 2006 (the classifier); Clopper & Pearson, Biometrika 1934 (the interval); Mann &
Whitney, Annals of Mathematical Statistics 1947, and Holm, Scandinavian Journal of Statistics 1979 (what is named).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deepmusician.errors import OptionError

FOLDS = 5
TREES = 100
CONFIDENCE = 0.95
LEAST = 2  # pieces on each side, below which nothing can be tried on music that was not learnt from
NAMED = 5  # telltales at most
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Telltale:
    """A column that gives the judged set away: on which side it lies, and how surely it tells two clips apart.

    `auc` is how often a clip of the judged set has the higher value of two clips, one of each set; 0.5 says nothing.
    """

    column: int
    higher: bool
    auc: float


@dataclass(frozen=True)
class TwoSample:
    """How often the classifier was right, 0..1, with the interval that holds the truth with 95 % confidence.

    `clips` of each set took part, from `pieces` in all. The interval counts pieces, not clips: those of one piece are
    not independent, so it is rather too wide than too narrow.
    """

    accuracy: float
    low: float
    high: float
    clips: int
    pieces: int
    telltales: tuple[Telltale, ...]


def two_sample(
    judged: np.ndarray, reference: np.ndarray, judged_from: np.ndarray | None = None,
    reference_from: np.ndarray | None = None, seed: int = 0,
) -> TwoSample:  # fmt: skip
    """Try to tell `judged` [N, D] from `reference` [M, D]; `judged_from` and `reference_from` name the clips' pieces.

    Raises OptionError where there are fewer than LEAST pieces on a side.
    """
    rng = np.random.default_rng(seed)
    pieces = [np.arange(len(x)) if of is None else np.unique(of, return_inverse=True)[1]
              for x, of in ((judged, judged_from), (reference, reference_from))]  # fmt: skip
    if min(len(np.unique(of)) for of in pieces) < LEAST:
        raise OptionError(
            f"telling sets apart needs at least {LEAST} pieces of each, got {len(np.unique(pieces[0]))} and "
            f"{len(np.unique(pieces[1]))}; give more music, or hold out more of it"
        )
    n = min(len(judged), len(reference))
    a, b = (np.sort(rng.permutation(len(x))[:n]) for x in (judged, reference))
    x = np.concatenate([judged[a], reference[b]])
    is_judged = np.repeat([True, False], n)
    group = np.concatenate([pieces[0][a], pieces[0].max() + 1 + pieces[1][b]])
    right = _cross_validated(x, is_judged, group, seed)
    of_piece = np.array([right[group == g].mean() for g in np.unique(group)])
    accuracy = float(right.mean())
    low, high = interval(accuracy * len(of_piece), len(of_piece))
    named = telltales(_means(judged, pieces[0]), _means(reference, pieces[1]))
    return TwoSample(accuracy, low, high, n, len(of_piece), named)


def _means(x: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Each piece once, as the mean of its clips: what is not independent must not count twice."""
    return np.array([x[group == g].mean(0) for g in np.unique(group)])


def _cross_validated(x: np.ndarray, is_judged: np.ndarray, group: np.ndarray, seed: int) -> np.ndarray:
    """How sure the classifier was of the truth where it had not seen the piece: 1 right, 0 wrong, 1/2 undecided [N]."""
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.model_selection import StratifiedGroupKFold

    folds = StratifiedGroupKFold(min(FOLDS, len(np.unique(group)) // 2), shuffle=True, random_state=seed)
    right = np.zeros(len(x))
    for learnt, tried in folds.split(x, is_judged, group):
        trees = ExtraTreesClassifier(TREES, min_samples_leaf=2, class_weight="balanced", random_state=seed)
        p = trees.fit(x[learnt], is_judged[learnt]).predict_proba(x[tried])[:, 1]
        right[tried] = np.where(np.isclose(p, 0.5), 0.5, (p > 0.5) == is_judged[tried])
    return right


def interval(right: float, tries: int) -> tuple[float, float]:
    """Clopper & Pearson's exact interval of a share, `right` of `tries`; `right` need not be whole."""
    from scipy.stats import beta

    tail = (1 - CONFIDENCE) / 2
    low = 0.0 if right <= 0 else float(beta.ppf(tail, right, tries - right + 1))
    high = 1.0 if right >= tries else float(beta.ppf(1 - tail, right + 1, tries - right))
    return low, high


def telltales(judged: np.ndarray, reference: np.ndarray) -> tuple[Telltale, ...]:
    """The columns in which the sets differ most, the surest first; only where chance is ruled out at 5 % after Holm."""
    from scipy.stats import mannwhitneyu

    tests = [
        (mannwhitneyu(judged[:, c], reference[:, c]), c)
        for c in range(judged.shape[1])
        if np.ptp(np.concatenate([judged[:, c], reference[:, c]])) > 0
    ]
    tests.sort(key=lambda test: test[0].pvalue)
    found = []
    for rank, (test, column) in enumerate(tests):
        if test.pvalue * (len(tests) - rank) > SIGNIFICANT:
            break
        auc = float(test.statistic) / (len(judged) * len(reference))
        found.append(Telltale(column, auc > 0.5, auc))
    return tuple(sorted(found, key=lambda t: -abs(t.auc - 0.5))[:NAMED])
