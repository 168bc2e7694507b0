"""Dropout silences the share it says, raises the rest to make up for it, and does neither in evaluation."""

import pytest
import torch

from deepmusician.models.dropping import Dropout, dropout

MANY = torch.ones(300, 1001)  # no multiple of four


@pytest.mark.parametrize("p", [0.01, 0.2, 0.5, 0.9])
def test_the_share_is_silenced_and_the_sum_stays(p):
    torch.manual_seed(0)
    dropped = dropout(MANY, p, True)
    assert float((dropped == 0).float().mean()) == pytest.approx(p, abs=0.004)
    assert dropped.unique().tolist() == pytest.approx([0, 1 / (1 - p)], rel=1e-3)
    assert float(dropped.mean()) == pytest.approx(1, rel=0.03)


def test_units_are_silenced_each_for_itself():
    torch.manual_seed(0)
    silent = dropout(MANY, 0.5, True) == 0
    for shift in (1, 2, 3, 4):  # four share a random word
        assert float((silent[:, shift:] & silent[:, :-shift]).float().mean()) == pytest.approx(0.25, abs=0.004)


def test_the_seed_decides_which():
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append(dropout(MANY, 0.3, True))
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])


def test_gradients_pass_where_the_unit_was_kept():
    x = MANY.clone().requires_grad_()
    y = dropout(x, 0.25, True)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())


def test_in_evaluation_or_without_a_share_nothing_is_touched():
    assert dropout(MANY, 0.5, False) is MANY and dropout(MANY, 0.0, True) is MANY
    assert Dropout(0.5).eval()(MANY) is MANY and "p=0.5" in repr(Dropout(0.5))


def test_half_precision_and_views_keep_their_kind():
    x = torch.ones(8, 6, dtype=torch.bfloat16).t()
    assert dropout(x, 0.5, True).dtype == torch.bfloat16 and dropout(x, 0.5, True).shape == (6, 8)
