"""A run as it is now: progress, curves, warnings, and what can be done with it. All of it is read from disk."""

from __future__ import annotations

from typing import Any

import streamlit as st

from deepmusician.plots import curve_names
from deepmusician.runs import Run, Status, list_runs
from ui import cached, figures, router
from ui.page import capital, sentences
from ui.words import count, duration

EVERY_SECONDS = 2.0
NEW = "new"  # in the address: no run, but the form for one
_SHOWN = "train.shown"
_ASKED = "train.asked"  # (button, run) pressed and not yet done
SCORES = (  # of a report: name, title, form, help
    ("nll", "Surprise", ".2f", "nats a frame on held-out songs; lower is better"),
    ("f1", "F1", ".2f", "of the sounding keys on held-out songs; 1 is perfect"),
)
CURVES = {"loss": "loss", "nll": "surprise", "density": "density"}
COLOURS = {"finished": "green", "failed": "red", "interrupted": "orange", "stopped": "orange"}


def choose_run() -> Run | None:
    """The run in the address, else the one at work; None for a new training. A choice among all where there are any."""
    runs = {run.name: run for run in list_runs()}
    wanted = st.query_params.get("run") or next((n for n, run in runs.items() if run.status().live), NEW)
    if wanted not in (NEW, *runs):
        st.warning(
            f"There is no training called {wanted}; here are the ones there are.",
            icon=":material/search_off:",
        )
        wanted = NEW
    if not runs:
        return None
    st.session_state[_SHOWN] = wanted
    st.selectbox(
        "Training to show", (NEW, *runs), key=_SHOWN, on_change=_show_chosen,
        format_func=lambda name: "A new training" if name == NEW else name,
    )  # fmt: skip
    st.query_params["run"] = wanted
    return runs.get(wanted)


def _show_chosen() -> None:
    st.query_params["run"] = st.session_state[_SHOWN]


def watch(run: Run) -> None:
    """Show a run, again and again while it is at work; the page is run anew when that ends."""
    live = run.status().live
    st.fragment(_view, run_every=EVERY_SECONDS if live else None)(run, live)


def _view(run: Run, was_live: bool) -> None:
    with sentences():
        _do_asked(run)
        status = run.status()
        if was_live and not status.live:
            st.rerun()  # the whole page: buttons change, and asking again stops
        _headline(run, status)
        _progress(status)
        _numbers(run, status)
        for warning in run.warnings():
            st.warning(capital(warning), icon=":material/hearing:")
        _curves(run)
        _actions(run, status)


def _headline(run: Run, status: Status) -> None:
    st.markdown(f"#### {run.name}  :{COLOURS.get(status.state, 'blue')}-badge[{status.state}]")
    if status.message and status.state != "training":  # the progress bar says it better
        (st.error if status.state == "failed" else st.markdown)(capital(status.message))


def _progress(status: Status) -> None:
    if not status.n_epochs:
        return
    done = min(
        (status.epoch + (status.batch / status.n_batches if status.n_batches else 0)) / status.n_epochs, 1.0
    )
    text = f"{status.epoch} of {count(status.n_epochs, 'epoch')} done"
    if status.state == "training":
        text = f"Epoch {status.epoch + 1} of {status.n_epochs}, step {status.batch} of {status.n_batches}"
    st.progress(done, text)


def _numbers(run: Run, status: Status) -> None:
    history = run.metrics()
    last = (history[-1].get("valid") or history[-1].get("train") or {}) if history else {}
    cells: list[tuple[str, str, str]] = []
    if status.live:
        cells.append(("Time left", duration(status.seconds_left), "from the pace of the steps so far"))
    if status.live and status.frames_per_second:
        cells.append(("Frames a second", f"{status.frames_per_second:,.0f}", "how fast it trains"))
    cells += [(title, f"{last[name]:{form}}", about) for name, title, form, about in SCORES if name in last]
    if "density" in last:
        about = f"keys sounding a frame; the songs have {last['data_density']:.1f}"
        cells.append(("Density", f"{last['density']:.1f}", about))
    with st.container(horizontal=True, gap="large"):
        for name, value, about in cells:
            st.metric(name, value, help=about, width="content")


def _curves(run: Run) -> None:
    history = run.metrics()
    if not history:
        st.caption("The curves begin after the first epoch.")
        return
    baselines, dark = run.baselines(), figures.dark()
    wide, narrow = (cached.curves(history, baselines, slim, dark) for slim in (False, True))
    names = [CURVES[name] for name in curve_names(history)]
    figures.show(capital(f"{' and '.join(names)} over {count(len(history), 'epoch')}"), wide, narrow)


STOP, RESUME, COMPOSE, HUMANISE, ANOTHER = "Stop", "Resume", "Compose with it", "Humanise with it", "Another training"


def _actions(run: Run, status: Status) -> None:
    """What can be done with a run: stop it, resume it, compose or humanise with it, leave it for another."""
    with st.container(horizontal=True):
        if status.live:
            _button(STOP, ":material/stop:", run, disabled=run.stop_asked())
        if status.state in ("stopped", "interrupted", "failed"):
            _button(RESUME, ":material/play_arrow:", run)
        if run.checkpoint():
            composes = run.options().arrangement != "expression"
            _button(COMPOSE if composes else HUMANISE, ":material/music_note:", run, type="primary")
        _button(ANOTHER, ":material/add:", run)


def _button(label: str, icon: str, run: Run, **look: Any) -> None:
    """A button that only takes note of the click: a run of the page may be cut short by the next, a note stays."""
    st.button(label, icon=icon, key=f"{label}.{run.name}", on_click=_ask, args=(label, run.name), **look)


def _ask(label: str, name: str) -> None:
    st.session_state[_ASKED] = (label, name)


def _do_asked(run: Run) -> None:
    """Do what a button was pressed for, before anything is drawn."""
    if st.session_state.get(_ASKED, ("", ""))[1] != run.name:
        return
    label, _ = st.session_state.pop(_ASKED)
    if label == STOP:
        run.stop()
        st.toast("It saves its work and ends after the step under way.")
    elif label == RESUME:
        run.resume()
        st.rerun()
    elif label == COMPOSE:
        st.switch_page(router.COMPOSE, query_params={"model": f"run-{run.name}"})
    elif label == HUMANISE:
        st.switch_page(router.COMPOSE, query_params={"expression": f"run-{run.name}"})
    elif label == ANOTHER:
        st.query_params["run"] = NEW
        st.rerun()
