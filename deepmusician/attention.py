"""What a model with attention looked at while it composed a piece.

The piece is told to the model once more, from the same beginning, and what its attention gives to each frame of the
window before is written down, so that it is what was looked at indeed. Knows nothing of pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from deepmusician import checkpoint
from deepmusician.generation import one_thread, told
from deepmusician.models.frames import to_model
from deepmusician.notes import Song
from deepmusician.options import GenerateOptions
from deepmusician.roll import Roll, frames_of

if TYPE_CHECKING:
    from deepmusician.models.base import Model


@dataclass(frozen=True)
class Look:
    """One window of a piece: `weights` float [T, S], how much frame `begin` + t looked at frame `source` + s.

    A row sums to 1. Frames are counted from the piece's first; those before it are of the piece it went on from.
    """

    weights: np.ndarray
    begin: int
    source: int


@torch.inference_mode()
def attention_of(
    source: str | Path | tuple[Model, dict[str, Any]], roll: Roll, options: GenerateOptions, prime: Song | None = None
) -> list[Look]:
    """The windows of `roll`, composed with these options and this prime, that had something to look at.

    Empty where the model has no attention, or the piece ends within the first window.
    """
    model, card = source if isinstance(source, tuple) else checkpoint.load(source)
    if model.config.attention == "none":
        return []
    heard, style = told(source, card, options, prime)
    frames = to_model(frames_of(roll, model.config.planes))[:, None]
    styles = None if style is None else torch.from_numpy(style).float()[:, None]
    rows: list[torch.Tensor] = []
    hook = model.attention.register_forward_hook(lambda _module, _inputs, output: rows.append(output[1][0, 0]))
    windows: dict[int, list[torch.Tensor]] = {}  # by the frame at which the window begins
    try:
        with one_thread():
            frame, state = _start(model, options, heard, styles)
            rows.clear()  # of the piece it goes on from
            for t in range(len(frames)):
                _, state = model.step(frame, state, None if styles is None else styles[t])
                frame = frames[t]
                if state.memory.any():  # before a piece begins there is nothing to look at
                    windows.setdefault(t + 1 - state.fed.shape[1], []).append(rows[-1])
    finally:
        hook.remove()
    return [_look(begin, torch.stack(found).numpy()) for begin, found in windows.items()]


def _start(
    model: Model, options: GenerateOptions, heard: np.ndarray | None, styles: torch.Tensor | None
) -> tuple[torch.Tensor, Any]:
    """As composing starts, to the same random state."""
    prime = None if heard is None else to_model(heard)[None]
    first = None if styles is None else styles[0]
    generator = torch.Generator().manual_seed(options.seed)
    return model.start(options.init, prime=prime, style=first, generator=generator)


def _look(begin: int, weights: np.ndarray) -> Look:
    return Look(weights, max(begin, 0), begin - weights.shape[1])
