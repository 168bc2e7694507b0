"""What composing is asked with beyond the options' table: a model, its styles, a piece to go on from, an instrument."""

from __future__ import annotations

import dataclasses
from math import ceil
from typing import Any

import streamlit as st

from deepmusician.history import COMPOSED, Request, find, keep_song, kept_song
from deepmusician.instruments import INSTRUMENTS, PROGRAM_NAMES
from deepmusician.limits import current
from deepmusician.notes import Song
from deepmusician.options import GenerateOptions
from deepmusician.scales import SCALES, TONICS, find_scale, parse_scale, share_in_scale
from deepmusician.styles import AND, THEN, WEIGHT, style_weights
from ui import cached, keys
from ui.keyboard import keyboard
from ui.library_form import KINDS, data_titles
from ui.models import Model, all_models, current_id
from ui.options_form import help_text, label, stops
from ui.page import plain, sentence

_MODEL = "compose.model"
OWN, FILE, LIBRARY = "a held-out piece", "a file of mine", "a piece of the library"
PLAYED, LAST = "what I play now", "the piece composed last"
ITS_OWN = "the piece that it went on from"  # in the place of a file's name, after a piece of the history was restored
OPENINGS = 8  # a checkpoint keeps at most so many
ANY = "any key"
GO_ON = "Go on from"
MOST_BARS = 128
ONE, MIX, CHANGE = "one", "a mix", "a change"
FIELDS = {f.name: f for f in dataclasses.fields(GenerateOptions)}


