"""Per-note probabilities under every kind of model, counted anew one frame and one note at a time."""

import numpy as np
import pytest
import torch
from conftest import scale_song

from deepmusician.errors import OptionError
from deepmusician.midi import write_midi
from deepmusician.models.config import ModelConfig
from deepmusician.models.frames import to_model
from deepmusician.models.registry import make
from deepmusician.notes import Song
from deepmusician.rolls import song_frames
from deepmusician.surprise import surprise

SONG = scale_song(60, beats=16)
MELODY = Song.from_notes([(0, 1, 60), (1, 1, 62), (3, 2, 64), (6, 2, 60)])
KINDS = {
    "original": {},
    "chord": {"arrangement": "decoder", "head": "chord", "loss": "bce"},
    "studio": {"arrangement": "decoder", "backbone": "biaxial", "head": "intervals", "loss": "bce", "clock": True},
    "axis": {"arrangement": "decoder", "backbone": "biaxial", "head": "axis", "planes": "velocity", "skip": True},
    "strokes": {"arrangement": "decoder", "planes": "onset", "skip": True},
    "styles": {"n_styles": 2},
    "committee": {"arrangement": "decoder", "members": 3, "planes": "velocity", "skip": True},
}


def made(voices="all", remove_zeros=False, **parts):
    torch.manual_seed(0)
    config = ModelConfig(seq_len=8, hidden_size=16, classifier_size=12, num_layers=1, **parts)
    card = {"options": {"division": "1/16", "voices": voices, "remove_zeros": remove_zeros}}
    return make(config).eval(), card


@pytest.mark.parametrize("parts", KINDS.values(), ids=KINDS)
def test_any_model_says_how_likely_each_note_was(parts):
    """The nats of the whole piece are those of composing it step by step; each note has a probability."""
    model, card = made(**parts)
    found = surprise((model, card), SONG)
    frames = to_model(song_frames(SONG, card_division(), planes=model.config.planes))
    total, (frame, state) = 0.0, model.start("zero")
    with torch.no_grad():
        for truth in frames:
            context, state = model.step(frame, state)
            total += float(model.head.nll(context, truth[None]))
            frame = truth[None]
    assert found.nats == pytest.approx(total / len(frames), rel=1e-4)
    assert found.probability.shape == (len(SONG),)
    assert ((found.probability > 0) & (found.probability <= 1)).all()
    assert len(found.bars) == len(SONG.bar_starts()) and found.bars.mean() == pytest.approx(found.nats, rel=1e-4)


def card_division():
    from fractions import Fraction

    return Fraction(1, 16)


def test_a_notes_probability_is_that_of_its_key_in_its_first_frame():
    model, card = made()
    with torch.no_grad():
        model.head.part.net[-1].weight.zero_()
        model.head.part.net[-1].bias.copy_(torch.linspace(-3, 3, 88))
    from deepmusician.losses import Loss, posterior_logits

    expected = torch.sigmoid(posterior_logits(torch.linspace(-3, 3, 88), Loss("focal", 0.75, 2.0)))
    found = surprise((model, card), MELODY)
    keys = MELODY.notes["pitch"].astype(int) - 21
    assert found.probability == pytest.approx(expected[keys].numpy(), rel=1e-4)
    assert found.least_expected(2).tolist() == [0, 3]  # the lowest keys are the least likely
    assert not found.velocities


def test_a_model_of_melodies_sees_the_top_line_alone():
    model, card = made(voices="melody", arrangement="decoder", head="melody", loss="bce")
    found = surprise((model, card), SONG)
    top = np.isfinite(found.probability)
    assert 0 < top.sum() < len(SONG)
    assert SONG.notes["pitch"][top].min() >= 72  # the tune, not the chords


def test_drums_and_notes_off_the_keyboard_are_not_seen():
    notes = SONG.notes.copy()
    notes["drum"][0] = True
    notes["pitch"][1] = 5
    found = surprise(made(), Song(notes))
    assert np.isnan(found.probability[:2]).all() and np.isfinite(found.probability[2:]).all()
    assert found.least_expected(999).max() >= 2 and 0 not in found.least_expected(999)


def test_rests_left_out_in_training_are_left_out_and_notes_keep_their_place():
    model, card = made(remove_zeros=True)
    found = surprise((model, card), MELODY)
    assert np.isfinite(found.probability).all()
    shut = Song.from_notes([(0, 1, 60), (1, 1, 62), (2, 2, 64), (4, 2, 60)])
    assert surprise((model, card), shut).probability == pytest.approx(found.probability)


def test_of_a_model_of_expression_the_velocities_are_judged():
    model, card = made(arrangement="expression", planes="velocity", skip=True)
    found = surprise((model, card), SONG)
    assert found.velocities and ((found.probability > 0) & (found.probability < 1)).all()


def test_a_piece_without_a_note_on_the_keyboard_is_refused():
    with pytest.raises(OptionError, match="no note on the piano's 88 keys"):
        surprise(made(), Song.from_notes([(0, 1, 5)]))


def test_a_file_read_back_is_as_surprising(tmp_path):
    from deepmusician.midi import read_midi

    write_midi(SONG, tmp_path / "x.mid")
    again = surprise(made(), read_midi(tmp_path / "x.mid"))
    assert again.nats == pytest.approx(surprise(made(), SONG).nats)


def test_a_model_of_several_styles_is_told_one_and_others_refuse_it():
    model, card = made(n_styles=2)
    card["data"] = {"styles": ["bach", "airds"]}
    bach, airds, mixed = (surprise((model, card), SONG, style).nats for style in ("bach", "airds", None))
    assert len({round(bach, 6), round(airds, 6), round(mixed, 6)}) == 3
    assert surprise((model, card), SONG, "bach:1,airds:1").nats == pytest.approx(mixed, rel=1e-5)
    with pytest.raises(OptionError, match="knows no style 'jazz'"):
        surprise((model, card), SONG, "jazz")
    with pytest.raises(OptionError, match="in one style or one mix"):
        surprise((model, card), SONG, "bach>airds")
    with pytest.raises(OptionError, match="learnt one style only"):
        surprise(made(), SONG, "bach")
