"""Pure functions on rolls and counts: how well frames were predicted, and whether music has collapsed.

Conventions: `sounding` is bool [T, 88]; a cell is one key in one frame; density is the mean number of sounding keys a
frame; likelihood is in nats a frame. Sources: Bay, Ehmann & Downie, ISMIR 2009 (frame precision, recall, F1).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

BINS = 2000
DENSE = 0.4  # share of all keys sounding at once that no ten fingers reach
HELD = 0.95  # share of frames equal to the one before, over many bars, that no listener calls music


@dataclass
class CellCounts:
    """Histograms of predicted probabilities [BINS], apart for sounding and silent cells, and the frames behind them.

    From these any threshold's precision, recall, F1 and density follow without a second pass.
    """

    sounding: np.ndarray = field(default_factory=lambda: np.zeros(BINS, np.int64))
    silent: np.ndarray = field(default_factory=lambda: np.zeros(BINS, np.int64))
    frames: int = 0

    def add(self, probability: np.ndarray, target: np.ndarray) -> None:
        """Count the cells of frames [N, 88]; the caller has left out what is masked."""
        bins = np.minimum((probability * BINS).astype(np.int64), BINS - 1)
        on = target.astype(bool)
        self.sounding += np.bincount(bins[on], minlength=BINS)
        self.silent += np.bincount(bins[~on], minlength=BINS)
        self.frames += len(target)

    @property
    def data_density(self) -> float:
        """Notes a frame in the data."""
        return float(self.sounding.sum()) / max(self.frames, 1)

    @property
    def highest(self) -> float:
        """The highest probability predicted anywhere, to a bin's upper edge."""
        used = np.nonzero(self.sounding + self.silent)[0]
        return float(used[-1] + 1) / BINS if len(used) else 0.0

    def at(self, threshold: float) -> dict[str, float]:
        """Precision, recall, F1 and density when cells at or above `threshold` are played."""
        first = int(np.ceil(round(threshold * BINS, 6)))
        hits, false_alarms = self.sounding[first:].sum(), self.silent[first:].sum()
        scores = precision_recall_f1(int(hits), int(false_alarms), int(self.sounding[:first].sum()))
        return {**scores, "density": float(hits + false_alarms) / max(self.frames, 1)}

    def threshold_for_density(self) -> float:
        """The threshold at which as many notes a frame are played as the data has, within 0.001 .. 0.999."""
        played = np.cumsum((self.sounding + self.silent)[::-1])[::-1]  # cells at or above each bin's lower edge
        off = np.abs(played - self.sounding.sum())
        equal = np.nonzero(off == off.min())[0]  # the middle of a gap is safest
        return float(np.clip(equal.mean() / BINS, 0.001, 0.999))


def precision_recall_f1(hits: int, false_alarms: int, misses: int) -> dict[str, float]:
    """P = hits / (hits + false alarms), R = hits / (hits + misses), F1 their harmonic mean; 0 where undefined."""
    precision = hits / (hits + false_alarms) if hits + false_alarms else 0.0
    recall = hits / (hits + misses) if hits + misses else 0.0
    f1 = 2 * hits / (2 * hits + false_alarms + misses) if hits + false_alarms + misses else 0.0
    return {"precision": precision, "recall": recall, "f1": f1}


def repeat_last(sounding: np.ndarray) -> np.ndarray:
    """The prediction that copies the previous frame, bool [T, 88]; silence before the first."""
    return np.concatenate([np.zeros_like(sounding[:1]), sounding[:-1]])


def rare_keys(counts: np.ndarray) -> np.ndarray:
    """Which keys are rare, bool [88]: of those that occur in the training songs, the third that sounds least.

    `counts` [88] is how often each sounds there; of few keys at least one is rare, and of keys heard equally often the
    lower ones. Networks that shun risk leave these out first, so their recall tells of a loss what density does not.
    """
    heard = np.nonzero(counts)[0]
    rare = np.zeros(len(counts), bool)
    if len(heard):
        rare[heard[np.argsort(counts[heard], kind="stable")][: max(1, len(heard) // 3)]] = True
    return rare


def held_share(sounding: np.ndarray) -> float:
    """Share of frames equal to the one before; 1 is one chord held for ever."""
    return float((sounding[1:] == sounding[:-1]).all(1).mean()) if len(sounding) > 1 else 0.0


def scale_consistency(sounding: np.ndarray) -> float:
    """Largest share of the sounding cells that lies in one major scale (or its relative minor); 0 for silence.

    A piece in one key is near 1, chance 7/12. Source: Mogren, C-RNN-GAN, 2016.
    """
    classes = np.bincount((np.nonzero(sounding)[1] + 9) % 12, minlength=12)  # column 0 is an A
    major = [0, 2, 4, 5, 7, 9, 11]
    in_scale = max(classes[[(step + tonic) % 12 for step in major]].sum() for tonic in range(12))
    return float(in_scale / classes.sum()) if classes.sum() else 0.0


def find_collapse(
    sounding: np.ndarray,
    data_held: float | None = None,
    highest: float | None = None,
    threshold: float | None = None,
) -> list[str]:
    """Say in words what is wrong with composed music, and the remedy; empty where nothing is.

    `data_held` is `held_share` of the training data; `highest` the highest probability, played from `threshold` on.
    """
    findings = []
    density = float(sounding.sum(1).mean()) if len(sounding) else 0.0
    if density == 0:
        findings.append(_silence(highest, threshold))
    elif density > DENSE * sounding.shape[1]:
        findings.append(
            f"Everything sounds at once ({density:.0f} of {sounding.shape[1]} keys a frame): "
            "raise the threshold, or train with a smaller alpha."
        )
    elif _stuck(sounding, data_held):
        what = "note" if density < 1.5 else "chord"
        findings.append(
            f"One {what} is held almost for ever: compose by sampling with a higher temperature rather than by "
            "threshold, or train longer."
        )
    return findings


def _silence(highest: float | None, threshold: float | None) -> str:
    if highest is not None and threshold is not None and highest < threshold:
        return (
            f"Nothing sounds: the highest probability {highest:.2f} is below the threshold {threshold:.2f}. "
            "Draw by sampling, go on from a piece, lower the threshold, or train with the focal loss."
        )
    return "Nothing sounds: the model has learnt silence. Train longer, or with the focal loss and a larger alpha."


def _stuck(sounding: np.ndarray, data_held: float | None) -> bool:
    """Whether the last half repeats one frame far more than the data does; short music is not judged."""
    if len(sounding) < 32:
        return False
    usual = data_held or 0.0
    return held_share(sounding[len(sounding) // 2 :]) > max(HELD, 1 - (1 - usual) / 4)
