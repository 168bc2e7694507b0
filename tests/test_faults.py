"""Faults: kills, full disks and damaged files lose nothing that was there before."""

import dataclasses
import errno
import json
import random

import pytest
import torch
from faulty import Killed, different, make_run
from full_disk import SIZES, files_up_to, full_at, things
from safetensors.torch import load

from deepmusician import atomic, audition, people, resuming
from deepmusician.atomic import AtomicFolder, is_held, no_room, put_back, replace_file
from deepmusician.errors import CheckpointError, DiskFullError
from deepmusician.resuming import saved
from deepmusician.runner import train_run
from deepmusician.runs import Run


def files(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_full_disk_leaves_the_file_as_it_was_and_says_how_much_to_free(tmp_path):
    file = tmp_path / "status.json"
    replace_file(file, "old")
    for nth in (1, 2):  # flushing it, renaming it
        with pytest.raises(DiskFullError, match=r"the disk is full: free 24 MB, then do it again"), full_at(nth):
            replace_file(file, "n" * 12_000_000)
        assert files(tmp_path) == {file.relative_to(tmp_path): b"old"}


@pytest.mark.parametrize("error", [OSError(errno.EDQUOT, "quota"), OSError("64 requested and 0 written"),
                                   RuntimeError("I/O error: No space left on device (os error 28)")])  # fmt: skip
def test_a_full_disk_is_known_by_whatever_words(error):
    wrapped = ValueError("it failed")
    wrapped.__cause__ = error
    assert "free 10 MB" in str(no_room(error)) and "free 10 MB" in str(no_room(wrapped))
    assert no_room(OSError(errno.EACCES, "denied")) is None


def test_where_the_disk_is_full_at_any_step_of_any_saving_nothing_is_lost(home, small_run, monkeypatch):
    monkeypatch.setattr(people, "_COST", {"n": 2, "r": 1, "p": 1})
    for name, thing in things(home, Run(small_run)).items():
        thing.save()
        steps = 0
        while thing.survives(full_at(steps + 1)):
            steps += 1
        assert steps >= 3, f"{name} is written in {steps} steps"
        refused = [thing.survives(files_up_to(size)) for size in SIZES]
        assert any(refused), name
    assert not [path for path in home.rglob("*") if path.name.startswith(".") and path.name.endswith(".tmp")]


def test_a_training_that_finds_the_disk_full_says_so_and_goes_on_later(small_run, short):
    run = Run(small_run)
    run.write_options(dataclasses.replace(run.options(), n_epochs=7))
    before = run.metrics()
    with full_at(40), pytest.raises(DiskFullError):
        train_run(run, resume=True)
    status = run.status()
    assert status.state == "interrupted" and run.metrics()[:5] == before  # not even its last word found room
    train_run(run, resume=True)
    assert run.status().state == "finished" and len(run.metrics()) == 7


@pytest.fixture
def unjudged(monkeypatch):
    """What follows the last epoch is left out: benchmarks/faults.py kills that, too."""
    monkeypatch.setattr(audition, "judge_best", lambda *_: None)


def outcome(run):
    """What a training leaves: every epoch's figures but its times, and the last weights."""
    curve = [{k: v for k, v in r.items() if k not in ("seconds", "frames_per_second")} for r in run.metrics()]
    return curve, load((run.checkpoint("last") / "model.safetensors").read_bytes())


def same(one, other):
    assert one[0] == other[0]
    assert one[1].keys() == other[1].keys()
    assert all(torch.equal(tensor, other[1][name]) for name, tensor in one[1].items())


@pytest.mark.parametrize("name", ["model.safetensors", "card.json"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(small_run, unjudged, name):
    run = Run(small_run)
    before = outcome(run)
    file = run.checkpoint("last") / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(bytes(content))
    train_run(run, resume=True)
    same(outcome(run), before)


def test_where_every_checkpoint_is_damaged_it_says_so(small_run):
    run = Run(small_run)
    for folder, _ in saved(run):
        (folder / "trainer.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"cannot be resumed: trainer.safetensors is not what was saved"):
        train_run(run, resume=True)
    assert run.status().state == "failed"


@pytest.mark.parametrize("renames", [1, 2])
def test_killed_between_its_renames_a_folder_has_its_old_or_its_new_form(tmp_path, monkeypatch, renames):
    folder, done = tmp_path / "songs", []
    with AtomicFolder(folder) as draft:
        (draft / "notes").write_text("old")
    rename = atomic.Path.rename

    class Killed(BaseException):
        pass

    def killed_after(path, target):
        rename(path, target)
        done.append(path)
        if len(done) == renames:
            raise Killed

    with monkeypatch.context() as m:
        m.setattr(atomic.Path, "rename", killed_after)
        with pytest.raises(Killed), AtomicFolder(folder) as draft:
            (draft / "notes").write_text("new")
    put_back(tmp_path)
    assert folder.exists() == (renames == 2)  # what was set aside a moment ago may be a living process's
    monkeypatch.setattr(atomic, "SETTLED", -1.0)
    put_back(tmp_path)
    assert (folder / "notes").read_text() == ["old", "new"][renames - 1]
    assert [p.name for p in tmp_path.iterdir()] == ["songs"]


def test_a_lock_is_held_as_long_as_its_holder_lives(tmp_path):
    lock = atomic.FileLock(tmp_path / "lock")
    assert not is_held(tmp_path / "lock")
    with lock:
        assert is_held(tmp_path / "lock")
    assert not is_held(tmp_path / "lock")


def test_the_log_of_epochs_is_cut_back_to_the_checkpoint(small_run):
    run = Run(small_run)
    before = outcome(run)
    run.write_metrics([*run.metrics(), {"epoch": 6, "train": {"loss": 0.0, "nll": 0.0}, "warnings": []}])
    with (run.path / "metrics.jsonl").open("a") as log:
        log.write(json.dumps({"epoch": 7})[:5])  # and a line cut short
    train_run(run, resume=True)
    same(outcome(run), before)


def test_killed_at_any_moment_it_ends_as_if_it_had_not_been(small_run, home, short, unjudged, monkeypatch):
    """The same training, killed again and again at random moments and writes, leaves the same to the bit."""
    options = dataclasses.replace(Run(small_run).options(), n_epochs=3)
    killed = Killed(random.Random(5))
    with killed.watched():
        whole, run = (make_run(home / "runs" / name, options) for name in ("whole", "killed"))
        killed.train(whole)
        moments = killed.moments()
        with monkeypatch.context() as m:  # first when an epoch is saved, before it is the best and a milestone
            m.setattr(resuming, "record", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                train_run(run)
        assert run.checkpoint("last") and not run.checkpoint("best") and not run.is_locked()
        for share in (0.1, 0.25, 0.4):
            assert killed.train(run, at=round(share * moments))
            assert not run.is_locked()
        killed.train(run, after=0.2)
        killed.train(run)
    assert different(run, whole) == []
