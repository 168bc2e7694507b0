"""Keeping runs: names, notes, the bin, differences, and what the workspace holds."""

import dataclasses
import json
import os
import subprocess
import sys

import pytest

from deepmusician import checkpoint, keeping, runs
from deepmusician.cli import main
from deepmusician.errors import OptionError, RunError
from deepmusician.housekeeping import clear, usage
from deepmusician.keeping import annotate, best_scores, delete, differences, list_deleted, rename, restore, star
from deepmusician.milestones import choose, timeline
from deepmusician.runs import Run, Status, open_run

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def run(small_run):
    """A finished run whose name was given by a person."""
    return Run(small_run)


@pytest.fixture
def hasty(monkeypatch):
    """Calibration takes longer than training does here."""
    found = {"temperature": 0.9, "top_p": 0.9, "fullness": 1.1}
    monkeypatch.setattr("deepmusician.calibration.calibrate", lambda *a: found)


def names():
    return sorted(r.name for r in runs.list_runs())


# ---- names


def test_a_renamed_run_is_found_by_its_old_name_everywhere(run):
    best = checkpoint.find("small").resolve()
    again = rename(run, "better")
    assert names() == ["better"] and again.about().named
    assert open_run("small").name == open_run("better").name == "better"
    assert checkpoint.find("small").resolve() == again.path / "checkpoints" / best.name
    assert checkpoint.find("small@2").parts[-3] == "better"


def test_a_run_renamed_twice_and_back_is_found_by_all_its_names(run):
    rename(rename(rename(run, "a"), "b"), "a")
    assert {open_run(n).name for n in ("small", "a", "b")} == {"a"}


def test_a_name_taken_anew_leads_to_the_new_run(run, tiny):
    rename(run, "better")
    runs.new_run(tiny, "small")
    assert open_run("small").name == "small"


def test_whoever_began_with_a_renamed_run_follows_it(run, tiny):
    child = runs.new_run(dataclasses.replace(tiny, start_from="small@2"), "child")
    gone = runs.new_run(dataclasses.replace(tiny, start_from="small"), "gone")
    gone.write_status(Status("stopped"))
    delete(gone)
    rename(run, "better")
    assert child.options().start_from == "better@2"
    assert restore("gone").options().start_from == "better"


@pytest.mark.parametrize("name", ["../x", "", ".x", "a/b", "a@1", "x" * 99])
def test_a_new_name_is_a_name(run, name):
    with pytest.raises(RunError, match="a run's name may hold"):
        rename(run, name)


def test_a_name_that_is_taken_is_refused(run, tiny):
    runs.new_run(tiny, "other")
    with pytest.raises(RunError, match="a run called 'other' exists"):
        rename(run, "other")


