"""What the Judge page shows of one piece: its bars beside the training songs, and what a model expected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from deepmusician.notes import Song
from deepmusician.plurals import count
from ui import cached, converting, warm
from ui.compose_form import FILE, LIBRARY, choose_piece
from ui.models import Model
from ui.player import Region, player, players

if TYPE_CHECKING:
    from deepmusician.pieces import Found, Read
    from deepmusician.surprise import Surprise

COMPOSED, MINE = "a piece it composes", "a piece of mine"
EVERY = "all alike"
_BAR, _MARKED = "judge.bar", "judge.marked"


def choose(model: Model) -> Song | None:
    """The piece to look at: composed now by its seed, uploaded, or of the library."""
    source = st.segmented_control("Look at", (COMPOSED, MINE), key="judge.piece")
    if source is None:
        return None
    if source == MINE:
        return choose_piece("From", (FILE, LIBRARY))
    seed = st.number_input("Seed", 0, 2**31 - 1, 1, key="judge.seed")
    options = {"seq_len": model.frames(16), "seed": int(seed), **model.composing}
    with warm.composing(f"{model.title} is composing …"):
        return cached.composition(str(model.path), model.version, options, None).song


# ---- is it new?


def show_originality(model: Model, song: Song) -> None:
    """The roll with each bar coloured by what stands in the training songs, and a bar's source beside it."""
    from deepmusician.originality import verdict

    read = _training_songs(model)
    found = read.search(song)
    much, said = verdict(found.shared, read.human)
    (st.warning if much else st.markdown)(said)
    known = [i for i, bar in enumerate(found.bars) if bar.passage is not None]
    if known:
        st.caption("Click a bar, or drag along the bar numbers: it is heard below beside its source.")
    region = player(
        song, "piece", "judge.original", select="bar" if known else False, bar_shade=found.shades,
        shade_label="stands in the training songs",
    )  # fmt: skip
    if not known:
        st.caption("No bar holds a passage of the training songs.")
        return
    marked = _marked(region, song, known, found)
    label = lambda i: f"bar {i + 1}: {count(found.bars[i].chords, 'chord')} of {read.name(found.bars[i])}"  # noqa: E731
    bar = st.selectbox("Hear a bar beside its source", known, format_func=label, key=_BAR)
    if marked:
        st.caption(marked)
    _beside(read, found, bar)


def _training_songs(model: Model) -> Read:
    """Read once and kept. A corpus that is yet to be converted says how far it is."""
    from deepmusician.corpora import CORPORA, is_converted
    from deepmusician.library import split_paths

    for source in split_paths(model.card["options"]["path"]):
        if source in CORPORA and not is_converted(source):
            converting.read(source)
    return _read(str(model.path), model.version)


@st.cache_resource(max_entries=3, show_spinner="Reading the training songs …")
def _read(path: str, version: float) -> Read:
    from deepmusician.pieces import Read

    return Read.of(path)


def _marked(region: Region | None, song: Song, known: list[int], found: Found) -> str:
    """Let the box show the bar marked on the roll; says so where the marked bars hold no passage."""
    state = st.session_state
    if state.get(_BAR) not in known:
        state[_BAR] = max(known, key=lambda i: found.bars[i].shade)
    marked = None
    if region:
        starts = song.bar_starts()
        first = max(int(np.searchsorted(starts, region.start_beats + 1e-6, side="right")) - 1, 0)
        last = max(int(np.searchsorted(starts, region.end_beats - 1e-6, side="right")), first + 1)
        marked = first, last
    news = marked is not None and state.get(_MARKED) != (cached.fingerprint(song), marked)
    state[_MARKED] = cached.fingerprint(song), marked
    if marked is None:
        return ""
    within = [i for i in known if marked[0] <= i < marked[1]]
    if not within:
        return "No passage of the training songs in what is marked on the roll."
    if news:  # else the box, which may have been moved since, holds
        state[_BAR] = max(within, key=lambda i: found.bars[i].shade)
    return ""


def _beside(read: Read, found: Found, bar: int) -> None:
    """The bar with its neighbours and the same place of the training song, to be heard in turn."""
    from deepmusician.pieces import semitones_words

    mine, theirs = read.beside(found, bar)
    moved = semitones_words(found.bars[bar].passage.semitones)
    name = read.name(found.bars[bar])
    st.markdown(
        f"Bar {bar + 1} with the bars around it, beside the same chords in **{name}**"
        f"{f', which has them {moved}' if moved else ''}."
    )
    players([("the piece", mine), (name, theirs)], "judge.beside")


# ---- what did the model expect?


@st.cache_data(max_entries=20, show_spinner=False, hash_funcs={Song: cached.fingerprint})
def _surprise(path: str, version: float, song: Song, style: str | None) -> Surprise:
    from deepmusician.surprise import surprise

    return surprise(path, song, style)


def show_surprise(model: Model, song: Song) -> None:
    """The roll with each note coloured by how unlikely it was, and the nats of each bar as a line."""
    style = None
    if len(model.styles) > 1:
        style = st.selectbox(
            "Expected in the style of", (EVERY, *model.styles), key=f"judge.style.{'|'.join(model.styles)}",
            help="The model is told this style while it reads the piece.",
        )  # fmt: skip
    found = _surprise(str(model.path), model.version, song, None if style == EVERY else style)
    st.markdown(
        f"**{found.nats:.2f} nats a frame** over the whole piece. The stronger a note's colour, the less "
        f"{model.title} expected {'its loudness' if found.velocities else 'it'}."
    )
    player(
        song, "piece", "judge.surprise", note_shade=1 - found.probability, shade_label="the model did not expect this",
        listen=False,
    )  # fmt: skip
    st.line_chart(
        {"bar": np.arange(1, len(found.bars) + 1), "nats a frame": found.bars}, x="bar", y="nats a frame", height=200
    )
