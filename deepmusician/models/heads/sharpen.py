"""Probabilities of keys made safer or bolder: temperature, nucleus and fullness for keys drawn each on its own.

Source: Holtzman et al., ICLR 2020 (nucleus sampling), here over expected notes instead of words.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

PLACES, ROUNDS = 33, 5  # 160 / 32^5 is 5e-6


def sharpen(
    logits: Tensor, temperature: float = 1.0, top_p: float = 1.0, fullness: float = 1.0, allowed: Tensor | None = None
) -> Tensor:
    """Probabilities [..., 88] made safer or bolder without changing how many notes are expected in the frame.

    Nearly all keys are unlikely, so a lower temperature alone would silence the frame; an offset common to its keys
    keeps their sum, or makes it `fullness` times as large. Keys outside the nucleus and those not `allowed`, bool [88],
    get 0.
    """
    p = torch.sigmoid(logits)
    if allowed is not None:
        p = p * allowed.to(p)
    if temperature == top_p == fullness == 1:
        return p
    sharper = logits / temperature
    keep = nucleus(p, top_p) if top_p < 1 else p > 0
    notes = fullness * p.sum(-1, keepdim=True)
    return torch.where(keep, torch.sigmoid(sharper + _offset(sharper, keep, notes)), 0.0)


def _offset(logits: Tensor, keep: Tensor, notes: Tensor) -> Tensor:
    """The offset [..., 1] at which the kept keys' probabilities sum to `notes`.

    Each round asks at PLACES places between the nearest known to be too low and too high.
    """
    places = torch.linspace(0, 1, PLACES, device=logits.device)[:, None]
    low, width = torch.full_like(notes, -80.0), 160.0
    kept = torch.where(keep, logits, -math.inf)[..., None, :]
    for _ in range(ROUNDS):
        tried = low[..., None] + width * places  # [..., PLACES, 1]
        short = torch.sigmoid(kept + tried).sum(-1) < notes
        width = width / (PLACES - 1)
        low = low + width * (short.sum(-1, keepdim=True) - 1).clamp(0, PLACES - 2)
    return low + width / 2


def nucleus(p: Tensor, top_p: float) -> Tensor:
    """Mark the fewest, likeliest entries that hold `top_p` of the sum of `p` [..., n]; bool, as `p`."""
    ranked, order = p.sort(-1, descending=True)
    before = ranked.cumsum(-1) - ranked
    keep = before < top_p * ranked.sum(-1, keepdim=True)
    return torch.zeros_like(keep).scatter(-1, order, keep)