def test_a_run_at_work_is_neither_renamed_nor_deleted(run):
    code = (
        "import sys, time; from filelock import FileLock; lock = FileLock(sys.argv[1]);"
        "lock.acquire(); print(1, flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(run.path / "lock")], stdout=subprocess.PIPE)
    try:
        holder.stdout.readline()
        for what, act in (("renamed", lambda: rename(run, "b")), ("deleted", lambda: delete(run))):
            with pytest.raises(RunError, match=f"small is training, so it cannot be {what}; stop it first"):
                act()
    finally:
        holder.kill()
        holder.wait()
    assert rename(run, "b").name == "b"  # its process is dead: the lock says so


def test_a_run_about_to_start_is_not_deleted(run):
    run.write_status(Status("starting"))
    with pytest.raises(RunError, match="is training"):
        delete(run)


# ---- notes and stars


def test_notes_and_stars_are_kept_apart(run):
    annotate(run, "  nice bass\nin bar 3 ")
    star(run)
    assert run.about() == runs.About("nice bass\nin bar 3", True, run.about().named)
    star(run, False)
    annotate(run, "")
    assert (run.about().note, run.about().starred) == ("", False)
    with pytest.raises(RunError, match="a note has at most 10,000 characters, got 10,001"):
        annotate(run, "x" * 10_001)


# ---- the bin


def everything(run):
    return sorted((p.relative_to(run.path), p.stat().st_size) for p in run.path.rglob("*") if p.name != "lock")


def test_a_deleted_run_comes_back_as_it_was(run):
    before = everything(run)
    delete(run)
    assert names() == [] and [d.name for d in list_deleted()] == ["small"]
    assert everything(restore("small")) == before
    assert list_deleted() == []


def test_the_one_deleted_last_comes_back_first_and_takes_a_free_name(run, tiny, monkeypatch):
    delete(run)
    second = runs.new_run(tiny, "small")
    second.write_status(Status("stopped"))
    delete(second)
    runs.new_run(tiny, "small")
    assert len(list_deleted()) == 2
    assert restore("small").name == "small-1" and restore("small").name == "small-2"
    with pytest.raises(RunError, match="no run called 'small' in the bin; there is: nothing"):
        restore("small")


def test_a_broken_run_is_named_and_can_be_deleted(run):
    (run.path / "config.toml").write_text("epochs = [")
    (runs.runs_dir() / "empty").mkdir()
    assert [r.name for r in runs.broken_runs()] == ["empty", "small"]
    for broken in runs.broken_runs():
        delete(broken)
    assert runs.broken_runs() == []


@pytest.mark.parametrize("text", ["{", "[]", '"x"', '{"state": "finished", "new": 1}', ""])
def test_a_damaged_status_breaks_nothing(run, text):
    (run.path / "status.json").write_text(text)
    assert run.status().state in ("finished", "starting", "interrupted")
    (run.path / "about.json").write_text(text)
    assert run.about().note == ""


# ---- differences


def test_what_differs_is_told_and_what_is_equal_is_not(run, tiny):
    other = runs.new_run(dataclasses.replace(run.options(), gamma=1.0, loss="focal+"), "other")
    assert differences([run, other]) == {"loss": ["focal", "focal+"], "gamma": [2.0, 1.0]}
    assert differences([run]) == {}


def test_the_scores_are_those_of_the_model_that_composes(run, hasty):
    best = min(run.metrics(), key=lambda r: r["valid"]["nll"])
    assert best_scores(run)["nll"] == best["valid"]["nll"]
    choose(run, 1)
    assert best_scores(run)["nll"] == run.metrics()[0]["valid"]["nll"]


# ---- housekeeping


def share(name):
    return next(s for s in usage() if s.name == name)


def test_what_is_shared_counts_once(run):
    folder = choose_without_calibrating(run, 5)
    before = share("runs").bytes
    os.link(folder / "model.safetensors", folder / "twin")
    assert share("runs").bytes == before


def choose_without_calibrating(run, epoch):
    from deepmusician.milestones import keep

    return keep(run, run.checkpoint("last"), epoch)


def test_a_clear_out_touches_nothing_named_starred_annotated_begun_with_or_at_work(run, tiny, hasty):
    import shutil

    def copy(name):
        return Run(shutil.copytree(run.path, runs.runs_dir() / name, symlinks=True))

    plain, starred, noted, parent, live = (copy(f"tunes-{i}") for i in range(1, 6))
    for r in (run, plain, starred, noted, parent, live):
        r.write_about(runs.About(named=r is run))
    star(starred)
    annotate(noted, "listen to this")
    live.write_status(Status("starting"))
    child = runs.new_run(dataclasses.replace(run.options(), start_from="tunes-4"), "child")
    choose(plain, 2)
    milestones = {r.name: len(list((r.path / "milestones").iterdir())) for r in runs.list_runs() if r != child}
    assert clear(["milestones"]) > 0
    after = {r.name: len(list((r.path / "milestones").iterdir())) for r in runs.list_runs() if r != child}
    assert {n for n in after if after[n] < milestones[n]} == {"tunes-1", "tunes-4"}
    assert sorted(p.name for p in (plain.path / "milestones").iterdir()) == ["epoch-0000", "epoch-0002"]
    live.write_status(Status("starting"))
    clear(["unnamed"])
    assert names() == ["child", "small", "tunes-2", "tunes-3", "tunes-4", "tunes-5"]
    assert [d.name for d in list_deleted()] == ["tunes-1"]
    assert checkpoint.load("tunes-4")
    assert share("bin").clearable > 0 and clear(["bin"]) > 0
    assert list_deleted() == [] and share("bin").bytes == 0


def test_what_a_kill_left_is_cleared_once_nobody_can_be_writing_it(run):
    old, new = (runs.runs_dir() / f".{n}.123.tmp" for n in ("old", "new"))
    for draft in (old, new):
        draft.mkdir()
    os.utime(old, (1, 1))
    clear(["leftovers"])
    assert not old.exists() and new.exists() and run.path.exists()


def test_what_a_kill_left_is_cleared_wherever_it_lies_but_not_in_a_run_at_work(run, home):
    locked = runs.new_run(run.options(), "locked")
    places = [home, home / "library" / "tunes", home / "history" / "0123", home / "listening"]
    within = ("milestones", "checkpoints", "samples", "checkpoints/epoch-0001")
    drafts = [place / f".x{i}.123.tmp" for i, place in enumerate([*places, *(run.path / part for part in within)])]
    kept = [locked.path / "milestones" / ".x.123.tmp", home / "runs" / ".small.old.tmp", home / "library" / "a.1.tmp"]
    for draft in (*drafts, *kept):
        draft.parent.mkdir(parents=True, exist_ok=True)
        (draft.mkdir if draft.parent == home else draft.touch)()
        os.utime(draft, (1, 1))
    models = [moment.model for moment in timeline(run)]
    with locked.lock():
        clear(["leftovers"])
        assert not any(draft.exists() for draft in drafts) and all(draft.exists() for draft in kept)
    clear(["leftovers"])
    assert [draft.exists() for draft in kept] == [False, True, True]
    assert [moment.model for moment in timeline(run)] == models


def test_the_cache_is_not_cleared_while_a_training_may_read_it(run, home):
    (home / "cache").mkdir(exist_ok=True)
    (home / "cache" / "x").write_text("x" * 100)
    run.write_status(Status("starting"))
    with pytest.raises(RunError, match="may be reading"):
        clear(["cache"])
    run.write_status(Status("finished"))
    assert clear(["cache"]) >= 100 and not list((home / "cache").iterdir())


def test_only_what_can_be_cleared_is(run):
    with pytest.raises(OptionError, match="what can be cleared out is bin, cache, milestones, leftovers, unnamed"):
        clear(["runs"])


# ---- the command line


def said(capsys, *argv):
    assert main([str(a) for a in argv]) == 0
    return capsys.readouterr().out


def test_the_verbs_of_runs(run, tiny, capsys, tmp_path, hasty):
    runs.new_run(dataclasses.replace(run.options(), gamma=1.0), "other")
    assert "small" in said(capsys, "runs") and "small" in said(capsys, "runs", "list")
    assert said(capsys, "runs", "note", "small", "my best") and said(capsys, "runs", "star", "small")
    assert "*small" in said(capsys, "runs") and "(my best)" in said(capsys, "runs")
    table = said(capsys, "runs", "compare", "small", "other").splitlines()
    assert table[1].split() == ["gamma", "2.0", "1.0"] and table[2].split()[0] == "epoch"
    said(capsys, "runs", "choose", "small", "2")
    shown = said(capsys, "runs", "show", "small")
    assert "chosen      2" in shown and "note        my best" in shown and "deepmusician train -p" in shown
    said(capsys, "runs", "choose", "small", "best")
    assert run.checkpoint("chosen") is None
    said(capsys, "runs", "rename", "small", "big")
    capsule = tmp_path / "big.capsule.zip"
    said(capsys, "runs", "export", "small", "-o", capsule)
    assert "restore 'big'" in said(capsys, "runs", "delete", "big")
    assert "is back" in said(capsys, "runs", "restore", "big")
    assert "copy: Imported" in said(capsys, "runs", "import", capsule, "--as", "copy")
    assert names() == ["big", "copy", "other"]
    said(capsys, "runs", "star", "big", "--off")
    assert not open_run("big").about().starred
    assert "Runs" in said(capsys, "workspace") and "freed" in said(capsys, "workspace", "--clear", "bin", "leftovers")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["compare", "small"], "comparing takes two runs or more"),
        (["compare", "small", "small"], "comparing takes two runs or more"),
        (["choose", "small", "x"], "an epoch must be a whole number or best"),
        (["export", "small", "-o", "no/where.zip"], "the folder no does not exist"),
        (["import", "no.zip"], "there is no file no.zip"),
        (["delete", "nowhere"], "there is no run called 'nowhere'"),
        (["restore", "nowhere"], "in the bin"),
    ],
)
def test_what_cannot_be_done_is_one_line(run, capsys, argv, message):
    assert main(["runs", *argv]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_names_are_remembered_as_json_that_may_be_damaged(run):
    rename(run, "b")
    assert json.loads((runs.runs_dir() / ".renamed.json").read_text()) == {"small": "b"}
    (runs.runs_dir() / ".renamed.json").write_text("{")
    assert names() == ["b"] and keeping.renamed() == {}
