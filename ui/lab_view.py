"""A loss lab on a page: how the losses compare, their curves together, and the newest piece of each to listen to."""

from __future__ import annotations

import streamlit as st

from deepmusician.lab import COLUMNS, Lab, compare, lab_of, start_lab
from deepmusician.runs import Run
from ui import cached, figures
from ui.page import sentences
from ui.player import players


def show_lab(run: Run) -> None:
    """The lab that a run belongs to, if it does."""
    lab = lab_of(run)
    if lab is None:
        return
    st.subheader(f"Loss lab: {lab.name}", anchor=False)
    st.caption("The same music, seed and epochs under each loss. Rare notes: the third of the keys heard least.")
    _table(lab)
    histories = {loss: history for loss, r in lab.runs().items() if (history := r.metrics())}
    if histories:
        dark = figures.dark()
        if any(r.status().live for r in lab.runs().values()):
            pictures = figures.newest(
                f"lab {run.path.parent} {lab.name} {dark}", [len(history) for history in histories.values()],
                lambda: tuple(cached.draw_lab(histories, slim, dark) for slim in (False, True)),
            )  # fmt: skip
        else:
            pictures = tuple(cached.lab_curves(histories, slim, dark) for slim in (False, True))
        if pictures:
            figures.show(f"Surprise, recall of rare notes and density under {', '.join(histories)}", *pictures)
    waiting = [r for r in lab.runs().values() if r.status().state in ("stopped", "interrupted", "failed")]
    if waiting and st.button("Go on with the lab", icon=":material/play_arrow:", key=f"lab.{lab.name}"):
        with sentences():
            start_lab(lab)
            st.rerun()


def _table(lab: Lab) -> None:
    rows = [
        {"loss": row["loss"], "run": f"/train?run={row['run']}", "is": row["state"]}
        | {heading: row.get(key) for key, heading, _ in COLUMNS}
        for row in compare(lab)
    ]
    forms = {heading: st.column_config.NumberColumn(format=f"%{form}") for _, heading, form in COLUMNS}
    link = st.column_config.LinkColumn(display_text=r"run=(.*)")
    st.dataframe(rows, hide_index=True, placeholder="–", column_config={**forms, "run": link})


def listen(run: Run) -> None:
    """The newest piece of each loss side by side; each begins with the same start and the same random numbers."""
    lab = lab_of(run)
    pieces = [(loss, r.samples()[-1]) for loss, r in lab.runs().items() if r.samples()] if lab else []
    if len(pieces) < 2:
        return
    st.markdown("**What they compose now**, from the same start and the same random numbers:")
    songs = [(loss, cached.piece(str(path), path.stat().st_mtime)) for loss, path in pieces]
    players(songs, key=f"lab.{lab.name}")
