"""The kinds of model there are, and how one is rebuilt from its card.

To add a model: write a module with a config dataclass and an `nn.Module` that answers `contract`, and name it here.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import nn

from deepmusician.errors import CheckpointError
from deepmusician.models.seq2seq import Seq2Seq, Seq2SeqConfig
from deepmusician.options import TrainOptions

MODELS: dict[str, tuple[type, type[nn.Module]]] = {
    Seq2Seq.kind: (Seq2SeqConfig, Seq2Seq),
}
LARGEST = {
    "n_keys": 128,
    "seq_len": 4096,
    "hidden_size": 4096,
    "classifier_size": 4096,
}  # a card may not ask for more
DEEPEST = 16


def new_model(options: TrainOptions, kind: str = Seq2Seq.kind) -> nn.Module:
    """An untrained model with the sizes of `options`."""
    config, model = MODELS[kind]
    names = {f.name for f in dataclasses.fields(config)}
    values = {k: v for k, v in dataclasses.asdict(options).items() if k in names}
    return model(config(**values))


def build(card: dict[str, Any]) -> nn.Module:
    """The model a checkpoint's card describes, with untrained weights. Raises CheckpointError."""
    card = dict(card)
    kind = card.pop("kind", None)
    if kind not in MODELS:
        raise CheckpointError(f"unknown model kind {kind!r}; this version knows {', '.join(MODELS)}")
    config, model = MODELS[kind]
    return model(_checked(config, card))


def _checked(config: type, values: dict[str, Any]) -> Any:
    fields = {f.name: f for f in dataclasses.fields(config)}
    if set(values) != set(fields):
        odd = sorted(set(values) ^ set(fields))[0]
        raise CheckpointError(f"the model's description lacks or misspells {odd!r}; the card is damaged")
    for name, value in values.items():
        default = fields[name].default
        good = isinstance(value, (int, float)) if isinstance(default, float) else type(value) is type(default)
        if not good or isinstance(value, bool) != isinstance(default, bool):
            raise CheckpointError(f"{name} in the model's description must be like {default!r}, got {value!r}")
        if isinstance(default, int) and not 1 <= value <= LARGEST.get(name, DEEPEST):
            raise CheckpointError(f"{name} must be 1..{LARGEST.get(name, DEEPEST)}, got {value}; the card is damaged")
        if isinstance(default, float) and not 0 <= value <= 10:
            raise CheckpointError(f"{name} must be 0..10, got {value}; the card is damaged")
    return config(**values)
