"""Losses by hand-computed values, their safety, and the exact inverse that makes likelihood honest."""

import math

import numpy as np
import pytest
import torch

from deepmusician.errors import OptionError
from deepmusician.losses import KINDS, Loss, cell_loss, logits_for_posterior, loss_curve, posterior_logits


def at(p: float) -> torch.Tensor:
    return torch.tensor([math.log(p / (1 - p))], dtype=torch.float64)


@pytest.mark.parametrize(
    ("kind", "target", "value"),
    [
        ("bce", 1, -math.log(0.8)),
        ("bce", 0, -math.log(0.2)),
        ("focal", 1, -0.25 * 0.2**2 * math.log(0.8)),
        ("focal", 0, -0.75 * 0.8**2 * math.log(0.2)),
        ("focal+", 1, -0.25 * 0.2**2 * math.log(0.8)),
        ("focal+", 0, -0.75 * math.log(0.2)),
    ],
)
def test_loss_of_a_cell_predicted_at_80_percent(kind, target, value):
    loss = Loss(kind, alpha=0.25, gamma=2.0)
    assert cell_loss(at(0.8), torch.tensor([target]), loss).item() == pytest.approx(value, rel=1e-12)
    assert loss_curve(kind, np.array([0.8]), 0.25, 2.0)[1 - target][0] == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
def test_loss_and_gradient_stay_finite_for_any_logit(kind, gamma):
    logits = torch.tensor([-1e4, -100.0, -30.0, 0.0, 30.0, 100.0, 1e4], requires_grad=True)
    for target in (0.0, 1.0):
        loss = cell_loss(logits, torch.full_like(logits, target), Loss(kind, 0.75, gamma))
        (gradient,) = torch.autograd.grad(loss.sum(), logits)
        assert loss.isfinite().all() and gradient.isfinite().all()


def test_focal_without_focus_and_even_weights_is_half_of_bce():
    logits, targets = torch.linspace(-5, 5, 11), torch.tensor([0.0, 1.0] * 5 + [0.0])
    focal = cell_loss(logits, targets, Loss("focal", 0.5, 0.0))
    torch.testing.assert_close(focal, cell_loss(logits, targets, Loss("bce")) / 2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("alpha", "gamma"), [(0.5, 0.0), (0.75, 2.0), (0.25, 1.0), (0.95, 5.0)])
@pytest.mark.parametrize("truth", [0.02, 0.3, 0.9])
def test_a_network_that_minimises_the_loss_is_read_as_the_truth(kind, alpha, gamma, truth):
    """Minimise the expected loss numerically; the inverse must give back the true probability."""
    loss = Loss(kind, alpha, gamma)
    logits = torch.linspace(-12, 12, 2_000_001, dtype=torch.float64)
    expected = truth * cell_loss(logits, torch.ones(()), loss) + (1 - truth) * cell_loss(logits, torch.zeros(()), loss)
    best = logits[expected.argmin()]
    assert torch.sigmoid(posterior_logits(best, loss)).item() == pytest.approx(truth, abs=1e-3)
    assert logits_for_posterior(torch.tensor(truth, dtype=torch.float64), loss).item() == pytest.approx(
        best.item(), abs=1e-2
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_higher_output_never_means_a_lower_probability(kind):
    posterior = posterior_logits(torch.linspace(-25, 25, 1001), Loss(kind, 0.75, 2.0))
    assert (posterior.diff() > 0).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "mse"}, "loss must be one of bce, focal, focal\\+, got 'mse'"),
        ({"alpha": 1.0}, "alpha must lie between 0 and 1"),
        ({"gamma": -1}, "gamma must be 0 or more"),
    ],
)
def test_impossible_losses_are_refused(values, message):
    with pytest.raises(OptionError, match=message):
        Loss(**values)
