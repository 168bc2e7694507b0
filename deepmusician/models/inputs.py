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
        shape = frames.shape[:2]
        parts = [frames]
        if self.clock:
            parts.append(clock(age[:, None] + torch.arange(shape[1], device=frames.device)))
        if self.styles is not None:
            n = self.styles.in_features
            weights = frames.new_full((shape[0], n), 1 / n) if style is None else style.to(frames)
            parts.append(torch.tanh(self.styles(weights))[:, None].expand(*shape, -1))
        return torch.cat(parts, -1)
