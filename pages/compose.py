"""Compose: a trained model, how it shall play, and the piece it writes; a piece humanised; all that was composed."""

import streamlit as st

from deepmusician.history import Request, keep_song
from deepmusician.options import TEMPO_BPM
from ui import composed, keys, router
from ui.compose_form import (
    FIELDS,
    GO_ON,
    MOST_BARS,
    OWN,
    choose_model,
    choose_opening,
    choose_prime,
    choose_program,
    choose_scale,
    choose_style,
    sampling_sentence,
    show_settings,
    source_key,
)  # fmt: skip
from ui.history_view import show_history
from ui.humanise_form import HISTORY, HUMANISE, choose_task, humanise_piece
from ui.models import all_models
from ui.next_step import next_step
from ui.options_form import control, help_text, label
from ui.page import opening

opening("Compose", "Choose a model and how it shall play; the same seed gives the same piece.")

# ---- a link, a piece that is there, what was composed
words = st.query_params.to_dict()
if "seed" in words and "model" in words and keys.LINK.get() != words:
    keys.LINK.set(words)
    asked = Request.from_query(words)
    if asked != keys.REQUEST.get():
        keys.REQUEST.set(asked)
        keys.RESTORE.set(True)
task = choose_task()
if task == HUMANISE:
    humanise_piece()
    next_step(router.COMPOSE)
    st.stop()
if task == HISTORY:
    show_history()
    st.stop()

# ---- guard
request = keys.REQUEST.get()
if keys.RESTORE.take() and request and (wanted := all_models().get(request.model)):
    keys.MODEL.set(wanted.id)
    st.query_params["model"] = wanted.id
    show_settings(request, wanted)
    keys.DENSITY.set(None)
model = choose_model()
if model is None:
    st.info(
        "There is no trained model yet. Train one first; then it composes here.", icon=":material/school:"
    )
    st.page_link(router.TRAIN, label="Train a model", icon=":material/arrow_forward:")
    st.stop()

# ---- form
left, right = st.columns(2, gap="large")
own = model.composing  # what was set for a model that names its tempo stays with it
place = f"compose.{model.id}" if own else "compose"
values: dict = {}
prime = None
with left:
    values["init"] = control(FIELDS["init"], "compose")
    if values["init"] == "guided":
        prime = choose_prime()
        if st.session_state[source_key(GO_ON)] == OWN:
            values["opening"] = choose_opening()
        values["keep"] = control(FIELDS["keep"], "compose")
    values["style"] = choose_style(model.styles)
    bars = st.slider("Length (bars of four beats)", 1, MOST_BARS, 16, key="compose.bars", persist_state="session")
    values["division"] = control(FIELDS["division"], "compose")
    values["seq_len"] = st.session_state["compose.frames"] = model.frames(bars, values["division"])
    st.caption(f"{values['seq_len']:,} frames of {values['division'] or model.division} of a whole note")
    if values.get("keep"):
        st.caption("Tempo and instruments go on as in the piece that is kept.")
    else:
        values["tempo_bpm"] = st.slider(
            label("tempo_bpm"), 20.0, 400.0, own.get("tempo_bpm", TEMPO_BPM), 1.0, "%.0f", key=f"{place}.tempo_bpm",
            persist_state="session", help=help_text(FIELDS["tempo_bpm"]),
        )  # fmt: skip
        values["program"] = choose_program(place, own.get("program", 0))
with right:
    values["sampler"] = control(FIELDS["sampler"], "compose")
    names = ("temperature", "top_p", "fullness") if values["sampler"] == "sample" else ("threshold",)
    values |= {name: control(FIELDS[name], "compose") for name in names}
    st.caption(sampling_sentence(values, model))
    if values["sampler"] == "sample" and model.automatic:
        st.caption(model.automatic)
    values["scale"] = choose_scale(prime)
    values["seed"] = control(FIELDS["seed"], "compose")
    values["variations"] = st.segmented_control(
        label("variations"), (1, 2, 4), default=1, required=True, key="compose.variations", persist_state="session",
        help=help_text(FIELDS["variations"]),
    )  # fmt: skip

if st.button("Compose", type="primary", icon=":material/music_note:"):
    kept = keep_song(prime) if prime is not None else None
    keys.REQUEST.set(Request(model.id, options=values, song=kept))

# ---- the density is live: the same random numbers, fewer or more notes
stands = {name: values.get(name) for name in ("fullness", "threshold")}
request, before = keys.REQUEST.get(), keys.DENSITY.get()
if request and before is not None and before != stands and request.model == model.id:
    moved = {k: v for k, v in stands.items() if v != before[k] and (k == "fullness" or "seq_len" in request.options)}
    keys.REQUEST.set(request := request.but(**moved))
keys.DENSITY.set(stands)

# ---- result
if request:
    maker = all_models().get(request.model)
    if maker is None:
        st.warning(f"The model {request.model} is gone; choose another one.", icon=":material/search_off:")
        st.stop()
    composed.show(request, maker, bars)
    if maker.id == model.id:
        st.query_params.from_dict(request.query())
        keys.LINK.set(request.query())
next_step(router.COMPOSE)
