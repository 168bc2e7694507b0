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
def _measuring() -> dict[str, subprocess.Popen[str]]:
    """What is being measured on this server, so that a reload finds it again."""
    return {}


def time_box(options: TrainOptions, minutes: float | None) -> None:
    """How long it will take, or what a budget will hold, once measured; a click measures, another one gives up."""
    mine = f"{workspace()} "
    asked = mine + repr((sorted(to_dict(options).items()), minutes))
    for other in [key for key in _measuring() if key != asked and key.startswith(mine)]:
        _give_up(other)  # what was asked for then is asked no more
    st.fragment(_view, run_every=1.0 if asked in _measuring() else None)(options, minutes, asked)


def _view(options: TrainOptions, minutes: float | None, asked: str) -> None:
    said = _said(options, minutes)
    process = _measuring().get(asked)
    if said:
        if _measuring().pop(asked, None):
            st.rerun()  # stop asking again
        st.markdown(f":material/timer: {said}")
    elif process is None:
        if st.button("How long will it take?", icon=":material/timer:", help="A few real steps are taken to find out."):
            _measuring()[asked] = start_measuring(options, minutes)
            st.rerun()
    elif process.poll() is None:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(":material/hourglass_top: Taking a few steps to see how long they take …")
            if st.button("Never mind", type="tertiary"):
                _give_up(asked)
                st.rerun()
    else:
        _measuring().pop(asked)
        lines = (process.stderr.read() if process.stderr else "").strip().splitlines()
        st.error(capital(lines[-1].removeprefix("deepmusician: ") if lines else "It could not be measured"))


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
    if process and process.poll() is None:
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
