"""What takes seconds once after installing is said while it lasts, on the command line and on the pages."""

import io
import sys
import threading

import pytest
from conftest import scale_song

from deepmusician import batches, preparing, progress
from deepmusician.ingest import State, ingest
from deepmusician.midi import write_midi
from ui import warm


class Terminal(io.StringIO):
    """A standard error that is a terminal."""

    def isatty(self):
        return True


def terminal(monkeypatch):
    """From here on; before a test begins, pytest would put its own in this place."""
    found = Terminal()
    monkeypatch.setattr(sys, "stderr", found)
    return found


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(preparing, "PATIENCE", 0.0)
    monkeypatch.setattr(preparing, "EVERY", 0.001)


def test_who_waits_hears_of_it_until_it_is_done(impatient):
    heard, go = [], threading.Event()

    def tell(seconds):
        heard.append(seconds)
        if len(heard) == 3:
            go.set()

    assert preparing.prepared(lambda: go.wait(30), tell) is True
    assert heard == sorted(heard) and len(heard) >= 3


def test_what_was_made_ready_before_is_not_spoken_of():
    assert preparing.prepared(lambda: 7, lambda seconds: pytest.fail("it was ready")) == 7


def test_what_goes_wrong_is_raised_where_one_waits():
    with pytest.raises(ZeroDivisionError):
        preparing.prepared(lambda: 1 / 0, lambda seconds: None)


def test_ingest_says_that_the_reader_is_made_ready_before_any_file_is_read(home, tmp_path, monkeypatch, impatient):
    for i in range(3):
        write_midi(scale_song(40 + i), tmp_path / f"{i}.mid")
    heard, go, real = [], threading.Event(), batches.compiled

    def slow():
        assert go.wait(30)
        return real()

    def watch(state):
        heard.append(state)
        if state.preparing:
            go.set()

    monkeypatch.setattr(batches, "compiled", slow)
    ingest([tmp_path], "all", watch=watch)
    assert heard[0].preparing > 0 and heard[0].total == 3 and heard[0].done == 0
    assert heard[-1] == State(done=3, total=3)


def test_the_bar_of_ingest_tells_of_the_reader_then_of_the_files(monkeypatch):
    screen = terminal(monkeypatch)
    with progress.IngestBar() as bar:
        bar(State(total=9, preparing=2.0))
        assert "preparing the reader, once after installing: 2 s" in screen.getvalue()
        bar(State(done=4, total=9))
        assert bar.note.line is None and bar.bar.n == 4


def test_the_command_line_tells_of_what_composes(impatient, monkeypatch):
    from deepmusician.models import streams

    real, told = progress.Note.__call__, threading.Event()

    def tell(note, seconds):
        real(note, seconds)
        told.set()

    monkeypatch.setattr(progress.Note, "__call__", tell)
    monkeypatch.setattr(streams, "loops", lambda: told.wait(30))
    screen = terminal(monkeypatch)
    progress.composer_ready()
    assert "preparing what composes, once after installing: 0 s" in screen.getvalue()


def test_a_page_says_what_keeps_a_piece_waiting_until_composing_is_loaded(monkeypatch):
    said = []
    monkeypatch.setattr(warm, "_READY", threading.Event())
    monkeypatch.setattr(warm, "NEEDED", ())
    monkeypatch.setattr(warm.gc, "freeze", lambda: None)
    monkeypatch.setattr(warm.st, "spinner", lambda text, **_: (said.append(text), warm.st.container())[1])
    for _ in range(2):
        with warm.composing("Bach is composing …"):
            pass
        warm.load(0)
    assert said == [warm.MEANWHILE, "Bach is composing …"]
