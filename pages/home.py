"""Home: what this is, music at one click, and the way through."""

import streamlit as st

from ui import cached, keys, router, warm
from ui.models import Model, bundled_models, run_models
from ui.next_step import way
from ui.page import opening, sentence
from ui.player import play, player

BARS = 16
SEEDS = 2**31


def next_piece(model: Model) -> None:
    """Ask for a piece by this model: another one where one of its pieces is shown already."""
    last = keys.HOME_PIECE.get()
    keys.HOME_PIECE.set((model.id, last[1] + 1 if last and last[0] == model.id else 1))
    st.query_params.clear()  # what was asked for by a shared link


def asked_for() -> tuple[str, int] | None:
    """The model and seed of the piece that is shown: those in the address, so that a link can be shared."""
    model, seed = st.query_params.get("piece"), st.query_params.get("seed", "")
    if model and seed.isdecimal() and int(seed) < SEEDS:
        keys.HOME_PIECE.set((model, int(seed)))
    elif last := keys.HOME_PIECE.get():
        st.query_params.update({"piece": last[0], "seed": str(last[1])})
    return keys.HOME_PIECE.get()


opening(
    "Deep Musician",
    "Train a small neural network on your own music, watch it learn, and hear what it composes. Everything happens "
    "on this computer.",
)

models = {m.id: m for m in bundled_models() or run_models()[:2]}
clicked = False
st.subheader("Hear one", anchor=False)
if models:
    with st.container(horizontal=True):
        for model in models.values():
            clicked |= st.button(
                f"Play a piece after {model.title}", key=f"home.{model.id}", icon=":material/play_arrow:",
                type="primary", on_click=next_piece, args=(model,),
            )  # fmt: skip
else:
    st.info(
        "No trained model is here yet. Train one on a built-in corpus: it takes a few minutes, and then it plays here.",
        icon=":material/school:",
    )
    st.page_link(router.TRAIN, label="Train the first model", icon=":material/arrow_forward:")

asked = asked_for()
if asked and asked[0] in models:
    model, seed = models[asked[0]], asked[1]
    with warm.composing(f"{model.title} is composing …"):
        piece = cached.composition(
            str(model.path), model.version, {"seq_len": model.frames(BARS), "seed": seed, **model.composing}, None
        )
    for warning in piece.warnings:
        st.warning(sentence(warning), icon=":material/hearing:")
    if clicked:
        play(piece.song)
    player(piece.song, f"{model.id}-{seed}", "home")
    st.caption(f"{BARS} new bars, seed {seed}. Click again for another piece.")

st.subheader("Make your own", anchor=False)
steps = way()
for i, (column, step) in enumerate(zip(st.columns(len(steps)), steps, strict=True), 1):
    with column.container(border=True, height="stretch"):
        st.page_link(step.page, label=f"**{i}. {step.title}**", icon=step.icon)
        st.markdown(step.text)
st.page_link(router.HOW, label="How does it work? Five short lessons", icon=":material/lightbulb:")
