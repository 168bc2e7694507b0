"""Capsules in, the bin, and how much room the workspace takes."""

from __future__ import annotations

import time

import streamlit as st

from deepmusician import shelf
from deepmusician.keeping import list_deleted, restore
from deepmusician.limits import current
from deepmusician.quota import used_mb
from deepmusician.workspace import alone
from ui import keys
from ui.library_form import release
from ui.page import plain, sentences
from ui.run_view import do
from ui.runs_table import show
from ui.words import count

KINDS = {
    "bin": "deleted runs and data sets, for good",
    "cache": "converted corpora; they are converted again when they are used",
    "milestones": "models of single epochs, but for those you chose",
    "leftovers": "what killed processes left half written",
    "unnamed": "runs that nobody named, into the bin",
}


def import_capsule() -> None:
    """A run out of a capsule; it is checked before anything of it is kept."""
    with st.expander("Import a capsule", icon=":material/unarchive:"):
        key = f"runs.capsule.{keys.UPLOADS.get()}"
        file = st.file_uploader("A run that was exported as one zip", type=["zip"], key=key)
        if st.button("Import", key="runs.import", disabled=file is None, icon=":material/unarchive:"):
            from deepmusician.capsule import import_run

            with sentences():
                with st.spinner("Checking it …"):
                    run = import_run(file.getvalue())
                release([file])
                show([run.name])
                st.rerun()


def bin_view() -> None:
    """The deleted runs and data sets, each with the way back; "Room on disk" empties it of both."""
    deleted, data_sets = list_deleted(), shelf.list_deleted()
    if not deleted and not data_sets:
        return
    held = [count(n, what) for n, what in ((len(deleted), "run"), (len(data_sets), "data set")) if n]
    with st.expander(f"The bin: {' and '.join(held)}", icon=":material/delete:"):
        for item in deleted:
            left, right = st.columns([4, 1], vertical_alignment="center")
            left.markdown(f"{item.name}, deleted {time.strftime('%Y-%m-%d %H:%M', time.localtime(item.time))}")
            right.button("Restore", key=f"runs.restore.{item.path.name}", icon=":material/restore_from_trash:",
                         on_click=do(lambda item=item: show([restore(item.path.name).name])))  # fmt: skip
        for name in data_sets:
            left, right = st.columns([4, 1], vertical_alignment="center")
            left.markdown(f"{plain(name)}, a data set")
            right.button("Restore", key=f"runs.restore.data.{name}", icon=":material/restore_from_trash:",
                         on_click=do(lambda name=name: shelf.restore_data_set(name)))  # fmt: skip


def room() -> None:
    """What the workspace holds, and the clear-out."""
    box = st.expander("Room on disk", icon=":material/hard_drive:", key="runs.room", on_change="rerun")
    if not box.open:
        return
    from deepmusician.housekeeping import clear, usage

    with box:
        shares = usage()
        st.dataframe(
            [
                {"What": s.title, "How many": s.count, "MB": s.bytes / 1e6, "Can be freed (MB)": s.clearable / 1e6}
                for s in shares
            ],
            hide_index=True,
            column_config={k: st.column_config.NumberColumn(k, format="%.1f") for k in ("MB", "Can be freed (MB)")},
        )  # fmt: skip
        chosen = st.pills("Clear out", list(KINDS), selection_mode="multi", key="runs.clear",
                          help="; ".join(f"{k}: {v}" for k, v in KINDS.items()))  # fmt: skip
        if not alone():
            st.caption(f"Each person may keep {current().person_mb:,.0f} MB here; you keep {used_mb():,.0f}.")
        st.caption("Never touched: what is named, starred, annotated or at work, and what another run began with.")
        if st.button("Clear out", key="runs.clear.now", disabled=not chosen, icon=":material/mop:"):
            st.toast(f"{clear(chosen) / 1e6:.1f} MB freed.")
