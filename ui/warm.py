"""What the first composed piece would wait for, torch above all, loaded beside the pages once one has been served.

Streamlit looks through all objects of the process for garbage after every run of a page (`runner.postScriptGC`). With
torch and its like loaded that is a tenth of a second and more in which no other session is served, and most of what a
page costs. What is loaded stays until the server ends, so it is taken out of that search once.
"""

from __future__ import annotations

import gc
import importlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st
from streamlit import runtime

AFTER_SECONDS = 2.0  # by then the first page and what it asks for are there; imports would only hold them up
NEEDED = (
    "deepmusician.generation", "deepmusician.checkpoint", "deepmusician.render", "deepmusician.rewrite",
    "matplotlib.figure", "matplotlib.backends.backend_agg", "pandas", "altair", "deepmusician.listening_store",
)  # fmt: skip
COMPILED = "deepmusician.models.streams"  # brings numba and the loops that compose, where it is installed
MEANWHILE = "Getting ready to compose; once after installing that takes some seconds …"
_READY = threading.Event()  # to compose


def warm_up() -> None:
    """Begin once for each server, after the first page. Where no server runs, as in tests, nothing is loaded."""
    if runtime.exists() and type(runtime.get_instance()) is runtime.Runtime:
        _begin()


@st.cache_resource(show_spinner=False)
def _begin() -> threading.Thread:
    thread = threading.Thread(target=load, name="warm-up", daemon=True)
    thread.start()
    return thread


def load(after: float = AFTER_SECONDS) -> None:
    """Load what is needed, one after the other; no later search for garbage looks through it."""
    time.sleep(after)
    for name in NEEDED:
        importlib.import_module(name)
    importlib.import_module(COMPILED).loops()  # compiled once after installing, and kept
    _READY.set()
    gc.collect()  # what is garbage now would be kept
    gc.freeze()


@contextmanager
def composing(text: str) -> Iterator[None]:
    """Shows `text` while the block composes, or, where that is not loaded yet, what keeps it waiting.

    One element either way: were there one less in the next run, what follows would move up under a fragment at work.
    """
    ready = _READY.is_set()
    with st.spinner(text if ready else MEANWHILE, show_time=not ready):
        yield
