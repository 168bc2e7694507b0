"""Hear it learn: what is kept of which epoch, the same piece at each, and the choice by ear."""

import dataclasses

import pytest
import torch

from deepmusician import checkpoint, runs
from deepmusician.audition import SAMPLE_FRAMES
from deepmusician.errors import CheckpointError, OptionError, RunError
from deepmusician.generation import compose
from deepmusician.midi import write_midi
from deepmusician.milestones import choose, choose_apart, forget_after, let_validation_choose, point, timeline
from deepmusician.options import GenerateOptions, milestone_epochs
from deepmusician.runner import train_run

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def run(small_run):
    """Five epochs, of which 0, 1, 2 and 4 are kept."""
    return runs.Run(small_run)


@pytest.fixture
def hasty(monkeypatch):
    """Calibration takes longer than training does here."""
    found = {"temperature": 0.9, "top_p": 0.9, "fullness": 1.1}
    monkeypatch.setattr("deepmusician.calibration.calibrate", lambda *a: found)


def weights(folder):
    return (folder / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("milestones", "epochs"),
    [
        ("doubling", (0, 1, 2, 4, 8)),
        ("all", tuple(range(11))),
        ("none", ()),
        ("3, 1,3,99", (1, 3)),
        ("0", (0,)),
    ],
)
def test_which_epochs_are_kept_of_ten(milestones, epochs):
    assert milestone_epochs(milestones, 10) == epochs


@pytest.mark.parametrize("milestones", ["", "often", "1,,2", "-1", "1.5", "1;2", "²", "123456"])
def test_milestones_that_say_nothing_are_refused(tiny, milestones):
    with pytest.raises(OptionError, match="milestones must be doubling, all, none, or epochs parted by commas"):
        dataclasses.replace(tiny, milestones=milestones)


def test_the_untrained_model_and_those_of_chosen_epochs_are_kept_without_their_optimiser(run):
    folders = sorted((run.path / "milestones").iterdir())
    assert [f.name for f in folders] == ["epoch-0000", "epoch-0001", "epoch-0002", "epoch-0004"]
    assert {p.name for f in folders for p in f.iterdir()} == {"card.json", "model.safetensors"}
    assert [checkpoint.read_card(f)["epoch"] for f in folders] == [0, 1, 2, 4]


def test_none_keeps_no_model_but_every_sample(tiny, hasty):
    run = runs.new_run(dataclasses.replace(tiny, milestones="none"), "small")
    train_run(run)
    assert not (run.path / "milestones").exists()
    assert [m.epoch for m in timeline(run)] == [1, 2]


def test_the_sample_of_an_epoch_is_what_its_model_composes(run):
    for moment in timeline(run):
        if moment.model is None:
            continue
        model, card = checkpoint.load(moment.model)
        card = {k: card[k] for k in ("options", "threshold", "data")}  # before it was calibrated
        song = compose((model, card), GenerateOptions(seq_len=SAMPLE_FRAMES, seed=0)).song
        assert moment.sample.read_bytes() == write_midi(song), moment.epoch


def test_keeping_models_changes_no_step_of_the_training(tiny, hasty):
    ends = []
    for milestones in ("all", "none"):
        run = runs.new_run(dataclasses.replace(tiny, milestones=milestones), milestones)
        train_run(run)
        ends.append(torch.cat([t.flatten() for t in checkpoint.load(run.checkpoint("last"))[0].state_dict().values()]))
    assert torch.equal(*ends)


def test_a_milestone_takes_no_room_while_its_checkpoint_is_there(run):
    last = run.checkpoint("last").resolve()
    folder = choose(run, 5)
    assert (folder / "model.safetensors").stat().st_ino == (last / "model.safetensors").stat().st_ino


def test_the_timeline_tells_what_there_is_of_each_epoch(run):
    moments = timeline(run)
    assert [m.epoch for m in moments] == [0, 1, 2, 3, 4, 5]
    assert all(m.sample for m in moments)
    assert {m.epoch for m in moments if m.model} >= {0, 1, 2, 4, 5}
    assert sum(m.best for m in moments) == 1 and not any(m.chosen for m in moments)
    assert moments[0].scores == {} and moments[5].scores == run.metrics()[4]["valid"] and moments[5].held_out
    run.write_metrics([report | {"valid": None} for report in run.metrics()])  # as of a training without such songs
    assert timeline(run)[5].scores == run.metrics()[4]["train"] and not timeline(run)[5].held_out


def test_the_epoch_chosen_by_ear_is_what_everything_composes_with(run):
    from ui.models import run_models

    assert weights(run.model()) == weights(run.checkpoint("best"))
    choose(run, 1)
    kept = run.path / "milestones" / "epoch-0001"
    assert run.model().resolve() == checkpoint.find("small").resolve() == kept
    assert [m.path.resolve() for m in run_models()] == [kept]
    assert [m.epoch for m in timeline(run) if m.chosen] == [1]
    let_validation_choose(run)
    assert weights(run.model()) == weights(run.checkpoint("best"))


def test_the_chosen_model_is_calibrated_once(run, monkeypatch):
    choose(run, 1)
    card = checkpoint.read_card(run.model())
    assert 0.7 <= card["fullness"] <= 1.6 and 0.5 <= card["temperature"] <= 1
    monkeypatch.setattr("deepmusician.calibration.calibrate", lambda *a: pytest.fail("it is calibrated"))
    choose(run, 1)


def test_what_needs_calibration_is_chosen_in_a_process_of_its_own(run):
    process = choose_apart(run, 1)
    assert run.checkpoint("chosen") is None  # until its settings are found
    assert process.communicate(timeout=60) == (None, "") and process.returncode == 0
    assert run.model().resolve().name == "epoch-0001" and "fullness" in checkpoint.read_card(run.model())
    let_validation_choose(run)
    assert choose_apart(run, 1) is None and run.model().resolve().name == "epoch-0001"  # now at once
    with pytest.raises(RunError, match="did not keep its model of epoch 9"):
        choose_apart(run, 9)


def test_a_model_chosen_while_training_survives_and_is_calibrated_in_the_end(run, hasty):
    point(run.path / "checkpoints" / "chosen", run.path / "milestones" / "epoch-0001")
    run.write_options(dataclasses.replace(run.options(), n_epochs=7))
    train_run(run, resume=True)
    card = checkpoint.read_card(run.model())
    assert (card["epoch"], card["fullness"]) == (1, 1.1)


def test_an_epoch_that_was_not_kept_is_refused_naming_those_that_were(tiny, hasty):
    run = runs.new_run(dataclasses.replace(tiny, milestones="0"), "small")
    train_run(run)
    with pytest.raises(RunError, match=r"did not keep its model of epoch 9; kept are 0"):
        choose(run, 9)


def test_what_is_trained_anew_after_a_kill_is_forgotten_but_for_the_chosen_one(run):
    choose(run, 4)
    forget_after(run, 1)
    assert [p.stem for p in run.samples()] == ["epoch-0000", "epoch-0001"]
    left = sorted(p.name for p in (run.path / "milestones").iterdir())
    assert left == ["epoch-0000", "epoch-0001", "epoch-0004"]


def test_an_epoch_of_a_run_is_named_like_an_address(run):
    assert checkpoint.find("small@2") == run.path / "milestones" / "epoch-0002"
    for name in ("small@3000", "small@x", "small@", "nowhere@1", "@"):
        with pytest.raises(CheckpointError, match="is no model that was kept"):
            checkpoint.find(name)
    with pytest.raises(CheckpointError, match="of small there are the epochs: 0, 1, 2, 4"):
        checkpoint.find("small@17")
