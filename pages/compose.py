"""Compose: a trained model, how it shall play, and the piece it writes; or a piece that is there, to be humanised."""

import streamlit as st

from deepmusician.options import TEMPO_BPM, GenerateOptions, to_dict
from ui import cached, keys, router
from ui.compose_form import FIELDS, choose_model, choose_prime, choose_program, choose_style
from ui.humanise_form import HUMANISE, choose_task, humanise_piece, humanised, offer_humanising
from ui.look import show_looks
from ui.options_form import control
from ui.page import capital, opening
from ui.player import player

opening("Compose", "Choose a model and how it shall play; the same seed gives the same piece.")

# ---- a piece that is there
if choose_task() == HUMANISE:
    humanise_piece()
    st.stop()

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
own = model.composing  # what was set for a model that names its tempo stays with it
place = f"compose.{model.id}" if own else "compose"
values: dict = {}
with left:
    values["init"] = control(FIELDS["init"], "compose")
    prime = choose_prime() if values["init"] == "guided" else None
    values["style"] = choose_style(model.styles)
    bars = st.slider("Length (bars of four beats)", 1, 128, 16, key="compose.bars", persist_state="session")
    values["division"] = control(FIELDS["division"], "compose")
    values["seq_len"] = model.frames(bars, values["division"])
    st.caption(f"{values['seq_len']:,} frames of {values['division'] or model.division} of a whole note")
    values["tempo_bpm"] = control(FIELDS["tempo_bpm"], place, own.get("tempo_bpm", TEMPO_BPM))
with right:
    values["sampler"] = control(FIELDS["sampler"], "compose")
    names = ("temperature", "top_p", "fullness") if values["sampler"] == "sample" else ("threshold",)
    values |= {name: control(FIELDS[name], "compose") for name in names}
    if values["sampler"] == "sample" and model.automatic:
        st.caption(model.automatic)
    values["program"] = choose_program(place, own.get("program", 0))
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
    shown = st.container()
    how = offer_humanising()
    song = humanised(piece.song, *how, options["seed"]) if how else piece.song
    with shown:
        player(song, f"{model.id}-{options['seed']}{'-humanised' if how else ''}", "compose")
    if model.attends:
        show_looks(request, piece)
