"""A committee: several networks of one kind with different beginnings, trained side by side, that answer together.

Each frame's distribution is the plain mean of theirs, so its likelihood stays exact whatever the head, and a frame is
drawn from one of them picked by lot: no frame is a compromise between two. Every second member reads the keyboard
from the top down, since networks err less together the less alike they are.
Source: Lakshminarayanan, Pritzel & Blundell, NeurIPS 2017 (deep ensembles).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from deepmusician.models.base import Model
from deepmusician.models.config import ModelConfig
from deepmusician.models.contract import Batch, Sampling
from deepmusician.models.heads import FrameHead
from deepmusician.models.mirror import Mirror, MirrorHead


class Committee(Model):
    """`config.members` models that `make` makes of the same config, every second one behind a mirror.

    A context is theirs end to end.
    """

    def __init__(self, config: ModelConfig, make: Callable[[ModelConfig], Model]) -> None:
        super().__init__(config)
        del self.inputs  # each member has its own
        one = replace(config, members=1)
        self.members = nn.ModuleList(Mirror(make(one)) if i % 2 else make(one) for i in range(config.members))

    @property
    def head(self) -> CommitteeHead:
        """The members' heads as one."""
        return CommitteeHead([member.head for member in self.members])

    @property
    def source_frames(self) -> int:
        """As each member's."""
        return self.members[0].source_frames

    def open(self, source: Tensor, age: Tensor, style: Tensor | None) -> tuple[Any, ...]:
        """See Model: a state of each member."""
        return tuple(member.open(source, age, style) for member in self.members)

    def advance(
        self, frames: Tensor, state: tuple[Any, ...], style: Tensor | None = None
    ) -> tuple[Tensor, tuple[Any, ...]]:
        """See Model."""
        pairs = [member.advance(frames, own, style) for member, own in zip(self.members, state, strict=True)]
        return torch.cat([context for context, _ in pairs], -1), tuple(after for _, after in pairs)

    def noise(self, like: tuple[Any, ...], generator: torch.Generator | None) -> tuple[Any, ...]:
        """See Model."""
        for member in self.members:
            member.state_std = self.state_std  # it was measured for all of them
        return tuple(member.noise(own, generator) for member, own in zip(self.members, like, strict=True))

    def spread(self, batch: Batch) -> Tensor:
        """See Model: the members' mean."""
        return torch.stack([member.spread(batch) for member in self.members]).mean()


class CommitteeHead:
    """Answers as a FrameHead does, over contexts that hold one after another what each member knows."""

    def __init__(self, heads: list[FrameHead | MirrorHead]) -> None:
        self.heads = heads

    @property
    def draws(self) -> bool:
        """See FrameHead."""
        return self.heads[0].draws

    def start_at(self, frequencies: Tensor) -> None:
        """See FrameHead."""
        for head in self.heads:
            head.start_at(frequencies)

    def _each(self, context: Tensor) -> list[tuple[FrameHead | MirrorHead, Tensor]]:
        return list(zip(self.heads, context.chunk(len(self.heads), -1), strict=True))

    def losses(self, context: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """See FrameHead: the mean of what each member minimises, and the nats under the mean of the members."""
        losses, nlls = zip(*(head.losses(own, target) for head, own in self._each(context)), strict=True)
        return torch.stack(losses).mean(0), _mixed(torch.stack(nlls))

    def loss(self, context: Tensor, target: Tensor) -> Tensor:
        """See FrameHead: each member learns as it would alone."""
        return torch.stack([head.loss(own, target) for head, own in self._each(context)]).mean(0)

    def nll(self, context: Tensor, target: Tensor) -> Tensor:
        """See FrameHead."""
        return _mixed(torch.stack([head.nll(own, target) for head, own in self._each(context)]))

    def key_nats(self, context: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """See FrameHead: key after key, then velocities, the members weigh as their words so far came true."""
        each = torch.stack([torch.cat(head.key_nats(own, target), -1) for head, own in self._each(context)])
        so_far = _mixed(each.cumsum(-1))
        nats = torch.diff(so_far, dim=-1, prepend=torch.zeros_like(so_far[..., :1]))
        return nats.chunk(2, -1)

    def probability(self, context: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """See FrameHead: the members' mean."""
        return torch.stack([head.probability(own, generator) for head, own in self._each(context)]).mean(0)

    def sample(self, context: Tensor, how: Sampling, generator: torch.Generator | None = None) -> Tensor:
        """See FrameHead: each frame is one member's, picked by lot; by threshold, what most of them play."""
        if how.sampler == "threshold":
            drawn = torch.stack([head.sample(own, how, generator) for head, own in self._each(context)])
            return drawn.median(0).values
        places = context.shape[:-1]
        rows = context.reshape(-1, context.shape[-1])
        lot = torch.randint(len(self.heads), (len(rows),), generator=generator, device=context.device)
        frames: Tensor | None = None
        for i, (head, own) in enumerate(self._each(rows)):
            mine = lot == i
            if mine.any():
                drawn = head.sample(own[mine], how, generator)
                frames = drawn.new_zeros(len(rows), drawn.shape[-1]) if frames is None else frames
                frames[mine] = drawn
        return frames.view(*places, -1)


def _mixed(nlls: Tensor) -> Tensor:
    """Nats under the mean of M distributions, from the nats [M, ...] under each."""
    return math.log(len(nlls)) - torch.logsumexp(-nlls, 0)
