"""Runs: a process of its own, an honest status, stop, kill and resume."""

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from deepmusician import runs
from deepmusician.checkpoint import read_card
from deepmusician.cli import main
from deepmusician.decisions import Choice
from deepmusician.errors import LibraryError, RunError
from deepmusician.evaluation import evaluate
from deepmusician.formats import read_song
from deepmusician.library import read_source
from deepmusician.runner import train_run
from deepmusician.runs import Status
from deepmusician.shelf import decide, load_decisions, save_data_set, save_decisions
from deepmusician.slots import training_slot

pytestmark = pytest.mark.usefixtures("home")


def wait_for(condition, seconds=60.0):
    """Poll until `condition()` is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def test_a_run_leaves_everything_needed_to_repeat_it(tiny):
    run = runs.new_run(tiny, "first")
    status = train_run(run)
    assert status.state == run.status().state == "finished"
    assert run.options() == tiny
    assert [r["epoch"] for r in run.metrics()] == [1, 2]
    assert set(run.baselines()) == {"silence", "repeat_last", "key_frequencies", "markov"}
    assert [p.name for p in run.samples()] == ["epoch-0000.mid", "epoch-0001.mid", "epoch-0002.mid"]
    assert run.checkpoint("best") and run.checkpoint("last")
    assert not (run.path / "checkpoints" / "last").resolve().name.startswith(".")


def test_a_finished_run_knows_how_to_compose(tiny):
    run = runs.new_run(tiny, "first")
    train_run(run)
    card = read_card(run.checkpoint("best"))
    assert 0.7 <= card["fullness"] <= 1.6 and 0.5 <= card["temperature"] <= 1 and 0.7 <= card["top_p"] <= 1
    assert not list(run.checkpoint("best").glob(".*"))


def test_samples_are_midi_that_can_be_read(tiny):
    run = runs.new_run(dataclasses.replace(tiny, n_epochs=1, loss="bce"), "first")
    train_run(run)
    assert len(read_song(run.samples()[0])) > 0


def test_a_model_worse_than_copying_is_told_so(tiny):
    run = runs.new_run(tiny, "first")
    train_run(run)
    copied, model = run.baselines()["repeat_last"]["nll"], run.metrics()[-1]["valid"]["nll"]
    assert model > copied
    assert any(f"({copied:.2f} nats a frame against {model:.2f})" in w for w in run.warnings())


def test_only_useful_checkpoints_are_kept(tiny):
    run = runs.new_run(dataclasses.replace(tiny, n_epochs=6), "first")
    (run.path / "checkpoints" / ".epoch-0001.99.tmp").mkdir(parents=True)  # as a kill while saving leaves it
    train_run(run)
    names = [p.name for p in (run.path / "checkpoints").iterdir() if not p.is_symlink()]
    assert 1 <= len(names) <= 3 and all(name.startswith("epoch-") for name in names)


def test_names_are_made_and_never_clash(tiny):
    made = [runs.new_run(tiny).name for _ in range(3)]
    assert made == ["my-midi-1", "my-midi-2", "my-midi-3"]
    with pytest.raises(RunError, match="a run called 'my-midi-1' exists"):
        runs.new_run(tiny, "my-midi-1")


@pytest.mark.parametrize("name", ["../evil", "a/b", "", ".hidden", "x" * 200])
def test_a_name_never_leaves_the_folder(tiny, name):
    with pytest.raises(RunError):
        runs.new_run(tiny, name) if name else runs.open_run(name)
    with pytest.raises(RunError, match="there is no run called"):
        runs.open_run(name)


def test_more_epochs_continue_where_it_ended(tiny):
    run = runs.new_run(tiny, "first")
    train_run(run)
    run.write_options(dataclasses.replace(tiny, n_epochs=3))
    train_run(run, resume=True)
    assert [r["epoch"] for r in run.metrics()] == [1, 2, 3]


def test_a_stop_request_saves_and_a_resume_ends_as_if_never_stopped(tiny):
    options = dataclasses.replace(tiny, n_epochs=4)
    whole = runs.new_run(options, "whole")
    train_run(whole)
    parts = runs.new_run(options, "parts")

    def stop_in_epoch_3(status):
        if status.state == "training" and status.epoch == 2:
            parts.stop()

    assert train_run(parts, stop_in_epoch_3).state == "stopped"
    assert "resume goes on" in parts.status().message
    (parts.path / "stop").unlink()
    train_run(parts, resume=True)
    assert [r["valid"] for r in parts.metrics()] == [r["valid"] for r in whole.metrics()]
    ends = [(r.checkpoint("last") / "model.safetensors").read_bytes() for r in (whole, parts)]
    assert ends[0] == ends[1]


def test_a_stop_asked_for_while_its_process_begins_is_heard_and_an_older_one_is_not(small_run, monkeypatch):
    run = runs.Run(small_run)
    run.stop()
    again = ["train", "--run", "small", "--resume", "-e", "6"]
    assert main([*again, "--started"]) == 0  # as the studio does, which has taken back an older request by then
    assert run.status().state == "stopped" and run.status().epoch == 5
    assert run.status().message == "Stopped after epoch 5; resume goes on from here."
    monkeypatch.setattr("deepmusician.runner.train_run", lambda *a: Status("training"))
    assert main(again) == 0 and not run.stop_asked()


def test_music_that_has_changed_is_not_resumed(tiny, midi_folder):
    run = runs.new_run(tiny, "first")
    train_run(run)
    run.write_options(dataclasses.replace(tiny, n_epochs=3))
    (midi_folder / "tune-0.mid").unlink()
    with pytest.raises(RunError, match="has changed since run first began"):
        train_run(run, resume=True)
    assert run.status().state == "failed"


def test_a_failure_is_left_in_the_status_in_words(tiny):
    run = runs.new_run(dataclasses.replace(tiny, path="no-such-folder"), "first")
    with pytest.raises(LibraryError):
        train_run(run)
    assert run.status().state == "failed" and "no-such-folder" in run.status().message


def test_a_run_of_its_own_process_trains_to_the_end(tiny):
    run = runs.start_run(tiny, "first")
    assert run.status().live
    wait_for(lambda: not run.status().live)
    assert run.status().state == "finished", run.log()
    with pytest.raises(RunError, match="there is no run called"):
        runs.open_run("second")


def test_a_killed_run_reads_interrupted_and_resumes(tiny):
    run = runs.new_run(dataclasses.replace(tiny, n_epochs=500), "first")
    process = subprocess.Popen([sys.executable, "-m", "deepmusician", "train", "--run", "first", "--resume"])
    wait_for(lambda: run.status().epoch >= 2)
    with pytest.raises(RunError, match="already training"):
        run.resume()
    process.kill()
    process.wait()
    assert run.status().state == "interrupted"
    done = len(run.metrics())
    run.write_options(dataclasses.replace(tiny, n_epochs=done + 1))
    assert train_run(run, resume=True).state == "finished"
    assert [r["epoch"] for r in run.metrics()] == list(range(1, done + 2))


def test_ctrl_c_saves_and_says_so(tiny):
    run = runs.new_run(dataclasses.replace(tiny, n_epochs=500), "first")
    process = subprocess.Popen(
        [sys.executable, "-m", "deepmusician", "train", "--run", "first", "--resume"], stdout=subprocess.PIPE, text=True
    )
    wait_for(lambda: run.status().epoch >= 1)
    os.kill(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "first: Stopped in epoch" in out
    assert run.status().state == "stopped" and run.checkpoint("last")


def test_one_trains_and_the_other_waits_and_says_behind_what(tiny):
    first = runs.start_run(dataclasses.replace(tiny, n_epochs=500), "first")
    wait_for(lambda: first.status().state == "training")
    second = runs.start_run(tiny, "second")
    wait_for(lambda: second.status().state == "queued")
    assert second.status().message == "Waiting until first has finished."
    first.stop()
    wait_for(lambda: second.status().state == "finished")
    assert first.status().state == "stopped"


def test_those_that_wait_train_in_the_order_in_which_they_were_started(tiny, monkeypatch):
    monkeypatch.setattr("deepmusician.slots.time.sleep", lambda seconds, sleep=time.sleep: sleep(0.02))
    waiting, trained = [runs.new_run(tiny, name) for name in ("c", "a", "b")], []
    for run in waiting:
        run.queue_up()
    killed = runs.new_run(tiny, "killed")  # before all others, but its process is gone
    (killed.path / "place").write_text("1")
    killed.write_status(Status("training", 1, 2))

    def train(run):
        with run.lock().acquire(timeout=0), training_slot(run, lambda: False):
            trained.append(run.name)
        run.write_status(Status("finished"))

    threads = [threading.Thread(target=train, args=(run,)) for run in reversed(waiting)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert trained == ["c", "a", "b"] and [run.place() for run in waiting] == [None] * 3


def test_one_that_comes_later_waits_though_nobody_trains(tiny, monkeypatch):
    monkeypatch.setattr("deepmusician.slots.time.sleep", lambda seconds: None)
    first, second = runs.new_run(tiny, "z"), runs.new_run(tiny, "y")
    first.queue_up()
    asked = iter([False, True])
    with first.lock().acquire(timeout=0), second.lock().acquire(timeout=0), training_slot(second, lambda: next(asked)):
        assert second.status().message == "Waiting until z has finished."


def test_a_torn_last_line_of_the_metrics_is_left_out(tiny):
    run = runs.new_run(tiny, "first")
    train_run(run)
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3, "val')
    assert len(run.metrics()) == 2


def test_the_status_of_a_run_that_never_began_is_interrupted_in_time(tiny, monkeypatch):
    run = runs.new_run(tiny, "first")
    run.write_status(Status("starting"))
    assert run.status().state == "starting"
    monkeypatch.setattr(runs, "GRACE", 0.0)
    assert run.status().state == "interrupted"


def test_the_newest_run_comes_first(tiny):
    for i, name in enumerate(["a", "b", "c"]):
        run = runs.new_run(tiny, name)
        os.utime(run.path / "config.toml", (1000 + i, 1000 + i))
    assert [r.name for r in runs.list_runs()] == ["c", "b", "a"]


def pinned_run(tiny, epochs=1):
    """A run on a data set of four tunes, of which the second is pinned as held out."""
    save_data_set(read_source(tiny.path), "mine")
    decide("mine", "held out", {"tune-1.mid": Choice(side="held out")})
    run = runs.new_run(dataclasses.replace(tiny, path="library:mine", n_epochs=epochs), "pinned")
    train_run(run)
    return run


def held_out(run):
    return read_card(run.checkpoint("last"))["data"]["held_out"]


def test_a_pinned_song_is_held_out_and_a_run_keeps_the_split_it_began_with(tiny):
    run = pinned_run(tiny)
    assert held_out(run) == ["tune-1.mid"]
    fingerprint = read_card(run.checkpoint("last"))["data"]["fingerprint"]
    decide("mine", "changed", {"tune-1.mid": Choice(side="training"), "tune-2.mid": Choice(side="held out")})
    run.write_options(dataclasses.replace(run.options(), n_epochs=2))
    assert train_run(run, resume=True).state == "finished"
    assert held_out(run) == ["tune-1.mid"]
    assert read_card(run.checkpoint("last"))["data"]["fingerprint"] == fingerprint
    assert evaluate("pinned")["songs"] == 1


def test_a_run_whose_music_was_changed_in_the_library_says_so_and_goes_on_when_that_is_undone(tiny):
    run = pinned_run(tiny)
    decide("mine", "left out", {"tune-0.mid": Choice(out=True)})
    run.write_options(dataclasses.replace(run.options(), n_epochs=2))
    with pytest.raises(RunError, match="by what was decided of them in the Library; undo that, or start a new run"):
        train_run(run, resume=True)
    save_decisions("mine", load_decisions("mine").undo())
    assert train_run(run, resume=True).epoch == 2
