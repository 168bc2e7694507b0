"""Which of the keys that sound are struck, and how hard; the rest of a frame once the sounding keys are known.

A key that did not sound before is struck for certain. A struck key's velocity is one of 32 levels of 4, by a
discretised logistic; a held key keeps the velocity of its stroke, which costs nothing.

Source: Salimans et al., PixelCNN++, ICLR 2017 (discretised logistic likelihood, here one component).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from deepmusician.models.config import ModelConfig
from deepmusician.models.contract import Sampling
from deepmusician.models.frames import LOUDEST
from deepmusician.models.heads.base import classifier, last_frame, need_skip
from deepmusician.roll import KEYS

LEVELS = 32
PER_LEVEL = 128 // LEVELS  # velocities


def level_of(velocity: Tensor) -> Tensor:
    """Level 0..31, as float, of a velocity that was divided by 127."""
    return torch.div((velocity * LOUDEST).round(), PER_LEVEL, rounding_mode="floor").clamp(0, LEVELS - 1)


def velocity_of(level: Tensor) -> Tensor:
    """The middle velocity of a level 0..31, divided by 127."""
    return (level * PER_LEVEL + PER_LEVEL // 2) / LOUDEST


def logistic(outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs of a network, [..., 2n] around 0, to mean [..., n] and log-scale [..., n], in levels."""
    mean, log_scale = outputs.chunk(2, -1)
    return (LEVELS - 1) / 2 * (1 + mean), 1 + log_scale.clamp(-4.0, 3.0)


def level_nll(mean: Tensor, log_scale: Tensor, level: Tensor) -> Tensor:
    """Nats of each level 0..31: what a logistic holds between level - 1/2 and level + 1/2; the end levels hold its
    tails, so that all 32 sum to 1."""
    narrow = torch.exp(-log_scale)
    above, below = (level + 0.5 - mean) * narrow, (level - 0.5 - mean) * narrow
    to_the_left, to_the_right = logsigmoid(above), logsigmoid(-below)
    # sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - e^(b-a)): no difference of nearly equal numbers
    between = to_the_left + to_the_right + torch.log(-torch.expm1(-narrow))
    return -torch.where(level == 0, to_the_left, torch.where(level == LEVELS - 1, to_the_right, between))


def draw_level(mean: Tensor, log_scale: Tensor, how: Sampling, generator: torch.Generator | None = None) -> Tensor:
    """Draw a level 0..31; `temperature` widens the logistic, `top_p` cuts its tails, `threshold` takes its middle."""
    if how.sampler == "threshold":
        return mean.round().clamp(0, LEVELS - 1)
    noise = torch.rand(mean.shape, generator=generator, device=mean.device)
    noise = (0.5 + how.top_p * (noise - 0.5)).clamp(1e-7, 1 - 1e-7)
    return (mean + how.temperature * log_scale.exp() * torch.logit(noise)).round().clamp(0, LEVELS - 1)


class Strokes(nn.Module):
    """Onsets, unless the part decides them, and velocities where the planes hold them, from context and sounding."""

    def __init__(self, size: int, c: ModelConfig, onsets: bool = True, n_keys: int = KEYS) -> None:
        super().__init__()
        need_skip(c, f"a model of planes={c.planes}")
        self.n_keys, self.n_planes = n_keys, c.n_planes
        self.onset = classifier(size + n_keys, n_keys, c) if onsets else None
        self.velocity = classifier(size + 2 * n_keys, 2 * n_keys, c) if c.planes == "velocity" else None

    def nll(self, context: Tensor, target: Tensor) -> Tensor:
        """Nats [...] of the onsets and velocities in `target` [..., W], given the keys that sound in it."""
        onsets, velocities = self.key_nats(context, target)
        return onsets.sum(-1) + velocities.sum(-1)

    def key_nats(self, context: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """As `nll`, but apart: nats of each key's onset and of its velocity, [..., K] both."""
        planes = target.float().unflatten(-1, (self.n_planes, self.n_keys))
        sounding, onset = planes[..., 0, :], planes[..., 1, :]
        before = self._before(context)
        struck = self._struck(sounding, onset, before)
        onsets = velocities = torch.zeros_like(sounding)
        if self.onset is not None:
            each = binary_cross_entropy_with_logits(self._onset(context, sounding), onset, reduction="none")
            onsets = each * sounding * before
        if self.velocity is not None:
            each = level_nll(*self._velocity(context, sounding, struck), level_of(planes[..., 2, :]))
            velocities = each * struck
        return onsets, velocities

    @torch.no_grad()
    def sample(
        self, context: Tensor, planes: Tensor, how: Sampling, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw a frame [..., W] whose first planes [..., K or 2K] are given.

        A held key keeps its velocity; by `threshold` what is likelier happens.
        """
        sounding, before = planes[..., : self.n_keys], self._before(context)
        if self.onset is None:
            onset = planes[..., self.n_keys :]
        else:
            onset = _toss(self._onset(context, sounding), how, generator)
        struck = self._struck(sounding, onset, before)
        frame = [sounding, struck]
        if self.velocity is not None:
            levels = draw_level(*self._velocity(context, sounding, struck), how, generator)
            kept = last_frame(context, self.n_planes, self.n_keys)[..., 2, :] * (sounding - struck)
            frame.append(velocity_of(levels) * struck + kept)
        return torch.cat(frame, -1)

    def _before(self, context: Tensor) -> Tensor:
        """Which keys sounded in the frame before: [..., K] of 0 and 1."""
        return (last_frame(context, self.n_planes, self.n_keys)[..., 0, :] > 0).float()

    def _struck(self, sounding: Tensor, onset: Tensor, before: Tensor) -> Tensor:
        """A key out of silence is struck, whether or not the frame says so."""
        return sounding * torch.maximum(onset, 1 - before)

    def _onset(self, context: Tensor, sounding: Tensor) -> Tensor:
        return self.onset(torch.cat([context, sounding.to(context)], -1)).float()

    def _velocity(self, context: Tensor, sounding: Tensor, struck: Tensor) -> tuple[Tensor, Tensor]:
        known = torch.cat([context, sounding.to(context), struck.to(context)], -1)
        return logistic(self.velocity(known).float())


def _toss(logits: Tensor, how: Sampling, generator: torch.Generator | None) -> Tensor:
    """A coin for each key, 0 or 1; one side alone where it holds `top_p`, or by `threshold` where it is likelier."""
    p = torch.sigmoid(logits)
    if how.sampler == "threshold":
        return (p >= 0.5).float()
    sharper = torch.sigmoid(logits / how.temperature)
    if how.top_p < 1:
        sharper = torch.where(torch.maximum(p, 1 - p) >= how.top_p, (p >= 0.5).float(), sharper)
    return (torch.rand(p.shape, generator=generator, device=p.device) < sharper).float()
