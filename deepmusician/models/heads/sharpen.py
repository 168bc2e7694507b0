"""Probabilities of keys made safer or bolder: temperature, nucleus and fullness for keys drawn each on its own.

Source: Holtzman et al., ICLR 2020 (nucleus sampling), here over expected notes instead of words.
"""

from __future__ import annotations

import torch
from torch import Tensor


def sharpen(logits: Tensor, temperature: float = 1.0, top_p: float = 1.0, fullness: float = 1.0) -> Tensor:
    """Probabilities [..., 88] made safer or bolder without changing how many notes are expected in the frame.

    Nearly all keys are unlikely, so a lower temperature alone would silence the frame; an offset common to its keys
    keeps their sum, or makes it `fullness` times as large. Keys outside the nucleus get 0.
    """
    p = torch.sigmoid(logits)
    if temperature == top_p == fullness == 1:
        return p
    sharper = logits / temperature
    keep = nucleus(p, top_p) if top_p < 1 else torch.ones_like(p, dtype=torch.bool)
    notes = fullness * p.sum(-1, keepdim=True)
    return torch.where(keep, torch.sigmoid(sharper + _offset(sharper, keep, notes)), 0.0)


def _offset(logits: Tensor, keep: Tensor, notes: Tensor) -> Tensor:
    """The offset [..., 1] at which the kept keys' probabilities sum to `notes`, by bisection."""
    low, high = torch.full_like(notes, -80.0), torch.full_like(notes, 80.0)
    for _ in range(30):
        middle = (low + high) / 2
        short = (torch.sigmoid(logits + middle) * keep).sum(-1, keepdim=True) < notes
        low, high = torch.where(short, middle, low), torch.where(short, high, middle)
    return (low + high) / 2


def nucleus(p: Tensor, top_p: float) -> Tensor:
    """Mark the fewest, likeliest entries that hold `top_p` of the sum of `p` [..., n]; bool, as `p`."""
    ranked, order = p.sort(-1, descending=True)
    before = ranked.cumsum(-1) - ranked
    keep = before < top_p * ranked.sum(-1, keepdim=True)
    return torch.zeros_like(keep).scatter(-1, order, keep)
