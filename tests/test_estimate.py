"""The time contract: what is measured, what fits into a budget, and what the run's contract says afterwards."""

import dataclasses
import json
import os
import time
from types import SimpleNamespace

import pytest
from conftest import TINY

from deepmusician import budget, cli, estimate
from deepmusician.budget import Contract, fit, read_contract, write_contract
from deepmusician.errors import OptionError
from deepmusician.estimate import Pace, duration, keep, known, measure, sentence, size
from deepmusician.options import TrainOptions
from deepmusician.runner import train_run
from deepmusician.runs import new_run

pytestmark = pytest.mark.usefixtures("home", "short")


@pytest.fixture(autouse=True)
def few_frames(monkeypatch):
    monkeypatch.setattr(estimate, "COMPOSED", 4)


def pace(**values):
    """10 steps of 0.1 s and a second of judging an epoch, 5 s before and 5 s after."""
    given = {
        "steps": 10, "step_seconds": 0.1, "judge_seconds": 1.0, "start_seconds": 5.0, "finish_seconds": 5.0,
        "weights": 1000, "model_bytes": 34_000_000, "disk_bytes": 102_000_000, "memory_bytes": 0,
    }  # fmt: skip
    return Pace(**given | values)


def test_what_is_loaded_once_is_not_counted_for_every_epoch(monkeypatch):
    clock, ready = [0.0], []

    def compose_frames(model, frames, how, batch_size):
        clock[0] += frames * 0.01 + (0 if ready else 5.0)  # the first composing loads what is compiled
        ready.append(frames)

    monkeypatch.setattr("deepmusician.generation.compose_frames", compose_frames)
    monkeypatch.setattr(estimate.time, "monotonic", lambda: clock[0])
    model = SimpleNamespace(composes=True, head=SimpleNamespace(draws=True))
    sample, calibrating = estimate._composing(SimpleNamespace(model=model))
    assert sample == pytest.approx(estimate.SAMPLE * 0.01)
    assert calibrating == pytest.approx(estimate.CALIBRATIONS * estimate.SAMPLE * 0.01)


def test_a_training_takes_its_epochs_and_what_lies_around_them():
    assert pace().seconds(20) == 5 + 20 * 2 + 5
    assert pace().epochs_in(50) == 20
    assert pace().epochs_in(11.9) == 0


def test_the_sentence_says_time_and_room_and_what_they_are():
    said = sentence(pace(memory_bytes=1_200_000_000), 115)
    assert said.startswith("About 4 min for 115 epochs on this machine (2.0 s each, 1.0 s of it for scoring, a sample")
    assert "a file of 34 MB, 102 MB with what resuming needs; training holds about 1.2 GB of memory." in said


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.31, "0.3 s"), (40, "40 s"), (260, "4 min 20 s"), (1200, "20 min"), (3900, "1 h 5 min")]
)
def test_times_are_said_as_people_say_them(seconds, said):
    assert duration(seconds, fine=True) == said


@pytest.mark.parametrize(("n", "said"), [(4e5, "0.4 MB"), (34e6, "34 MB"), (1.25e9, "1.2 GB")])
def test_room_is_said_as_people_say_it(n, said):
    assert size(n) == said


# ---- measuring


def test_a_few_steps_tell_what_a_training_takes_and_needs(tiny):
    found = measure(tiny)
    assert found.steps == 10  # 5 songs of 128 frames are 80 windows of 8, 8 to a step
    assert min(found.step_seconds, found.judge_seconds, found.start_seconds, found.finish_seconds) > 0
    assert found.model_bytes > 4 * found.weights and found.disk_bytes > 2.9 * found.model_bytes
    assert found.memory_bytes > 10_000_000


def test_what_was_measured_is_known_for_any_number_of_epochs_and_any_loss_but_for_no_other_size(tiny):
    assert known(tiny) is None
    kept = keep(tiny, pace())
    for change in ({"n_epochs": 99}, {"loss": "bce"}, {"alpha": 0.5}, {"seed": 3}):
        assert known(dataclasses.replace(tiny, **change)) == kept, change
    for change in ({"hidden_size": 32}, {"batch_size": 4}, {"division": "1/8"}, {"threads": 1}):
        assert known(dataclasses.replace(tiny, **change)) is None, change


