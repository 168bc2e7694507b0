"""Branching: a training that begins with another model's weights, and where a run comes from.

Whether the shapes fit is said before a run is made, from cards alone; the weights themselves are compared when they are
read. Only options that leave the network's shape alone may differ.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING, Any

from deepmusician import checkpoint
from deepmusician.errors import CheckpointError, OptionError
from deepmusician.models.config import ModelConfig
from deepmusician.options import TrainOptions
from deepmusician.workspace import runs_dir

if TYPE_CHECKING:
    from deepmusician.models.base import Model

# what may differ: how it is trained, and what training decides anew
FREE = ("seq_len", "dropout", "classifier_dropout", "loss", "alpha", "gamma", "n_styles")
SHAPING = tuple(f.name for f in dataclasses.fields(ModelConfig) if f.name not in FREE)
ONLY_OF = {  # options that say something about one kind of model alone
    "decoder_n_layers": ("arrangement", "encoder-decoder"),
    "kernel_size": ("backbone", "tcn"),
    "attention_heads": ("backbone", "transformer"),
    "memory": ("backbone", "transformer"),
}


def check_start(options: TrainOptions) -> None:
    """Raises OptionError where `options` ask for another network than the one they begin with.

    CheckpointError where there is no such model.
    """
    if options.start_from is None:
        return
    theirs = _config(checkpoint.read_card(options.start_from))
    for name in SHAPING:
        part, value = ONLY_OF.get(name, ("", ""))
        if part and getattr(options, part) != value:
            continue
        if theirs.get(name) != getattr(options, name):
            raise OptionError(
                f"{options.start_from} was trained with {name} {theirs.get(name)}, got {getattr(options, name)}; "
                f"set {name} to {theirs.get(name)}, or begin with no model"
            )


def shaped_like(options: TrainOptions, source: str) -> TrainOptions:
    """`options` with the network of the model they are to begin with. Raises CheckpointError."""
    theirs = _config(checkpoint.read_card(source))
    values = {name: theirs[name] for name in SHAPING if name in theirs}
    return dataclasses.replace(options, **values, start_from=source)


def _config(card: dict[str, Any]) -> dict[str, Any]:
    """A card's description of its model; one of version 0.1 says less."""
    return {**dataclasses.asdict(ModelConfig()), **card["model"]}


def read_start(source: str, model: Model) -> tuple[Model, dict[str, Any]]:
    """The model to begin with, and what to note of it: its name, epoch and hash. Raises CheckpointError."""
    folder = checkpoint.find(source)
    theirs, card = checkpoint.load(folder)
    if theirs.config.n_styles != model.config.n_styles:
        raise CheckpointError(
            f"{source} was trained on {theirs.config.n_styles} styles, and this music has {model.config.n_styles}; "
            "choose as many sources, or begin with no model"
        )
    wanted = {name: tensor.shape for name, tensor in model.state_dict().items()}
    if wanted != {name: tensor.shape for name, tensor in theirs.state_dict().items()}:
        raise CheckpointError(f"the network of {source} has another shape than this one; begin with no model")
    digest = hashlib.sha256((folder / checkpoint.WEIGHTS).read_bytes()).hexdigest()
    return theirs, {"model": source, "epoch": card.get("epoch"), "sha256": digest}


def lineage(options: TrainOptions) -> list[str]:
    """The models it descends from, nearest first, by the names its ancestors were begun with.

    A name that is no run of this workspace, or has been renamed since, is the end of what is known.
    """
    import tomllib

    found: list[str] = []
    source = options.start_from
    while source and source not in found:
        found.append(source)
        config = runs_dir() / source.partition("@")[0] / "config.toml"
        try:
            source = tomllib.loads(config.read_text("utf-8")).get("start_from")
        except (OSError, ValueError):
            break
    return found
