"""The original's arrangement: an encoder reads one window, a decoder writes the next from the encoder's last state.

    source [B, S, W] --encoder--> state --decoder, fed with each last frame--> context --head--> target [B, T, W]

What is decided here beyond the original: a source in which nothing sounds is the empty state itself, so that `zero`
means "a piece begins" in training and composing alike; and composing reads its own last window again every S frames,
so music of any length is made exactly as the model was trained and judged. With attention the decoder also looks at
every frame of the source.

Source: Cho et al., EMNLP 2014 (encoder-decoder).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepmusician.models.attention import Attention
from deepmusician.models.base import Model, new_backbone, new_head
from deepmusician.models.config import ModelConfig
from deepmusician.models.contract import Batch
from deepmusician.models.rows import join
from deepmusician.models.streams import BackboneStream, InputStream


@dataclass(frozen=True)
class Seq2SeqState:
    """The decoder's state, the encoder's outputs [B, S, size], the frames [B, n, W] fed since, the next one's age [B].

    The first frame fed is the source's last one; when S frames have been fed, the next completes a new source.
    """

    hidden: Any
    memory: Tensor
    fed: Tensor
    age: Tensor


class EncoderDecoder(Model):
    """See the module."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.encoder = new_backbone(config, self.inputs.size, config.num_layers)
        self.decoder = new_backbone(config, self.inputs.size, config.decoder_n_layers)
        self.attention = Attention(self.decoder.size, config.attention) if config.attention != "none" else None
        self.head = new_head(config, self.decoder.size)

    @property
    def source_frames(self) -> int:
        """The encoder reads a window as long as the decoder's."""
        return self.config.seq_len

    def open(self, source: Tensor, age: Tensor, style: Tensor | None) -> Seq2SeqState:
        """See Model."""
        began = self.encoder.start(len(source), source)
        memory, hidden = self.encoder(self.inputs(source, age - source.shape[1] + 1, style), began)
        hidden, heard = self.handed(hidden, source)
        return Seq2SeqState(hidden, memory * heard[:, None, None].to(memory.dtype), source[:, :0], age)

    def handed(self, hidden: Any, source: Tensor) -> tuple[Any, Tensor]:
        """The decoder's first state from the encoder's last; and whether anything sounded in `source`, [B]."""
        heard = source.amax((1, 2)) > 0
        return self.decoder.times(self.decoder.adopt(hidden), heard), heard

    def run(self, frames: Tensor, state: Seq2SeqState, style: Tensor | None) -> tuple[Tensor, Seq2SeqState]:
        """See Model. After `seq_len` frames the encoder reads them as its new source, as between two windows."""
        outputs = []
        while frames.shape[1]:
            room = self.config.seq_len - state.fed.shape[1]
            if room == 0:
                source = torch.cat([state.fed[:, 1:], frames[:, :1]], 1)
                state, room = self.open(source, state.age, style), self.config.seq_len
            some, frames = frames[:, :room], frames[:, room:]
            hidden, carried = self.decoder(self.inputs(some, state.age, style), state.hidden)
            if self.attention is not None:
                hidden, _ = self.attention(hidden, state.memory)
            outputs.append(hidden)
            fed = torch.cat([state.fed, some], 1)
            state = replace(state, hidden=carried, fed=fed, age=state.age + some.shape[1])
        return torch.cat(outputs, 1), state

    def stream(self, states: Sequence[Seq2SeqState], n_frames: int, styles: Tensor | None) -> Seq2SeqStream | None:
        """See Model. Attention has no such form."""
        decoder = self.decoder.stream() if self.attention is None else None
        return None if decoder is None else Seq2SeqStream(self, decoder, states, n_frames, styles)

    def noise(self, like: Seq2SeqState, generator: torch.Generator | None) -> Seq2SeqState:
        """See Model."""
        hidden = self.decoder.noise(len(like.age), self.state_std, generator, self.state_std)
        return replace(like, hidden=hidden)

    def spread(self, batch: Batch) -> Tensor:
        """See Model."""
        heard = batch.source.amax((1, 2)) > 0
        began = self.encoder.start(len(batch.source), batch.source)
        age = batch.begin - batch.source.shape[1] + 1
        outputs, _ = self.encoder(self.inputs(batch.source, age, batch.style), began)
        return outputs[heard].std() if heard.any() else self.state_std

    def attention_weights(self, source: Tensor, target: Tensor, style: Tensor | None = None) -> Tensor | None:
        """How much each target frame looks at each source frame, [B, T, S]; None without attention."""
        if self.attention is None:
            return None
        age = torch.full((len(source),), source.shape[1], device=source.device)
        state = self.open(source, age, style)
        frames = torch.cat([source[:, -1:], target[:, :-1]], 1)
        hidden, _ = self.decoder(self.inputs(frames, age, style), state.hidden)
        return self.attention.weights(hidden, state.memory)


class Seq2SeqStream:
    """See streams.Stream. Each piece reads what it wrote when it has written `seq_len` frames since it last did."""

    def __init__(
        self, model: EncoderDecoder, decoder: BackboneStream, states: Sequence[Seq2SeqState], n_frames: int,
        styles: Tensor | None,
    ) -> None:  # fmt: skip
        self.model, self.decoder, self.styles = model, decoder, styles
        decoder.set(join([state.hidden for state in states]))
        self.age = join([state.age for state in states])
        self.inputs = InputStream(model.inputs, self.age, n_frames, styles)
        self.fed = np.zeros((len(self.age), model.config.seq_len, model.config.frame_size), np.float32)
        n_fed = np.repeat([state.fed.shape[1] for state in states], [len(state.age) for state in states])
        self.alike = [(int(n), np.flatnonzero(n_fed == n)) for n in np.unique(n_fed)]  # pieces that read together
        for fed, known in zip(self.fed, (piece for state in states for piece in state.fed), strict=True):
            fed[: len(known)] = known.numpy()

    @cached_property
    def encoder(self) -> BackboneStream:
        """Made when it is first needed, which it never is in a short piece."""
        return self.model.encoder.stream()

    def step(self, frame: np.ndarray, t: int) -> np.ndarray:
        """See Stream."""
        for n_fed, rows in self.alike:
            place = (n_fed + t) % self.fed.shape[1]
            if place == 0 < n_fed + t:
                self._open(rows, frame, t)
            self.fed[rows, place] = frame[rows]
        known = self.decoder.step(self.inputs(frame, t))
        return np.concatenate([known, frame], 1) if self.model.config.skip else known

    def _open(self, rows: np.ndarray, frame: np.ndarray, t: int) -> None:
        """As EncoderDecoder.open, for some of the pieces."""
        source = torch.from_numpy(np.concatenate([self.fed[rows, 1:], frame[rows, None]], 1))
        style = None if self.styles is None else self.styles[t].expand(len(source), -1)
        age = self.age[torch.from_numpy(rows)] + t - source.shape[1] + 1
        heard = self.encoder.read(self.model.inputs(source, age, style).numpy())
        self.decoder.put(rows, self.model.handed(heard, source)[0])
