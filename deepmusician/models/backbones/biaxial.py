"""Biaxial, the time axis: one small recurrent network for every key, all with the same weights, each hearing the
keys around its own. What it learns on one key it knows on all, so it needs no transposed copies of the music.

Sources: Mao, Shin & Cottrell, DeepJ, ICSC 2018; Johnson, EvoMUSART 2017. Theirs is an LSTM of 12 semitones to each
side; here it hears two octaves, and a GRU does as well in less time.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deepmusician.models.backbones.base import Backbone, Shapes, State, each
from deepmusician.models.backbones.recurrent import run
from deepmusician.models.config import ModelConfig
from deepmusician.models.keywise import OCTAVE, neighbourhood, pitch_classes
from deepmusician.roll import KEYS

REACH = 24  # semitones heard to each side of a key
NEAR = 12  # the same for onsets and velocities


class Biaxial(Backbone):
    """[B, T, inputs] -> [B, T, 88 · hidden_size], the keys from low to high; a layer's state is `parts` [B, 88, h]."""

    network: type[nn.RNNBase] = nn.GRU
    parts = 1

    def __init__(self, inputs: int, layers: int, c: ModelConfig) -> None:
        super().__init__(inputs, layers, c)
        self.frame_size, self.hidden_size, self.size = c.frame_size, c.hidden_size, KEYS * c.hidden_size
        features = 2 * REACH + 1 + OCTAVE + 3 + (2 * NEAR + 1) * (c.n_planes - 1) + inputs - c.frame_size
        self.rnn = self.network(features, c.hidden_size, layers, dropout=c.dropout if layers > 1 else 0.0)

    def shapes(self) -> Shapes:
        """See Backbone."""
        return [((KEYS, self.hidden_size),) * self.parts] * self.layers

    def features(self, x: Tensor) -> Tensor:
        """What each key hears of [B, T, inputs]: [B, T, 88, F]."""
        planes = x[..., : self.frame_size].unflatten(-1, (-1, KEYS))
        sounding, extras = planes[..., 0, :], x[..., self.frame_size :]
        notes = sounding.sum(-1, keepdim=True)
        place = torch.linspace(-1, 1, KEYS, device=x.device, dtype=x.dtype)
        common = torch.stack([t.expand_as(sounding) for t in (place, notes / 5, (notes == 0).to(x.dtype))], -1)
        near = [neighbourhood(planes[..., i, :], NEAR, NEAR) for i in range(1, planes.shape[-2])]
        heard = [neighbourhood(sounding, REACH, REACH), pitch_classes(sounding) / 2, common, *near]
        return torch.cat([*heard, extras[:, :, None].expand(*sounding.shape, -1)], -1)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """See Backbone. To the recurrent network the keys are so many more songs."""
        batch, frames = x.shape[:2]
        flat = self.features(x).transpose(0, 1).reshape(frames, batch * KEYS, -1)
        y, after = run(self.rnn, flat, each(state, lambda tensor: tensor.flatten(0, 1)))
        y = y.view(frames, batch, self.size).transpose(0, 1)
        return y, each(after, lambda tensor: tensor.unflatten(0, (batch, KEYS)))


class BiaxialLSTM(Biaxial):
    """With the LSTM of the original."""

    network = nn.LSTM
    parts = 2
