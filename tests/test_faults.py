"""Faults: kills, full disks and damaged files lose nothing that was there before."""

import contextlib
import errno
import json
import os
import random
import shutil
import signal
import time

import pytest
import torch
from safetensors.torch import load

from deepmusician import atomic
from deepmusician.atomic import AtomicFolder, is_held, put_back, replace_file
from deepmusician.errors import CheckpointError
from deepmusician.runner import saved, train_run
from deepmusician.runs import Run


def files(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def full_at(monkeypatch, call, nth):
    """Let the nth call of an os function find the disk full."""
    real, calls = getattr(os, call), []

    def failing(*args, **named):
        calls.append(args)
        if len(calls) == nth:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*args, **named)

    monkeypatch.setattr(os, call, failing)
    return calls


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_file_as_it_was(tmp_path, monkeypatch, call):
    file = tmp_path / "status.json"
    replace_file(file, "old")
    full_at(monkeypatch, call, 1)
    with pytest.raises(OSError, match="No space"):
        replace_file(file, "new")
    assert files(tmp_path) == {file.relative_to(tmp_path): b"old"}


@pytest.mark.parametrize("nth", range(1, 8))
def test_a_full_disk_leaves_the_folder_as_it_was_at_every_step(tmp_path, monkeypatch, nth):
    def write(text):
        with AtomicFolder(tmp_path / "epoch-0001") as draft:
            (draft / "model").write_text(text)
            (draft / "card").write_text(text)

    write("old")
    calls = full_at(monkeypatch, "fsync", nth)
    with contextlib.suppress(OSError):
        write("new")
    done = nth > 3  # two files and their folder are flushed before it takes its place
    monkeypatch.undo()
    assert len(calls) == min(nth, 4) or nth > 4
    assert set(files(tmp_path).values()) == {b"new" if done else b"old"}
    assert [p.name for p in tmp_path.iterdir()] == ["epoch-0001"]


def outcome(run):
    """What a training leaves: every epoch's figures but its times, and the last weights."""
    curve = [{k: v for k, v in r.items() if k not in ("seconds", "frames_per_second")} for r in run.metrics()]
    return curve, load((run.checkpoint("last") / "model.safetensors").read_bytes())


def same(one, other):
    assert one[0] == other[0]
    assert one[1].keys() == other[1].keys()
    assert all(torch.equal(tensor, other[1][name]) for name, tensor in one[1].items())


@pytest.mark.parametrize("name", ["model.safetensors", "card.json"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(small_run, name):
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


def test_killed_at_any_moment_it_ends_as_if_it_had_not_been(small_run, home):
    """The same training, killed again and again at random moments, has the same curve and weights to the bit."""
    options = Run(small_run).options()
    run = Run(home / "runs" / "killed")
    run.path.mkdir()
    run.write_options(options)
    rng = random.Random(5)
    for _ in range(3):
        child = os.fork()
        if child == 0:
            try:
                train_run(run, resume=True)
            finally:
                os._exit(0)
        time.sleep(rng.uniform(0.05, 1.2))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert not run.is_locked()
    train_run(run, resume=True)
    same(outcome(run), outcome(Run(small_run)))
    assert not list(run.path.rglob(".epoch-*.tmp"))
    shutil.rmtree(run.path)
