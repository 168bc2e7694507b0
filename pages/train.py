"""Train: choose a recipe, what to learn from and for how long, watch it learn, stop it, go on."""

import streamlit as st

from deepmusician.budget import start_promised
from deepmusician.lab import new_lab, start_lab
from deepmusician.library import source_of
from deepmusician.options import TrainOptions
from deepmusician.recipes import recipe_options
from ui import cached, figures, router
from ui.library_form import choose_several
from ui.live import choose_run, watch
from ui.next_step import next_step
from ui.options_form import changed, choose_recipe, group, idle, marked, put_all_back, remembered
from ui.page import opening, sentences
from ui.time_form import time_box
from ui.words import focal_sentence

SIMPLE, ALL = "Five controls", "Every option"
EPOCHS, MINUTES = "a number of epochs", "a number of minutes"
MORE = {"music": "Music", "model": "Network", "training": "Learning", "machine": "Machine"}

opening("Train", "Choose a recipe and what to learn from, press start, and watch. It goes on if you close this page.")

# ---- a run: the one in the address, else the one at work
shown = choose_run()
if shown:
    watch(shown)
    next_step(router.TRAIN)
    st.stop()

# ---- form: the recipe first, all else begins as it says
everything = st.segmented_control(
    "Show", (SIMPLE, ALL), default=SIMPLE, required=True, key="train.view", persist_state="session"
) == ALL
fields = {f.name: f for name in ("basic", "loss", *MORE) for f in group(TrainOptions, name)}
left, right = st.columns(2, gap="large")
with left:
    recipe = choose_recipe("train.recipe")
start = recipe_options(recipe.name)
form = "train" if recipe.name == TrainOptions.recipe else f"train.{recipe.name}"  # what was set stays with its recipe
values = {name: remembered(f, form, start) for name, f in fields.items() if name not in ("path", "recipe")}
values["recipe"] = recipe.name
with right:
    names = choose_several("Learn from", key="train.data", default=TrainOptions.path)
    length = st.segmented_control(
        "How long", (EPOCHS, MINUTES), default=EPOCHS, required=True, key="train.length", persist_state="session",
        help="An epoch is once through the music. Minutes are measured first; epochs and sizes are chosen to fit.",
    )  # fmt: skip
    minutes = None
    if length == MINUTES:
        stops = (1, 2, 3, 5, 10, 15, 20, 30, 45, 60, 120, 240, 480)
        minutes = float(st.select_slider("Minutes", stops, 5, key="train.minutes", persist_state="session"))
    else:
        values["n_epochs"] = marked(fields["n_epochs"], form, start)
    if not everything:
        values["hidden_size"] = marked(fields["hidden_size"], form, start)

st.subheader("What it minimises", anchor=False)
sliders, picture = st.columns(2, gap="large")
with sliders:
    values["loss"] = marked(fields["loss"], form, start)
    for name in ("gamma", "alpha") if everything else ():
        values[name] = marked(fields[name], form, start, disabled=values["loss"] == "bce")
chosen = values["loss"], values["alpha"], values["gamma"]
with sliders, sentences():
    share = cached.sounding_share(names, values["division"], values["voices"], values["remove_zeros"])
    st.markdown(focal_sentence(*chosen, share))
    with picture:
        pictures = cached.focal_pictures(*chosen, share, figures.dark())
        figures.show("Loss of a key against the probability given to the truth, and who makes it up", *pictures)

if everything:
    for tab, name in zip(st.tabs(list(MORE.values())), MORE, strict=True):
        columns = tab.columns(2, gap="large")
        for i, field in enumerate(group(TrainOptions, name)):
            with columns[i % 2]:
                values[field.name] = marked(field, form, start, disabled=idle(field.name, values))
if differences := changed(start, values):
    st.caption(f"Changed from the recipe: {'; '.join(differences.values())}.")
    put_all_back(form, start, list(differences))
name = st.text_input("Name of this training", placeholder="chosen for you where this is empty", max_chars=80)

# ---- result
with sentences():
    options = TrainOptions(**values, path="|".join(map(source_of, names)))
    time_box(options, minutes)
    with st.container(horizontal=True):
        begin = st.button("Start training", type="primary", icon=":material/play_arrow:")
        compare = st.button(
            "Compare the losses", icon=":material/science:",
            help="Three trainings one after the other, under bce, focal and focal+, alike in all else. A number of "
            "minutes is for all three.",
        )  # fmt: skip
    if begin:
        run = start_promised(options, name.strip() or None, minutes)
    elif compare:
        run = next(iter(start_lab(new_lab(options, name.strip() or None, minutes)).runs().values()))
    if begin or compare:
        st.query_params["run"] = run.name
        st.rerun()
next_step(router.TRAIN)
