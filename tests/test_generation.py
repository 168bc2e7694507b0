"""Composing: seeded to the byte, of any length, with every option doing something."""

import dataclasses

import numpy as np
import pytest
import torch

from deepmusician import checkpoint
from deepmusician.calibration import CAUTION, calibrate
from deepmusician.errors import OptionError
from deepmusician.generation import compose, compose_frames, compose_variations
from deepmusician.midi import write_midi
from deepmusician.models.config import ModelConfig
from deepmusician.models.contract import Sampling
from deepmusician.models.registry import make
from deepmusician.notes import Song
from deepmusician.options import GenerateOptions
from deepmusician.scales import allowed_keys

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


@pytest.mark.parametrize("init", ["zero", "random", "guided"])
def test_each_variation_is_the_piece_that_its_own_seed_gives_alone(saved, init):
    four = compose_variations(saved, dataclasses.replace(OPTIONS, variations=4, init=init))
    alone = [compose(saved, dataclasses.replace(OPTIONS, seed=7 + i, init=init)) for i in range(4)]
    assert [write_midi(p.song) for p in four] == [write_midi(p.song) for p in alone]
    assert len({write_midi(p.song) for p in four}) == 4


def test_a_model_loaded_once_composes_as_its_checkpoint_does(saved):
    options = dataclasses.replace(OPTIONS, init="guided")
    whole = checkpoint.load_whole(saved)
    assert write_midi(compose(whole, options).song) == write_midi(compose(saved, options).song)


def test_only_keys_of_the_scale_sound(saved):
    roll = compose(saved, dataclasses.replace(OPTIONS, scale="A minor pentatonic")).roll
    assert roll.sounding.any() and not roll.sounding[:, ~allowed_keys("A minor pentatonic")].any()


def test_density_changes_with_the_same_random_numbers(saved):
    """Fuller keeps each note that was there: the same numbers decide, against higher probabilities."""
    model, _ = checkpoint.load(saved)
    for layer in (model.head.part.net[-1],):
        layer.weight.data.zero_()  # what was heard must not matter, else a new note changes all that follow
    thin, full = (compose((model, CARD), dataclasses.replace(OPTIONS, fullness=f)).roll.sounding for f in (1.0, 1.5))
    assert (full >= thin).all() and full.sum() > 1.3 * thin.sum()


PRIME = Song.from_notes([(0, 1, 60), (1, 1.5, 64)], velocity=55, ticks_per_beat=96).with_tempo(77).with_program(40)


def test_a_continued_piece_keeps_its_original_in_front_to_the_note(saved):
    options = dataclasses.replace(OPTIONS, init="guided", keep=True)
    piece = compose(saved, options, PRIME)
    front = piece.song.notes[piece.song.notes["onset"] < 2.5]
    assert front.tolist() == PRIME.notes.tolist() and piece.begin == 2.5
    assert piece.song.tempo_bpm == 77 and set(piece.song.notes["program"]) == {40}
    alone = compose(saved, dataclasses.replace(options, keep=False), PRIME).song
    later = piece.song.notes[len(PRIME) :]
    assert (later["onset"] - 2.5).tolist() == alone.notes["onset"].tolist()
    assert later["pitch"].tolist() == alone.notes["pitch"].tolist()


def test_a_continuation_begins_after_the_last_drum(saved):
    import numpy as np

    drum = PRIME.notes[:1].copy()
    drum["onset"], drum["drum"] = 3, True
    prime = dataclasses.replace(PRIME, notes=np.concatenate([PRIME.notes, drum]))
    assert compose(saved, dataclasses.replace(OPTIONS, init="guided", keep=True), prime).begin == 4


def test_a_held_out_opening_can_be_chosen_and_kept(saved):
    one, two = (
        compose(saved, dataclasses.replace(OPTIONS, init="guided", opening=i, seed=3, keep=True)) for i in (1, 2)
    )
    assert one.begin == two.begin == 2  # eight semiquavers
    fronts = [p.song.notes["pitch"][p.song.notes["onset"] < 2].tolist() for p in (one, two)]
    assert fronts[0] != fronts[1]
    with pytest.raises(OptionError, match="keeps openings 1 to 2, got 3"):
        compose(saved, dataclasses.replace(OPTIONS, init="guided", opening=3))


def test_keeping_without_a_piece_to_go_on_from_is_refused():
    with pytest.raises(OptionError, match="got init zero; set it to guided"):
        GenerateOptions(keep=True)


def test_variations_take_no_seed_beyond_the_last():
    with pytest.raises(OptionError, match="lower seed"):
        GenerateOptions(seed=2**31 - 1, variations=2)


def test_tempo_and_instrument_are_the_models_own_unless_others_are_chosen(saved):
    assert compose(saved, OPTIONS).song.tempo_bpm == 100
    checkpoint.amend_card(saved, composing={"tempo_bpm": 66.0, "program": 19})
    own, mine = compose(saved, OPTIONS).song, compose(saved, dataclasses.replace(OPTIONS, tempo_bpm=90)).song
    assert (own.tempo_bpm, mine.tempo_bpm) == (66, 90) and set(own.notes["program"]) == {19}
