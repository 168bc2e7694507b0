"""Work along the 88 keys: what surrounds a key, counted from the key itself, so that a chord looks alike in every key.

What a network learns from such features at one place of the keyboard it knows at every other: it need not hear a
piece in twelve keys to learn it in all of them. Sources: Johnson, EvoMUSART 2017 (tied parallel networks); Mao, Shin &
Cottrell, ICSC 2018 (DeepJ's note features).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from deepmusician.errors import OptionError
from deepmusician.models.config import ModelConfig

OCTAVE = 12


def neighbourhood(keys: Tensor, below: int, above: int) -> Tensor:
    """[..., K] -> [..., K, below + 1 + above]: each key between its neighbours; 0 beyond the keyboard."""
    return pad(keys, (below, above)).unfold(-1, below + 1 + above, 1)


def pitch_classes(keys: Tensor) -> Tensor:
    """[..., K] -> [..., K, 12]: the sum over all keys that lie 0, 1, ... 11 semitones above each key, octaves aside."""
    n = keys.shape[-1]
    sums = pad(keys, (0, -n % OCTAVE)).unflatten(-1, (-1, OCTAVE)).sum(-2)
    places = torch.arange(n, device=keys.device)[:, None] + torch.arange(OCTAVE, device=keys.device)
    return sums[..., places % OCTAVE]


class SharedDropout(nn.Module):
    """Dropout of features [..., K, F] that hits all keys of a frame alike, as one thinned network shared by them."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """`x` with some features zeroed and the others raised to make up for it; in evaluation as it is."""
        if not self.training or self.p == 0:
            return x
        kept = x.new_empty(*x.shape[:-2], 1, x.shape[-1]).bernoulli_(1 - self.p)
        return x * kept / (1 - self.p)


def by_key(context: Tensor, size: int, planes: int, n_keys: int) -> Tensor:
    """What is known of each key: [..., size · K + planes · K] -> [..., K, size + planes], the frame before last."""
    known = context[..., : size * n_keys].unflatten(-1, (n_keys, size))
    if not planes:
        return known
    last = context[..., size * n_keys :].unflatten(-1, (planes, n_keys)).transpose(-1, -2)
    return torch.cat([known, last], -1)


def size_of_key(size: int, c: ModelConfig, n_keys: int) -> tuple[int, int]:
    """How many numbers a context of `size` holds for each key, without and of the frame before. Raises OptionError."""
    planes = c.n_planes if c.skip else 0
    width, rest = divmod(size - planes * n_keys, n_keys)
    if rest or not c.backbone.startswith("biaxial"):
        raise OptionError(
            f"head {c.head} wants to know as much of each of the {n_keys} keys, and backbone {c.backbone} does not "
            "tell keys apart; choose backbone biaxial, or head chord"
        )
    return width, planes
