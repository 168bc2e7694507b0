"""The page Runs, without a browser: empty, one run, many, broken ones; and hearing a run learn."""

import dataclasses
import subprocess
import sys

import pytest
from test_app import by_key, by_label, open_page, own_workspace, texts, warm_server, well  # noqa: F401

from deepmusician import runs
from deepmusician.capsule import export_run
from deepmusician.checkpoint import amend_card
from deepmusician.keeping import delete, list_deleted, rename
from deepmusician.milestones import choose
from deepmusician.runs import Run, Status, open_run
from ui import live
from ui.router import COMPOSE, RUNS, TRAIN


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    """Calibration takes longer than training does here."""
    found = {"temperature": 0.9, "top_p": 0.9, "fullness": 1.1}
    monkeypatch.setattr("deepmusician.calibration.calibrate", lambda *a: found)


@pytest.fixture
def run(small_run):
    return Run(small_run)


@pytest.fixture
def other(run):
    run = runs.new_run(dataclasses.replace(run.options(), gamma=1.0), "other")
    run.write_status(Status("stopped"))
    return run


@pytest.fixture
def heard(monkeypatch):
    """What the players on the page were given."""
    given = []
    for place in ("ui.hear.player", "ui.hear.players", "ui.run_view.players"):
        monkeypatch.setattr(place, lambda *a, **k: given.append(a))
    return given


def test_an_empty_studio_leads_to_training(home):
    app = open_page(RUNS)
    assert "There is no training yet" in texts(app.info)


def test_the_table_tells_of_each_run_and_filters(run, other):
    app = open_page(RUNS)
    table = app.dataframe[0].value
    assert set(table["name"]) == {"small", "other"}
    curve = table.set_index("name").loc["small", "curve"]
    assert list(curve) == [r["valid"]["nll"] for r in run.metrics()]
    well(by_key(app.text_input, "runs.filter").set_value("oth").run())
    assert list(app.dataframe[0].value["name"]) == ["other"]
    well(by_key(app.text_input, "runs.filter").set_value("nothing").run())
    assert "change the filter" in texts(app.info)


def test_one_run_in_the_address_is_shown_in_full(run, heard):
    app = open_page(RUNS, run="small")
    assert {m.label for m in app.metric} == {"Surprise", "F1", "Density"}
    assert by_label(app.select_slider, "Epoch").options == ["0", "1", "2", "3", "4", "5"]
    assert heard[-1][1].startswith("small-epoch-")


def test_a_former_name_in_the_address_leads_to_its_run(run, heard):
    rename(run, "better")
    app = open_page(RUNS, run="small")
    assert "#### better" in texts(app.markdown) and not app.warning


def test_a_former_name_leads_to_its_run_on_train_and_to_its_model_in_compose(run, heard):
    rename(run, "better")
    app = open_page(TRAIN, run="small")
    assert "#### better" in texts(app.markdown) and "called small" not in texts(app.warning)
    app = open_page(COMPOSE, model="run-small")
    assert by_label(app.selectbox, "Model").value == "run-better" and not app.warning


def test_the_buttons_of_a_live_run_are_drawn_anew_when_its_first_model_is_there(run, monkeypatch):
    monkeypatch.setattr(Run, "model", lambda self: None)
    before = live._doing(run)
    monkeypatch.undo()
    assert live._doing(run) != before


def test_a_run_that_is_gone_is_told_of(run):
    assert "There is no run called gone" in texts(open_page(RUNS, run="gone").warning)


def test_two_runs_in_the_address_are_compared_by_what_differs(run, other, heard):
    app = open_page(RUNS, run=["small", "other"])
    expected = {"Option": "γ, focus on what is hard", "small": "2.0", "other": "1.0"}
    assert app.dataframe[1].value.to_dict("records") == [expected]


def test_a_run_is_starred_annotated_and_renamed(run, heard):
    app = open_page(RUNS, run="small")
    well(by_key(app.button, "runs.small.star").click().run())
    well(by_key(app.text_area, "runs.note.small").set_value("a good bass").run())
    assert (run.about().starred, run.about().note) == (True, "a good bass")
    by_key(app.text_input, "runs.small.name").set_value("big")
    well(by_key(app.button, "runs.small.rename").click().run())
    assert open_run("big").about().note == "a good bass" and "#### big" in texts(app.markdown)


def test_a_name_that_cannot_be_is_a_sentence(run, heard):
    app = open_page(RUNS, run="small")
    by_key(app.text_input, "runs.small.name").set_value("../x")
    well(by_key(app.button, "runs.small.rename").click().run())
    assert "A run's name may hold" in texts(app.error)


def test_a_deleted_run_can_be_brought_back_at_once_or_from_the_bin(run, heard):
    app = open_page(RUNS, run="small")
    well(by_key(app.button, "runs.small.delete").click().run())
    assert [d.name for d in list_deleted()] == ["small"] and "small lies in the bin" in texts(app.markdown)
    well(by_label(app.button, "Undo").click().run())
    assert open_run("small") and list_deleted() == []
    delete(run)
    app = open_page(RUNS)
    well(by_label(app.button, "Restore").click().run())
    assert open_run("small")


