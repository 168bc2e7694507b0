"""What a model looked at: exactly what its attention gave while it composed, at its place in the piece."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from deepmusician.attention import attention_of
from deepmusician.generation import compose
from deepmusician.models.config import ModelConfig
from deepmusician.models.registry import make
from deepmusician.notes import Song
from deepmusician.options import GenerateOptions

CARD = {"options": {"division": "1/16"}, "threshold": 0.5, "data": {"styles": ["a", "b"]}}
SIZES = ModelConfig(seq_len=8, hidden_size=16, classifier_size=16, loss="bce", attention="dot", n_styles=2, clock=True)
OPTIONS = GenerateOptions(seq_len=27, seed=3, temperature=1.0, top_p=1.0)
PRIME = Song.from_notes([(i / 4, 0.25, 60 + i) for i in range(11)])  # 11 frames: a window and 3 of the next


def model_of(config=SIZES):
    """Untrained; about six keys a frame."""
    torch.manual_seed(0)
    model = make(config)
    model.head.start_at(torch.full((88,), 0.07))
    return model


@pytest.mark.parametrize("kind", ["additive", "dot"])
@pytest.mark.parametrize(
    ("options", "prime"),
    [
        (OPTIONS, None),
        (replace(OPTIONS, init="random", style="a>b"), None),
        (replace(OPTIONS, init="guided", style="b"), PRIME),
    ],
)
def test_it_is_what_the_attention_gave_while_composing(kind, options, prime):
    source = model, _ = model_of(replace(SIZES, attention=kind)), CARD
    given = []
    hook = model.attention.register_forward_hook(lambda _, __, output: given.append(output[1][0]))
    roll = compose(source, options, prime).roll
    hook.remove()
    given = [row for row in given[-27:] if row.shape == (1, 8)]  # those of a window of silence look at one frame
    looks = attention_of(source, roll, options, prime)
    assert np.allclose(np.concatenate([look.weights for look in looks]), torch.cat(given).numpy(), atol=1e-6)
    assert not model.attention._forward_hooks


def test_windows_follow_one_another_and_look_at_the_one_before():
    source = model_of(), CARD
    looks = attention_of(source, compose(source, OPTIONS).roll, OPTIONS)
    assert [(look.begin, look.source, look.weights.shape) for look in looks] == [
        (8, 0, (8, 8)), (16, 8, (8, 8)), (24, 16, (3, 8)),
    ]  # fmt: skip
    for look in looks:
        assert look.weights.sum(1) == pytest.approx(np.ones(len(look.weights)))


def test_a_piece_that_goes_on_from_another_looks_back_into_it():
    source, options = (model_of(), CARD), replace(OPTIONS, init="guided")
    looks = attention_of(source, compose(source, options, PRIME).roll, options, PRIME)
    assert [(look.begin, look.source, len(look.weights)) for look in looks] == [
        (0, -11, 5), (5, -3, 8), (13, 5, 8), (21, 13, 6),
    ]  # fmt: skip


def test_a_model_without_attention_and_a_piece_within_one_window_looked_at_nothing():
    plain = model_of(replace(SIZES, attention="none")), CARD
    assert attention_of(plain, compose(plain, OPTIONS).roll, OPTIONS) == []
    source, short = (model_of(), CARD), replace(OPTIONS, seq_len=8)
    assert attention_of(source, compose(source, short).roll, short) == []
