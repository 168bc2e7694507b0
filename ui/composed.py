"""A composed piece, or several variations of it, and what can be done next: keep one, go on, write bars anew, star."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import streamlit as st

from deepmusician import history
from deepmusician.history import REWRITTEN, Request
from deepmusician.notes import Song
from deepmusician.options import DrawOptions
from deepmusician.scales import find_scale, share_in_scale
from ui import cached, keys, warm
from ui.humanise_form import humanised, offer_humanising
from ui.look import show_looks
from ui.models import Model
from ui.page import capital, sentence
from ui.player import player, players
from ui.words import count

if TYPE_CHECKING:
    from deepmusician.generation import Composition

_DRAW = {f.name for f in dataclasses.fields(DrawOptions)}


def make(request: Request, model: Model) -> list[tuple[Request, Composition]]:
    """The pieces that a request asks for, each with the request for it alone; they are kept in the history."""
    song = history.kept_song(request.song) if request.song else None
    path, version = str(model.path), model.version
    if request.kind == REWRITTEN:
        piece = cached.rewritten(path, version, request.options, song, request.start, request.end)
        pieces = [(request, piece)]
    else:
        several = request.options.get("variations", 1)
        alone = [request.but(seed=request.seed + i, variations=1) for i in range(several)]
        made = (
            cached.variations(path, version, request.options, song)
            if several > 1
            else [cached.composition(path, version, request.options, song)]
        )
        pieces = list(zip(alone, made, strict=True))
    _note(request, pieces, model)
    return pieces


def _note(request: Request, pieces: list[tuple[Request, Composition]], model: Model) -> None:
    """Keep the pieces in the history, once. A piece that only its density was moved of takes its old one's place."""
    noted = keys.NOTED.get()
    if noted and noted[0] == request:
        return
    if noted and _but_density(noted[0]) == _but_density(request):
        for old in filter(None, map(history.find, noted[1])):
            if not old.starred:
                history.delete(old)
    weights = cached.weights(str(model.path), model.version)
    there = {(repr(p.request), p.weights): p.id for p in history.history()}
    ids = [
        there.get((repr(each), weights)) or history.add(each, piece.song, model.title, weights).id
        for each, piece in pieces
    ]
    keys.NOTED.set((request, ids))


def _but_density(request: Request) -> Request:
    return request.but(fullness=None, threshold=None)


def show(request: Request, model: Model, bars: int) -> None:
    """The pieces of a request, and what can be done with them."""
    with warm.composing(f"{model.title} is composing …"):
        pieces = make(request, model)
    done = {REWRITTEN: "written anew"}.get(request.kind, "continued" if request.options.get("keep") else "")
    st.subheader(f"{model.title}, seed {request.seed}{', ' + done if done else ''}", anchor=False)
    for warning in dict.fromkeys(w for _, piece in pieces for w in piece.warnings):
        st.warning(sentence(warning), icon=":material/hearing:")
    if len(pieces) > 1:
        _choose_one(pieces)
    else:
        _one(request, pieces[0][1], model, bars)


def _choose_one(pieces: list[tuple[Request, Composition]]) -> None:
    players([(f"Seed {each.seed}", piece.song) for each, piece in pieces], "compose.several")
    st.caption("Each is the piece that its own seed gives. All are in the history; choose one to go on with.")
    with st.container(horizontal=True):
        for each, _ in pieces:
            st.button(
                f"Keep seed {each.seed}", key=f"compose.keep.{each.seed}", icon=":material/check:",
                on_click=_keep, args=(each,),
            )  # fmt: skip


def _keep(request: Request) -> None:
    ask(request)
    st.session_state["compose.seed"] = request.seed
    st.session_state["compose.variations"] = 1


def ask(request: Request) -> None:
    """Let the page show another piece."""
    keys.REQUEST.set(request)


