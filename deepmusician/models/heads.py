"""Heads: from the context of a frame to a distribution over its 88 keys.

`IndependentKeys` is the original's classifier: each key apart, so it knows how likely a key is but not which keys
belong together.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from deepmusician.losses import Loss, cell_loss, logits_for_posterior, posterior_logits
from deepmusician.models.contract import Sampling


class IndependentKeys(nn.Module):
    """context [..., size] -> hidden, ReLU, dropout -> 88 logits; sigmoid, each key on its own."""

    def __init__(self, size: int, hidden_size: int, dropout: float, loss: Loss, n_keys: int = 88) -> None:
        super().__init__()
        self.objective = loss
        self.net = nn.Sequential(
            nn.Linear(size, hidden_size), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden_size, n_keys)
        )

    @torch.no_grad()
    def start_at(self, frequencies: Tensor) -> None:
        """Let the untrained head output how often each key sounds [88], so training starts there, not at 0.5."""
        eta = frequencies.clamp(1e-4, 1 - 1e-4)  # a key never heard may still come
        self.net[-1].weight.mul_(0.1)
        self.net[-1].bias.copy_(logits_for_posterior(eta, self.objective))

    def forward(self, context: Tensor) -> Tensor:
        """Logits [..., 88]."""
        return self.net(context).float()  # losses and likelihoods are never in half precision

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """What training minimises, summed over the keys: [...]."""
        return cell_loss(logits, target, self.objective).sum(-1)

    def nll(self, logits: Tensor, target: Tensor) -> Tensor:
        """Nats a frame [...] under the honest probabilities."""
        posterior = posterior_logits(logits, self.objective)
        return binary_cross_entropy_with_logits(posterior, target, reduction="none").sum(-1)

    def probability(self, context: Tensor) -> Tensor:
        """The network's output for each key [..., 88], which a threshold is compared with."""
        return torch.sigmoid(self(context))

    def sample(self, context: Tensor, how: Sampling, generator: torch.Generator | None = None) -> Tensor:
        """Draw a frame [..., 88] of 0 and 1 from `context` [..., size]."""
        return self.draw(self(context), how, generator)

    def draw(self, logits: Tensor, how: Sampling, generator: torch.Generator | None = None) -> Tensor:
        """Draw a frame from its logits; the generator's device must be the logits'."""
        if how.sampler == "threshold":
            return (torch.sigmoid(logits) >= how.threshold).to(logits.dtype)
        p = sharpen(posterior_logits(logits, self.objective), how.temperature, how.top_p, how.fullness)
        noise = torch.rand(p.shape, generator=generator, device=p.device)
        return (noise < p).to(logits.dtype)


def sharpen(logits: Tensor, temperature: float = 1.0, top_p: float = 1.0, fullness: float = 1.0) -> Tensor:
    """Probabilities [..., 88] made safer or bolder without changing how many notes are expected in the frame.

    Nearly all keys are unlikely, so a lower temperature alone would silence the frame; an offset common to its keys
    keeps their sum, or makes it `fullness` times as large. Keys outside the nucleus get 0.
    """
    p = torch.sigmoid(logits)
    if temperature == top_p == fullness == 1:
        return p
    sharper = logits / temperature
    keep = nucleus(p, top_p) if top_p < 1 else torch.ones_like(p, dtype=torch.bool)
    notes = fullness * p.sum(-1, keepdim=True)
    return torch.where(keep, torch.sigmoid(sharper + _offset(sharper, keep, notes)), 0.0)


def _offset(logits: Tensor, keep: Tensor, notes: Tensor) -> Tensor:
    """The offset [..., 1] at which the kept keys' probabilities sum to `notes`, by bisection."""
    low, high = torch.full_like(notes, -80.0), torch.full_like(notes, 80.0)
    for _ in range(30):
        middle = (low + high) / 2
        short = (torch.sigmoid(logits + middle) * keep).sum(-1, keepdim=True) < notes
        low, high = torch.where(short, middle, low), torch.where(short, high, middle)
    return (low + high) / 2


def nucleus(p: Tensor, top_p: float) -> Tensor:
    """Mark the fewest, likeliest keys that hold `top_p` of the expected notes; bool, as `p` [..., 88]."""
    ranked, order = p.sort(-1, descending=True)
    before = ranked.cumsum(-1) - ranked
    keep = before < top_p * ranked.sum(-1, keepdim=True)
    return torch.zeros_like(keep).scatter(-1, order, keep)
