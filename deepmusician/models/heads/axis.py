"""The note axis: a recurrent network along the keyboard, from low to high, the same at every key.

What it hears at a key is what the time axis knows of that key (backbone `biaxial`) and whether the key below was
chosen. Source: Mao, Shin & Cottrell, DeepJ: Style-Specific Music Generation, ICSC 2018; Johnson, EvoMUSART 2017.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deepmusician.losses import logits_for_posterior
from deepmusician.models.backbones.recurrent import run
from deepmusician.models.config import ModelConfig
from deepmusician.models.heads.autoregressive import Autoregressive
from deepmusician.models.keywise import by_key, size_of_key
from deepmusician.roll import KEYS

LAYERS = 2  # as DeepJ's


class Axis(Autoregressive):
    """context [..., K · h], with `skip` followed by the frame before -> an LSTM of `classifier_size` over the keys."""

    def __init__(self, size: int, c: ModelConfig, n_keys: int = KEYS) -> None:
        super().__init__(c, n_keys)
        self.width, self.planes = size_of_key(size, c, n_keys)
        heard = self.width + self.planes + 1
        self.rnn = nn.LSTM(heard, c.classifier_size, LAYERS, dropout=c.classifier_dropout, batch_first=True)
        self.out = nn.Linear(c.classifier_size, 1, bias=False)
        self.bias = nn.Parameter(torch.zeros(n_keys))

    @torch.no_grad()
    def start_at(self, frequencies: Tensor) -> None:
        """See Part."""
        self.out.weight.mul_(0.1)
        eta = frequencies.clamp(1e-4, 1 - 1e-4)  # a key never heard may still come
        self.bias.copy_(logits_for_posterior(eta, self.objective))

    def conditionals(self, context: Tensor, sounding: Tensor) -> Tensor:
        """See Autoregressive."""
        rows, below = context.reshape(-1, context.shape[-1]), sounding.reshape(-1, self.n_keys)[:, :-1]
        below = torch.cat([below.new_zeros(len(below), 1), below], 1)
        known = by_key(rows, self.width, self.planes, self.n_keys)
        y, _ = run(self.rnn, torch.cat([known, below[..., None]], -1), self._start(rows))
        return (self.out(y)[..., 0] + self.bias).view(sounding.shape)

    def begin(self, context: Tensor) -> tuple[list[Tensor], Tensor, list[tuple[Tensor, Tensor]]]:
        """See Autoregressive: what is known of each key, the choice below, the state of each layer."""
        keys = by_key(context.float(), self.width, self.planes, self.n_keys).unbind(1)
        return keys, keys[0].new_zeros(len(context), 1), self._start(context)

    def _start(self, context: Tensor) -> list[tuple[Tensor, Tensor]]:
        """The states below the lowest key of chords from `context` [N, size]."""
        zeros = torch.zeros(len(context), self.rnn.hidden_size, device=context.device)
        return [(zeros, zeros)] * LAYERS

    def key_logit(self, k: int, memory: tuple[list[Tensor], Tensor, list[tuple[Tensor, Tensor]]]) -> Tensor:
        """See Autoregressive."""
        keys, below, states = memory
        y = torch.cat([keys[k], below], -1)
        for layer, weights in enumerate(self.rnn.all_weights):
            states[layer] = torch.lstm_cell(y, states[layer], *weights)
            y = states[layer][0]
        return self.out(y)[:, 0] + self.bias[k]

    def chosen(self, k: int, x: Tensor, memory: tuple) -> tuple:
        """See Autoregressive."""
        keys, _, states = memory
        return keys, x[:, None], states
