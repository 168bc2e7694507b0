"""Which styles a piece is composed in: one, a mix, or a change from one to another along the piece."""

from __future__ import annotations

import numpy as np

from deepmusician.errors import OptionError

THEN, AND, WEIGHT = ">", ",", ":"


def style_weights(text: str | None, names: tuple[str, ...], n_frames: int) -> np.ndarray:
    """Weights of the styles `names` in each frame, float [n_frames, n_styles], rows that sum to 1.

    "bach" is one style; "bach:0.7,essen:0.3" a mix; "bach>essen" goes from one to the other over the piece, by way of
    any number of stops. None is all alike. Raises OptionError for an unknown style or an impossible weight.
    """
    if not text:
        return np.full((n_frames, len(names)), 1 / len(names))
    stops = np.stack([_mix(part, names) for part in text.split(THEN)])
    places = np.linspace(0, len(stops) - 1, n_frames)
    return np.stack([np.interp(places, np.arange(len(stops)), column) for column in stops.T], 1)


def _mix(text: str, names: tuple[str, ...]) -> np.ndarray:
    weights = np.zeros(len(names))
    for part in text.split(AND):
        name, _, weight = part.rpartition(WEIGHT) if WEIGHT in part else (part, "", "1")
        if name.strip() not in names:
            raise OptionError(f"this model knows no style {name.strip()!r}; it knows {', '.join(names)}")
        weights[names.index(name.strip())] += _weight(weight, name.strip())
    if weights.sum() <= 0:
        raise OptionError(f"the weights of a mix must not all be 0, got {text!r}")
    return weights / weights.sum()


def _weight(text: str, name: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = -1.0
    if not 0 <= weight < float("inf"):
        raise OptionError(f"the weight of {name} must be a number from 0 up, got {text!r}")
    return weight
