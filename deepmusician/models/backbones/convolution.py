"""Causal convolution: each layer looks back twice as far as the one below, and none looks ahead.

After L layers a frame knows the 2 (kernel_size - 1) (2^L - 1) frames before it and no older one. Each convolution
keeps the inputs it will look back at, so that a new frame costs the same however long the piece: O(1).

Source: Bai, Kolter & Koltun, An Empirical Evaluation of Generic Convolutional and Recurrent Networks for Sequence
Modeling, 2018 (TCN).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, pad
from torch.nn.utils.parametrizations import weight_norm

from deepmusician.models.backbones.base import Backbone, Shapes, State
from deepmusician.models.config import ModelConfig
from deepmusician.models.dropping import Dropout


class Block(nn.Module):
    """Two dilated convolutions beside a residual connection; `past` input frames are kept for each.

    For one frame only those looked at are taken, which is quicker than to step over the others.
    """

    def __init__(self, inputs: int, dilation: int, c: ModelConfig) -> None:
        super().__init__()
        self.dilation, self.past = dilation, (c.kernel_size - 1) * dilation
        self.convs = nn.ModuleList(
            weight_norm(nn.Conv1d(width, c.hidden_size, c.kernel_size, dilation=dilation))
            for width in (inputs, c.hidden_size)
        )
        self.residual = nn.Conv1d(inputs, c.hidden_size, 1) if inputs != c.hidden_size else nn.Identity()
        self.dropout = Dropout(c.dropout)

    def forward(self, x: Tensor, before: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """`x` [B, inputs, T] -> [B, hidden_size, T]; `before` and what comes back are [B, channels, past]."""
        y, after = x, []
        for conv, cache in zip(self.convs, before, strict=True):
            seen = torch.cat([cache.to(y.dtype), y], -1)
            after.append(seen[..., seen.shape[-1] - self.past :])
            y = conv(seen) if x.shape[-1] > 1 else conv1d(seen[..., :: self.dilation], conv.weight, conv.bias)
            y = self.dropout(y.relu())
        return (y + self.residual(x)).relu(), tuple(after)


class TCN(Backbone):
    """Blocks of dilation 1, 2, 4, ...; a block's state is the last inputs of its two convolutions."""

    def __init__(self, inputs: int, layers: int, c: ModelConfig) -> None:
        super().__init__(inputs, layers, c)
        self.blocks = nn.ModuleList(Block(c.hidden_size if i else inputs, 2**i, c) for i in range(layers))

    def shapes(self) -> Shapes:
        """See Backbone."""
        widths = [self.inputs, *[self.size] * (self.layers - 1)]
        return [((w, b.past), (self.size, b.past)) for w, b in zip(widths, self.blocks, strict=True)]

    def adopt(self, state: State) -> State:
        """See Backbone. What looks back further there than here loses its oldest frames; a cache of another width
        (the frames themselves, where other inputs were heard) begins empty."""
        layers = zip(super().adopt(state), self.shapes(), strict=True)
        return tuple(tuple(_fitted(t, s) for t, s in zip(*layer, strict=True)) for layer in layers)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """See Backbone."""
        y, after = x.transpose(1, 2), []
        for block, before in zip(self.blocks, state, strict=True):
            y, caches = block(y, before)
            after.append(caches)
        return y.transpose(1, 2), tuple(after)


def _fitted(cache: Tensor, shape: tuple[int, ...]) -> Tensor:
    if cache.shape[1] != shape[0]:
        return cache.new_zeros(len(cache), *shape)
    return pad(cache, (shape[1] - cache.shape[2], 0))  # zeros before the oldest frame; fewer than none cuts it off
