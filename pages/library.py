"""Library: bring music in, see what became of every file and track and why, decide otherwise, listen."""

import streamlit as st

from deepmusician.options import TrainOptions
from ui import examined
from ui.collected_view import is_large, show_collection
from ui.doctor_view import begin_with, show_findings, show_glance, show_table, show_totals, show_undo, train_button
from ui.library_form import about_corpus, add_music, choose_data, title_of
from ui.page import opening, sentences
from ui.piece_view import show_piece
from ui.shelf_form import bring_back, manage
from ui.split_form import show_split
from ui.words import count

opening(
    "Library",
    "Bring in your own music or pick a corpus that is built in. Every file and every track is listed with what became "
    "of it and why, and one click decides otherwise; the files as they were read are never changed.",
)

# ---- form
add_music()
name = choose_data("Look at", key="library.data")
if name is None:
    st.info("Add music of your own above, or pick a corpus to look at.", icon=":material/library_music:")
    begin_with(TrainOptions.path)
    bring_back()
    st.stop()
about_corpus(name)

# ---- result
if is_large(name):
    with sentences():
        show_collection(name)
        train_button(name, f"Train on {title_of(name)}", "library.train", type="primary", icon=":material/school:")
    manage(name)
    bring_back()
    st.stop()
seen = None
with sentences():
    seen = examined.examined(name)
if seen is None:
    manage(name)
    bring_back()
    st.stop()
show_totals(seen)
show_undo(seen)
show_findings(seen)
used = [report for report in seen.reports if report.is_in]
if not used:
    st.info("Nothing is taken in, so there is nothing to train on: take a file in below.", icon=":material/add_circle:")

st.subheader("Every file", anchor=False)
show_glance(seen)
shown = show_table(seen)
show_piece(seen, shown)

st.divider()
show_split(seen)
manage(name)
bring_back()
if used:
    st.markdown(f"**Next:** train a model on {count(len(used), 'piece')}.")
    train_button(name, f"Train on {title_of(name)}", "library.train", type="primary", icon=":material/school:")
