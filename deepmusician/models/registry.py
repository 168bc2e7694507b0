"""The arrangements there are, and how a model is made from options or rebuilt from its card.

To add a backbone or a head, see their packages; to add an arrangement, subclass `base.Model` and name it here.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from deepmusician.errors import CheckpointError, OptionError
from deepmusician.losses import KINDS as LOSSES
from deepmusician.models.backbones import BACKBONES
from deepmusician.models.base import Model
from deepmusician.models.committee import Committee
from deepmusician.models.config import ATTENTION, ModelConfig
from deepmusician.models.decoder import DecoderOnly
from deepmusician.models.expression import Expression
from deepmusician.models.heads import HEADS
from deepmusician.models.seq2seq import EncoderDecoder
from deepmusician.options import TrainOptions
from deepmusician.roll import PLANES

ARRANGEMENTS: dict[str, type[Model]] = {
    "encoder-decoder": EncoderDecoder,
    "decoder": DecoderOnly,
    "expression": Expression,
}
CHOICES = {
    "arrangement": ARRANGEMENTS, "backbone": BACKBONES, "head": HEADS, "attention": ATTENTION, "planes": PLANES,
    "loss": LOSSES,
}  # fmt: skip
MOST_STYLES = 1024
# a card may ask for no more than a training can: a backbone's memory may grow as 2^num_layers, whatever its weights
HIGHEST = {f.name: f.metadata["high"] for f in dataclasses.fields(TrainOptions)} | {"n_styles": MOST_STYLES}
LATER = {"members": 1}  # what older cards do not name


def new_model(options: TrainOptions, n_styles: int = 1) -> Model:
    """An untrained model with the parts and sizes of `options`."""
    names = {f.name for f in dataclasses.fields(ModelConfig)} - {"n_styles"}
    values = {k: v for k, v in dataclasses.asdict(options).items() if k in names}
    return make(ModelConfig(**values, n_styles=n_styles))


def make(config: ModelConfig) -> Model:
    """An untrained model, or a committee of them."""
    return Committee(config, make) if config.members > 1 else ARRANGEMENTS[config.arrangement](config)


def build(card: dict[str, Any]) -> Model:
    """The model a checkpoint's card describes, with untrained weights. Raises CheckpointError."""
    if "kind" in card:
        card = modern_card(card)
    card = {**LATER, **card}
    _check(card)
    try:
        return make(ModelConfig(**card))
    except OptionError as error:
        raise CheckpointError(f"the model's description is impossible: {error}") from None


def modern_card(card: dict[str, Any]) -> dict[str, Any]:
    """The description written by version 0.1, which knew one kind of model, as this version writes it."""
    if card["kind"] != "seq2seq":
        raise CheckpointError(f"unknown model kind {card['kind']!r}; this version is older than the checkpoint")
    old = {k: v for k, v in card.items() if k not in ("kind", "n_keys")}
    return {**dataclasses.asdict(ModelConfig()), **old}


def modern_names(tensors: dict[str, Any]) -> dict[str, Any]:
    """Weights named as version 0.1 did, by their names of today; others as they are."""
    if "encoder.weight_ih_l0" not in tensors:
        return tensors
    starts = {"encoder.": "encoder.rnn.", "decoder.": "decoder.rnn.", "head.net.": "head.part.net."}
    renamed = {}
    for name, tensor in tensors.items():
        start = next((s for s in starts if name.startswith(s)), "")
        renamed[starts.get(start, "") + name.removeprefix(start)] = tensor
    return renamed


def _check(values: dict[str, Any]) -> None:
    fields = {f.name: f for f in dataclasses.fields(ModelConfig)}
    if set(values) != set(fields):
        odd = sorted(set(values) ^ set(fields))[0]
        raise CheckpointError(f"the model's description lacks or misspells {odd[:40]!r}; the card is damaged")
    for name, value in values.items():
        default = fields[name].default
        given = str(value)[:40] if isinstance(value, (str, int, float)) else type(value).__name__
        good = isinstance(value, (int, float)) if isinstance(default, float) else type(value) is type(default)
        if not good or isinstance(value, bool) != isinstance(default, bool):
            raise CheckpointError(f"{name} in the model's description must be like {default!r}, got {given!r}")
        lowest = 1 if type(default) is int else 0
        if type(default) in (int, float) and not lowest <= value <= HIGHEST[name]:
            raise CheckpointError(f"{name} must be {lowest}..{HIGHEST[name]:g}, got {given}; the card is damaged")
        if name in CHOICES and value not in CHOICES[name]:
            known = ", ".join(CHOICES[name])
            raise CheckpointError(f"{name} must be one of {known}, got {given!r}; the checkpoint is newer or damaged")
