"""Are two sets of music alike in a feature? Distances within and between the sets, their overlap area and divergence.

Between any two clips of one set lies a distance in the feature; so does between a clip of one and a clip of the other.
Where the sets are alike, the distances between them are spread as those within. The spreads are smoothed with Gaussian
kernels; the overlap area of two densities is 1 where they are the same and 0 where they have nothing in common, their
Kullback-Leibler divergence 0 where they are the same, in nats.

What overlap two sets of real music reach is the ceiling for any model, so whoever shows the one shows the other.
Two sets may overlap in every feature and still sound unlike: features are looked at one at a time.
Source: Yang & Lerch, On the Evaluation of Generative Models in Music, Neural Computing and Applications 2020.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deepmusician.errors import OptionError

POINTS = 256  # at which densities are compared
NARROWEST = 1e-3  # standard deviation of a density beside the whole spread, where all distances are equal
_TINY = 1e-9  # of a density, where a logarithm needs more than 0


@dataclass(frozen=True)
class Overlap:
    """How the distances between two sets overlap those within the reference set, and within the other one.

    `area` 0..1 and `kl` in nats compare with the reference's own distances; `own_area` and `own_kl` with those within
    the set that is judged, which are low, too, where it has little variety. `variety` is its mean distance within
    beside the reference's: below 1 where its clips are more alike than the reference's are (1 where all are equal).
    """

    area: float
    kl: float
    own_area: float
    own_kl: float
    variety: float


def compare(
    judged: np.ndarray, reference: np.ndarray, judged_from: np.ndarray | None = None,
    reference_from: np.ndarray | None = None,
) -> Overlap:  # fmt: skip
    """Compare two sets of clips in one feature: [N, D] and [M, D].

    `judged_from` [N] and `reference_from` [M] name the piece of each clip; clips of one piece are no pair. Raises
    OptionError where a set has no pair of clips from two pieces.
    """
    own, within = intra_distances(judged, judged_from), intra_distances(reference, reference_from)
    between = inter_distances(judged, reference)
    if not len(own) or not len(within):
        raise OptionError(
            f"each set needs clips of at least 2 pieces to be compared, got {len(judged)} and {len(reference)} clips "
            "of too few; give more music"
        )
    densities = _densities(within, own, between)
    (area, kl), (own_area, own_kl) = (_likeness(density, densities[2]) for density in densities[:2])
    variety = own.mean() / within.mean() if within.mean() > 0 else 1.0 if own.mean() == 0 else float("inf")
    return Overlap(area, kl, own_area, own_kl, float(variety))


def intra_distances(clips: np.ndarray, pieces: np.ndarray | None = None) -> np.ndarray:
    """Euclidean distances between all pairs of `clips` [N, D] that are not of one piece."""
    pieces = np.arange(len(clips)) if pieces is None else np.asarray(pieces)
    i, j = np.triu_indices(len(clips), 1)
    apart = pieces[i] != pieces[j]
    return np.linalg.norm(clips[i[apart]] - clips[j[apart]], axis=1)


def inter_distances(clips: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Euclidean distances between every clip of one set and every clip of the other, [N · M]."""
    return np.linalg.norm(clips[:, None] - others[None], axis=2).ravel()


def _densities(*sets: np.ndarray) -> list[np.ndarray]:
    """Each set of distances as a density at the same POINTS, summing to 1."""
    whole = np.concatenate(sets)
    spread = float(np.ptp(whole)) or 1.0
    points = np.linspace(whole.min() - spread / 4, whole.max() + spread / 4, POINTS)
    return [_density(distances, points, spread) for distances in sets]


def _density(distances: np.ndarray, points: np.ndarray, spread: float) -> np.ndarray:
    """Gaussian kernels of Scott's width over `distances`, but never narrower than the points are apart."""
    from scipy.stats import gaussian_kde, norm

    least = max(NARROWEST * spread, points[1] - points[0])
    width = len(distances) ** -0.2 * distances.std(ddof=1) if len(distances) > 1 else 0.0
    if width > least:
        density = gaussian_kde(distances, "scott")(points)
    else:
        values, counts = np.unique(distances, return_counts=True)
        density = (norm.pdf(points[:, None], values, least) * counts).sum(1)
    return density / density.sum()


def _likeness(p: np.ndarray, q: np.ndarray) -> tuple[float, float]:
    """Overlap area and KL divergence of `q` seen from `p`, Σ p log(p / q), both densities at the same points."""
    from scipy.stats import entropy

    return float(np.minimum(p, q).sum()), max(0.0, float(entropy(p + _TINY, q + _TINY)))
