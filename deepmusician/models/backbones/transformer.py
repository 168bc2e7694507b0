"""Transformer: each frame looks at the `memory` last ones, itself among them, and takes what it needs.

Pre-norm, causal. Positions are relative: rotary, turned afresh in each call from the oldest frame in sight, so that
a piece of any length is read with the same numbers. A layer keeps the keys and values of `memory` - 1 frames:
O(memory) a frame; L layers know the L (`memory` - 1) frames before one and no older.

Sources: Vaswani et al., NeurIPS 2017; Xiong et al., ICML 2020 (pre-norm); Su et al., RoFormer, 2021 (rotary); Dai et
al., Transformer-XL, ACL 2019 (memory from chunk to chunk).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from deepmusician.errors import OptionError
from deepmusician.models.backbones.base import Backbone, Shapes, State, randn
from deepmusician.models.config import ModelConfig
from deepmusician.models.dropping import Dropout

CHUNK = 64  # at least so many frames at once: the memory needed grows with T, not with its square


class Block(nn.Module):
    """Self-attention, then a network of four times the width; each beside a residual connection."""

    def __init__(self, c: ModelConfig) -> None:
        super().__init__()
        size, self.heads = c.hidden_size, c.attention_heads
        self.norms = nn.ModuleList(nn.LayerNorm(size) for _ in range(2))
        self.qkv, self.out = nn.Linear(size, 3 * size, bias=False), nn.Linear(size, size)
        self.wide = nn.Sequential(nn.Linear(size, 4 * size), nn.GELU(), nn.Linear(4 * size, size))
        self.dropout = Dropout(c.dropout)

    def forward(self, x: Tensor, past: tuple[Tensor, ...], seen: Tensor, turn: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`x` [B, T, size], keys and values of n frames before -> the same, those of n + T frames.

        `seen` bool [B, 1, T, n + T]; `turn` [2, n + T, D / 2], cosines and sines.
        """
        qkv = self.qkv(self.norms[0](x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # [3, B, H, T, D]
        q, keys, values = qkv[0], *(torch.cat([p.to(t.dtype), t], 2) for p, t in zip(past, qkv[1:], strict=True))
        here = _turned(q, turn[:, -x.shape[1] :])
        y = scaled_dot_product_attention(here, _turned(keys, turn).to(here), values.to(here), attn_mask=seen)
        x = x + self.dropout(self.out(y.transpose(1, 2).flatten(2)))
        return x + self.dropout(self.wide(self.norms[1](x))), keys, values


class Transformer(Backbone):
    """A layer's state: keys and values [B, H, n, D] of the last n frames, and [B, n] which of them there were."""

    def __init__(self, inputs: int, layers: int, c: ModelConfig) -> None:
        super().__init__(inputs, layers, c)
        self.heads, self.memory, self.chunk = c.attention_heads, c.memory, max(CHUNK, c.memory)
        self.embed, self.norm = nn.Linear(inputs, c.hidden_size), nn.LayerNorm(c.hidden_size)
        self.blocks = nn.ModuleList(Block(c) for _ in range(layers))
        half, odd = divmod(c.hidden_size // c.attention_heads, 2)
        if odd:
            need = f"a multiple of {2 * c.attention_heads} with attention_heads {c.attention_heads}"
            raise OptionError(f"hidden_size must be {need}, got {c.hidden_size}")
        angles = torch.arange(self.memory + self.chunk)[:, None] * 10000 ** (-torch.arange(half).double() / half)
        self.register_buffer("turn", torch.stack([angles.cos(), angles.sin()]).float(), persistent=False)

    def shapes(self, frames: int = 0) -> Shapes:
        """See Backbone; after as many frames."""
        remembered = (self.heads, frames, self.size // self.heads)
        return [(remembered, remembered, (frames,))] * self.layers

    def noise(self, batch_size: int, std: float | Tensor, generator: torch.Generator | None, like: Tensor) -> State:
        """See Backbone: a full memory of frames that never were."""
        sizes, known = self.shapes(self.memory - 1), like.new_ones(batch_size, self.memory - 1)
        drawn = [[randn(like.new_empty(batch_size, *s), generator) * std for s in layer[:2]] for layer in sizes]
        return tuple((*layer, known) for layer in drawn)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """See Backbone."""
        read = []
        for frames in self.embed(x).split(self.chunk, 1):
            y, state = self._read(frames, state)
            read.append(y)
        return self.norm(torch.cat(read, 1)), state

    def _read(self, y: Tensor, state: State) -> tuple[Tensor, State]:
        known = torch.cat([state[0][2].to(y), y.new_ones(y.shape[:2])], 1)
        n, after = known.shape[1], []
        place = torch.arange(n, device=y.device)
        distance = place[n - y.shape[1] :, None] - place
        seen = ((distance >= 0) & (distance < self.memory) & (known[:, None] > 0))[:, None]
        forgotten = max(0, n - self.memory + 1)
        for block, (*past, _) in zip(self.blocks, state, strict=True):
            y, keys, values = block(y, past, seen, self.turn[:, :n])
            after.append((keys[:, :, forgotten:], values[:, :, forgotten:], known[:, forgotten:]))
        return y, tuple(after)


def _turned(x: Tensor, turn: Tensor) -> Tensor:
    """`x` [..., n, D] with its pairs of columns turned by the angles of their places."""
    a, b = x.chunk(2, -1)
    return torch.cat([a * turn[0] - b * turn[1], a * turn[1] + b * turn[0]], -1)