def test_a_broken_run_is_told_of_and_can_be_deleted(run, heard):
    (runs.runs_dir() / "wreck").mkdir()
    (runs.runs_dir() / "wreck" / "config.toml").write_text("= =")
    app = open_page(RUNS)
    assert "The folder wreck" in texts(app.warning) and list(app.dataframe[0].value["name"]) == ["small"]
    well(by_key(app.button, "runs.broken.wreck").click().run())
    assert [d.name for d in list_deleted()] == ["wreck"] and not app.warning


def test_a_capsule_is_imported_and_a_wrong_file_is_a_sentence(run, heard):
    content = export_run(run)
    delete(run)
    app = open_page(RUNS)
    by_key(app.file_uploader, "runs.capsule.0").set_value(("x.zip", content[:-50], "application/zip"))
    well(app.run())
    well(by_key(app.button, "runs.import").click().run())
    assert "The capsule cannot be imported" in texts(app.error)
    by_key(app.file_uploader, "runs.capsule.0").set_value(("x.zip", content, "application/zip"))
    well(app.run())
    well(by_key(app.button, "runs.import").click().run())
    assert open_run("small").status().message.startswith("Imported") and "#### small" in texts(app.markdown)


def test_the_room_on_disk_is_told_and_cleared(run, heard):
    delete(run)
    app = open_page(RUNS)
    app.session_state["runs.room"] = True
    well(app.run())
    assert "Deleted runs and data sets" in list(app.dataframe[-1].value["What"])
    by_key(app.get("button_group"), "runs.clear").set_value(["bin"])
    well(app.run())
    well(by_key(app.button, "runs.clear.now").click().run())
    assert list_deleted() == []


@pytest.mark.parametrize("page", [RUNS, TRAIN])
def test_the_epoch_chosen_by_ear_becomes_the_runs_model(run, heard, page):
    place = {RUNS: "runs", TRAIN: "train"}[page] + ".hear.small"
    app = open_page(page, run="small")
    well(by_key(app.select_slider, place).set_value(1).run())
    assert heard[-1][1] == "small-epoch-1"
    well(by_key(app.toggle, f"{place}.beside").set_value(True).run())
    assert heard[-1][0][0][0] == "epoch 1"
    amend_card(run.path / "milestones" / "epoch-0001", fullness=1.1)
    well(by_key(app.button, f"{place}.choose").click().run())
    assert run.model().resolve().name == "epoch-0001"
    assert by_key(app.button, f"{place}.choose").label == "Let validation choose again"
    assert by_key(app.select_slider, place).value == 1 and "Epoch 1 (yours)." in texts(app.caption)
    well(by_key(app.button, f"{place}.choose").click().run())
    assert run.checkpoint("chosen") is None


def test_the_stops_of_the_timeline_are_called_alike_whatever_is_chosen(run, heard):
    """A browser sends back the name of a stop; one that is called otherwise by then would be lost."""
    before = by_label(open_page(RUNS, run="small").select_slider, "Epoch").options
    amend_card(run.path / "milestones" / "epoch-0001", fullness=1.1)
    choose(run, 1)
    assert by_label(open_page(RUNS, run="small").select_slider, "Epoch").options == before


@pytest.mark.parametrize(("code", "said"), [("", None), ("raise SystemExit('the disk is full')", "The disk is full.")])
def test_the_page_says_that_settings_are_being_found_and_how_that_went(run, heard, monkeypatch, code, said):
    process = subprocess.Popen([sys.executable, "-c", f"input()\n{code}"], stdin=-1, stderr=-1, text=True)
    monkeypatch.setattr("ui.hear.choose_apart", lambda run, epoch: process)
    app = open_page(RUNS, run="small")
    well(by_key(app.select_slider, "runs.hear.small").set_value(1).run())
    well(by_key(app.button, "runs.hear.small.choose").click().run())
    assert "Finding the settings by which epoch 1 composes best" in texts(app.caption)
    assert "runs.hear.small.choose" not in [b.key for b in app.button]
    process.stdin.write("\n")
    process.stdin.close()
    process.wait(20)
    app = app.run()
    assert texts(app.error) == (said or "") and "Finding the settings" not in texts(app.caption)


def test_a_branch_is_started_with_the_runs_weights_and_other_options(run, heard, monkeypatch):
    asked = []
    monkeypatch.setattr("ui.run_view.start_run", lambda options, name: asked.append((options, name)) or run)
    app = open_page(RUNS, run="small")
    by_key(app.slider, "branch.small.gamma").set_value(1.0)
    by_key(app.selectbox, "branch.small.epoch").set_value("2")
    by_key(app.text_input, "branch.small.name").set_value("child")
    well(by_key(app.button, "branch.small.start").click().run())
    ((options, name),) = asked
    assert (options.start_from, options.gamma, name) == ("small@2", 1.0, "child")
    assert dataclasses.replace(options, start_from=None, gamma=2.0) == run.options()