def _one(request: Request, piece: Composition, model: Model, bars: int) -> None:
    shown = st.container()
    how = offer_humanising()
    song = humanised(piece.song, *how, request.seed) if how else piece.song
    with shown:
        name = f"{model.id}-{request.seed}{'-humanised' if how else ''}"
        region = player(song, name, "compose", select=True)
        st.caption(_numbers(request, piece, model))
        _next_steps(request, piece.song, bars, region)
    if model.attends and request.kind != REWRITTEN:
        prime = history.kept_song(request.song) if request.song else None
        show_looks({"model": model, "options": request.options, "prime": prime}, piece)


def _numbers(request: Request, piece: Composition, model: Model) -> str:
    """What the new notes are like, beside the music that the model learnt."""
    learnt = model.card.get("data", {}).get("density")
    beside = f" (its music: {learnt:.1f})" if learnt else ""
    words = [f"{piece.roll.sounding.sum(1).mean():.1f} notes at once{beside}"]
    if scale := request.options.get("scale") or find_scale(piece.song):
        words.append(f"{share_in_scale(piece.song, scale):.0%} of the sounding time in {scale}")
    if piece.begin:
        words.append(f"new from beat {piece.begin:g} on")
    return capital(", ".join(words))


def _next_steps(request: Request, song: Song, bars: int, region: Any) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.button(
            f"Continue by {count(bars, 'bar')}", icon=":material/arrow_forward:", key="compose.continue",
            on_click=_continue, args=(request, song), disabled=not len(song),
            help="Compose on from its end; what is there stays in front, note for note.",
        )  # fmt: skip
        ids = (keys.NOTED.get() or (None, []))[1]
        if ids and (kept := history.find(ids[0])):
            starred = st.toggle("Starred", kept.starred, key=f"compose.star.{kept.id}")
            if starred != kept.starred:
                history.star(kept, starred)
        with st.popover("Link", icon=":material/link:"):
            st.caption("This address makes the same piece again, in this workspace.")
            st.code(link(request), language=None, wrap_lines=True)
    total = len(song.bar_starts())
    if total > 1:
        _rewrite_form(request, song, total, region)


def _rewrite_form(request: Request, song: Song, total: int, region: Any) -> None:
    from deepmusician.splice import span_of_bars

    of = cached.fingerprint(song)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        first, last = st.slider(
            "Bars to write anew", 1, total, (min(5, total), min(8, total)), key=f"compose.part.{of}",
            disabled=region is not None, width=320,
        )  # fmt: skip
        start, end = span_of_bars(song, first, last)
        text = f"Rewrite bars {first}–{last}" if last > first else f"Rewrite bar {first}"
        if region is not None:
            start, end, text = region.start_beats, region.end_beats, "Rewrite the selected part"
        st.button(
            text, icon=":material/edit_note:", key="compose.rewrite", on_click=_rewrite,
            args=(request, song, start, end),
            help="All else stays. Several ways through the gap are tried, and weighed by how well they lead into what "
            "follows. Press again for other ones. A part selected in the roll comes first.",
        )  # fmt: skip


def _continue(request: Request, song: Song) -> None:
    draw = {k: v for k, v in request.options.items() if k in _DRAW}
    bars = st.session_state.get("compose.frames", 256)
    options = {**draw, "init": "guided", "keep": True, "seq_len": bars, "seed": request.seed}
    options |= {k: request.options[k] for k in ("sampler", "threshold", "division") if k in request.options}
    ask(Request(request.model, options=options, song=history.keep_song(song)))


def _rewrite(request: Request, song: Song, start: float, end: float) -> None:
    draw = {k: v for k, v in request.options.items() if k in _DRAW}
    again = request.kind == REWRITTEN and (request.start, request.end) == (start, end)
    seed = {"seed": request.seed + 1 if again else request.seed}
    base = request.song if again else history.keep_song(song)
    ask(Request(request.model, REWRITTEN, {**draw, **seed}, base, start, end))


def link(request: Request) -> str:
    """The address that makes a piece again."""
    from urllib.parse import urlencode

    return f"{(st.context.url or '').split('?')[0]}?{urlencode(request.query())}"
