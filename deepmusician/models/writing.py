"""Writing music with a model, frame after frame: each context, a frame drawn from it, and that frame heard in turn.

The same notes come from the same seed whichever way is taken: a model's compiled parts where it has them and few pieces
are composed, else `step` and `sample`. Only where a random number lies within rounding of a probability could they
differ. Several pieces, each with random numbers of its own, are those that they would be alone, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from deepmusician.models.contract import Sampling
from deepmusician.models.frames import from_model

if TYPE_CHECKING:
    from deepmusician.models.base import Model
    from deepmusician.models.streams import Stream

MOST_PIECES = 8  # beyond it matrix products are faster than reading each weight once


@dataclass(frozen=True)
class Opening:
    """Where B pieces begin that share a source of random numbers: the frame before [B, W] and a model's state."""

    frame: Tensor
    state: Any
    generator: torch.Generator | None = None


@dataclass(frozen=True)
class Written:
    """The frames of some pieces as a roll's, uint8 [B, T, W], and the highest output where a threshold decided."""

    frames: np.ndarray
    highest: float | None = None


@torch.inference_mode()
def write(
    model: Model, openings: Sequence[Opening], n_frames: int, how: Sampling, styles: Tensor | None = None
) -> list[Written]:
    """Compose on from each opening; `styles` [T, n] are those of each frame, for all pieces alike."""
    written: list[Written] = []
    for some in _few(openings):
        stream = None
        if sum(len(o.frame) for o in some) <= MOST_PIECES and some[0].frame.device.type == "cpu":
            stream = model.stream([o.state for o in some], n_frames, styles)
        if stream is not None:
            written += _write_streamed(model, stream, some, n_frames, how)
        else:
            written += [_write_by_steps(model, o, n_frames, how, styles) for o in some]
    return written


def _few(openings: Sequence[Opening]) -> list[list[Opening]]:
    """The openings in order, as many together as may be composed at once."""
    groups: list[list[Opening]] = []
    for opening in openings:
        if groups and sum(len(o.frame) for o in (*groups[-1], opening)) <= MOST_PIECES:
            groups[-1].append(opening)
        else:
            groups.append([opening])
    return groups


def _write_by_steps(model: Model, opening: Opening, n_frames: int, how: Sampling, styles: Tensor | None) -> Written:
    frame, state, highest = opening.frame, opening.state, None
    written = frame.new_empty(len(frame), n_frames, frame.shape[1])
    for t in range(n_frames):
        style = None if styles is None else styles[t].expand(len(frame), -1)
        context, state = model.step(frame, state, style)
        frame = model.head.sample(context, how, opening.generator)
        written[:, t] = frame
        if how.sampler == "threshold":
            highest = max(highest or 0.0, _highest(model, context, how, opening.generator))
    return Written(from_model(written), highest)


def _highest(model: Model, context: Tensor, how: Sampling, generator: torch.Generator | None) -> float:
    return float(how.only_allowed(model.head.probability(context, generator)).max())


def _write_streamed(
    model: Model, stream: Stream, openings: list[Opening], n_frames: int, how: Sampling
) -> list[Written]:
    frame = torch.cat([o.frame for o in openings]).float().numpy()
    written = np.empty((len(frame), n_frames, frame.shape[1]), np.float32)
    highest = np.zeros(len(frame), np.float32)
    draw = _compiled(model, openings, n_frames, how) or _sampled(model, openings, how)
    for t in range(n_frames):
        frame, reached = draw(stream.step(frame, t), t)
        written[:, t] = frame
        np.maximum(highest, reached, out=highest)
    bounds = np.cumsum([len(o.frame) for o in openings])[:-1]
    each = zip(np.split(from_model(torch.from_numpy(written)), bounds), np.split(highest, bounds), strict=True)
    return [Written(frames, float(top.max()) if how.sampler == "threshold" else None) for frames, top in each]


Draw = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]  # as a Drawer's call, but told the time


def _compiled(model: Model, openings: list[Opening], n_frames: int, how: Sampling) -> Draw | None:
    """Draw by the head's compiled form, all random numbers beforehand: those that `sample` would ask for."""
    drawer = model.head.drawer(how)
    if drawer is None:
        return None
    shapes = [(n_frames, len(o.frame), drawer.noise) for o in openings]
    each = [torch.rand(shape, generator=o.generator) for shape, o in zip(shapes, openings, strict=True)]
    noise = torch.cat(each, 1).numpy()
    return lambda context, t: drawer(context, noise[t])


def _sampled(model: Model, openings: list[Opening], how: Sampling) -> Draw:
    """Draw by `sample`, each opening's pieces by themselves, so that nothing is rounded otherwise than alone."""
    sizes, generators = [len(o.frame) for o in openings], [o.generator for o in openings]

    def draw(context: np.ndarray, t: int) -> tuple[np.ndarray, np.ndarray]:
        parts = list(zip(torch.from_numpy(context).split(sizes), generators, strict=True))
        frames = torch.cat([model.head.sample(part, how, generator) for part, generator in parts])
        if how.sampler != "threshold":
            return frames.numpy(), np.zeros(1, np.float32)
        tops = [_highest(model, part, how, generator) for part, generator in parts]
        return frames.numpy(), np.repeat(np.float32(tops), sizes)

    return draw
