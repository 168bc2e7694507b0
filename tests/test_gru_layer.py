"""The GRU with its gradients written out: torch's own numbers, and the gradients that differences give."""

import itertools

import pytest
import torch
from torch import nn

from deepmusician.models import gru_layer
from deepmusician.models.backbones import recurrent
from deepmusician.models.backbones.recurrent import run
from deepmusician.models.gru_layer import GRULayer, run_gru, suits

SIZES = [(5, 7), (64, 32), (1, 16)]  # inputs, units


def network(inputs: int, units: int, layers: int = 2, **kind) -> nn.GRU:
    torch.manual_seed(0)
    return nn.GRU(inputs, units, layers, **kind)


def music(frames: int, batch: int, inputs: int) -> torch.Tensor:
    return torch.randn(frames, batch, inputs, generator=torch.Generator().manual_seed(1))


def near(ours: torch.Tensor, torchs: torch.Tensor) -> bool:
    return float((ours - torchs).detach().abs().max()) <= 1e-5 * max(1.0, float(torchs.detach().abs().max()))


@pytest.mark.parametrize(("inputs", "units"), SIZES)
@pytest.mark.parametrize(("frames", "batch"), [(1, 1), (9, 1), (13, 6)])
@pytest.mark.parametrize("wanted", ["frames", "state", "both"])
def test_outputs_and_every_gradient_are_those_of_torch(inputs, units, frames, batch, wanted):
    gru, weigh = network(inputs, units), torch.randn(frames, batch, units)
    found = []
    for ours in (True, False):
        x, state = music(frames, batch, inputs).requires_grad_(), [torch.full((batch, units), 0.3) for _ in range(2)]
        for before in state:
            before.requires_grad_()
        gru.zero_grad()
        y, after = run_gru(gru, x, tuple(state)) if ours else gru(x, torch.stack(state))
        last = after[0] * 1.5 - after[1] ** 2
        scores = {"frames": (y * weigh).sum(), "state": last.sum(), "both": (y * weigh).sum() + last.sum()}
        scores[wanted].backward()
        found.append([y, *after, x.grad, *(h.grad for h in state), *(p.grad for p in gru.parameters())])
    assert all(near(a, b) for a, b in zip(*found, strict=True))


def test_gradients_are_those_that_differences_give():
    double = {"dtype": torch.float64, "requires_grad": True}
    shapes = [(3, 2, 2), (2, 3), (9, 2), (9, 3), (9,), (9,)]  # frames, state, weights, biases
    torch.manual_seed(0)
    assert torch.autograd.gradcheck(GRULayer.apply, [torch.randn(shape, **double) for shape in shapes])


def test_in_half_precision_outputs_and_gradients_are_near_those_in_full():
    gru, found = network(20, 32), []
    for half in (False, True):
        x, state = music(12, 4, 20).requires_grad_(), (torch.full((4, 32), 0.3),) * 2
        gru.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            y, after = run_gru(gru, x, state)
        assert y.dtype == torch.float32
        (y.square().sum() + after[0].sum()).backward()
        found.append([y, *after, x.grad, *(p.grad.clone() for p in gru.parameters())])
    for full, half in zip(*found, strict=True):
        away = float(((full - half).norm() / full.norm()).detach())
        assert 0 < away < 0.02


def test_gradients_come_again_from_a_graph_that_is_kept():
    gru, x = network(5, 7), music(6, 2, 5).requires_grad_()
    y, _ = run_gru(gru, x, (torch.zeros(2, 7),) * 2)
    first = torch.autograd.grad(y.sum(), x, retain_graph=True)
    assert torch.equal(first[0], torch.autograd.grad(y.sum(), x)[0])


def test_units_between_layers_are_dropped_while_training_only():
    gru, x, state = network(5, 7, dropout=0.5), music(6, 2, 5), (torch.zeros(2, 7),) * 2
    ys = [run_gru(gru, x, state)[0] for _ in range(2)]
    assert not torch.equal(*ys)
    gru.eval()
    assert torch.equal(*(run_gru(gru, x, state)[0] for _ in range(2)))


@pytest.mark.parametrize("batch_first", [True, False])
def test_it_is_taken_where_a_gru_is_trained(monkeypatch, batch_first):
    asked = []
    monkeypatch.setattr(recurrent, "run_gru", lambda *given: asked.append(given) or run_gru(*given))
    x = music(6, 2, 5)
    for kind, graded, half in itertools.product((nn.GRU, nn.LSTM, nn.RNN), (True, False), (True, False)):
        net, asked[:] = kind(5, 7, batch_first=batch_first), []
        state = ((torch.zeros(2, 7),) * (2 if kind is nn.LSTM else 1),)
        with torch.set_grad_enabled(graded), torch.autocast("cpu", torch.bfloat16, enabled=half):
            y, after = run(net, x.transpose(0, 1) if batch_first else x, state)
        assert len(asked) == (kind is nn.GRU and graded)
        assert y.shape == ((2, 6, 7) if batch_first else (6, 2, 7)) and after[0][0].shape == (2, 7)
    assert not suits(nn.GRU(5, 7), x.to("meta"))


def test_rows_of_what_is_multiplied_do_not_lie_a_power_of_two_apart():
    assert gru_layer._padded(4, 512, torch.zeros(1)).stride() == (528, 1)
