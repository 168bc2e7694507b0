"""What all arrangements share: the loss, the honest likelihood, scheduled sampling, composing and scoring.

An arrangement says how a batch or a beginning becomes a state (`open`) and how states run over frames (`run`).
Knows nothing of songs or files.

Sources: Bengio et al., NeurIPS 2015 (scheduled sampling); Mihaylova & Martins, ACL SRW 2019 (its parallel form).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from deepmusician.models.backbones import BACKBONES
from deepmusician.models.backbones.base import Backbone
from deepmusician.models.config import ModelConfig
from deepmusician.models.contract import Batch, Sampling
from deepmusician.models.heads import FrameHead
from deepmusician.models.inputs import Inputs
from deepmusician.models.streams import Stream

CHUNK = 256  # frames read at once when a whole song is scored; changes memory only


class Model(nn.Module):
    """A model of frames; see `contract` for its calls and `config` for its parts."""

    source_frames: int  # how many frames before a target window it is told
    composes = True

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.inputs = Inputs(config)
        # how far states lie from zero: `random` draws states of this size; measured in training
        self.register_buffer("state_std", torch.tensor(0.3))

    def card(self) -> dict[str, Any]:
        """What rebuilds this model without its weights."""
        return asdict(self.config)

    def open(self, source: Tensor, age: Tensor, style: Tensor | None) -> Any:
        """The state after hearing `source` [B, S, W]; `age` [B] is that of the frame to come."""
        raise NotImplementedError

    def run(self, frames: Tensor, state: Any, style: Tensor | None) -> tuple[Tensor, Any]:
        """From the frames before, [B, T, W], what the backbone knows of those to come, [B, T, size]."""
        raise NotImplementedError

    def noise(self, like: Any, generator: torch.Generator | None) -> Any:
        """A state as `like`, with random numbers of `state_std` for its memory."""
        raise NotImplementedError

    def spread(self, batch: Batch) -> Tensor:
        """How far from zero the states lie that the music of `batch` leaves; a standard deviation."""
        raise NotImplementedError

    def advance(self, frames: Tensor, state: Any, style: Tensor | None = None) -> tuple[Tensor, Any]:
        """As `run`, but contexts [B, T, C] as the head wants them: with `skip`, the frame before at their end."""
        hidden, state = self.run(frames, state, style)
        return (torch.cat([hidden, frames.to(hidden)], -1) if self.config.skip else hidden), state

    def contexts(
        self, batch: Batch, teacher_forcing_ratio: float = 1.0, generator: torch.Generator | None = None,
        guesses: str = "parallel",
    ) -> Tensor:  # fmt: skip
        """Contexts [B, T, C] of the target frames; a share of the inputs may be the model's own guesses.

        `parallel` guesses follow true frames: one pass over these, one over the mixture. `sequential` ones follow what
        was fed before them, guesses too, as in composing: frame after frame. No gradient goes through a guess, so what
        is learnt from is the pass over the mixture alone, whichever way that came about.
        """
        age = batch.mask.new_zeros(len(batch.mask), dtype=torch.long) if batch.begin is None else batch.begin
        state = self.open(batch.source, age, batch.style)
        frames = torch.cat([batch.source[:, -1:], batch.target[:, :-1]], 1)
        if teacher_forcing_ratio < 1:
            chance = torch.rand(batch.mask[:, 1:].shape, generator=generator, device=frames.device)
            mix_in = self._mix_in_guesses if guesses == "parallel" else self._follow_guesses
            frames = mix_in(frames, chance < teacher_forcing_ratio, state, batch.style, generator)
        return self.advance(frames, state, batch.style)[0]

    @torch.no_grad()
    def _mix_in_guesses(
        self, frames: Tensor, told: Tensor, state: Any, style: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        """`frames` [B, T, W], but where not `told` [B, T - 1] guessed from the true ones before; the first is true."""
        contexts, _ = self.advance(frames, state, style)
        guesses = self.head.sample(contexts[:, :-1], Sampling(), generator)
        later = torch.where(told[..., None], frames[:, 1:], guesses.to(frames.dtype))
        return torch.cat([frames[:, :1], later], 1)

    @torch.no_grad()
    def _follow_guesses(
        self, frames: Tensor, told: Tensor, state: Any, style: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        """As `_mix_in_guesses`, each guessed from what was fed before it."""
        fed = [frames[:, 0]]
        for true, knows in zip(frames[:, 1:].unbind(1), told.unbind(1), strict=True):
            context, state = self.step(fed[-1], state, style)
            guess = self.head.sample(context, Sampling(), generator)
            fed.append(torch.where(knows[:, None], true, guess.to(true.dtype)))
        return torch.stack(fed, 1)

    def forward(
        self, batch: Batch, teacher_forcing_ratio: float = 1.0, generator: torch.Generator | None = None,
        guesses: str = "parallel",
    ) -> Tensor:  # fmt: skip
        """The loss: a mean over the frames that count."""
        contexts = self.contexts(batch, teacher_forcing_ratio, generator, guesses)
        return masked_mean(self.head.loss(contexts, batch.target), batch.mask)

    def nll(self, batch: Batch) -> Tensor:
        """Nats a frame [B, T], each given the true frames before it; 0 where masked out."""
        return self.head.nll(self.contexts(batch), batch.target) * batch.mask

    def start(
        self, init: str = "zero", *, prime: Tensor | None = None, style: Tensor | None = None, batch_size: int = 1,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Any]:  # fmt: skip
        """The frame [B, W] before the first and the state to compose from.

        `guided` reads `prime` [B, n, W]; `random` draws a state as far from zero as music's are.
        """
        if init == "guided":
            return self._hear(prime.to(self.state_std), style)
        silence = self.state_std.new_zeros(batch_size, 1, self.config.frame_size)
        age = torch.zeros(batch_size, dtype=torch.long, device=silence.device)
        state = self.open(silence, age, style)
        return silence[:, 0], self.noise(state, generator) if init == "random" else state

    def _hear(self, prime: Tensor, style: Tensor | None) -> tuple[Tensor, Any]:
        """As `start`, after `prime`: read from its beginning."""
        last, state = self.start("zero", style=style, batch_size=len(prime))
        for _, frames in _cut(prime, CHUNK):
            _, last, state = self.read(frames, last, state, style)
        return last, state

    def step(self, frame: Tensor, state: Any, style: Tensor | None = None) -> tuple[Tensor, Any]:
        """Context [B, C] of the next frame after `frame` [B, W]; `style` [B, n] may change from step to step."""
        contexts, state = self.advance(frame[:, None], state, style)
        return contexts[:, 0], state

    def stream(self, states: Sequence[Any], n_frames: int, styles: Tensor | None) -> Stream | None:
        """`step` for `n_frames` frames on from `states`, all their pieces side by side, as composing wants it.

        `styles` [n_frames, n]. None where a part has no such form.
        """
        return None

    def read(self, frames: Tensor, last: Tensor, state: Any, style: Tensor | None = None) -> tuple[Tensor, Tensor, Any]:
        """Contexts [B, T, C] of true `frames` [B, T, W] that follow `last` [B, W]; then the new last and state.

        Each context knows only what lies before its frame.
        """
        contexts, state = self.advance(torch.cat([last[:, None], frames[:, :-1]], 1), state, style)
        return contexts, frames[:, -1], state

    def walk(self, songs: Tensor, style: Tensor | None = None) -> Iterator[tuple[slice, Tensor]]:
        """Whole songs [B, T, W] from their first frame: a place in time and the contexts there, again and again."""
        last, state = self.start("zero", style=style, batch_size=len(songs))
        for place, frames in _cut(songs, CHUNK):
            contexts, last, state = self.read(frames, last, state, style)
            yield place, contexts


def _cut(frames: Tensor, size: int) -> Iterator[tuple[slice, Tensor]]:
    for begin in range(0, frames.shape[1], size):
        yield slice(begin, begin + size), frames[:, begin : begin + size]


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of `values` where `mask` holds."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


def new_backbone(config: ModelConfig, inputs: int, layers: int) -> Backbone:
    """The backbone that `config` names."""
    return BACKBONES[config.backbone](inputs, layers, config)


def new_head(config: ModelConfig, size: int) -> FrameHead:
    """The head that `config` names, over contexts of a backbone that gives `size` columns."""
    return FrameHead(size + config.frame_size * config.skip, config)
