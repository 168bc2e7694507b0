"""Judge: how a model's music compares with human music, whether a piece is new, and what the model expected."""

import streamlit as st

from ui import judge_ears as ears
from ui import judge_form as form
from ui import judge_piece as piece
from ui import router
from ui.compose_form import choose_model
from ui.next_step import next_step
from ui.page import opening, sentences

opening("Judge", "Is it like human music, and is it new? Judges that show what human music reaches beside the model.")

# ---- guard
model = choose_model()
if model is None:
    st.info("There is no trained model yet. Train one first; then it is judged here.", icon=":material/school:")
    st.page_link(router.TRAIN, label="Train a model", icon=":material/arrow_forward:")
    st.stop()

# ---- the model
st.subheader("The model beside human music", anchor=False)
with sentences():
    report = form.report_of(model)
    if report:
        form.show_report(report)
    form.judge_here(model)

st.subheader("Human ears", anchor=False)
with sentences():
    ears.show(model)

# ---- one piece
st.subheader("One piece, bar by bar", anchor=False)
with sentences():
    song = piece.choose(model)
    if song is None:
        st.caption("Choose a piece.")
    else:
        new, expected = st.tabs(["Is it new?", "What did the model expect?"])
        with new, sentences():
            piece.show_originality(model, song)
        with expected, sentences():
            piece.show_surprise(model, song)

with st.expander("What these judges can and cannot say", icon=":material/info:"):
    st.markdown(form.LIMITS)
next_step(router.JUDGE)
