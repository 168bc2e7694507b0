"""The history: everything that was composed, newest first; played, starred, brought back to the form, deleted."""

from __future__ import annotations

import streamlit as st

from deepmusician import history
from deepmusician.history import REWRITTEN, Piece
from deepmusician.instruments import program_name
from ui import cached, keys
from ui.compose_form import FIELDS
from ui.humanise_form import COMPOSE
from ui.models import all_models
from ui.options_form import label, said
from ui.page import capital, sentences
from ui.player import player
from ui.words import count, duration

SHOWN = 20  # more are shown when asked for
_MORE, _GONE, _STARRED = "history.more", "history.gone", "history.starred"
_WORDS = {
    "temperature": "temperature {}", "top_p": "top-p {}", "fullness": "density {}", "threshold": "threshold {}",
    "scale": "in {}", "style": "style {}", "seq_len": "{} frames", "init": "{}", "opening": "opening {}",
    "keep": "that piece kept in front", "division": "frames of {}", "tempo_bpm": "tempo {}",
    "sampler": "notes chosen {}", "song": "from a piece that was there", "rewrite": "beats {} written anew",
}  # fmt: skip


def show_history() -> None:
    """The whole view."""
    if gone := st.session_state.get(_GONE):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.info("Deleted.", icon=":material/delete:")
            st.button("Undo", icon=":material/undo:", on_click=_undo, args=(gone,))
    pieces = history.history()
    if not pieces:
        st.info("Nothing has been composed yet. What you compose is kept here.", icon=":material/history:")
        return
    only = st.toggle("Starred only", key=_STARRED, persist_state="session")
    pieces = [p for p in pieces if p.starred] if only else pieces
    st.caption(f"{count(len(pieces), 'piece')}, kept in the workspace with all that makes them again.")
    shown = st.session_state.get(_MORE, SHOWN)
    for piece in pieces[:shown]:
        _row(piece)
    if len(pieces) > shown:
        st.button("Show more", on_click=lambda: st.session_state.update({_MORE: shown + SHOWN}))


def _row(piece: Piece) -> None:
    with st.container(border=True), sentences():
        kind = "written anew" if piece.request.kind == REWRITTEN else "composed"
        st.markdown(
            f"**{piece.title}**, seed {piece.request.seed}, {kind} {piece.made[:16].replace('T', ' ')}: "
            f"{count(piece.notes, 'note')}, {duration(piece.seconds)}"
        )
        st.caption(_settings(piece))
        with st.container(horizontal=True):
            look = st.toggle("Show", key=f"history.show.{piece.id}")
            st.button(
                "Starred" if piece.starred else "Star", key=f"history.star.{piece.id}",
                icon=":material/star:" if piece.starred else ":material/star_border:",
                on_click=_star, args=(piece,),
            )  # fmt: skip
            for text, icon, act in (("To the form", "tune", _open), ("Delete", "delete", _delete)):
                st.button(text, key=f"{text}.{piece.id}", icon=f":material/{icon}:", on_click=act, args=(piece,))
        if look:
            _warn_if_changed(piece)
            player(piece.song(), f"{piece.title}-{piece.request.seed}", f"history.{piece.id}", listen=False)


def _settings(piece: Piece) -> str:
    """In words, what differs from composing with everything on automatic."""
    words = {k: v for k, v in piece.request.query().items() if k not in ("model", "seed", "variations")}
    said = [_said(name, value) for name, value in words.items()]
    return capital(", ".join(said) or "all settings automatic")


def _said(name: str, value: str) -> str:
    if name == "program":
        return program_name(int(value))
    value = value.replace("-", "–") if name == "rewrite" else value
    value = said(FIELDS[name], value) if name in ("init", "sampler") else value
    return _WORDS.get(name, f"{label(name).lower()} {{}}").format(value)


def _warn_if_changed(piece: Piece) -> None:
    model = all_models().get(piece.request.model)
    if model is None:
        st.caption("Its model is gone; the piece itself is kept.")
    elif cached.weights(str(model.path), model.version) != piece.weights:
        st.caption("Its model has been trained further since: composed anew, the piece would be another one.")


def _star(piece: Piece) -> None:
    history.star(piece, not piece.starred)


def _delete(piece: Piece) -> None:
    history.delete(piece)
    st.session_state[_GONE] = piece.id


def _undo(id: str) -> None:
    history.bring_back(id)
    st.session_state.pop(_GONE, None)


def _open(piece: Piece) -> None:
    keys.REQUEST.set(piece.request)
    keys.RESTORE.set(True)
    st.session_state["compose.task"] = COMPOSE
