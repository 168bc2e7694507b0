"""Decoder only: one backbone reads the piece from its first frame on and says at each what comes next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepmusician.models.base import Model, new_backbone, new_head
from deepmusician.models.config import ModelConfig
from deepmusician.models.contract import Batch
from deepmusician.models.rows import join
from deepmusician.models.streams import BackboneStream, InputStream


@dataclass(frozen=True)
class DecoderState:
    """The backbone's state and the age [B], in frames, of the frame to come."""

    hidden: Any
    age: Tensor


class DecoderOnly(Model):
    """In training a window begins with an empty state, but is told the one frame before it."""

    source_frames = 1

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.backbone = new_backbone(config, self.inputs.size, config.num_layers)
        self.head = new_head(config, self.backbone.size)

    def open(self, source: Tensor, age: Tensor, style: Tensor | None) -> DecoderState:
        """An empty state; the source's last frame comes with the first step."""
        return DecoderState(self.backbone.start(len(source), source), age)

    def run(self, frames: Tensor, state: DecoderState, style: Tensor | None) -> tuple[Tensor, DecoderState]:
        """See Model."""
        hidden, carried = self.backbone(self.inputs(frames, state.age, style), state.hidden)
        return hidden, DecoderState(carried, state.age + frames.shape[1])

    def noise(self, like: DecoderState, generator: torch.Generator | None) -> DecoderState:
        """See Model."""
        return DecoderState(self.backbone.noise(len(like.age), self.state_std, generator, self.state_std), like.age)

    def stream(self, states: Sequence[DecoderState], n_frames: int, styles: Tensor | None) -> DecoderStream | None:
        """See Model."""
        backbone = self.backbone.stream()
        return None if backbone is None else DecoderStream(self, backbone, states, n_frames, styles)

    def spread(self, batch: Batch) -> Tensor:
        """See Model."""
        state = self.open(batch.source, batch.begin, batch.style)
        hidden, _ = self.run(batch.target, state, batch.style)
        return hidden.std()


class DecoderStream:
    """See streams.Stream."""

    def __init__(
        self, model: DecoderOnly, backbone: BackboneStream, states: Sequence[DecoderState], n_frames: int,
        styles: Tensor | None,
    ) -> None:  # fmt: skip
        self.backbone, self.skip = backbone, model.config.skip
        backbone.set(join([state.hidden for state in states]))
        self.inputs = InputStream(model.inputs, join([state.age for state in states]), n_frames, styles)

    def step(self, frame: np.ndarray, t: int) -> np.ndarray:
        """See Stream."""
        known = self.backbone.step(self.inputs(frame, t))
        return np.concatenate([known, frame], 1) if self.skip else known
