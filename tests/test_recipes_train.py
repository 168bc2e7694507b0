"""Every recipe trains for a few steps, resumes to the same bit, composes, is judged, saved and loaded again."""

import dataclasses

import numpy as np
import pytest
import torch

from deepmusician import checkpoint
from deepmusician.evaluation import evaluate
from deepmusician.generation import compose
from deepmusician.midi import write_midi
from deepmusician.notes import Song
from deepmusician.options import GenerateOptions
from deepmusician.recipes import list_recipes, recipe_options
from deepmusician.runner import train_run
from deepmusician.runs import new_run

NAMES = [recipe.name for recipe in list_recipes()]
COMPOSING = [name for name in NAMES if name != "expression"]
# as small as the parts allow; what a recipe is made of stays as it says
SMALL = {
    "n_epochs": 2, "seq_len": 8, "hidden_size": 16, "classifier_size": 12, "batch_size": 4, "memory": 8,
    "attention_heads": 2, "valid_fraction": 0.3, "precision": "fp32", "threads": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four short pieces of three voices, with notes struck again and of different loudness."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("music")
    for i in range(4):
        notes = [(t / 2, 0.5, int(p)) for t in range(10) for p in rng.choice([48, 52, 55, 60, 64, 67], 3, False)]
        song = Song.from_notes(notes)
        song.notes.flags.writeable = True
        song.notes["velocity"] = rng.integers(30, 120, len(song.notes))
        write_midi(song, folder / f"piece-{i}.mid")
    return folder


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPMUSICIAN_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("deepmusician.audition.SAMPLE_FRAMES", 16)
    monkeypatch.setattr("deepmusician.calibration.FRAMES", 8)
    return tmp_path


def options_of(name, folder):
    return recipe_options(name, path=str(folder), **SMALL)


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_trains_is_judged_saved_and_loaded(name, folder, home):
    run = new_run(options_of(name, folder), "r")
    status = train_run(run)
    assert status.state == "finished", status.message
    assert [m["epoch"] for m in run.metrics()] == [1, 2]
    assert all(np.isfinite(m["valid"]["nll"]) for m in run.metrics())
    _, card = checkpoint.load(run.path)
    assert card["options"]["recipe"] == name and f"-p {folder}" in card["command"]
    report = evaluate(run.path)
    assert report["model"]["nll"] == pytest.approx(card["scores"]["valid"]["nll"], abs=1e-3)


@pytest.mark.parametrize("name", COMPOSING)
def test_a_recipe_composes_what_midi_can_hold(name, folder, home):
    options = dataclasses.replace(options_of(name, folder), n_epochs=1)
    run = new_run(options, "r")
    train_run(run)
    for init in ("zero", "guided"):
        piece = compose(run.path, GenerateOptions(seq_len=20, init=init, seed=3, temperature=1.5))
        assert len(piece.roll) == 20
        again = compose(run.path, GenerateOptions(seq_len=20, init=init, seed=3, temperature=1.5))
        assert write_midi(piece.song) == write_midi(again.song)
    if options.voices == "melody":
        assert piece.roll.sounding.sum(1).max() <= 1
    if options.planes != "velocity":
        assert set(np.unique(piece.song.notes["velocity"])) <= {80}


@pytest.mark.parametrize("name", ["studio", "attention-gru", "transformer", "lstm-melody", "deepj"])
def test_a_stopped_recipe_resumes_to_the_same_weights(name, folder, home):
    """The averaged weights, the optimiser and the random numbers all go on where they were."""
    from deepmusician.rolls import read_rolls
    from deepmusician.training import Trainer
    from deepmusician.windows import split_rolls

    options = options_of(name, folder)
    _, rolls = read_rolls(options)
    parts = split_rolls(rolls, options.valid_fraction, options.seed)
    whole = Trainer(options, rolls, *parts)
    list(whole.epochs())
    first, steps = Trainer(options, rolls, *parts), []
    list(first.epochs(lambda: len(steps) >= 3, lambda *_: steps.append(1)))
    saved = first.save(home / "stopped", {"title": "t", "data": {}})
    second = Trainer(options, rolls, *parts)
    second.restore(saved)
    assert second.steps == 3
    list(second.epochs())
    for key, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[key]), key


def test_averaged_weights_lag_behind_the_learners(folder, home):
    from deepmusician.rolls import read_rolls
    from deepmusician.training import Trainer

    options = dataclasses.replace(options_of("studio", folder), averaging=0.99, n_epochs=1)
    _, rolls = read_rolls(options)
    work = Trainer(options, rolls, np.array([0, 1, 2]), np.array([3]))
    before = {k: v.detach().clone() for k, v in work.learner.named_parameters()}
    list(work.epochs())
    moved = sum((v - before[k]).norm() for k, v in work.learner.named_parameters())
    lagging = sum((v - before[k]).norm() for k, v in work.model.named_parameters())
    assert 0 < lagging < moved
    assert Trainer(dataclasses.replace(options, averaging=0.0), rolls, np.array([0]), np.array([1])).average is None


def test_several_folders_are_styles(folder, home, tmp_path):
    """Each is a style: learnt, named in the card, composed in one, mixed, or from one to the other."""
    low = tmp_path / "low"
    low.mkdir()
    for i in range(3):
        write_midi(Song.from_notes([(t / 2, 0.5, 30 + i) for t in range(12)]), low / f"low-{i}.mid")
    options = dataclasses.replace(
        options_of("rnn-nade", folder), path=f"{folder}|{low}", n_epochs=60, learning_rate=0.01, dropout=0.0,
        classifier_dropout=0.0, hidden_size=32,
    )  # fmt: skip
    run = new_run(options, "styles")
    train_run(run)
    _, card = checkpoint.load(run.path)
    first, second = card["data"]["styles"]
    assert second == "low" and {name.split("/")[0] for name in card["data"]["held_out"]} == {first, "low"}

    def mean_pitch(style, part=slice(None)):
        notes = compose(run.path, GenerateOptions(seq_len=48, seed=1, style=style, temperature=1.0)).roll.sounding[part]
        return (np.nonzero(notes)[1] + 21).mean()

    assert mean_pitch("low") + 8 < mean_pitch(first)
    changing = f"low>{first}"
    assert mean_pitch(changing, slice(0, 12)) < mean_pitch(changing, slice(-12, None))
    assert evaluate(run.path)["songs"] == 2