def test_what_was_measured_is_forgotten_with_other_data_or_after_an_hour(tiny, midi_folder):
    keep(tiny, pace())
    os.utime(midi_folder, (1, 1))
    assert known(tiny) is None
    keep(tiny, pace())
    (file,) = [p for p in (estimate.cache_dir() / "paces").iterdir() if p == estimate._place(tiny)]
    os.utime(file, (time.time() - 3700,) * 2)
    assert known(tiny) is None


# ---- a budget


def test_a_budget_is_filled_with_epochs_first():
    plan = fit(TrainOptions(), 5, lambda o: pace(steps=40))
    # 93 % of 300 s less 10 s, 5 s an epoch
    assert plan.options == TrainOptions(n_epochs=53)
    assert plan.seconds == 5 + 53 * 5 + 5
    assert plan.words == "5 minutes hold 53 epochs, 2,120 steps."


def test_where_too_few_steps_fit_the_network_is_made_smaller():
    def slow_when_large(o):
        return pace(steps=40, step_seconds=o.hidden_size / 400, judge_seconds=0)

    plan = fit(TrainOptions(), 5, slow_when_large)
    assert (plan.options.hidden_size, plan.options.classifier_size, plan.options.batch_size) == (128, 64, 16)
    assert plan.options.n_epochs * 40 >= budget.ENOUGH_STEPS
    assert "with 128 units in a layer instead of 512, since too few steps teach nothing" in plan.words


