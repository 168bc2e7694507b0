"""What training minimises, from logits, and what its outputs honestly mean.

A cell is one key in one frame. Losses of a cell predicted to sound with probability p = sigmoid(logit), q = 1 - p:

    bce      sounding: -log p                   silent: -log q
    focal    sounding: -alpha q^gamma log p     silent: -(1 - alpha) p^gamma log q
    focal+   sounding: -alpha q^gamma log p     silent: -(1 - alpha) log q

`focal+` focuses the positives only; silent cells keep plain cross-entropy, since a loss over positives alone has its
minimum at every key sounding. A network trained by a focal loss does not output probabilities: p is what minimises
the expected loss for some true probability. `posterior_logits` inverts that exactly, so that likelihood is honest and
sampling natural whatever the loss was.

Sources: Lin et al., Focal Loss for Dense Object Detection, ICCV 2017 (alpha-balanced form, eq. 5);
Charoenphakdee et al., On Focal Loss for Class-Posterior Probability Estimation, CVPR 2021 (the inverse link, here with
alpha and for each key apart).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from deepmusician.errors import OptionError

if TYPE_CHECKING:
    from torch import Tensor

KINDS = ("bce", "focal", "focal+")


@dataclass(frozen=True)
class Loss:
    """Which loss, with its class weight `alpha` (0..1, of sounding cells) and focus `gamma` (>= 0)."""

    kind: str = "focal"
    alpha: float = 0.75
    gamma: float = 2.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise OptionError(f"loss must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if not 0 < self.alpha < 1:
            raise OptionError(f"alpha must lie between 0 and 1, got {self.alpha:g}; it weighs the two classes")
        if self.gamma < 0:
            raise OptionError(f"gamma must be 0 or more, got {self.gamma:g}")


def _cell(loss: Loss, xp: Any, log_p: Any, log_q: Any) -> tuple[Any, Any]:
    """Loss of a sounding and of a silent cell; `xp` is numpy or torch."""
    if loss.kind == "bce":
        return -log_p, -log_q
    # exp(gamma log q) rather than q ** gamma: its gradient stays finite at q = 0
    sounding = -loss.alpha * xp.exp(loss.gamma * log_q) * log_p
    focus = xp.exp(loss.gamma * log_p) if loss.kind == "focal" else 1.0
    return sounding, -(1 - loss.alpha) * focus * log_q


def loss_curve(kind: str, p: np.ndarray, alpha: float, gamma: float) -> tuple[np.ndarray, np.ndarray]:
    """Loss of one cell at predicted probability `p` (between 0 and 1): (where it sounds, where it is silent)."""
    p = np.asarray(p, float)
    return _cell(Loss(kind, alpha, gamma), np, np.log(p), np.log1p(-p))


def cell_loss(logits: Tensor, targets: Tensor, loss: Loss) -> Tensor:
    """Loss of each cell, same shape as `logits`; `targets` are 0 or 1. Safe for logits of any size."""
    import torch
    from torch.nn.functional import logsigmoid

    sounding, silent = _cell(loss, torch, logsigmoid(logits), logsigmoid(-logits))
    return silent + targets * (sounding - silent)


def posterior_logits(logits: Tensor, loss: Loss) -> Tensor:
    """Log-odds that a key truly sounds, given the logits of a network that minimises `loss`; same shape.

    Setting the derivative of the expected loss to zero at p gives the true probability eta in closed form:
    logit eta = log((1-alpha)/alpha) + (gamma-1) x + g(x) - g(-x) for focal, with x the logit and
    g(x) = log(e^x + gamma log(1 + e^x)).
    """
    if loss.kind == "bce":
        return logits
    from torch.nn.functional import softplus

    x = logits.clamp(-30.0, 30.0)  # beyond it the probabilities are 0 and 1 in float32
    odds = float(np.log((1 - loss.alpha) / loss.alpha))
    if loss.kind == "focal":
        return odds + (loss.gamma - 1) * x + _g(x, loss.gamma) - _g(-x, loss.gamma)
    return odds + loss.gamma * softplus(x) - _g(-x, loss.gamma)


def _g(x: Tensor, gamma: float) -> Tensor:
    """log(e^x + gamma softplus(x)) without overflow."""
    import torch
    from torch.nn.functional import softplus

    return x + torch.log1p(gamma * softplus(x) * torch.exp(-x))


def logits_for_posterior(eta: Tensor, loss: Loss) -> Tensor:
    """Inverse of `posterior_logits`, by bisection: the logits a perfect network has where keys sound with `eta`."""
    import torch

    goal = torch.logit(eta.double())
    low, high = torch.full_like(goal, -30.0), torch.full_like(goal, 30.0)
    for _ in range(60):  # halves 60 logits to 5e-17
        middle = (low + high) / 2
        below = posterior_logits(middle, loss) < goal
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return ((low + high) / 2).to(eta.dtype)
