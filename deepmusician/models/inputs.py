"""What a backbone is told in each frame: the frame before, how old the piece is, and in which style it is."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from deepmusician.models.config import ModelConfig

# in frames: halves, triplets, beats and bars at the usual lengths of a frame
PERIODS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 64)
STYLE_SIZE = 16


def clock(age: Tensor) -> Tensor:
    """Where in each of PERIODS a frame stands: [...] -> [..., 20], sines and cosines."""
    turns = age[..., None].float() / torch.tensor(PERIODS, device=age.device) * (2 * math.pi)
    return torch.cat([turns.sin(), turns.cos()], -1)


class Inputs(nn.Module):
    """Frames [B, T, W] -> inputs [B, T, size]: the frame itself, then the clock, then the style.

    A style is a learnt vector; a mix of styles is the weighted sum of theirs (Mao, Shin & Cottrell, DeepJ, ICSC 2018).
    """

    def __init__(self, c: ModelConfig) -> None:
        super().__init__()
        self.clock = c.clock
        self.styles = nn.Linear(c.n_styles, STYLE_SIZE, bias=False) if c.n_styles > 1 else None
        self.size = c.frame_size + 2 * len(PERIODS) * c.clock + STYLE_SIZE * (c.n_styles > 1)

    def forward(self, frames: Tensor, age: Tensor, style: Tensor | None) -> Tensor:
        """`age` [B] is that of the frame which the first input is about; `style` [B, n], or None for all alike."""
        ages = age[:, None] + torch.arange(frames.shape[1], device=frames.device)
        return torch.cat([frames, *self.extras(ages, style)], -1)

    def extras(self, age: Tensor, style: Tensor | None) -> list[Tensor]:
        """What is told beside the frames, [B, T, ...] each; `age` [B, T] is that of each frame."""
        parts = []
        if self.clock:
            parts.append(clock(age))
        if self.styles is not None:
            n, weight = self.styles.in_features, self.styles.weight
            weights = weight.new_full((len(age), n), 1 / n) if style is None else style.to(weight)
            parts.append(torch.tanh(self.styles(weights))[:, None].expand(*age.shape, -1))
        return parts
