"""One run, all about it and what can be done with it; and several side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import streamlit as st

from deepmusician.branching import FREE, SHAPING, lineage
from deepmusician.errors import DeepMusicianError
from deepmusician.keeping import annotate, best_scores, delete, differences, rename, restore, star
from deepmusician.milestones import timeline
from deepmusician.options import TrainOptions
from deepmusician.plurals import count
from deepmusician.recipes import read_recipe, recipe_options
from deepmusician.runs import Run, start_run
from ui import cached, figures, keys, router
from ui.hear import hear, song_of
from ui.live import COLOURS
from ui.options_form import control, group, label, said
from ui.page import sentence
from ui.player import players
from ui.runs_table import show

PROBLEM, UNDO = keys.Key("runs.problem", ""), keys.Key("runs.undo", "")


def do(action: Callable[[], Any]) -> Callable[[], None]:
    """A click's doing; what goes wrong is kept, to be said on the page that follows."""

    def done() -> None:
        try:
            action()
        except DeepMusicianError as error:
            PROBLEM.set(str(error))

    return done


def say_what_happened() -> None:
    """What the last click could not do, and the way back from a deletion."""
    if problem := PROBLEM.take():
        st.error(sentence(problem), icon=":material/error:")
    if name := UNDO.get():
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"{name} lies in the bin.")
            st.button("Undo", icon=":material/undo:", on_click=do(_undo), key="runs.undo.button")


def _undo() -> None:
    show([restore(UNDO.take()).name])


def put_into_bin(run: Run) -> None:
    """Delete a run and offer it back."""
    UNDO.set(delete(run).name)
    show([])


# ---- one


def one(run: Run) -> None:
    """All about one run."""
    status, about, options = run.status(), run.about(), run.options()
    st.markdown(f"#### {run.name}  :{COLOURS.get(status.state, 'blue')}-badge[{status.state}]")
    if status.message:
        (st.error if status.state == "failed" else st.markdown)(sentence(status.message))
    _facts(run, options)
    _actions(run, status.live, about.starred)
    note = st.text_area(
        "Note", about.note, key=f"runs.note.{run.name}", max_chars=10_000, height=80, placeholder="what is it like?"
    )
    if note.strip() != about.note:
        annotate(run, note)
    hear(run, "runs")
    if run.model() and not status.live:
        _branch_form(run, options)


def _facts(run: Run, options: TrainOptions) -> None:
    scores = best_scores(run)
    cells = (("nll", "Surprise", ".2f"), ("f1", "F1", ".2f"), ("density", "Density", ".1f"))
    with st.container(horizontal=True, gap="large"):
        for name, title, form in cells:
            if scores.get(name) is not None:
                st.metric(title, f"{scores[name]:{form}}", width="content")
    if history := run.metrics():
        pictures = [cached.curves(history, run.baselines(), slim, figures.dark()) for slim in (False, True)]
        figures.show(f"Curves of {run.name} over {count(len(history), 'epoch')}", *pictures)
    start = recipe_options(options.recipe)
    fields = [f for f in dataclasses.fields(options) if f.name not in ("path", "recipe", "start_from")]
    own = [(f, value) for f in fields if (value := getattr(options, f.name)) != getattr(start, f.name)]
    changed = [f"{label(f.name)}: {said(f, value)}" for f, value in own]
    title = read_recipe(options.recipe).title
    st.caption(f"Recipe “{title}”, " + (f"but {'; '.join(changed)}." if changed else "as it is."))
    if began := lineage(options):
        st.caption(f"It began with {', which began with '.join(began)}.")


def _actions(run: Run, live: bool, starred: bool) -> None:
    place = f"runs.{run.name}"
    with st.container(horizontal=True):
        if run.model():
            composes = run.options().arrangement != "expression"
            if st.button("Compose with it" if composes else "Humanise with it", icon=":material/music_note:",
                         type="primary", key=f"{place}.compose"):  # fmt: skip
                query = {"model" if composes else "expression": f"run-{run.name}"}
                st.switch_page(router.COMPOSE, query_params=query)
        if st.button("Watch" if live else "Watch, stop or resume", icon=":material/monitoring:", key=f"{place}.watch"):
            st.switch_page(router.TRAIN, query_params={"run": run.name})
        st.button("Unstar" if starred else "Star", icon=":material/star:", key=f"{place}.star",
                  on_click=do(lambda: star(run, not starred)))  # fmt: skip
        with st.popover("Rename", icon=":material/edit:", disabled=live):
            st.text_input("New name", run.name, max_chars=80, key=f"{place}.name")
            st.button("Rename it", key=f"{place}.rename", on_click=do(lambda: _rename(run, f"{place}.name")))
        if run.model():
            st.download_button("Capsule", lambda: _capsule(run), f"{run.name}.capsule.zip", "application/zip",
                               key=f"{place}.export", icon=":material/archive:", on_click="ignore",
                               help="one zip: the model, the options, a hash of each song, the metrics and samples; "
                               "imported elsewhere it composes the same")  # fmt: skip
        st.button("Delete", icon=":material/delete:", disabled=live, key=f"{place}.delete",
                  on_click=do(lambda: put_into_bin(run)))  # fmt: skip


