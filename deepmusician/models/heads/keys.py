"""Each key on its own: the original's classifier. It knows how likely a key is, but not which keys belong together."""

from __future__ import annotations

import torch
from torch import Tensor

from deepmusician.losses import logits_for_posterior, posterior_logits
from deepmusician.models.config import ModelConfig
from deepmusician.models.contract import Sampling
from deepmusician.models.heads.base import Part, classifier
from deepmusician.models.heads.sharpen import sharpen
from deepmusician.models.streams import KeysDrawer, loops
from deepmusician.roll import KEYS


class IndependentKeys(Part):
    """context [..., size] -> hidden, ReLU, dropout -> 88 logits; sigmoid, each key on its own."""

    def __init__(self, size: int, c: ModelConfig, n_keys: int = KEYS) -> None:
        super().__init__(c, n_keys)
        self.net = classifier(size, n_keys, c)

    @torch.no_grad()
    def start_at(self, frequencies: Tensor) -> None:
        """See Part."""
        eta = frequencies.clamp(1e-4, 1 - 1e-4)  # a key never heard may still come
        self.net[-1].weight.mul_(0.1)
        self.net[-1].bias.copy_(logits_for_posterior(eta, self.objective))

    def forward(self, context: Tensor) -> Tensor:
        """Logits [..., 88]."""
        return self.net(context).float()  # losses and likelihoods are never in half precision

    def logits(self, context: Tensor, target: Tensor) -> Tensor:
        """See Part; the other keys of the frame tell nothing."""
        return self(context)

    def probability(self, context: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """See Part; exact, no matter the generator."""
        return torch.sigmoid(self(context))

    def sample(self, context: Tensor, how: Sampling, generator: torch.Generator | None = None) -> Tensor:
        """See Part."""
        return self.draw(self(context), how, generator)

    def drawer(self, how: Sampling) -> KeysDrawer | None:
        """See Part."""
        compiled = loops()
        return None if compiled is None else KeysDrawer(self.net, self.objective, how, compiled)

    def draw(self, logits: Tensor, how: Sampling, generator: torch.Generator | None = None) -> Tensor:
        """Draw a frame from its logits; the generator's device must be the logits'."""
        if how.sampler == "threshold":
            return how.only_allowed((torch.sigmoid(logits) >= how.threshold).to(logits.dtype))
        honest = posterior_logits(logits, self.objective)
        p = sharpen(honest, how.temperature, how.top_p, how.fullness, how.allowed)
        noise = torch.rand(p.shape, generator=generator, device=p.device)
        return (noise < p).to(logits.dtype)
