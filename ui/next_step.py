"""The way through the studio, and the step that comes next, offered at the end of every page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from ui import router

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Step:
    """One step: its page, what it is called, what one does there, and how it is offered as the next one."""

    page: str
    title: str
    icon: str
    text: str
    offer: str


WAY = (
    Step(
        router.LIBRARY, "Upload", ":material/upload:", "Bring MIDI files, or pick a corpus that is built in.",
        "bring music of your own, or pick a corpus",
    ),
    Step(
        router.LIBRARY, "Look", ":material/visibility:", "See what was read, as notes on a roll, and listen to it.",
        "look at your music",
    ),
    Step(
        router.TRAIN, "Train", ":material/school:", "Watch a small network learn it, in minutes, on this computer.",
        "train a model on your music",
    ),
    Step(
        router.COMPOSE, "Compose", ":material/music_note:",
        "Hear what it writes, and take it home as MIDI or sound.", "compose with a model",
    ),
    Step(
        "pages/judge.py", "Judge", ":material/balance:", "Find out how good it is, and whether it copies.",
        "find out how good the music is",
    ),
)  # fmt: skip


def way() -> list[Step]:
    """The steps whose pages there are."""
    return [step for step in WAY if (ROOT / step.page).exists()]


def after(page: str) -> Step:
    """The step that follows the last one on `page`; after the last of all, and for a page off the way, the first."""
    steps = way()
    places = [i for i, step in enumerate(steps) if step.page == page]
    return steps[(places[-1] + 1) % len(steps)] if places else steps[0]


def next_step(page: str, **query: str) -> None:
    """Offer the step after `page`; `query` is what the address of its page shall hold."""
    step = after(page)
    st.divider()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.page_link(
            step.page, label=f"**Next:** {step.offer}", icon=":material/arrow_forward:", query_params=query or None
        )
