"""One key at a time: a frame of a melody strikes a key, holds the last one, or rests.

Where only sounding is known (planes sounding) a hold looks like a strike: 88 keys and rest, 89 classes. With onsets
there are 90. Losses of the true class, predicted with probability p, w its weight, alpha for a strike and 1 - alpha
for hold and rest:

    bce      -log p
    focal    -w (1 - p)^gamma log p
    focal+   as focal for a strike, -w log p for hold and rest

Sources: Lin et al., ICCV 2017; Charoenphakdee et al., On Focal Loss for Class-Posterior Probability Estimation, CVPR
2021 (theorem 11: what a network that minimises a focal loss honestly means, here with class weights).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from deepmusician.errors import OptionError
from deepmusician.models.config import ModelConfig
from deepmusician.models.contract import Sampling
from deepmusician.models.heads.base import Part, classifier, last_frame, need_skip
from deepmusician.models.heads.sharpen import nucleus
from deepmusician.roll import KEYS

_NEVER = -1e4  # a logit whose probability is 0, while its logarithm and gradient stay finite
_SURE = -1e-7  # the largest log-probability: 1 - p must not be 0


class Melody(Part):
    """context [..., size] -> logits of the classes: K strikes, rest and, with onsets, hold."""

    def __init__(self, size: int, c: ModelConfig, n_keys: int = KEYS) -> None:
        super().__init__(c, n_keys)
        self.n_planes = min(c.n_planes, 2)
        self.holds = self.n_planes == 2
        self.frame_planes = c.n_planes
        if self.holds:
            need_skip(c, "a melody that holds notes")
        self.rest, self.hold = n_keys, n_keys + 1
        self.net = classifier(size, n_keys + 1 + self.holds, c)
        strike = torch.arange(n_keys + 1 + self.holds) < n_keys
        loss = self.objective
        weight, focus = torch.ones(len(strike)), torch.zeros(len(strike))
        if loss.kind != "bce":
            weight = torch.where(strike, loss.alpha, 1 - loss.alpha)
            focus = torch.where(strike | (loss.kind == "focal"), loss.gamma, 0.0)
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("focus", focus, persistent=False)

    @torch.no_grad()
    def start_at(self, frequencies: Tensor) -> None:
        """See Part; of the frames in which a key sounds, half are taken to be held."""
        keys = frequencies.clamp(1e-4, 1.0)
        share = torch.cat([keys, (1 - keys.sum()).clamp(1e-4, 1.0)[None]])
        if self.holds:
            share = torch.cat([keys / 2, share[-1:], keys.sum()[None] / 2])
        goal = (share / share.sum()).log().double()
        logits, step = goal.clone(), 1 / (1 + float(self.focus.max()))
        for _ in range(400):  # the link's slope lies between 1 / (1 + gamma) and 1 + gamma, so this comes nearer
            logits += step * (goal - self._posterior(logits))
        self.net[-1].weight.mul_(0.1)
        self.net[-1].bias.copy_(logits)

    def forward(self, context: Tensor) -> Tensor:
        """Logits [..., classes]; hold is impossible where nothing sounded before."""
        logits = self.net(context).float()
        if not self.holds:
            return logits
        silent = self._before(context).amax(-1, keepdim=True) == 0
        return torch.where(silent & (torch.arange(logits.shape[-1], device=logits.device) == self.hold), _NEVER, logits)

    def _before(self, context: Tensor) -> Tensor:
        """The one key that sounded in the frame before, the highest of several: [..., K] of 0 and 1."""
        sounding = last_frame(context, self.frame_planes, self.n_keys)[..., 0, :]
        return ((sounding > 0) & (sounding.flip(-1).cumsum(-1).flip(-1) <= 1)).float()

    def classes(self, context: Tensor, target: Tensor) -> Tensor:
        """Which class each frame [..., n_planes · K] is: int64 [...]. Raises OptionError where two keys sound.

        A key that did not sound before is struck, whether or not the frame says so.
        """
        planes = target.float().unflatten(-1, (self.n_planes, self.n_keys))
        sounding = planes[..., 0, :]
        voices = sounding.sum(-1)
        if bool((voices > 1).any()):
            raise OptionError(
                f"a melody model plays one key at a time, got a frame with {int(voices.max())}; use voices=melody, "
                "or head chord"
            )
        which = torch.where(voices > 0, sounding.argmax(-1), self.rest)
        if not self.holds:
            return which
        held = (sounding * self._before(context) * (1 - planes[..., 1, :])).sum(-1) > 0
        return torch.where(held, self.hold, which)

    def losses(self, context: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """See Part."""
        which = self.classes(context, target)[..., None]
        log_p = torch.log_softmax(self(context), -1)
        mine = log_p.gather(-1, which).clamp(max=_SURE)
        # exp(gamma log(1 - p)) rather than (1 - p) ** gamma: its gradient stays finite
        loss = -self.weight[which] * torch.exp(self.focus[which] * torch.log(-torch.expm1(mine))) * mine
        return loss[..., 0], -self._posterior(log_p).gather(-1, which)[..., 0]

    def loss(self, context: Tensor, target: Tensor) -> Tensor:
        """See Part."""
        return self.losses(context, target)[0]

    def nll(self, context: Tensor, target: Tensor) -> Tensor:
        """See Part."""
        return self.losses(context, target)[1]

    def key_nats(self, context: Tensor, target: Tensor) -> Tensor:
        """See Part. A frame is one decision: its nats are those of the key that sounds; of a rest, shared by all."""
        sounding = target.float()[..., : self.n_keys]
        mine = torch.where(sounding.amax(-1, keepdim=True) > 0, sounding, 1 / self.n_keys)
        return mine * self.nll(context, target)[..., None]

    def _posterior(self, logits: Tensor) -> Tensor:
        """Honest log-probabilities of the classes, given the logits of a network that minimises the loss.

        The truth is proportional to h(p) / w with h(p) = p / ((1-p)^g - g (1-p)^(g-1) p log p), g the focus.
        """
        log_p = torch.log_softmax(logits, -1).clamp(max=_SURE)
        rest = torch.expm1(log_p)  # p - 1
        link = log_p - self.focus * torch.log(-rest) - torch.log1p(self.focus * log_p.exp() * log_p / rest)
        return torch.log_softmax(link - self.weight.log(), -1)

    def probability(self, context: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """See Part: a key sounds when it is struck or held. Exact, no matter the generator."""
        p = torch.softmax(self(context), -1)
        keys = p[..., : self.n_keys]
        return keys + p[..., self.hold :] * self._before(context) if self.holds else keys

    def sample(self, context: Tensor, how: Sampling, generator: torch.Generator | None = None) -> Tensor:
        """See Part. `fullness` multiplies the odds of sounding against rest.

        By `threshold` the likeliest key plays where its output reaches the threshold; else the melody rests.
        """
        if how.sampler == "threshold":
            which = self._likeliest(context, how)
        else:
            logits = self._posterior(self(context)) / how.temperature
            logits[..., self.rest] -= math.log(how.fullness)
            logits = logits.masked_fill(self._forbidden(context, how), -math.inf)
            p = torch.softmax(logits, -1)
            p = p * nucleus(p, how.top_p) if how.top_p < 1 else p
            which = torch.multinomial(p.reshape(-1, p.shape[-1]), 1, generator=generator).view(p.shape[:-1])
        return self._frame(which, context)

    def _forbidden(self, context: Tensor, how: Sampling) -> Tensor:
        """Which classes would let a key sound that may not: bool [..., classes]."""
        may = torch.ones(self.n_keys, dtype=torch.bool, device=context.device) if how.allowed is None else how.allowed
        strikes = (~may).expand(*context.shape[:-1], -1)
        rest = strikes.new_zeros(*strikes.shape[:-1], 1)
        if not self.holds:
            return torch.cat([strikes, rest], -1)
        return torch.cat([strikes, rest, (self._before(context) * ~may).amax(-1, keepdim=True) > 0], -1)

    def _likeliest(self, context: Tensor, how: Sampling) -> Tensor:
        """The class that a threshold chooses: int64 [...]."""
        p, key = how.only_allowed(self.probability(context)).max(-1)
        if self.holds:
            logits = self(context)
            held = self._before(context).gather(-1, key[..., None])[..., 0] > 0
            struck = logits.gather(-1, key[..., None])[..., 0] > logits[..., self.hold]
            key = torch.where(held & ~struck, self.hold, key)
        return torch.where(p >= how.threshold, key, self.rest)

    def _frame(self, which: Tensor, context: Tensor) -> Tensor:
        """The planes [..., n_planes · K] of classes [...]."""
        struck = one_hot(which, self.hold + 1)[..., : self.n_keys].float()
        if not self.holds:
            return struck
        held = self._before(context) * (which == self.hold)[..., None]
        return torch.cat([struck + held, struck], -1)
