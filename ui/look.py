"""What a model with attention looked at while it composed: one picture a window, drawn when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from ui import cached, figures
from ui.page import sentences
from ui.words import count

if TYPE_CHECKING:
    from deepmusician.generation import Composition


@st.fragment
def show_looks(request: dict[str, Any], piece: Composition) -> None:
    """An expander with the attention in each window of the piece that was composed for `request`."""
    box = st.expander("What it looked at", icon=":material/visibility:", key="compose.looks", on_change="rerun")
    if not box.open:
        return
    with box, sentences():
        model = request["model"]
        with st.spinner("Looking over its shoulder …"):
            looks = cached.looks(
                str(model.path), model.version, request["options"], request["prime"], piece.roll
            )
        if not looks:
            frames = model.card["model"]["seq_len"]
            st.caption(f"It looks back from its second window on; a window is {count(frames, 'frame')}. Compose more.")
            return
        frame = float(4 * piece.roll.division)  # in beats
        names = [_beats(look.begin * frame, len(look.weights) * frame) for look in looks]
        chosen = len(looks) - 1
        if len(looks) > 1:
            chosen = st.select_slider(
                "Window (beats)", range(len(looks)), chosen, format_func=names.__getitem__,
                key=f"compose.look.{cached.fingerprint(piece.song)}",
            )  # fmt: skip
        pictures = cached.look_pictures(looks[chosen], frame, figures.dark())
        figures.show(f"How much beats {names[chosen]} looked at each frame of the window before", *pictures)
        st.caption(
            "Each row is a frame as it was composed, each column a frame of the window before. The stronger the "
            "colour, the more the model looked there; a row of one colour looked everywhere alike."
        )


def _beats(begin: float, length: float) -> str:
    return f"{begin:g}–{begin + length:g}"