def _rename(run: Run, place: str) -> None:
    show([rename(run, st.session_state[place].strip()).name])


def _capsule(run: Run) -> bytes:
    from deepmusician.capsule import export_run

    return export_run(run)


def _branch_form(run: Run, options: TrainOptions) -> None:
    """Begin a new training with this run's weights; what shapes the network stays as it is."""
    fixed = {*SHAPING, *FREE[-1:], "path", "recipe", "start_from", "milestones"}
    with st.expander("Branch: train on from its weights, with other options", icon=":material/fork_right:"):
        kept = ["its model", *(str(m.epoch) for m in timeline(run) if m.model)]
        epoch = st.selectbox("Begin with", kept, format_func=lambda e: e if e == kept[0] else f"epoch {e}",
                             key=f"branch.{run.name}.epoch")  # fmt: skip
        values = dataclasses.asdict(options)
        for name in ("basic", "loss", "music", "training"):
            columns = st.columns(2, gap="large")
            for i, field in enumerate(f for f in group(TrainOptions, name) if f.name not in fixed):
                with columns[i % 2]:
                    values[field.name] = control(field, f"branch.{run.name}", getattr(options, field.name))
        name = st.text_input("Name of the branch", placeholder="chosen for you where this is empty", max_chars=80,
                             key=f"branch.{run.name}.name").strip()  # fmt: skip
        source = run.name if epoch == kept[0] else f"{run.name}@{epoch}"
        if st.button("Start the branch", type="primary", icon=":material/fork_right:", key=f"branch.{run.name}.start"):
            branch = start_run(TrainOptions(**values | {"start_from": source}), name or None)
            st.switch_page(router.TRAIN, query_params={"run": branch.name})


# ---- several


def several(runs: list[Run]) -> None:
    """Two or more runs: what differs, the curves together, the pieces in turn."""
    st.subheader(" · ".join(run.name for run in runs), anchor=False)
    rows = differences(runs)
    if rows:
        names = [run.name for run in runs]
        fields = {f.name: f for f in dataclasses.fields(TrainOptions)}
        words = {k: [said(fields[k], value) for value in row] for k, row in rows.items()}
        table = [{"Option": label(k)} | dict(zip(names, row, strict=True)) for k, row in words.items()]
        st.dataframe(table, hide_index=True)
    else:
        st.caption("Their options are all equal.")
    for name in ("nll", "density"):
        curves = {run.name: _points(run, name) for run in runs}
        if any(curves.values()):
            shown = {k: v for k, v in curves.items() if v}
            pictures = [_overlay(shown, name, slim, figures.dark()) for slim in (False, True)]
            figures.show(f"{name} of {', '.join(shown)} over their epochs", *pictures)
            if name == "density":
                st.caption("How many keys sounded in a frame of what each composed after the epoch.")
    last = {run.name: [m for m in timeline(run) if m.sample] for run in runs}
    pieces = [(name, song_of(_model_moment(moments))) for name, moments in last.items() if moments]
    if len(pieces) > 1:
        st.caption("The piece that each run's model composed, from the same start with the same random numbers.")
        players(pieces, f"runs.{'.'.join(last)}")


def _model_moment(moments: list) -> Any:
    for which in ("chosen", "best"):
        for moment in moments:
            if getattr(moment, which):
                return moment
    return moments[-1]


def _points(run: Run, name: str) -> list[tuple[int, float]]:
    """Its value after each epoch: of what was composed where it is a density, else of the held-out songs."""
    part = lambda r: r.get("composed") if name == "density" else r.get("valid") or r.get("train")  # noqa: E731
    reports = [(r["epoch"], (part(r) or {}).get(name)) for r in run.metrics() if "epoch" in r]
    return [(e, v) for e, v in reports if v is not None]


@st.cache_data(max_entries=60, show_spinner=False)
def _overlay(curves: dict[str, list[tuple[int, float]]], name: str, narrow: bool, dark: bool) -> bytes:
    from deepmusician.charts import plot_overlay

    def draw(axes: Any, palette: Any) -> None:
        plot_overlay(curves, name, axes[0], palette)

    return figures.draw_png(draw, *((4.2, 3.2) if narrow else (11, 3.2)), dark)
