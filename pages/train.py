"""Train: choose a recipe, what to learn from and how, watch it learn, stop it, go on."""

import streamlit as st

from deepmusician.library import source_of
from deepmusician.options import TrainOptions
from deepmusician.recipes import recipe_options
from deepmusician.runs import start_run
from ui import cached, figures
from ui.library_form import choose_several
from ui.live import choose_run, watch
from ui.options_form import changed, choose_recipe, control, group, idle
from ui.page import opening
from ui.words import focal_sentence

MORE = {"music": "Music", "model": "Network", "training": "Learning", "machine": "Machine"}

opening("Train", "Choose a recipe and what to learn from, press start, and watch. It goes on if you close this page.")

# ---- a run: the one in the address, else the one at work
shown = choose_run()
if shown:
    watch(shown)
    st.stop()

# ---- form
left, right = st.columns(2, gap="large")
with left:
    recipe = choose_recipe("train.recipe")
start = recipe_options(recipe.name)
form = "train" if recipe.name == TrainOptions.recipe else f"train.{recipe.name}"  # what was set stays with its recipe
values = {"recipe": recipe.name}
with right:
    names = choose_several("Learn from", key="train.data", default=TrainOptions.path)
    for field in group(TrainOptions, "basic", skip=("path", "recipe")):
        values[field.name] = control(field, form, getattr(start, field.name))

st.subheader("What it minimises", anchor=False)
sliders, picture = st.columns(2, gap="large", vertical_alignment="center")
with sliders:
    values |= {f.name: control(f, form, getattr(start, f.name)) for f in group(TrainOptions, "loss")}
with picture:
    chosen = values["loss"], values["alpha"], values["gamma"]
    pictures = cached.focal_pictures(*chosen, figures.dark())
    figures.show("Loss of a key against the probability given to the truth", *pictures)
    st.markdown(focal_sentence(*chosen))

with st.expander("More options", icon=":material/tune:"):
    for tab, name in zip(st.tabs(list(MORE.values())), MORE, strict=True):
        columns = tab.columns(2, gap="large")
        for i, field in enumerate(group(TrainOptions, name)):
            where, begin = ("train" if name == "machine" else form), getattr(start, field.name)
            with columns[i % 2]:
                values[field.name] = control(field, where, begin, disabled=idle(field.name, values))

if differences := changed(start, values):
    st.caption(f"Changed from the recipe: {differences}.")
name = st.text_input("Name of this training", placeholder="chosen for you where this is empty", max_chars=80)

# ---- result
if st.button("Start training", type="primary", icon=":material/play_arrow:"):
    run = start_run(TrainOptions(**values, path="|".join(map(source_of, names))), name.strip() or None)
    st.query_params["run"] = run.name
    st.rerun()
