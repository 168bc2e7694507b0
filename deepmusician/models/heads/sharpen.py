"""Probabilities of keys made safer or bolder: temperature, nucleus and fullness for keys drawn each on its own.

Source: Holtzman et al., ICLR 2020 (nucleus sampling), here over expected notes instead of words.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

REACH, ROUNDS = 80.0, 60  # log-odds that make any key certain; a handful of rounds will do, or 30 halvings
NEAR = 1e-6  # of an offset


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
    """The offset [..., 1] at which the kept keys' probabilities sum to `notes`, or REACH where they cannot.

    By Newton's method between the nearest offsets known to be too low and too high, or by halving where it would leave
    them; in float64, as the sum's slope may be small.
    """
    kept, notes = torch.where(keep, logits, -math.inf).double(), notes.double()
    high = torch.full_like(notes, REACH)
    low = torch.where(notes < keep.sum(-1, keepdim=True), -high, high)
    at = low.clamp(min=0)
    for _ in range(ROUNDS):
        p = torch.sigmoid(kept + at)
        missing = notes - p.sum(-1, keepdim=True)
        low, high = torch.where(missing > 0, at, low), torch.where(missing > 0, high, at)
        after = at + missing / (p - p * p).sum(-1, keepdim=True)
        after = torch.where((after >= low) & (after <= high), after, (low + high) / 2)
        moved, at = (after - at).abs(), after
        if not bool((moved > NEAR).any()):
            break
    return at.to(logits.dtype)


def nucleus(p: Tensor, top_p: float) -> Tensor:
    """Mark the fewest, likeliest entries that hold `top_p` of the sum of `p` [..., n]; bool, as `p`."""
    ranked, order = p.sort(-1, descending=True)
    before = ranked.cumsum(-1) - ranked
    keep = before < top_p * ranked.sum(-1, keepdim=True)
    return torch.zeros_like(keep).scatter(-1, order, keep)
