"""Training learns what is learnable, reports honestly, and resumes to the same bit."""

import dataclasses

import numpy as np
import pytest
import torch

from deepmusician import checkpoint
from deepmusician.errors import CheckpointError, OptionError
from deepmusician.generation import compose
from deepmusician.notes import Song
from deepmusician.options import GenerateOptions, TrainOptions
from deepmusician.roll import to_roll
from deepmusician.rolls import make_rolls
from deepmusician.training import Trainer, make_accelerator
from deepmusician.windows import split_songs

BAR = [(0, 1, 60), (1, 1, 64), (2, 1, 67), (3, 0.5, 72), (3.5, 0.5, 71)]  # one bar in C
SMALL = TrainOptions(
    n_epochs=80, seq_len=16, hidden_size=48, classifier_size=48, num_layers=1, decoder_n_layers=1, batch_size=8,
    learning_rate=0.004, transpose=0, classifier_dropout=0.0, dropout=0.0, weight_decay=0.0, stride=4, precision="fp32",
)  # fmt: skip


def repeated_bar(bars: int = 8) -> Song:
    return Song.from_notes([(4 * b + on, length, pitch) for b in range(bars) for on, length, pitch in BAR])


def random_songs(n: int = 4, frames: int = 60) -> list[Song]:
    rng = np.random.default_rng(0)
    return [Song.from_notes([(t / 4, 0.25, int(rng.integers(48, 72))) for t in range(frames)]) for _ in range(n)]


def trainer(options: TrainOptions, songs: list[Song]) -> Trainer:
    rolls = make_rolls(songs, options.division, options.voices, options.remove_zeros)
    return Trainer(options, rolls, *split_songs(len(rolls), options.valid_fraction, options.seed))


@pytest.fixture(scope="module")
def learnt_bar(tmp_path_factory):
    """A model trained on one repeated bar, saved, with its reports."""
    work = trainer(SMALL, [repeated_bar(), repeated_bar()])
    reports = list(work.epochs())
    folder = tmp_path_factory.mktemp("bar") / "checkpoint"
    work.save(folder, {"title": "bar", "data": {}})
    return folder, reports


def test_the_loss_on_one_repeated_bar_approaches_zero(learnt_bar):
    _, reports = learnt_bar
    assert reports[-1]["valid"]["nll"] < 0.1 < 1 < reports[0]["valid"]["nll"]
    assert reports[-1]["train"]["loss"] < 0.02 * reports[0]["train"]["loss"]
    assert reports[-1]["valid"]["f1"] > 0.99


@pytest.mark.parametrize("sampler", ["threshold", "sample"])
@pytest.mark.parametrize("init", ["zero", "guided"])
def test_a_model_trained_on_one_bar_plays_that_bar(learnt_bar, sampler, init):
    """Composed from the checkpoint on disk, so that the trained weights, not fresh ones, are what plays."""
    bar = to_roll(repeated_bar()).sounding
    options = GenerateOptions(seq_len=64, sampler=sampler, init=init, temperature=0.2)
    played = compose(learnt_bar[0], options).roll.sounding
    assert played.shape == (64, 88)
    began = played.any(1).argmax()  # drawn by chance, it may wait for a frame
    assert began < 4
    assert (played[began:] == bar[: 64 - began]).all(1).mean() > 0.9


def test_reports_hold_what_a_page_shows(learnt_bar):
    report = learnt_bar[1][0]
    assert set(report["train"]) == set(report["valid"])
    shown = {"loss", "nll", "precision", "recall", "f1", "density", "data_density", "rare_recall"}
    assert shown == set(report["valid"])
    assert report["frames_per_second"] > 0 and report["seconds"] > 0


def test_the_calibrated_threshold_matches_density_on_held_out_songs(learnt_bar):
    valid = learnt_bar[1][-1]["valid"]
    assert valid["density"] == pytest.approx(valid["data_density"], rel=0.02)


def test_a_given_threshold_is_used_as_it_is():
    work = trainer(dataclasses.replace(SMALL, threshold=0.9, n_epochs=1), random_songs())
    (report,) = work.epochs()
    assert report["threshold"] == 0.9 and report["valid"]["density"] < report["valid"]["data_density"]


def test_one_song_trains_with_nothing_held_out():
    (report,) = trainer(dataclasses.replace(SMALL, n_epochs=1), [repeated_bar()]).epochs()
    assert report["valid"] is None and report["train"]["nll"] > 0


def weights(work: Trainer) -> list[torch.Tensor]:
    return [p.detach().clone() for p in work.model.parameters()]