def test_a_small_upload_gets_more_steps_from_smaller_batches():
    def few_windows(o):
        return pace(steps=32 // o.batch_size, step_seconds=0.2, judge_seconds=2.0)

    plan = fit(TrainOptions(), 5, few_windows)
    assert plan.options.batch_size == 4 and plan.options.n_epochs * 8 == 592
    assert plan.options.hidden_size == 512  # a smaller network would not bring more steps
    assert "4 windows in a step instead of 16" in plan.words


def test_a_budget_too_small_for_anything_is_said_and_one_epoch_is_trained():
    plan = fit(TrainOptions(), 0.1, lambda o: pace())
    assert plan.options.n_epochs == 1
    assert plan.words.startswith("Not even one epoch fits into 0.1 minutes")


def test_few_steps_are_said():
    assert "That is little to learn from" in fit(TrainOptions(), 1, lambda o: pace()).words


def test_more_time_than_is_of_use_is_not_used():
    plan = fit(TrainOptions(), 600, lambda o: pace())
    assert plan.options.n_epochs == budget.MOST_EPOCHS and "It will need less time" in plan.words


@pytest.mark.parametrize("backbone", ["transformer", "biaxial", "tcn"])
def test_what_is_made_smaller_still_goes_together(backbone):
    head = {"head": "axis"} if backbone == "biaxial" else {}
    slow = TrainOptions(backbone=backbone, hidden_size=168, **head)
    plan = fit(slow, 5, lambda o: pace(step_seconds=o.hidden_size / 20))
    assert plan.options.hidden_size < 168  # TrainOptions refuses what cannot be


def test_nothing_is_planned_before_it_is_measured_and_no_budget_is_below_zero():
    assert fit(TrainOptions(), 5, lambda o: None) is None
    for minutes in (0, -1, float("nan")):
        with pytest.raises(OptionError, match="budget must be above 0 minutes"):
            fit(TrainOptions(), minutes, lambda o: pace())


# ---- the contract


def test_a_contract_is_read_as_it_was_written(tmp_path):
    assert read_contract(tmp_path) is None
    for contract in (Contract(), Contract(5.0, "w", pace(), 250.0, 260.0)):
        write_contract(tmp_path, contract)
        assert read_contract(tmp_path) == contract
    assert contract.verdict() == "Estimated 4 min 10 s, took 4 min 20 s."


def test_a_promised_run_trains_to_the_same_bits_as_any_other_and_says_how_long_it_took(tiny):
    plain, promised = new_run(tiny, "plain"), new_run(tiny, "promised")
    write_contract(promised.path, Contract())
    train_run(plain)
    began = time.monotonic()
    train_run(promised)
    took = time.monotonic() - began
    ends = [(run.checkpoint("last") / "model.safetensors").read_bytes() for run in (plain, promised)]
    assert ends[0] == ends[1]
    contract = read_contract(promised.path)
    assert contract.pace and contract.seconds > 0
    assert 0.5 * took < contract.spent <= took
    assert read_contract(plain.path) is None


def test_a_resumed_run_adds_to_what_it_took_and_is_not_measured_again(tiny, monkeypatch):
    run = new_run(tiny, "first")
    write_contract(run.path, Contract(pace=pace(), seconds=50.0, spent=100.0))
    monkeypatch.setattr("deepmusician.runner.promise", lambda *a: pytest.fail("it was promised before"))
    train_run(run)
    run.write_options(dataclasses.replace(tiny, n_epochs=3))
    train_run(run, resume=True)
    assert 100 < read_contract(run.path).spent < 150


def test_a_run_with_a_budget_chooses_before_its_first_step_and_keeps_to_it(tiny, monkeypatch):
    keep(tiny, pace(steps=400, step_seconds=0.0, judge_seconds=9.0))  # (60 · 0.93 - 10) / 9 = 5 epochs
    run = new_run(dataclasses.replace(tiny, n_epochs=2), "first")
    write_contract(run.path, Contract(minutes=1))
    assert train_run(run).state == "finished"
    assert run.options() == dataclasses.replace(tiny, n_epochs=5)
    assert len(run.metrics()) == 5 and run.status().n_epochs == 5
    assert read_contract(run.path).words == "1 minute holds 5 epochs, 2,000 steps."


def test_a_run_whose_budget_is_over_ends_after_its_epoch_and_goes_on_when_it_is_resumed(tiny, short, monkeypatch):
    monkeypatch.setattr("deepmusician.judging.judge_checkpoint", lambda *a: None)
    run = new_run(dataclasses.replace(tiny, n_epochs=3), "slow")
    write_contract(run.path, Contract(minutes=1, pace=dataclasses.replace(pace(), finish_seconds=60.0), seconds=50.0))
    status = train_run(run)
    assert (status.state, status.epoch, status.n_epochs) == ("finished", 1, 3)
    assert status.message.startswith("1 minute held 1 of 3 epochs: the best of its models is kept.")
    assert run.checkpoint("best") and len(run.metrics()) == 1
    assert train_run(run, resume=True).message == "Finished 3 epochs."  # who resumes it has asked for more
    assert not Contract(pace=pace(), spent=1e6).time_is_up(1.0)  # no budget
    assert Contract(minutes=1, pace=pace(), spent=10.0).time_is_up(60.0)


# ---- the command line


def words(options):
    return ["-p", options.path, *(w for k, v in TINY.items() for w in (f"--{k.replace('_', '-')}", str(v)))]


def test_the_command_line_estimates_and_fits(tiny, capsys):
    assert cli.main(["estimate", *words(tiny), "-e", "7"]) == 0
    assert "for 7 epochs on this machine" in capsys.readouterr().out
    keep(tiny, pace(steps=400, step_seconds=0.0, judge_seconds=9.0))
    assert cli.main(["estimate", *words(tiny), "--minutes", "1", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["n_epochs"], said["seconds"], said["hidden_size"]) == (5, 55.0, 24)


def test_the_command_line_trains_within_minutes_and_says_how_true_it_was(tiny, capsys):
    keep(tiny, pace(steps=400, step_seconds=0.0, judge_seconds=23.0))
    assert cli.main(["train", *words(tiny), "--minutes", "1", "--run", "quick"]) == 0
    assert "quick: Finished 1 epoch. Estimated 33 s, took" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--minutes", "5", "-e", "3"], "--minutes chooses the epochs, so -e cannot be given"),
        (["--minutes", "0"], "--minutes must be above 0, got 0"),
        (["--minutes", "5", "--run", "x", "--resume"], "a resumed run keeps its budget"),
    ],
)
def test_budgets_that_cannot_be_are_refused_in_words(tiny, capsys, more, sentence):
    assert cli.main(["train", *words(tiny), *more]) == 2
    assert sentence in capsys.readouterr().err
