"""Recurrent backbones: a state of fixed size that each frame renews. O(1) a frame.

Sources: Elman, Cognitive Science 1990 (RNN); Hochreiter & Schmidhuber, Neural Computation 1997 (LSTM); Cho et al.,
EMNLP 2014 (GRU).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deepmusician.models.backbones.base import Backbone, Shapes, State, each
from deepmusician.models.config import ModelConfig
from deepmusician.models.gru_layer import run_gru, suits
from deepmusician.models.streams import GRUStream, loops

# elsewhere torch has no LSTM of bf16 and stops; other networks it emulates
HALF_LSTM = torch.backends.cpu.get_cpu_capability().startswith("AVX512")


def run(network: nn.RNNBase, x: Tensor, state: State) -> tuple[Tensor, State]:
    """`x` through a network of torch, on from a state [B, hidden_size] for each layer, of an LSTM twice."""
    dtype, is_lstm = network.weight_hh_l0.dtype, isinstance(network, nn.LSTM)
    if is_lstm and not network.training and x.shape[int(network.batch_first)] == 1:
        return _lstm_step(network, x.to(dtype), each(state, lambda tensor: tensor.to(dtype)))
    if suits(network, x):
        return _gru_by_hand(network, x.to(dtype), tuple(layer[0].to(dtype) for layer in state))
    stacked = tuple(torch.stack(part).to(dtype) for part in zip(*state, strict=True))  # each [layers, B, hidden_size]
    half = torch.is_autocast_enabled("cpu") and (HALF_LSTM or not is_lstm)
    with torch.autocast("cpu", enabled=half):
        y, after = network(x.to(dtype), stacked if is_lstm else stacked[0])
    return y, tuple(zip(*(after if is_lstm else (after,)), strict=True))


def _gru_by_hand(network: nn.GRU, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, State]:
    """Time first, as it is written there, whichever way the network has it."""
    time_first = x.transpose(0, 1) if network.batch_first else x
    y, after = run_gru(network, time_first, state)
    return y.transpose(0, 1) if network.batch_first else y, tuple((layer,) for layer in after)


def _lstm_step(network: nn.LSTM, x: Tensor, state: State) -> tuple[Tensor, State]:
    """One frame: torch's own pass orders all weights anew in each call, which takes seven times as long."""
    time = int(network.batch_first)
    y, after = x.squeeze(time), []
    for (hidden, cell), weights in zip(state, network.all_weights, strict=True):
        y, cell = torch.lstm_cell(y, (hidden, cell), *weights)
        after.append((y, cell))
    return y.unsqueeze(time), tuple(after)


class Recurrent(Backbone):
    """A recurrent network of torch; a layer's state is `parts` tensors [B, hidden_size]."""

    network: type[nn.RNNBase]
    parts = 1

    def __init__(self, inputs: int, layers: int, c: ModelConfig) -> None:
        super().__init__(inputs, layers, c)
        between = c.dropout if layers > 1 else 0.0
        self.rnn = self.network(inputs, c.hidden_size, layers, dropout=between, batch_first=True)

    def shapes(self) -> Shapes:
        """See Backbone."""
        return [((self.size,),) * self.parts] * self.layers

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """See Backbone."""
        return run(self.rnn, x, state)


class RNN(Recurrent):
    """Elman's network with tanh."""

    network = nn.RNN


class LSTM(Recurrent):
    """Long short-term memory: what it gives, and the cell it keeps to itself."""

    network = nn.LSTM
    parts = 2


class GRU(Recurrent):
    """Gated recurrent units."""

    network = nn.GRU

    def stream(self) -> GRUStream | None:
        """See Backbone."""
        compiled = loops()
        return None if compiled is None else GRUStream(self.rnn, compiled)
