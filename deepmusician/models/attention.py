"""Attention: the decoder looks back at every frame of the source and takes what it needs.

Additive scores are Bahdanau's, scaled dot products Vaswani's. They are asked after the decoder's recurrence, as Luong
does, not before it, so that all frames of a window are computed at once.

Sources: Bahdanau, Cho & Bengio, ICLR 2015; Luong, Pham & Manning, EMNLP 2015; Vaswani et al., NeurIPS 2017.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Attention(nn.Module):
    """Queries [B, T, size] over a memory [B, S, size] -> [B, T, size] and the weights [B, T, S] that sum to 1."""

    def __init__(self, size: int, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.query, self.key = nn.Linear(size, size, bias=False), nn.Linear(size, size, bias=False)
        self.score = nn.Linear(size, 1, bias=False) if kind == "additive" else None
        self.join = nn.Linear(2 * size, size)

    def forward(self, queries: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """The queries joined with what they found; where the memory is empty (S = 0), with zeros."""
        weights = self.weights(queries, memory)
        found = weights.to(memory.dtype) @ memory
        return torch.tanh(self.join(torch.cat([queries, found], -1))), weights

    def weights(self, queries: Tensor, memory: Tensor) -> Tensor:
        """How much each query looks at each frame of the memory, [B, T, S]."""
        q, k = self.query(queries), self.key(memory)
        if self.score is not None:
            scores = self.score(torch.tanh(q[:, :, None] + k[:, None])).squeeze(-1)
        else:
            scores = q @ k.transpose(1, 2) / q.shape[-1] ** 0.5
        return scores.float().softmax(-1)
