"""The studio's pages, their addresses and their menu."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from ui import keys

if TYPE_CHECKING:
    from streamlit.navigation.page import Page

ICON = Path(__file__).parent / "icon.svg"
HOME, LIBRARY, TRAIN, COMPOSE = "pages/home.py", "pages/library.py", "pages/train.py", "pages/compose.py"
HOW, RUNS = "pages/how.py", "pages/runs.py"
JUDGE, LISTEN = "pages/judge.py", "pages/listen.py"


def configure() -> None:
    """Title, icon and width of every page. Comes before `navigation`, or else the browser would fetch the icon of the
    page's menu entry, to be the tab's, from an outside host."""
    st.set_page_config(page_title="Deep Musician", page_icon=str(ICON), layout="wide")


def navigation(menu: bool) -> Page:
    """Show the menu at the top, if it is to be used, and return the page that was asked for. Call it once in each run.

    Without the menu, every address still leads to its page.
    """
    keys.ROUTED.set(True)
    st.logo(str(ICON), size="large")
    return st.navigation(
        [
            st.Page(HOME, title="Home", icon=":material/home:", default=True),
            st.Page(LIBRARY, title="Library", icon=":material/library_music:"),
            st.Page(TRAIN, title="Train", icon=":material/school:"),
            st.Page(RUNS, title="Runs", icon=":material/stacks:"),
            st.Page(COMPOSE, title="Compose", icon=":material/music_note:"),
            st.Page(JUDGE, title="Judge", icon=":material/gavel:"),
            st.Page(LISTEN, title="Listen", icon=":material/hearing:"),
            st.Page(HOW, title="How it works", icon=":material/lightbulb:"),
        ],
        position="top" if menu else "hidden",
    )
