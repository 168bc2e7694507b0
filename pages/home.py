"""Home: what this is, music at one click, and the way through."""

import streamlit as st

from ui import cached, keys, router
from ui.models import Model, bundled_models, run_models
from ui.page import capital, opening
from ui.player import play, player

BARS = 16
STEPS = (
    (
        router.LIBRARY,
        "1. Upload",
        ":material/upload:",
        "Bring MIDI files, or pick a corpus that is built in.",
    ),
    (
        router.LIBRARY,
        "2. Look",
        ":material/visibility:",
        "See what was read, as notes on a roll, and listen to it.",
    ),
    (
        router.TRAIN,
        "3. Train",
        ":material/school:",
        "Watch a small network learn it, in minutes, on this computer.",
    ),
    (
        router.COMPOSE,
        "4. Compose",
        ":material/music_note:",
        "Hear what it writes, and take it home as MIDI or sound.",
    ),
)


def next_piece(model: Model) -> None:
    """Ask for a piece by this model: another one where one of its pieces is shown already."""
    last = keys.HOME_PIECE.get()
    keys.HOME_PIECE.set((model.id, last[1] + 1 if last and last[0] == model.id else 1))


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

asked = keys.HOME_PIECE.get()
if asked and asked[0] in models:
    model, seed = models[asked[0]], asked[1]
    with st.spinner(f"{model.title} is composing …"):
        piece = cached.composition(
            str(model.path), model.version, {"seq_len": model.frames(BARS), "seed": seed, **model.composing}, None
        )
    for warning in piece.warnings:
        st.warning(capital(warning), icon=":material/hearing:")
    if clicked:
        play(piece.song)
    player(piece.song, f"{model.id}-{seed}", "home")
    st.caption(f"{BARS} new bars, seed {seed}. Click again for another piece.")

st.subheader("Make your own", anchor=False)
for column, (page, title, icon, text) in zip(st.columns(4), STEPS, strict=True):
    with column.container(border=True, height="stretch"):
        st.page_link(page, label=f"**{title}**", icon=icon)
        st.markdown(text)
