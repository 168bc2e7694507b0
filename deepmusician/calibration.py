"""The settings by which a model composes music as full and as restless as what it learnt: found by composing, and kept
in its card.

Knows nothing of runs; which models are worth it is said elsewhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from deepmusician.checkpoint import amend_card, load
from deepmusician.generation import compose_frames
from deepmusician.metrics import held_share
from deepmusician.models.contract import Sampling
from deepmusician.roll import KEYS

if TYPE_CHECKING:
    from deepmusician.models.base import Model

FRAMES = 128  # of each piece by which a model of a run is calibrated
# temperature and top-p from bold to careful; the more careful, the longer chords are held
CAUTION = (
    (1.0, 1.0), (0.95, 0.97), (0.9, 0.94), (0.85, 0.9), (0.8, 0.87), (0.75, 0.83), (0.7, 0.8), (0.6, 0.75), (0.5, 0.7),
)  # fmt: skip
CLOSE = 0.05  # a density that far from the music's is near enough
FULLNESS = (0.7, 1.6)  # beyond it the model is too far from its data to be mended by drawing more or fewer notes


def calibrate_checkpoint(folder: Path) -> None:
    """Find the settings of a saved model, for the music its card tells of, and keep them there."""
    model, card = load(folder)
    data = card["data"]
    amend_card(folder, **calibrate(model, data["density"], data["held_share"], FRAMES))


def calibrate(
    model: Model, density: float, held: float, n_frames: int = 128, pieces: int | None = None
) -> dict[str, float]:
    """Temperature, top-p and fullness by which the model composes music as full and as restless as it learnt.

    Left to itself a model hears its own slips: a voice once lost is less expected in the next frame, and a stray note
    calls for more. So pieces are composed freely, all from the same seed, at growing CAUTION, each with the fullness
    that gives `density` notes a frame, until as large a share of frames equals the one before as in the music (`held`).
    """
    if pieces is None:
        pieces = 4 if model.head.draws else 16  # whole chords take longer to draw, and slip less
    found: dict[int, tuple[float, float]] = {}

    def held_at(level: int) -> float:
        if level not in found:
            found[level] = _calibrate_fullness(model, CAUTION[level], density, n_frames, pieces)
        return found[level][1]

    low, high = 0, len(CAUTION) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if held_at(middle) < held else (low, middle)
    nearest = min((low, max(low - 1, 0)), key=lambda level: abs(held_at(level) - held))
    temperature, top_p = CAUTION[nearest]
    return {"temperature": temperature, "top_p": top_p, "fullness": found[nearest][0]}


def _calibrate_fullness(
    model: Model, caution: tuple[float, float], density: float, n_frames: int, pieces: int
) -> tuple[float, float]:
    """The fullness that composes about `density` notes a frame, and the held share of what it composed.

    1, if that will do, as it does for heads that draw whole chords; else by bisection.
    """
    low, high = FULLNESS
    middle = 1.0
    for _ in range(6):
        how = Sampling("sample", *caution, fullness=middle)
        generator = torch.Generator().manual_seed(0)
        frames, _ = compose_frames(model, n_frames, how, generator=generator, batch_size=pieces)
        sounding = frames[..., :KEYS] > 0
        reached = sounding.sum(2).mean()
        if abs(reached - density) < CLOSE * density:
            break
        low, high = (middle, high) if reached < density else (low, middle)
        middle = round((low * high) ** 0.5, 3)
    return middle, float(np.mean([held_share(f) for f in sounding]))
