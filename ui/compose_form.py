"""What composing is asked with beyond the options' table: a model, its styles, a piece to go on from, an instrument."""

from __future__ import annotations

import dataclasses

import streamlit as st

from deepmusician.instruments import INSTRUMENTS, PROGRAM_NAMES
from deepmusician.notes import Song
from deepmusician.options import GenerateOptions
from deepmusician.styles import AND, THEN, WEIGHT
from ui import cached, keys
from ui.library_form import KINDS, data_titles
from ui.models import Model, all_models
from ui.options_form import help_text

_MODEL = "compose.model"
OWN, FILE, LIBRARY = "a held-out piece", "a file of mine", "a piece of the library"
ONE, MIX, CHANGE = "one", "a mix", "a change"
FIELDS = {f.name: f for f in dataclasses.fields(GenerateOptions)}


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
    return choose_piece("Go on from", (OWN, FILE, LIBRARY))


def choose_piece(label: str, sources: tuple[str, ...]) -> Song | None:
    """A piece from a file or the library; None where none was chosen yet, or it is the model's own."""
    source = st.segmented_control(label, sources, default=sources[0], required=True)
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
    from deepmusician.reading import read_song

    return read_song(content, name)


def choose_program(place: str, default: int) -> int:
    """A General MIDI program by its name: a readable selection first, then all the others."""
    names = {v: k for k, v in reversed(INSTRUMENTS.items())}
    programs = [*INSTRUMENTS.values(), *(p for p in range(128) if p not in names)]
    shown = {p: names.get(p) or PROGRAM_NAMES[p] for p in programs}
    return st.selectbox(
        "Instrument", programs, programs.index(default), format_func=shown.__getitem__, key=f"{place}.program",
        persist_state="session",
    )  # fmt: skip


def choose_style(names: tuple[str, ...]) -> str | None:
    """Which of a model's styles the piece is in, as `deepmusician.styles` reads it; None where there is no choice."""
    if len(names) < 2:
        return None
    of = "|".join(names)  # what was set stays with the models of these styles

    def one(label: str, key: str, start: int = 0) -> str:
        return st.selectbox(label, names, start, key=f"compose.style.{key}.{of}", persist_state="session")

    kind = st.segmented_control(
        "Style", (ONE, MIX, CHANGE), default=ONE, required=True, key="compose.style", persist_state="session",
        help=help_text(FIELDS["style"]),
    )  # fmt: skip
    if kind == ONE:
        return one("In the style of", "one")
    if kind == CHANGE:
        first, last = st.columns(2)
        with first:
            begin = one("It begins as", "first")
        with last:
            return f"{begin}{THEN}{one('It ends as', 'last', 1)}"
    weights = [
        st.slider(name, 0.0, 1.0, 0.5, 0.05, key=f"compose.style.weight.{name}.{of}", persist_state="session")
        for name in names
    ]
    return AND.join(f"{name}{WEIGHT}{weight:g}" for name, weight in zip(names, weights, strict=True))
