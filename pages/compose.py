"""Compose: a trained model, how it shall play, and the piece it writes."""

import dataclasses

import streamlit as st

from deepmusician.options import GenerateOptions, to_dict
from ui import cached, keys, router
from ui.compose_form import choose_model, choose_prime, choose_program
from ui.options_form import control
from ui.page import capital, opening
from ui.player import player

FIELDS = {f.name: f for f in dataclasses.fields(GenerateOptions)}

opening("Compose", "Choose a model and how it shall play; the same seed gives the same piece.")

# ---- guard
model = choose_model()
if model is None:
    st.info(
        "There is no trained model yet. Train one first; then it composes here.", icon=":material/school:"
    )
    st.page_link(router.TRAIN, label="Train a model", icon=":material/arrow_forward:")
    st.stop()

# ---- form
left, right = st.columns(2, gap="large")
values: dict = {}
with left:
    values["init"] = control(FIELDS["init"], "compose")
    prime = choose_prime() if values["init"] == "guided" else None
    bars = st.slider("Length (bars of four beats)", 1, 128, 16, key="compose.bars", persist_state="session")
    values["division"] = control(FIELDS["division"], "compose")
    values["seq_len"] = model.frames(bars, values["division"])
    st.caption(f"{values['seq_len']:,} frames of {values['division'] or model.division} of a whole note")
    values["tempo_bpm"] = control(FIELDS["tempo_bpm"], "compose")
with right:
    values["sampler"] = control(FIELDS["sampler"], "compose")
    names = ("temperature", "top_p", "fullness") if values["sampler"] == "sample" else ("threshold",)
    values |= {name: control(FIELDS[name], "compose") for name in names}
    if values["sampler"] == "sample" and model.automatic:
        st.caption(model.automatic)
    values["program"] = choose_program()
    values["seed"] = control(FIELDS["seed"], "compose")

if st.button("Compose", type="primary", icon=":material/music_note:"):
    keys.REQUEST.set({"model": model, "options": to_dict(GenerateOptions(**values)), "prime": prime})

# ---- result
request = keys.REQUEST.get()
if request:
    model, options = request["model"], request["options"]
    with st.spinner(f"{model.title} is composing …"):
        piece = cached.composition(str(model.path), model.version, options, request["prime"])
    st.subheader(f"{model.title}, seed {options['seed']}", anchor=False)
    for warning in piece.warnings:
        st.warning(capital(warning), icon=":material/hearing:")
    player(piece.song, f"{model.id}-{options['seed']}", "compose")