@pytest.mark.parametrize("stop_after", [3, 5, 8])
def test_stopped_anywhere_and_resumed_it_ends_with_the_same_bits(tmp_path, stop_after):
    options = dataclasses.replace(
        SMALL, n_epochs=3, dropout=0.2, num_layers=2, classifier_dropout=0.5, transpose=3, teacher_forcing_ratio=0.5,
        balance=0.7,
    )  # fmt: skip
    whole = trainer(options, random_songs())
    expected = list(whole.epochs())

    steps = iter(range(1000))
    first = trainer(options, random_songs())
    done = list(first.epochs(stop=lambda: next(steps) >= stop_after))
    first.save(tmp_path / "last", {"title": "t", "data": {}})
    torch.manual_seed(99)  # whatever happened in between must not matter
    second = trainer(options, random_songs())
    second.restore(tmp_path / "last")
    done += second.epochs()

    assert [r["valid"] for r in done] == [r["valid"] for r in expected]
    assert [r["train"] for r in done] == [r["train"] for r in expected]
    for a, b in zip(weights(whole), weights(second), strict=True):
        assert torch.equal(a, b)


def test_a_place_in_an_epoch_is_that_many_windows_however_many_a_step_takes(tmp_path):
    """As when another number of processes goes on."""
    steps = iter(range(1000))
    first = trainer(dataclasses.replace(SMALL, batch_size=4), random_songs())
    list(first.epochs(stop=lambda: next(steps) >= 5))
    first.save(tmp_path / "last", {"title": "t", "data": {}})
    second = trainer(dataclasses.replace(SMALL, batch_size=8), random_songs())
    second.restore(tmp_path / "last")
    assert (first.batch, second.batch) == (5, 2)  # 20 windows: 16 of them in whole steps, 4 come again


def test_the_same_seed_trains_the_same_model_and_another_does_not():
    options = dataclasses.replace(SMALL, n_epochs=1)
    results = [weights(w) for w in (trainer(options, random_songs()) for _ in range(2)) if list(w.epochs())]
    other = trainer(dataclasses.replace(options, seed=1), random_songs())
    list(other.epochs())
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    assert not torch.equal(results[0][0], weights(other)[0])


@pytest.mark.parametrize(
    "change",
    [
        {"loss": "bce"}, {"loss": "focal+"}, {"gamma": 0.0}, {"alpha": 0.3}, {"learning_rate": 0.001},
        {"batch_size": 4}, {"weight_decay": 0.5}, {"teacher_forcing_ratio": 0.0}, {"dropout": 0.6, "num_layers": 2},
        {"teacher_forcing_ratio": 0.5, "guesses": "sequential"},
        {"transpose": 6}, {"classifier_dropout": 0.5}, {"stride": 16}, {"seq_len": 8}, {"division": "1/8"},
        {"valid_fraction": 0.5}, {"precision": "bf16"}, {"voices": "melody"}, {"remove_zeros": True},
        {"balance": 1.0},
    ],
    ids=str,
)  # fmt: skip
def test_every_option_changes_what_is_learnt(change):
    bar = [*BAR, (0, 4, 48), (8, 2, 55), (10, 2, 62)]
    songs = [Song.from_notes(bar) for _ in range(4)] + [Song.from_notes([*bar, (60, 4, 48)])]
    options = dataclasses.replace(SMALL, n_epochs=1, num_layers=change.get("num_layers", 1))
    plain, changed = trainer(options, songs), trainer(dataclasses.replace(options, **change), songs)
    list(plain.epochs()), list(changed.epochs())
    assert not torch.equal(weights(plain)[0], weights(changed)[0])


def test_a_damaged_place_is_refused(tmp_path):
    work = trainer(SMALL, [repeated_bar(2), repeated_bar(2)])
    folder = work.save(tmp_path / "c", {"title": "t", "data": {}})
    (folder / "trainer.json").write_text("{")
    with pytest.raises(CheckpointError, match="cannot be resumed"):
        trainer(SMALL, [repeated_bar(2), repeated_bar(2)]).restore(folder)


def test_primes_come_from_held_out_songs(tmp_path):
    work = trainer(SMALL, random_songs())
    folder = work.save(tmp_path / "c", {"title": "t", "data": {}})
    (held_out,) = work.valid_songs
    prime = checkpoint.load_primes(folder)[0].numpy().astype(bool)
    assert (prime == work.rolls.sounding(held_out)[:16]).all()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.skipif(torch.backends.mps.is_available(), reason="this machine has a GPU")
def test_a_missing_gpu_is_said_in_a_sentence():
    with pytest.raises(OptionError, match="no GPU; use cpu"):
        make_accelerator(TrainOptions(accelerator="gpu"))


def test_a_missing_tpu_is_said_in_a_sentence():
    with pytest.raises(OptionError, match="no TPU is found"):
        make_accelerator(TrainOptions(accelerator="tpu"))
