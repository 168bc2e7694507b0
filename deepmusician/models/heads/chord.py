"""A chord whose keys know one another, by one masked network: all 88 conditionals in one pass.

Source: Germain et al., MADE: Masked Autoencoder for Distribution Estimation, ICML 2015, with direct connections from
key to key, conditioned on the context as the NADE of an RNN-NADE is (Boulanger-Lewandowski et al., ICML 2012).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from deepmusician.losses import logits_for_posterior
from deepmusician.models.config import ModelConfig
from deepmusician.models.dropping import dropout
from deepmusician.models.heads.autoregressive import Autoregressive
from deepmusician.roll import KEYS


class Chord(Autoregressive):
    """hidden = relu(W x + V context + b), logits = U hidden + L x + A context + a; W, U and L masked.

    Hidden unit j has a degree d: it sees the keys below d and tells only key d and those above. Degrees are spread
    evenly and sorted, so that the units known at key k are always the first ones.
    """

    leap_rows = 32

    def __init__(self, size: int, c: ModelConfig, n_keys: int = KEYS) -> None:
        super().__init__(c, n_keys)
        hidden = c.classifier_size
        self.dropout = c.classifier_dropout
        self.from_context = nn.Linear(size, hidden)  # V, b
        self.from_keys = nn.Linear(n_keys, hidden, bias=False)  # W
        self.to_keys = nn.Linear(hidden, n_keys, bias=False)  # U
        self.direct = nn.Linear(n_keys, n_keys, bias=False)  # L
        self.context_to_keys = nn.Linear(size, n_keys)  # A, a
        degree = torch.arange(hidden) * n_keys // hidden
        key = torch.arange(n_keys)
        self.register_buffer("seen", (key < degree[:, None]).float(), persistent=False)
        self.register_buffer("told", (degree <= key[:, None]).float(), persistent=False)
        self.register_buffer("below", (key < key[:, None]).float(), persistent=False)
        # units of degree k are those from bounds[k] to bounds[k + 1]
        self.bounds = np.searchsorted(np.arange(hidden) * n_keys // hidden, np.arange(n_keys + 1)).tolist()

    @torch.no_grad()
    def start_at(self, frequencies: Tensor) -> None:
        """See Part; at first no key depends on another."""
        for layer in (self.to_keys, self.context_to_keys):
            layer.weight.mul_(0.1)
        self.direct.weight.zero_()
        eta = frequencies.clamp(1e-4, 1 - 1e-4)  # a key never heard may still come
        self.context_to_keys.bias.copy_(logits_for_posterior(eta, self.objective))

    def _weights(self) -> tuple[Tensor, Tensor, Tensor]:
        """W [H, K], U [K, H] and L [K, K], masked."""
        return self.from_keys.weight * self.seen, self.to_keys.weight * self.told, self.direct.weight * self.below

    def conditionals(self, context: Tensor, sounding: Tensor) -> Tensor:
        """See Autoregressive."""
        seen, told, direct = self._weights()
        hidden = torch.relu(self.from_context(context) + linear(sounding, seen))
        hidden = dropout(hidden, self.dropout, self.training)
        return self.context_to_keys(context) + linear(hidden, told) + linear(sounding, direct)

    def leaps(self, context: Tensor) -> Callable[[Tensor, int, Tensor | None], Tensor]:
        """See Autoregressive: each key that is added changes the hidden units of higher degree, and the keys above."""
        inner, logits = self.from_context(context), self.context_to_keys(context)
        seen, told, direct = self._weights()
        seen, direct = seen.t(), direct.t()

        def answer(rows: Tensor, first: int, new: Tensor | None) -> Tensor:
            if new is not None:
                inner[rows] += seen[new]
                logits[rows] += direct[new]
            hidden = dropout(torch.relu(inner[rows]), self.dropout, self.training)
            return logits[rows, first:] + linear(hidden, told[first:])

        return answer

    def begin(self, context: Tensor) -> tuple[Tensor, ...]:
        """See Autoregressive. Nothing is dropped out of the hidden units when a chord is drawn."""
        inner, logits = self.from_context(context).float(), self.context_to_keys(context).float()
        return inner, logits, torch.zeros_like(logits), *self._weights()

    def key_logit(self, k: int, memory: tuple[Tensor, ...]) -> Tensor:
        """See Autoregressive. The units of degree k are known now and go where their inputs stood: [N, hidden]."""
        inner, logits, x, seen, told, direct = memory
        begin, end = self.bounds[k], self.bounds[k + 1]
        below = x[:, :k]
        if begin < end:
            units = torch.addmm(inner[:, begin:end], below, seen[begin:end, :k].T)
            inner[:, begin:end] = units.relu_()
        return logits[:, k] + inner[:, :end] @ told[k, :end] + below @ direct[k, :k]

    def chosen(self, k: int, x: Tensor, memory: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """See Autoregressive."""
        memory[2][:, k] = x
        return memory
