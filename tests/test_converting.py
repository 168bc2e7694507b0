"""The first look at a corpus: what the page tells while it is converted, and that a page that is left loses nothing."""

import threading
import time

import pytest
from conftest import scale_song
from streamlit.testing.v1 import AppTest
from test_app import LIBRARY, open_page, own_workspace, texts, warm_server, well  # noqa: F401

from deepmusician.errors import LibraryError
from deepmusician.store import Entry
from ui import converting

PIECES = (Entry.of("a", scale_song(48)), Entry.of("b", scale_song(53)))


@pytest.fixture
def slow(monkeypatch):
    """A corpus whose conversion waits until `go` is set; `begun` counts how often it was begun."""
    go, begun = threading.Event(), []

    def load(name, progress=None):
        begun.append(name)
        progress(1, 2)
        assert go.wait(30)
        return PIECES

    monkeypatch.setattr("deepmusician.library.load_corpus_entries", load)
    yield go, begun
    go.set()


def test_a_conversion_goes_on_where_its_page_is_left_and_serves_the_next_one(slow):
    go, begun = slow
    app = AppTest.from_function(look, default_timeout=2)
    with pytest.raises(RuntimeError, match="timed out"):
        app.run()  # the page is left
    go.set()
    app = well(AppTest.from_function(look, default_timeout=30).run())
    assert begun == ["airds"] and app.text[0].value == "a, b"


def look():
    import streamlit as st

    from ui import converting

    st.text(", ".join(converting.read("airds").names))


def test_the_page_tells_what_happens_how_far_it_is_and_that_it_is_once(slow, monkeypatch):
    go, _ = slow
    conversion = converting.Conversion("airds")
    while not conversion.done:
        time.sleep(0.01)
    assert converting.how_far(conversion) == "1 of 2 pieces"
    conversion.done, conversion.total, conversion.first = 40, 100, time.monotonic() - 20
    assert converting.how_far(conversion) == "40 of 100 pieces, about 30 s left"
    assert converting.said("airds").endswith("getting the notes out of its scores")
    go.set()
    assert conversion.answer.result(30).names == ("a", "b")


def test_a_conversion_that_fails_is_a_sentence_and_begins_anew_the_next_time(monkeypatch):
    answers = iter([LibraryError("converting airds failed: no music21"), PIECES])

    def load(name, progress=None):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr("deepmusician.library.load_corpus_entries", load)
    assert "Converting airds failed: no music21." in texts(open_page(LIBRARY, data="airds").error)
    app = open_page(LIBRARY, data="airds")
    assert not app.error and "**2 of 2 files are learnt from**" in texts(app.markdown)
