"""Backbones by name. One more is a file here and a line in BACKBONES; see `base`."""

from __future__ import annotations

from deepmusician.models.backbones.base import Backbone
from deepmusician.models.backbones.biaxial import Biaxial, BiaxialLSTM
from deepmusician.models.backbones.convolution import TCN
from deepmusician.models.backbones.recurrent import GRU, LSTM, RNN
from deepmusician.models.backbones.transformer import Transformer

BACKBONES: dict[str, type[Backbone]] = {
    "rnn": RNN,
    "lstm": LSTM,
    "gru": GRU,
    "tcn": TCN,
    "transformer": Transformer,
    "biaxial": Biaxial,
    "biaxial-lstm": BiaxialLSTM,
}
