"""The loss lab: three runs that belong together, share a budget, go on after a stop, and are compared."""

import dataclasses

import pytest
from test_estimate import pace, words
from test_runs import wait_for

from deepmusician import cli, lab
from deepmusician.budget import Contract, read_contract, write_contract
from deepmusician.errors import RunError
from deepmusician.estimate import keep
from deepmusician.runner import train_run
from deepmusician.runs import open_run

pytestmark = pytest.mark.usefixtures("home", "short")


def test_a_lab_is_a_run_for_each_loss_alike_in_all_else(tiny):
    made = lab.new_lab(tiny, "mine")
    assert [(loss, run.name) for loss, run in made.runs().items()] == [
        ("bce", "mine-bce"), ("focal", "mine-focal"), ("focal+", "mine-focal-plus"),
    ]  # fmt: skip
    for loss, run in made.runs().items():
        assert run.options() == dataclasses.replace(tiny, loss=loss)
        assert lab.lab_of(run) == made
    assert lab.list_labs() == [made] and lab.open_lab("mine") == made


def test_labs_are_numbered_and_a_taken_name_is_refused_before_anything_is_made(tiny):
    assert [lab.new_lab(tiny).name for _ in range(2)] == ["lab-1", "lab-2"]
    with pytest.raises(RunError, match="there is lab-1-bce already; give the lab another name"):
        lab.new_lab(tiny, "lab-1")
    with pytest.raises(RunError, match="no loss lab called 'gone'; there are: lab-"):
        lab.open_lab("gone")


def test_the_budget_is_that_of_all_three(tiny):
    made = lab.new_lab(tiny, "mine", minutes=6)
    assert [read_contract(run.path).minutes for run in made.runs().values()] == [2, 2, 2]


def test_what_the_first_run_chose_holds_for_all(tiny):
    keep(tiny, pace(steps=400, step_seconds=0.0, judge_seconds=9.0))
    made = lab.new_lab(tiny, "mine", minutes=3)
    runs = made.runs()
    train_run(runs["focal"])
    keep(tiny, pace(steps=400, step_seconds=0.0, judge_seconds=1.0))  # another day, another pace
    train_run(runs["bce"])
    assert [runs[loss].options().n_epochs for loss in ("focal", "bce")] == [5, 5]
    assert runs["bce"].options().loss == "bce"
    assert read_contract(runs["bce"].path).pace == read_contract(runs["focal"].path).pace


def test_the_comparison_is_of_each_ones_best_epoch(tiny):
    made = lab.new_lab(tiny, "mine")
    run = made.runs()["bce"]
    report = {"train": {"nll": 1.0}, "composed": {"density": 2.0}}
    scores = {"f1": 0.5, "recall": 0.4, "rare_recall": 0.1, "data_density": 3.0}
    run.write_metrics(
        [{**report, "epoch": i, "valid": {"nll": nll, **scores}} for i, nll in ((1, 5.0), (2, 4.0), (3, 6.0))]
    )
    first, *others = lab.compare(made)
    assert {k: first[k] for k in ("loss", "epoch", "nll", "rare_recall", "composed")} == {
        "loss": "bce", "epoch": 2, "nll": 4.0, "rare_recall": 0.1, "composed": 2.0,
    }  # fmt: skip
    assert [set(row) for row in others] == [{"loss", "run", "state"}] * 2
    said = lab.table(lab.compare(made)).splitlines()
    assert "of rare notes" in said[0] and "4.00" in said[1] and "–" in said[2]


def test_a_lab_trains_in_processes_of_its_own_one_after_the_other_and_resumes(tiny):
    made = lab.new_lab(dataclasses.replace(tiny, n_epochs=1), "mine")
    done = made.runs()["bce"]
    train_run(done)
    before = done.status().time
    lab.start_lab(made)
    wait_for(lambda: all(run.status().state == "finished" for run in made.runs().values()))
    assert done.status().time == before  # what was finished is left alone
    rows = lab.compare(made)
    assert {row["loss"] for row in rows} == {"bce", "focal", "focal+"}
    assert all("rare_recall" in row and row["epoch"] == 1 for row in rows)


def test_the_command_line_trains_a_lab_and_prints_how_it_compares(tiny, capsys):
    assert cli.main(["lab", *words(tiny), "-e", "1", "--lab", "cli"]) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines()[-3:]] == ["bce", "focal", "focal+"]
    run = open_run("cli-focal")
    write_contract(run.path, Contract())
    assert cli.main(["lab", "--lab", "cli", "--compare"]) == 0
    assert capsys.readouterr().out.splitlines()[-3:] == out.splitlines()[-3:]
    assert cli.main(["lab", *words(tiny), "-c", "bce"]) == 2
    assert "trains under every loss" in capsys.readouterr().err
