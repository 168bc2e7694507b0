"""The time contract on a page: how long it will take before it starts, and how true that was afterwards."""

from __future__ import annotations

import os
import signal
import subprocess

import streamlit as st

from deepmusician.budget import fit, read_contract, start_measuring
from deepmusician.estimate import known, sentence
from deepmusician.options import TrainOptions, to_dict
from deepmusician.runs import Run, Status
from deepmusician.workspace import workspace
from ui.page import capital
from ui.words import duration


@st.cache_resource
def _measuring() -> dict[str, subprocess.Popen[str] | str]:
    """What is being measured on this server, so that a reload finds it again, or why it could not be."""
    return {}


def time_box(options: TrainOptions, minutes: float | None) -> None:
    """How long it will take, or what a budget will hold, once measured; a click measures, another one gives up."""
    mine = f"{workspace()} "
    asked = mine + repr((sorted(to_dict(options).items()), minutes))
    for other in [key for key in _measuring() if key != asked and key.startswith(mine)]:
        _give_up(other)  # what was asked for then is asked no more
    at_work = isinstance(_measuring().get(asked), subprocess.Popen)
    st.fragment(_view, run_every=1.0 if at_work else None)(options, minutes, asked)


def _view(options: TrainOptions, minutes: float | None, asked: str) -> None:
    state = _measuring().get(asked)
    ended = isinstance(state, subprocess.Popen) and state.poll() is not None
    said = _said(options, minutes)
    if ended:
        if said:
            _measuring().pop(asked, None)
        else:
            _measuring()[asked] = _reason(state)  # to be read until something is asked anew
        st.rerun()  # stop asking again
    if said:
        st.markdown(f":material/timer: {said}")
    elif isinstance(state, subprocess.Popen):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(":material/hourglass_top: Taking a few steps to see how long they take …")
            if st.button("Never mind", type="tertiary"):
                _give_up(asked)
                st.rerun()
    else:
        if state:
            st.error(state)
        if st.button("How long will it take?", icon=":material/timer:", help="A few real steps are taken to find out."):
            _measuring()[asked] = start_measuring(options, minutes)
            st.rerun()


def _reason(process: subprocess.Popen[str]) -> str:
    """Why a measuring that ended measured nothing, in its own words."""
    lines = (process.stderr.read() if process.stderr else "").strip().splitlines()
    return capital(lines[-1].removeprefix("deepmusician: ") if lines else "It could not be measured")


def _said(options: TrainOptions, minutes: float | None) -> str | None:
    """What was measured, in words; None where it was not."""
    words, chosen = "", options
    if minutes is not None:
        plan = fit(options, minutes, known)
        if plan is None:
            return None
        words, chosen = plan.words + " ", plan.options
    pace = known(chosen)
    return words + sentence(pace, chosen.n_epochs) if pace else None


def _give_up(asked: str) -> None:
    process = _measuring().pop(asked, None)
    if isinstance(process, subprocess.Popen) and process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)  # it leads a session of its own
        process.wait()


def how_it_kept(run: Run, status: Status) -> str | None:
    """How a run does by its contract, in words; None where nothing was promised."""
    contract = read_contract(run.path)
    if contract is None or contract.seconds is None:
        return None
    if not status.live:
        said = contract.verdict() if status.state == "finished" else f"Estimated {duration(contract.seconds)}."
    elif status.seconds_left is not None and status.epoch:
        said = f"Estimated {duration(contract.seconds)}; as it goes, {duration(contract.spent + status.seconds_left)}."
    else:
        said = f"Estimated {duration(contract.seconds)}."
    return f"{contract.words} {said}".strip()