def choose_model() -> Model | None:
    """A model among the bundled ones and the person's runs; the address holds its id. None where there is none."""
    models = all_models()
    if not models:
        return None
    wanted = current_id(st.query_params.get("model") or keys.MODEL.get())
    if wanted and wanted not in models:
        st.warning(
            f"There is no model called {plain(wanted)}; here are the ones there are.", icon=":material/search_off:"
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
    last = (LAST,) if keys.NOTED.get() else ()
    return choose_piece(GO_ON, (OWN, FILE, LIBRARY, PLAYED, *last))


def choose_opening() -> int | None:
    """Which of the openings that the model kept; None lets the seed pick one."""
    shown = lambda i: f"opening {i}" if i else "the seed picks one"  # noqa: E731
    chosen = st.selectbox(
        label("opening"), range(OPENINGS + 1), format_func=shown, key="compose.opening",
        persist_state="session", help=help_text(FIELDS["opening"]),
    )  # fmt: skip
    return chosen or None


def choose_scale(heard: Song | None) -> str | None:
    """A scale to keep to; None for any key. The key of `heard`, where there is one, is offered."""
    scale, tonic = st.columns(2)
    with scale:
        name = st.selectbox(
            label("scale"), (ANY, *SCALES), key="compose.scale", persist_state="session",
            help=help_text(FIELDS["scale"]),
        )  # fmt: skip
    with tonic:
        root = st.selectbox("Tonic", TONICS, key="compose.tonic", persist_state="session", disabled=name == ANY)
    chosen = None if name == ANY else f"{root} {name}"
    found = find_scale(heard) if heard is not None else None
    if found and found != chosen:
        share = share_in_scale(heard, found)
        st.button(
            f"Keep to {found}", icon=":material/music_note:", key="compose.found", on_click=set_scale, args=(found,),
            help=f"The key found in what is heard: {share:.0%} of its sounding time lies in this scale.",
        )  # fmt: skip
    return chosen


def set_scale(scale: str | None) -> None:
    """Let the controls show a scale."""
    tonic, _, name = (scale or "").partition(" ")
    st.session_state["compose.scale"] = name or ANY
    if name:
        st.session_state["compose.tonic"] = tonic if tonic in TONICS else TONICS[_pitch_class(tonic)]


def _pitch_class(tonic: str) -> int:
    return next(i for i, name in enumerate(TONICS) if parse_scale(f"{tonic} major") == parse_scale(f"{name} major"))


def show_settings(request: Request, model: Model) -> None:
    """Let the controls show what a piece was composed with. Call it before they are drawn."""
    state, chosen = st.session_state, request.options
    set_scale(chosen.get("scale"))
    _set_style(chosen.get("style"), model.styles)
    for name in ("temperature", "top_p", "fullness", "threshold", "sampler", "init", "division", "keep"):
        state[f"compose.{name}"] = _stop(FIELDS[name], chosen.get(name, FIELDS[name].default))
    state["compose.opening"] = chosen.get("opening") or 0
    if request.song and request.kind == COMPOSED:
        state[source_key(GO_ON)] = FILE
        state[f"compose.file.{GO_ON}"] = ITS_OWN, request.song
    elif chosen.get("init") == "guided":
        state[source_key(GO_ON)] = OWN
    state["compose.seed"] = request.seed
    state["compose.variations"] = chosen.get("variations", 1)
    if "seq_len" in chosen:
        bars = round(chosen["seq_len"] / max(model.frames(1, chosen.get("division")), 1))
        state["compose.bars"] = min(max(bars, 1), MOST_BARS)
    place = f"compose.{model.id}" if model.composing else "compose"
    for name in ("tempo_bpm", "program"):
        if name in chosen:
            state[f"{place}.{name}"] = chosen[name]


def _set_style(style: str | None, names: tuple[str, ...]) -> None:
    """Let the controls show a style, as far as they can: more than one change along a piece has no control."""
    if len(names) < 2:
        return
    state, of = st.session_state, "|".join(names)
    parts = (style or "").split(THEN)
    if len(parts) <= 2 and set(parts) <= set(names):
        state["compose.style"] = ONE if len(parts) == 1 else CHANGE
        for key, name in zip(("one",) if len(parts) == 1 else ("first", "last"), parts, strict=True):
            state[f"compose.style.{key}.{of}"] = name
    elif len(parts) == 1:
        style_weights(style, names, 1)  # what cannot be is refused here
        mixed = dict.fromkeys(names, 0.0 if style else 0.5)
        for part in style.split(AND) if style else ():
            name, _, weight = part.rpartition(WEIGHT) if WEIGHT in part else (part, "", "1")
            mixed[name.strip()] += float(weight)
        state["compose.style"] = MIX
        for name, weight in mixed.items():
            state[f"compose.style.weight.{name}.{of}"] = weight / max(1.0, *mixed.values())


def _stop(field: dataclasses.Field, value: Any) -> Any:
    """The stop of a slider that is nearest to a value."""
    steps = [s for s in stops(field) or () if isinstance(s, (int, float))]
    return min(steps, key=lambda s: abs(s - value)) if steps and isinstance(value, (int, float)) else value


def sampling_sentence(values: dict[str, Any], model: Model) -> str:
    """In words, what the controls of drawing do as they stand."""
    own = {"temperature": 0.7, "top_p": 0.8, "fullness": 1.0, "threshold": 0.5, **model.card}
    now = {k: own[k] if values.get(k) is None else values[k] for k in ("temperature", "top_p", "fullness", "threshold")}
    if values["sampler"] == "threshold":
        return (
            f"Every key plays whose output reaches {now['threshold']:g}; nothing is left to chance. Higher is emptier."
        )
    t, p, full = now["temperature"], now["top_p"], now["fullness"]
    way, kind = ("plays safer than it learnt", "likely") if t < 1 else ("takes risks", "unlikely")
    share = f"the likeliest keys, which hold {p:.0%} of the expected notes"
    dares = "draws as it learnt" if t == 1 else f"{way}: {kind} notes come oftener"
    cut = "any key may come" if p == 1 else f"only {share}, may come"
    return f"At temperature {t:g} it {dares}; {cut}; {round(full, 2):g} times as many notes as it expects are drawn."


def source_key(label: str) -> str:
    """Where the session keeps which kind of source was chosen."""
    return f"compose.source.{label}"


def choose_piece(label: str, sources: tuple[str, ...]) -> Song | None:
    """A piece from a file or the library; None where none was chosen yet, or it is the model's own."""
    source = st.segmented_control(
        label, sources, default=sources[0], required=True, key=source_key(label), persist_state="session", wrap=True
    )
    if source == FILE:
        return _from_file(f"compose.file.{label}")
    if source == PLAYED:
        return keyboard("compose.keyboard")
    if source == LAST:
        piece = find(keys.NOTED.get()[1][0])
        return piece.song() if piece else None
    if source == LIBRARY:
        titles = data_titles()
        names = list(titles)
        index = names.index(keys.DATA.get()) if keys.DATA.get() in names else 0
        data = cached.data_set(st.selectbox("From", names, index, format_func=titles.__getitem__)).data
        place = st.selectbox("Piece", range(len(data.songs)), format_func=lambda i: data.names[i])
        return data.songs[place]
    return None


def _from_file(place: str) -> Song | None:
    """A piece from a file; it stays when another page is visited."""
    kinds, most = [kind.lstrip(".") for kind in KINDS if kind != ".zip"], max(1, ceil(current().file_mb))
    file = st.file_uploader("The piece", type=kinds, max_upload_size=most)  # the session holds it while it is shown
    if file:
        song = _read(file.getvalue(), file.name)
        st.session_state[place] = file.name, keep_song(song)
        return song
    if place not in st.session_state:
        return None
    name, kept = st.session_state[place]
    st.caption(sentence(f"{name} is still here; choose another file to replace it."))
    return kept_song(kept)


@st.cache_resource(max_entries=8, show_spinner=False)  # a rerun reads nothing again
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
