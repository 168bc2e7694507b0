"""Train: choose what to learn from and how, watch it learn, stop it, go on."""

import streamlit as st

from deepmusician.library import source_of
from deepmusician.options import TrainOptions
from deepmusician.runs import start_run
from ui import cached, figures
from ui.library_form import choose_data
from ui.live import choose_run, watch
from ui.options_form import control, group
from ui.page import opening
from ui.words import focal_sentence

MORE = {"music": "Music", "model": "Network", "training": "Learning", "machine": "Machine"}

opening("Train", "Choose what to learn from, press start, and watch. It goes on if you close this page.")

# ---- a run: the one in the address, else the one at work
shown = choose_run()
if shown:
    watch(shown)
    st.stop()

# ---- form
values = {"path": choose_data("Learn from", key="train.data", default=TrainOptions.path)}
values |= {f.name: control(f, "train") for f in group(TrainOptions, "basic", skip=("path",))}

st.subheader("What it minimises", anchor=False)
sliders, picture = st.columns(2, gap="large", vertical_alignment="center")
with sliders:
    values |= {f.name: control(f, "train") for f in group(TrainOptions, "loss")}
with picture:
    chosen = values["loss"], values["alpha"], values["gamma"]
    pictures = cached.focal_pictures(*chosen, figures.dark())
    figures.show("Loss of a key against the probability given to the truth", *pictures)
    st.markdown(focal_sentence(*chosen))

with st.expander("More options", icon=":material/tune:"):
    for tab, name in zip(st.tabs(list(MORE.values())), MORE, strict=True):
        for column, half in zip(tab.columns(2, gap="large"), (0, 1), strict=True):
            with column:
                values |= {f.name: control(f, "train") for f in group(TrainOptions, name)[half::2]}

name = st.text_input("Name of this training", placeholder="chosen for you where this is empty", max_chars=80)

# ---- result
if st.button("Start training", type="primary", icon=":material/play_arrow:"):
    values["path"] = source_of(values["path"])
    run = start_run(TrainOptions(**values), name.strip() or None)
    st.query_params["run"] = run.name
    st.rerun()
