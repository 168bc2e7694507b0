"""Sentences that pages say about numbers."""

from __future__ import annotations

import numpy as np

from deepmusician import estimate
from deepmusician.plurals import count as count

SURE, MISSED = 0.95, 0.1  # a silence the model is sure of; a note it gave a tenth of the probability


def focal_sentence(loss: str, alpha: float, gamma: float, share: float | None = None) -> str:
    """What alpha and gamma do, by how much a missed note counts beside a silence that is plain.

    With the `share` of the cells that sound in the music, also what that means for it.
    """
    from deepmusician.losses import loss_curve

    missed, _ = _at(loss_curve, loss, MISSED, alpha, gamma)
    _, silence = _at(loss_curve, loss, 1 - SURE, alpha, gamma)
    ratio = (missed[0] / missed[1]) / (silence[0] / silence[1])
    if loss == "bce":
        said = (
            "Every key counts alike. A frame has 88 keys and a few notes, so predicting silence costs little: "
            "models trained this way tend to play too few notes."
        )
    else:
        said = (
            f"Beside a silence that the model is {SURE:.0%} sure of, a note to which it gave only {MISSED:.0%} counts "
            f"**{times(ratio)}** what it does under bce."
        )
    if not share:
        return said
    silences = (1 - share) / share
    plain, here = missed[1] / (silences * silence[1]), missed[0] / (silences * silence[0])
    said += f" In this music {100 * share:.1f} % of the keys sound: **{silences:.0f} silent ones to each note**. "
    said += f"A note it missed outweighs those plain silences {times(plain)} under bce"
    return said + ("." if loss == "bce" else f", and **{times(here)}** under {loss}.")


def _at(curve, loss: str, p: float, alpha: float, gamma: float):  # noqa: ANN001, ANN202
    """(loss here, loss under bce) for a sounding and for a silent key given probability p."""
    here, plain = curve(loss, np.array([p]), alpha, gamma), curve("bce", np.array([p]), alpha, gamma)
    return tuple((float(h[0]), float(b[0])) for h, b in zip(here, plain, strict=True))


def times(ratio: float) -> str:
    """A ratio as it is said: 972 times, 2.4 times, a third of."""
    if ratio >= 10:
        return f"{ratio:,.0f} times"
    return f"{ratio:.1f} times" if ratio >= 0.95 else f"{ratio:.2f} times"


def duration(seconds: float | None) -> str:
    """A time left: 40 s, 3 min 20 s, 1 h 5 min."""
    return "not known yet" if seconds is None else estimate.duration(seconds)
