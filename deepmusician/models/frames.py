"""Frames as rolls hold them, uint8 [..., W], and as models see them, float32 [..., W], with velocities / 127."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from deepmusician.roll import KEYS

LOUDEST = 127
BITS_PLANES = 2  # planes of 0 and 1: sounding and onset
_BITS = BITS_PLANES * KEYS  # their columns


def to_model(frames: np.ndarray) -> Tensor:
    """From a roll's frames to a model's."""
    seen = torch.from_numpy(frames).float()
    seen[..., _BITS:] /= LOUDEST
    return seen


def from_model(frames: Tensor) -> np.ndarray:
    """From a model's frames to a roll's."""
    scaled = frames.clone()
    scaled[..., _BITS:] *= LOUDEST
    return scaled.round().clamp(0, LOUDEST).to(torch.uint8).cpu().numpy()
