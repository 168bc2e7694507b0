"""How every page begins, and how it says what went wrong: a sentence, never a traceback."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from deepmusician.atomic import no_room
from deepmusician.errors import ClashError, DeepMusicianError
from ui import figures, keys, people, router
from ui.options_form import in_words

_STYLE = """<style>
.stMainBlockContainer {max-width: 84rem; padding-top: 4.5rem; padding-bottom: 4rem;}
.dm-figure img {width: 100%; height: auto; display: block;}
.dm-narrow {display: none !important;}
[class*="st-key-option-"]:has([class*="st-key-reset-"]) {
  border-left: 3px solid var(--st-orange-color, #c8612b); padding-left: 0.7rem;
}
@media (max-width: 640px) {
  .dm-wide {display: none !important;}
  .dm-narrow {display: block !important;}
  .stMainBlockContainer {padding-left: 1rem; padding-right: 1rem;}
}
</style>"""
_DARK_STYLE = """<style>
/* white letters on the bright teal that a dark page needs would be hard to read */
[data-testid^="stBaseButton-primary"] {color: #0b2522;}
</style>"""


def opening(title: str, lead: str) -> None:
    """The guard and the heading of a page.

    With a folder named pages/, Streamlit's older mechanism runs a page without app.py until the first session of a
    server has reached st.navigation. Such a first request, a deep link, is sent through the router here.
    """
    if not keys.ROUTED.take():
        router.configure()
        router.navigation(people.has_come_in())  # turns the older mechanism off
        st.rerun()
    dress()
    if not people.has_come_in():
        people.door()
        st.stop()
    people.badge()
    if keys.PAGE.get() != title:
        keys.PAGE.set(title)
        keys.LISTENING.set(None)  # coming back starts no music
    st.title(title, anchor=False)
    st.markdown(lead)


def dress() -> None:
    """What all pages and the door look like."""
    st.html(_STYLE + (_DARK_STYLE if figures.dark() else ""))


@contextmanager
def sentences() -> Iterator[None]:
    """Show an error the package raised on purpose, or that a full disk did, as its sentence; any other error stays an
    error."""
    try:
        yield
    except Exception as error:
        told = error if isinstance(error, DeepMusicianError) else no_room(error)
        if told is None:
            raise
        words = in_words(told) if isinstance(told, ClashError) else str(told)
        st.error(sentence(words), icon=":material/error:")


def capital(text: str) -> str:
    """The sentence with a capital letter and a full stop."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def sentence(text: str) -> str:
    """The sentence, capital letter and full stop, with nothing in its names that Markdown would take for markup."""
    return capital(tame(text))


def tame(text: str) -> str:
    """Words that hold names of files or of what is in them: `code` stays code, and nothing else becomes a
    picture, a formula, a colour or HTML (a whole address is made a link by the browser's side, and leads where it
    says). Where a name has signs by which it could end the code that it stands in, nothing is taken for code."""
    parts = [text] if "``" in text or "\\" in text else re.split("(`[^`]+`)", text)
    return "".join(
        part if i % 2 else re.sub(r"([\\`\[\]<*~$]|:(?=[\w/]))", r"\\\1", part) for i, part in enumerate(parts)
    )


def plain(text: str) -> str:
    """Text that people wrote, so that Markdown takes no sign of it for markup, a link or a picture."""
    words = "".join(c for c in " ".join(text.split()) if c.isprintable())
    return re.sub(r"([\\`*_{}\[\]()#+\-.!|<>~:$^=&\"])", r"\\\1", words)
