"""The first look at a built-in corpus converts it: told while it goes on, and finished though the page is left."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING

import streamlit as st

from ui.words import count, duration

if TYPE_CHECKING:
    from deepmusician.library import DataSet

LOOK_EVERY = 0.2  # seconds between two looks at how far it is
ENOUGH = 20  # pieces after which the time left can be told


class Conversion:
    """One corpus on its way: read in a thread of the server, whoever looks, so no page takes it along when it goes."""

    def __init__(self, name: str) -> None:
        self.name, self.done, self.total = name, 0, 0
        self.first = time.monotonic()  # when the first piece was there
        self.answer: Future[DataSet] = Future()
        threading.Thread(target=self._read, name=f"converting {name}", daemon=True).start()

    def _read(self) -> None:
        from deepmusician.library import read_source

        try:
            self.answer.set_result(read_source(self.name, self._count))
        except Exception as error:  # each page that waits raises it as its own
            self.answer.set_exception(error)

    def _count(self, done: int, total: int) -> None:
        if not self.done:
            self.first = time.monotonic()
        self.done, self.total = done, total

    def failed(self) -> bool:
        """Whether it ended with an error."""
        return self.answer.done() and self.answer.exception() is not None

    def seconds_left(self) -> float | None:
        """By the pieces so far; None before there are enough of them."""
        if self.done < ENOUGH:
            return None
        return (time.monotonic() - self.first) / self.done * (self.total - self.done)


@st.cache_resource
def _under_way() -> tuple[dict[str, Conversion], threading.Lock]:
    return {}, threading.Lock()


def read(name: str) -> DataSet:
    """A saved data set or a corpus. Where a corpus is yet to be converted, the page waits and tells how far it is; one
    that comes meanwhile waits for the same conversion. Raises LibraryError."""
    from deepmusician.corpora import CORPORA, is_converted
    from deepmusician.library import read_source, source_of

    source = source_of(name)
    under_way, lock = _under_way()
    if source not in CORPORA or is_converted(source):
        under_way.pop(source, None)  # its page was left, and now it lies on disk
        return read_source(source)
    with lock:
        conversion = under_way.get(name)
        if conversion is None or conversion.failed():
            conversion = under_way[name] = Conversion(name)
    _watch(conversion)
    under_way.pop(source, None)
    return conversion.answer.result()


def _watch(conversion: Conversion) -> None:
    """A bar and a line, until it is done."""
    place = st.empty()
    with place.container(border=True):
        st.markdown(f":material/hourglass_top: **{said(conversion.name)}**")
        bar = st.progress(0.0, "Starting …")
        st.caption("This is done once on this computer. You can leave the page meanwhile: it goes on.")
    try:
        while not conversion.answer.done():
            if conversion.total:
                bar.progress(conversion.done / conversion.total, how_far(conversion))
            time.sleep(LOOK_EVERY)
    finally:
        place.empty()


def said(name: str) -> str:
    """What is happening, with the corpus by its title."""
    from deepmusician.corpora import CORPORA

    return f"{CORPORA[name].title}: getting the notes out of its scores"


def how_far(conversion: Conversion) -> str:
    """Pieces done, and the time left once it can be told."""
    left = conversion.seconds_left()
    text = f"{conversion.done:,} of {count(conversion.total, 'piece')}"
    return text + (f", about {duration(left)} left" if left is not None and left >= 1 else "")
