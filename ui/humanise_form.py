"""Humanising: a model of expression, how much of it, and a piece that is there already."""

from __future__ import annotations

import streamlit as st

from deepmusician.notes import Song
from deepmusician.recipes import read_recipe
from ui import cached
from ui.compose_form import FILE, LIBRARY, choose_piece
from ui.models import Model, expression_models
from ui.player import player

COMPOSE, HUMANISE, HISTORY = "Compose a piece", "Humanise a piece", "History"
_TASK, _MODEL = "compose.task", "compose.expression"


def choose_task() -> str:
    """COMPOSE, HUMANISE or HISTORY; an address with a model of expression asks for the second."""
    asked = st.query_params.pop("expression", None)
    if asked:
        st.session_state[_TASK], st.session_state[_MODEL] = HUMANISE, asked
    st.session_state.setdefault(_TASK, COMPOSE)
    return st.segmented_control(
        "What to do", (COMPOSE, HUMANISE, HISTORY), required=True, key=_TASK, persist_state="session",
        label_visibility="collapsed",
    )  # fmt: skip


def humanise_piece() -> None:
    """The whole form for a piece of one's own, and its player."""
    left, right = st.columns(2, gap="large")
    with left:
        song = choose_piece("Take", (FILE, LIBRARY))
    with right:
        how = choose_expression()
    if song is None:
        st.info("Choose a piece; it is then played with the loudness that the model gives it.", icon=":material/piano:")
        return
    if how is not None:
        player(humanised(song, *how), "humanised", "humanise", listen=False)


def offer_humanising() -> tuple[Model, float] | None:
    """For a composed piece: a switch, and with it the model and the strength."""
    about = "Let a model of expression say how loud each note is struck."
    if not st.toggle("Humanise", key="compose.humanise", help=about, persist_state="session"):
        return None
    with st.container(horizontal=True, gap="large"):
        return choose_expression()


def choose_expression() -> tuple[Model, float] | None:
    """A model of expression and how much of it is wanted; None, and how to get one, where there is none."""
    models = expression_models()
    if not models:
        recipe = read_recipe("expression").title
        about = f"There is no model of expression yet: a training with the recipe “{recipe}” makes one."
        st.info(about, icon=":material/school:")
        return None
    if st.session_state.get(_MODEL) not in models:
        st.session_state[_MODEL] = next(iter(models))
    name = st.selectbox(
        "Model of expression", list(models), format_func=lambda i: models[i].title, key=_MODEL, persist_state="session"
    )
    strength = st.slider(
        "Strength", 0.0, 1.0, 1.0, 0.05, key="compose.strength", persist_state="session",
        help="How far from the piece's own loudness (0) to the model's (1).",
    )  # fmt: skip
    return models[name], strength


def humanised(song: Song, model: Model, strength: float, seed: int = 0) -> Song:
    """The song as the model would play it; the same seed gives the same."""
    with st.spinner(f"{model.title} is reading the piece …"):
        return cached.humanised(str(model.path), model.version, song, strength, seed)
