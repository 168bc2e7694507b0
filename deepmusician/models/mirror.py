"""A model that reads and writes the keyboard from the top down, and answers as if it did not.

Heads that decide a frame key after key go from low to high. Behind a mirror the same head goes from the melody down to
the bass: it errs in other places, so a committee of both kinds errs less than either. Its likelihood is as exact.
Source: Uria, Murray & Larochelle, A Deep and Tractable Density Estimator, ICML 2014 (mixing orders of one NADE).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from deepmusician.models.base import Model
from deepmusician.models.contract import Batch, Sampling
from deepmusician.models.heads import FrameHead
from deepmusician.roll import KEYS


def mirrored(frames: Tensor) -> Tensor:
    """Frames [..., K · planes] with the keys of each plane in the opposite order; its own inverse."""
    return frames.unflatten(-1, (-1, KEYS)).flip(-1).flatten(-2)


class Mirror(nn.Module):
    """What a Committee asks of a member, asked of `model` upside down."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("state_std", torch.tensor(0.3))

    @property
    def head(self) -> MirrorHead:
        """The model's head, upside down."""
        return MirrorHead(self.model.head)

    @property
    def source_frames(self) -> int:
        """See Model."""
        return self.model.source_frames

    def open(self, source: Tensor, age: Tensor, style: Tensor | None) -> Any:
        """See Model."""
        return self.model.open(mirrored(source), age, style)

    def advance(self, frames: Tensor, state: Any, style: Tensor | None = None) -> tuple[Tensor, Any]:
        """See Model."""
        return self.model.advance(mirrored(frames), state, style)

    def noise(self, like: Any, generator: torch.Generator | None) -> Any:
        """See Model."""
        self.model.state_std = self.state_std
        return self.model.noise(like, generator)

    def spread(self, batch: Batch) -> Tensor:
        """See Model."""
        return self.model.spread(replace(batch, source=mirrored(batch.source), target=mirrored(batch.target)))

    def nll(self, batch: Batch) -> Tensor:
        """See Model."""
        return self.model.nll(replace(batch, source=mirrored(batch.source), target=mirrored(batch.target)))


class MirrorHead:
    """Answers as a FrameHead does."""

    def __init__(self, head: FrameHead) -> None:
        self.head = head

    @property
    def draws(self) -> bool:
        """See FrameHead."""
        return self.head.draws

    def start_at(self, frequencies: Tensor) -> None:
        """See FrameHead."""
        self.head.start_at(frequencies.flip(-1))

    def losses(self, context: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """See FrameHead."""
        return self.head.losses(context, mirrored(target))

    def loss(self, context: Tensor, target: Tensor) -> Tensor:
        """See FrameHead."""
        return self.head.loss(context, mirrored(target))

    def nll(self, context: Tensor, target: Tensor) -> Tensor:
        """See FrameHead."""
        return self.head.nll(context, mirrored(target))

    def key_nats(self, context: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """See FrameHead; each key's given those above it."""
        keys, velocities = self.head.key_nats(context, mirrored(target))
        return keys.flip(-1), velocities.flip(-1)

    def probability(self, context: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """See FrameHead."""
        return self.head.probability(context, generator).flip(-1)

    def sample(self, context: Tensor, how: Sampling, generator: torch.Generator | None = None) -> Tensor:
        """See FrameHead."""
        if how.allowed is not None:
            how = replace(how, allowed=how.allowed.flip(-1))
        return mirrored(self.head.sample(context, how, generator))
