"""Writing frames: whichever way is taken, and however many pieces are composed at once, the notes are the same."""

import itertools
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from deepmusician.generation import begin
from deepmusician.losses import KINDS, Loss, posterior_logits
from deepmusician.models import streams, writing
from deepmusician.models.config import ModelConfig
from deepmusician.models.contract import Sampling
from deepmusician.models.heads import IndependentKeys, sharpen
from deepmusician.models.registry import make
from deepmusician.models.writing import write

FRAMES = 30  # more than three windows
SMALL = {"seq_len": 8, "hidden_size": 20, "classifier_size": 24, "loss": "bce"}  # no sizes that suit a processor
SAFER, THRESHOLD = Sampling("sample", 0.6, 0.8, fullness=1.2), Sampling("threshold", threshold=0.068)
BROAD = {"hidden_size": 100, "classifier_size": 100}
MODELS = [
    {},
    {"num_layers": 1, "loss": "focal"},
    {"decoder_n_layers": 1, "clock": True, "n_styles": 3, "loss": "focal+"},
    {"arrangement": "decoder", "skip": True, "clock": True},
    {"arrangement": "decoder", "head": "chord", "n_styles": 3, "skip": True, "planes": "velocity"},
    {"head": "melody", "skip": True, "planes": "onset", "alpha": 0.9, "loss": "focal"},
]


@pytest.fixture(autouse=True)
def compiled():
    return streams.loops() or pytest.skip("numba is not installed")


def network(**parts):
    """An untrained model that plays about six keys a frame, and hears what it plays."""
    torch.manual_seed(0)
    model = make(ModelConfig(**{**SMALL, **parts}))
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(2)
    model.head.start_at(torch.full((88,), 0.07))
    return model


def seeds(*numbers):
    return [torch.Generator().manual_seed(n) for n in numbers]


def styles(model):
    """One that turns into another, frame by frame."""
    if model.config.n_styles == 1:
        return None
    share = torch.linspace(0, 1, FRAMES)
    return torch.stack([1 - share, share, 0 * share], 1)


def piece(model, how=SAFER, init="random", prime=None, generators=None, batch_size=1):
    style = styles(model)
    openings = [begin(model, init, prime, g, batch_size, style) for g in generators or seeds(3)]
    return write(model, openings, FRAMES, how, style)


def steps(monkeypatch):
    """From here on no model is composed with but by step and sample."""
    monkeypatch.setattr(writing, "MOST_PIECES", 0)


@pytest.mark.parametrize("parts", MODELS)
@pytest.mark.parametrize("how", [SAFER, Sampling(), THRESHOLD])
def test_the_same_notes_come_from_the_same_seed_whichever_way_is_taken(parts, how, monkeypatch):
    model, asked = network(**parts), []
    if model.config.head == "melody":
        how = replace(how, threshold=0.01)  # it plays one key, and no key is likely
    prime = np.random.default_rng(0).integers(0, 2, (11, model.config.frame_size), np.uint8)
    prime[:, prime[0].cumsum() > 1] = 0  # a melody
    for init, batch_size in (("random", 1), ("guided", 3)):
        short = piece(model, how, init, prime, batch_size=batch_size)[0]
        with monkeypatch.context() as patch:
            steps(patch)
            patch.setattr(type(model), "stream", lambda *given: asked.append(given))
            long = piece(model, how, init, prime, batch_size=batch_size)[0]
        assert (short.frames == long.frames).all() and not asked
        assert short.frames.any() and short.highest == pytest.approx(long.highest, abs=1e-6)


@pytest.mark.parametrize("how", [SAFER, Sampling()])
def test_a_network_along_the_keys_plays_the_same_notes_compiled(how, monkeypatch):
    along = {"arrangement": "decoder", "backbone": "biaxial", "head": "intervals", "hidden_size": 10}
    model = network(**along, clock=True, n_styles=3)
    compiled = piece(model, how, generators=seeds(1, 2, 3))
    monkeypatch.setattr(model.head.part, "compiled_rows", 0)
    modules = piece(model, how, generators=seeds(1, 2, 3))
    assert all((a.frames == b.frames).all() and a.frames.any() for a, b in zip(compiled, modules, strict=True))


@pytest.mark.parametrize(("parts", "how"), [(BROAD, SAFER), (BROAD, THRESHOLD), (MODELS[4], SAFER)])
def test_several_pieces_are_those_that_each_is_alone(parts, how):
    """To the bit, since a note that differs would make all that follow differ."""
    model = network(**parts)
    for several in (2, 3):
        together = piece(model, how, generators=seeds(*range(several)))
        alone = [piece(model, how, generators=seeds(i))[0] for i in range(several)]
        assert all((a.frames == b.frames).all() for a, b in zip(together, alone, strict=True))
        assert [a.highest for a in together] == [b.highest for b in alone]


