"""What composing is asked with, beyond the options' table: a model, a piece to go on from, an instrument."""

from __future__ import annotations

import streamlit as st

from deepmusician.instruments import INSTRUMENTS, PROGRAM_NAMES
from deepmusician.notes import Song
from ui import cached, keys
from ui.library_form import KINDS, data_titles
from ui.models import Model, all_models

_MODEL = "compose.model"
OWN, FILE, LIBRARY = "a held-out piece", "a file of mine", "a piece of the library"


def choose_model() -> Model | None:
    """A model among the bundled ones and the person's runs; the address holds its id. None where there is none."""
    models = all_models()
    if not models:
        return None
    wanted = st.query_params.get("model") or keys.MODEL.get()
    if wanted and wanted not in models:
        st.warning(
            f"There is no model called {wanted}; here are the ones there are.", icon=":material/search_off:"
        )
    _choose(wanted if wanted in models else next(iter(models)))
    st.selectbox(
        "Model", list(models), format_func=lambda i: models[i].title, key=_MODEL,
        on_change=lambda: _choose(st.session_state[_MODEL]),
    )  # fmt: skip
    chosen = models[keys.MODEL.get()]
    if about := chosen.card.get("description"):
        st.caption(about)
    return chosen


def _choose(model: str) -> None:
    keys.MODEL.set(model)
    st.query_params["model"] = st.session_state[_MODEL] = model


def choose_prime() -> Song | None:
    """The piece that guided composing goes on from; None where it is one that the model kept."""
    source = st.segmented_control("Go on from", (OWN, FILE, LIBRARY), default=OWN, required=True)
    if source == FILE:
        file = st.file_uploader("The piece", type=[kind.lstrip(".") for kind in KINDS if kind != ".zip"])
        return _read(file.getvalue(), file.name) if file else None
    if source == LIBRARY:
        titles = data_titles()
        names = list(titles)
        index = names.index(keys.DATA.get()) if keys.DATA.get() in names else 0
        data = cached.data_set(st.selectbox("From", names, index, format_func=titles.__getitem__)).data
        place = st.selectbox("Piece", range(len(data.songs)), format_func=lambda i: data.names[i])
        return data.songs[place]
    return None


def _read(content: bytes, name: str) -> Song:
    from deepmusician.formats import read_song

    return read_song(content, name)


def choose_program() -> int:
    """A General MIDI program by its name: a readable selection first, then all the others."""
    names = {v: k for k, v in reversed(INSTRUMENTS.items())}
    programs = [*INSTRUMENTS.values(), *(p for p in range(128) if p not in names)]
    shown = {p: names.get(p) or PROGRAM_NAMES[p] for p in programs}
    return st.selectbox(
        "Instrument", programs, format_func=shown.__getitem__, key="compose.program", persist_state="session"
    )
