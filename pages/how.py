"""How it works: five lessons with pictures that move, on real music and real models."""

import streamlit as st

from ui import lessons, model_lessons, router
from ui.next_step import next_step
from ui.page import opening

LESSONS = {
    "Piano roll": ("What a network reads", lessons.piano_roll),
    "Silence": ("Silence is nearly always right", lessons.silence),
    "Focal loss": ("How the notes come back", lessons.focal_loss),
    "Teacher forcing": ("Learning with a teacher, playing alone", model_lessons.teacher_forcing),
    "Temperature": ("Safer or bolder", model_lessons.temperature),
}
NAMES = list(LESSONS)


def turn_to(name: str) -> None:
    """Show another lesson."""
    st.session_state["lesson"] = name


opening(
    "How it works",
    "Five short lessons. Move the controls: all you see is computed from real music and real models.",
)

name = st.segmented_control(
    "Lesson", NAMES, default=NAMES[0], required=True, key="lesson", bind="query-params", label_visibility="collapsed"
)
title, show = LESSONS[name]
st.subheader(f"{NAMES.index(name) + 1}. {title}", anchor=False)
show()

after = NAMES[NAMES.index(name) + 1 :]
if after:
    st.button(
        f"Next: {after[0]}", icon=":material/arrow_forward:", type="primary", on_click=turn_to, args=(after[0],)
    )
else:
    next_step(router.HOW)
