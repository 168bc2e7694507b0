"""What a training composes to be heard: as carefully as is full enough."""

from types import SimpleNamespace

import numpy as np
import pytest

from deepmusician import audition, generation
from deepmusician.options import TrainOptions


@pytest.mark.parametrize(
    ("notes", "heard"),
    [
        ({0.7: 3, 0.85: 4, 1.0: 4}, (0.7, 3)),  # careful, and full enough
        ({0.7: 0, 0.85: 3, 1.0: 4}, (0.85, 3)),
        ({0.7: 0, 0.85: 1, 1.0: 4}, (1.0, 4)),
        ({0.7: 0, 0.85: 1, 1.0: 0}, (0.85, 1)),  # thin however it is drawn: the fullest
        ({0.7: 0, 0.85: 0, 1.0: 0}, (0.7, 0)),
    ],
)
def test_a_sample_is_drawn_as_carefully_as_is_full_enough(notes, heard, monkeypatch):
    def compose(model, choice):
        sounding = np.zeros((choice.seq_len, 88), bool)
        sounding[:, : notes[choice.temperature]] = True
        return SimpleNamespace(song=choice.temperature, roll=SimpleNamespace(sounding=sounding))

    monkeypatch.setattr(generation, "compose", compose)
    trainer = SimpleNamespace(model=None, threshold=0.5)
    song, sounding = audition.compose(trainer, TrainOptions(), {"density": 4.0, "styles": [""]})
    assert (song, sounding.sum(1).mean()) == heard
