"""Runs: every training there is, in a table; one in full, several compared; capsules, the bin, and room on disk."""

import streamlit as st

from deepmusician.runs import broken_runs, list_runs, open_run
from ui import router
from ui.next_step import next_step
from ui.page import opening
from ui.run_view import do, one, put_into_bin, say_what_happened, several
from ui.runs_table import runs_table, shown_names
from ui.upkeep import bin_view, import_capsule, room

opening("Runs", "Every training you made: find one, compare some, keep the good ones and pass them on.")
say_what_happened()

# ---- guard
shown = shown_names()
for broken in broken_runs():
    left, right = st.columns([4, 1], vertical_alignment="center")
    said = f"The folder {broken.name} among the runs holds no options that can be read."
    left.warning(said, icon=":material/broken_image:")
    right.button("Delete", key=f"runs.broken.{broken.name}", icon=":material/delete:",
                 on_click=do(lambda broken=broken: put_into_bin(broken)))  # fmt: skip
if not any(run.is_readable() for run in list_runs()):
    st.info("There is no training yet. Train a model, or import a capsule below.", icon=":material/school:")
    st.page_link(router.TRAIN, label="Train a model", icon=":material/arrow_forward:")
else:
    runs_table(shown)

# ---- result
runs = [run for run in map(open_run, shown) if run.is_readable()]
if len(runs) == 1:
    one(runs[0])
elif runs:
    several(runs)

st.divider()
import_capsule()
bin_view()
room()
next_step(router.TRAIN)  # a run is followed by what follows training
