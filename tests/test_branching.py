"""Branching: a training that begins with another model's weights."""

import dataclasses

import pytest
import torch

from deepmusician import checkpoint, runs
from deepmusician.branching import SHAPING, check_start, lineage, shaped_like
from deepmusician.errors import CheckpointError, OptionError
from deepmusician.options import TrainOptions
from deepmusician.runner import train_run

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    """Calibration takes longer than training does here."""
    found = {"temperature": 0.9, "top_p": 0.9, "fullness": 1.1}
    monkeypatch.setattr("deepmusician.calibration.calibrate", lambda *a: found)


@pytest.fixture
def tiny(tiny):
    return dataclasses.replace(tiny, n_epochs=1)


@pytest.fixture
def parent(small_run):
    return runs.Run(small_run.rename(small_run.with_name("parent")))


def branch(options, name="child", **changes):
    run = runs.new_run(dataclasses.replace(options, start_from="parent", **changes), name)
    train_run(run)
    return run


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_a_branch_begins_with_the_weights_of_its_parent(parent, tiny):
    child = branch(tiny, gamma=1.0, dropout=0.4, learning_rate=1e-3)
    begun, card = checkpoint.load("child@0")
    theirs, _ = checkpoint.load(parent.model())
    assert same(begun, theirs)
    epoch = checkpoint.read_card(parent.model())["epoch"]
    assert (card["start"]["model"], card["start"]["epoch"]) == ("parent", epoch)
    assert child.metrics()[0]["valid"]["nll"] != parent.metrics()[0]["valid"]["nll"]
    assert not same(checkpoint.load(child.checkpoint("last"))[0], theirs)


def test_a_branch_keeps_what_it_began_with_whatever_becomes_of_its_parent(parent, tiny):
    child = branch(tiny, milestones="none")
    assert [p.name for p in (child.path / "milestones").iterdir()] == ["epoch-0000"]


def test_a_branch_may_begin_with_any_epoch_that_was_kept(parent, tiny):
    child = runs.new_run(dataclasses.replace(tiny, start_from="parent@1"), "child")
    train_run(child)
    assert same(checkpoint.load("child@0")[0], checkpoint.load("parent@1")[0])


def test_an_averaging_branch_begins_with_the_same_average(parent, tiny):
    branch(tiny, averaging=0.9)
    assert same(checkpoint.load("child@0")[0], checkpoint.load(parent.model())[0])


def test_another_shape_is_refused_in_one_sentence_before_a_run_is_made(parent, tiny):
    with pytest.raises(OptionError, match="parent was trained with hidden_size 24, got 32; set hidden_size to 24"):
        branch(tiny, hidden_size=32)
    assert [r.name for r in runs.list_runs()] == ["parent"]


@pytest.mark.parametrize("name", SHAPING)
def test_every_option_that_shapes_the_network_is_compared(parent, tiny, name):
    values = {
        "arrangement": "decoder", "backbone": "lstm", "attention": "dot", "head": "chord", "planes": "onset",
        "clock": True, "skip": True,
    }  # fmt: skip
    changes = {name: values.get(name, 48)}
    if isinstance(getattr(tiny, name), int) and name in ("num_layers", "decoder_n_layers", "members"):
        changes = {name: 2}
    if name == "planes":
        changes["skip"] = True
    if name in ("kernel_size", "attention_heads", "memory"):  # they say nothing about this one
        check_start(dataclasses.replace(tiny, start_from="parent", **{name: 8}))
        return
    with pytest.raises(OptionError, match="parent was trained with"):
        check_start(dataclasses.replace(tiny, start_from="parent", **changes))


def test_more_styles_than_the_model_learnt_are_refused(parent, tiny, midi_folder, tmp_path):
    import shutil

    other = shutil.copytree(midi_folder, tmp_path / "other")
    with pytest.raises(CheckpointError, match="was trained on 1 styles, and this music has 2"):
        branch(tiny, path=f"{midi_folder}|{other}")
    assert runs.open_run("child").status().state == "failed"


def test_a_model_that_is_not_there_is_refused(tiny):
    with pytest.raises(CheckpointError, match="no checkpoint or run called parent"):
        branch(tiny)


def test_a_bundled_model_can_be_gone_on_from(tiny):
    bundled = checkpoint.bundled()[0].name
    options = shaped_like(tiny, bundled)
    assert (options.hidden_size, options.start_from) == (512, bundled)
    check_start(options)


def test_the_lineage_names_the_nearest_first(parent, tiny):
    branch(tiny)
    grandchild = dataclasses.replace(tiny, start_from="child@1")
    assert lineage(grandchild) == ["child@1", "parent"]
    assert lineage(TrainOptions()) == []
