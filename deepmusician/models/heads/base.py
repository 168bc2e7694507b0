"""What the parts of a head share: a part decides which keys sound, from the context of a frame.

A part is built as `Part(size, c)` or, for a smaller keyboard, `Part(size, c, n_keys)`. One whose keys are each
predicted by a logit overrides `logits`, `start_at`, `probability` and `sample`; its loss and likelihood stand here.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from deepmusician.errors import OptionError
from deepmusician.losses import Loss, cell_loss, posterior_logits
from deepmusician.models.config import ModelConfig
from deepmusician.models.contract import Sampling
from deepmusician.models.dropping import Dropout
from deepmusician.models.streams import Drawer
from deepmusician.roll import KEYS


class Part(nn.Module):
    """context [..., size] -> a distribution over the first `n_planes` planes of a frame, [..., n_planes · K].

    Losses and likelihoods are float32 whatever the context is.
    """

    n_planes = 1

    def __init__(self, c: ModelConfig, n_keys: int = KEYS) -> None:
        super().__init__()
        self.n_keys = n_keys
        self.objective = Loss(c.loss, c.alpha, c.gamma)

    def start_at(self, frequencies: Tensor) -> None:
        """Let the untrained part know how often each key sounds [K], so training starts there, not at 0.5."""
        raise NotImplementedError

    def logits(self, context: Tensor, target: Tensor) -> Tensor:
        """What the network says of `target`, float32; of each key [..., K] unless a subclass says otherwise."""
        raise NotImplementedError

    def probability(self, context: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The network's output for each key [..., K], which a threshold is compared with."""
        raise NotImplementedError

    def sample(self, context: Tensor, how: Sampling, generator: torch.Generator | None = None) -> Tensor:
        """Draw the planes [..., n_planes · K] of 0 and 1; the generator's device must be the context's."""
        raise NotImplementedError

    def drawer(self, how: Sampling) -> Drawer | None:
        """`sample` as composing a few pieces wants it; None where the part has no such form."""
        return None

    def costs(self, logits: Tensor, target: Tensor) -> Tensor:
        """What training minimises, summed over the keys: [...]."""
        return cell_loss(logits, target, self.objective).sum(-1)

    def nats(self, logits: Tensor, target: Tensor) -> Tensor:
        """Nats a frame [...] under the honest probabilities."""
        return self._cell_nats(logits, target).sum(-1)

    def _cell_nats(self, logits: Tensor, target: Tensor) -> Tensor:
        posterior = posterior_logits(logits, self.objective)
        return binary_cross_entropy_with_logits(posterior, target, reduction="none")

    def key_nats(self, context: Tensor, target: Tensor) -> Tensor:
        """How `nll` is made up of the keys: [..., K], summing to it.

        Of each key given those the part decides before it: exp(-nats) of a sounding key is how likely it was to sound.
        """
        return self._cell_nats(self.logits(context, target), target.float())

    def losses(self, context: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """(what training minimises, honest nats) of each frame, [...] both, from one pass."""
        logits, target = self.logits(context, target), target.float()
        return self.costs(logits, target), self.nats(logits, target)

    def loss(self, context: Tensor, target: Tensor) -> Tensor:
        """The first of `losses` alone."""
        return self.costs(self.logits(context, target), target.float())

    def nll(self, context: Tensor, target: Tensor) -> Tensor:
        """The second of `losses` alone."""
        return self.nats(self.logits(context, target), target.float())


def classifier(inputs: int, outputs: int, c: ModelConfig) -> nn.Sequential:
    """The original's classifier: hidden, ReLU, dropout, outputs."""
    return nn.Sequential(
        nn.Linear(inputs, c.classifier_size),
        nn.ReLU(),
        Dropout(c.classifier_dropout),
        nn.Linear(c.classifier_size, outputs),
    )


def last_frame(context: Tensor, n_planes: int, n_keys: int) -> Tensor:
    """The frame before, [..., n_planes, K] float32, from the end of the context, where `skip` puts it."""
    return context[..., -n_planes * n_keys :].float().unflatten(-1, (n_planes, n_keys))


def need_skip(c: ModelConfig, who: str) -> None:
    """Raise OptionError unless the contexts end with the frame before."""
    if not c.skip:
        raise OptionError(f"{who} must know the frame before, but skip is off; turn skip on")
