"""Composing: seeded to the byte, of any length, with every option doing something."""

import dataclasses

import numpy as np
import pytest
import torch

from deepmusician import checkpoint
from deepmusician.errors import OptionError
from deepmusician.generation import CAUTION, calibrate, compose, compose_frames
from deepmusician.midi import write_midi
from deepmusician.models.config import ModelConfig
from deepmusician.models.contract import Sampling
from deepmusician.models.registry import make
from deepmusician.notes import Song
from deepmusician.options import GenerateOptions

CARD = {"options": {"division": "1/16"}, "threshold": 0.5, "title": "t", "data": {}}
OPTIONS = GenerateOptions(seq_len=40, seed=7)


@pytest.fixture
def saved(tmp_path):
    """An untrained model that plays about six keys a frame, with two primes."""
    torch.manual_seed(0)
    model = make(ModelConfig(seq_len=8, hidden_size=16, classifier_size=16, loss="bce"))
    model.head.start_at(torch.full((88,), 0.07))
    model.head.part.net[-1].weight.data.mul_(80)  # far from the keys' frequencies, so that what was heard matters
    primes = torch.randint(0, 255, (2, 8, 11), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    return checkpoint.save(tmp_path / "c", model, CARD, primes)


def test_the_same_seed_gives_the_same_midi_to_the_byte(saved):
    first, second = (write_midi(compose(saved, OPTIONS).song) for _ in range(2))
    assert first == second
    assert first != write_midi(compose(saved, dataclasses.replace(OPTIONS, seed=8)).song)


def test_the_number_of_threads_changes_nothing(saved):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    two = compose(saved, OPTIONS).roll.sounding
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
    assert (compose(saved, OPTIONS).roll.sounding == two).all()
    torch.set_num_threads(before)


@pytest.mark.parametrize("frames", [1, 7, 8, 9, 40, 200])
def test_any_length_is_composed(saved, frames):
    assert len(compose(saved, dataclasses.replace(OPTIONS, seq_len=frames)).roll) == frames


@pytest.mark.parametrize("init", ["zero", "random", "guided"])
def test_a_longer_piece_begins_as_the_shorter_one(saved, init):
    short, long = (compose(saved, dataclasses.replace(OPTIONS, init=init, seq_len=n)).roll.sounding for n in (12, 30))
    assert (long[:12] == short).all()


def test_each_initial_state_gives_other_music(saved):
    rolls = [compose(saved, dataclasses.replace(OPTIONS, init=i)).roll.sounding for i in ("zero", "random", "guided")]
    assert not (rolls[0] == rolls[1]).all() and not (rolls[1] == rolls[2]).all() and not (rolls[0] == rolls[2]).all()


def test_another_seed_is_guided_by_another_held_out_piece(saved):
    options = dataclasses.replace(OPTIONS, init="guided", sampler="threshold", threshold=0.07)
    even, again, odd = (compose(saved, dataclasses.replace(options, seed=s)).roll.sounding for s in (0, 2, 1))
    assert (even == again).all() and not (even == odd).all()


def test_a_given_piece_guides(saved):
    options = dataclasses.replace(OPTIONS, init="guided", sampler="threshold", threshold=0.07)
    low = compose(saved, options, Song.from_notes([(0, 4, 30), (0, 4, 35)])).roll.sounding
    high = compose(saved, options, Song.from_notes([(0, 4, 90), (0, 4, 95)])).roll.sounding
    assert not (low == high).all()


@pytest.mark.parametrize(
    "change", [{"temperature": 0.3}, {"top_p": 0.5}, {"fullness": 1.5}, {"sampler": "threshold", "threshold": 0.08}]
)
def test_each_way_of_drawing_gives_other_music(saved, change):
    plain = compose(saved, OPTIONS).roll.sounding
    assert not (plain == compose(saved, dataclasses.replace(OPTIONS, **change)).roll.sounding).all()


def test_tempo_instrument_and_division_reach_the_song(saved):
    song = compose(saved, dataclasses.replace(OPTIONS, tempo_bpm=90, program=40, division="1/8")).song
    assert song.tempo_bpm == 90
    assert set(song.notes["program"]) == {40}
    half = compose(saved, dataclasses.replace(OPTIONS, division="1/16")).song
    assert np.allclose(song.notes["onset"], 2 * half.notes["onset"])


def test_silence_is_said_in_words(saved):
    composed = compose(saved, dataclasses.replace(OPTIONS, sampler="threshold", threshold=0.999))
    assert "is below the threshold 1.00" in composed.warnings[0]
    assert len(composed.song) == 0 and len(composed.roll) == 40


def test_everything_at_once_is_said_in_words(saved):
    composed = compose(saved, dataclasses.replace(OPTIONS, sampler="threshold", threshold=0.001))
    assert "Everything sounds at once" in composed.warnings[0]


def test_the_checkpoints_own_fullness_holds_unless_another_is_asked_for(saved):
    checkpoint.amend_card(saved, fullness=2.0)
    own = compose(saved, OPTIONS).roll.sounding
    assert (own == compose(saved, dataclasses.replace(OPTIONS, fullness=2.0)).roll.sounding).all()
    assert own.sum() > 1.3 * compose(saved, dataclasses.replace(OPTIONS, fullness=1.0)).roll.sounding.sum()


@pytest.mark.parametrize(("density", "held"), [(6.0, 0.0), (9.0, 1.0)])
def test_calibrated_settings_compose_as_many_notes_as_asked_for(saved, density, held):
    model, _ = checkpoint.load(saved)
    settings = calibrate(model, density, held)
    how = Sampling("sample", **settings)
    frames, _ = compose_frames(model, 256, how, generator=torch.Generator().manual_seed(5), batch_size=16)
    assert frames.sum(2).mean() == pytest.approx(density, rel=0.15)
    assert (settings["temperature"], settings["top_p"]) == CAUTION[0 if held == 0 else -1]


def test_a_prime_without_playable_notes_is_refused(saved):
    with pytest.raises(OptionError, match="no note on the piano's 88 keys"):
        compose(saved, dataclasses.replace(OPTIONS, init="guided"), Song.from_notes([(0, 1, 3)]))


def test_guided_without_any_piece_is_refused(tmp_path):
    model = make(ModelConfig(seq_len=8, hidden_size=16, classifier_size=16))
    folder = checkpoint.save(tmp_path / "c", model, CARD)
    with pytest.raises(OptionError, match="give one with --prime"):
        compose(folder, dataclasses.replace(OPTIONS, init="guided"))