def test_several_pieces_are_the_same_inside_to_the_last_bit():
    gru = torch.nn.GRU(88, 100, 2).requires_grad_(False)
    known = []
    heard = np.random.default_rng(0).random((5, 12, 88), np.float32)
    first = torch.randn(5, 100, generator=torch.Generator().manual_seed(0))
    for several in (1, 2, 3, 5):
        stream = streams.GRUStream(gru, streams.loops())
        stream.set(((first[:several],),) * 2)
        given = [stream.step(np.ascontiguousarray(heard[:several, t])).copy() for t in range(12)]
        known.append((np.stack(given)[:, :1], *(layer[0][:1].numpy() for layer in stream.read(heard[:several]))))
    assert all((a == b).all() for more in known[1:] for a, b in zip(known[0], more, strict=True))


@pytest.mark.parametrize(("inputs", "units", "layers"), [(5, 7, 1), (88, 64, 2), (30, 101, 3)])
def test_a_compiled_gru_is_torchs(inputs, units, layers):
    torch.manual_seed(0)
    gru, x = torch.nn.GRU(inputs, units, layers, batch_first=True).requires_grad_(False), torch.randn(3, 9, inputs)
    stream = streams.GRUStream(gru, streams.loops())
    y, after = gru(x)
    torch.testing.assert_close(torch.stack([layer[0] for layer in stream.read(x.numpy())]), after, atol=2e-6, rtol=0)
    stream.set(tuple((torch.zeros(3, units),) for _ in range(layers)))
    given = [stream.step(np.ascontiguousarray(x[:, t].numpy())).copy() for t in range(9)]
    np.testing.assert_allclose(np.stack(given, 1), y.numpy(), atol=2e-6)
    stream.set(tuple((layer,) for layer in torch.zeros_like(after)))
    stream.put(np.array([1]), tuple((layer[1:2],) for layer in after))
    np.testing.assert_array_equal(np.stack(stream.units)[:, 1], after[:, 1])
    assert not np.stack(stream.units)[:, [0, 2]].any()


@pytest.mark.parametrize(("kind", "gamma"), [("bce", 0.0), ("focal", 2.0), ("focal", 5.0), ("focal+", 2.0)])
def test_compiled_drawing_has_the_probabilities_of_the_other(kind, gamma):
    """Random numbers just below each probability draw every key, those just above draw none."""
    torch.manual_seed(0)
    allowed = torch.rand(88) < 0.7
    logits = torch.randn(50, 88) * 6 - 3
    head = IndependentKeys(88, ModelConfig(classifier_size=88, loss=kind, gamma=gamma))
    for layer in (head.net[0], head.net[-1]):
        layer.weight.data.copy_(torch.eye(88))
    head.net[0].bias.data.fill_(40.0)  # above 0, where ReLU changes nothing
    head.net[-1].bias.data.fill_(-40.0)
    honest = posterior_logits(logits, Loss(kind, 0.75, gamma))
    for temperature, top_p, fullness, may in itertools.product(
        (0.5, 1.0, 1.4), (0.8, 1.0), (1.0, 1.3), (None, allowed)
    ):
        p = sharpen(honest, temperature, top_p, fullness, may)
        drawer = head.drawer(Sampling("sample", temperature, top_p, fullness=fullness, allowed=may))
        for away in (-2e-4, 2e-4):
            drawn, _ = drawer(logits.numpy(), (p + away).numpy())
            sure = (p.numpy() > 2e-4) | (away > 0)
            assert (drawn[sure] == (away < 0)).all()
    assert set(KINDS) == {"bce", "focal", "focal+"}


def test_without_numba_the_same_is_written_by_steps(monkeypatch):
    model = network()
    with_numba = piece(model)[0].frames
    monkeypatch.setitem(sys.modules, "deepmusician.models.stream_kernel", None)
    monkeypatch.delattr(sys.modules["deepmusician.models"], "stream_kernel", raising=False)
    assert streams.loops() is None and model.stream([], 1, None) is None
    assert (piece(model)[0].frames == with_numba).all()


def test_many_pieces_at_once_go_by_steps(monkeypatch):
    model, asked = network(), []
    monkeypatch.setattr(type(model), "stream", lambda *given: asked.append(len(given[1])))
    piece(model, batch_size=writing.MOST_PIECES + 1)
    assert not asked
    piece(model, generators=seeds(*range(writing.MOST_PIECES + 1)))
    assert asked == [writing.MOST_PIECES, 1]
