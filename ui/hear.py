"""Hear it learn: the same piece at each epoch of a run, from the untrained model on, and the choice of one by ear."""

from __future__ import annotations

import subprocess
from pathlib import Path

import streamlit as st

from deepmusician.errors import DeepMusicianError
from deepmusician.milestones import Moment, choose_apart, let_validation_choose, timeline
from deepmusician.notes import Song
from deepmusician.runs import Run
from ui.page import capital, sentence, sentences
from ui.player import player, players

_ASKED = "hear.asked"  # (run, epoch or None) to be made the run's model


@st.cache_resource(max_entries=100, show_spinner=False)
def _song(path: str, version: float) -> Song:
    from deepmusician.midi import read_midi

    return read_midi(Path(path))


def song_of(moment: Moment) -> Song:
    """The piece that was composed at that epoch."""
    return _song(str(moment.sample), moment.sample.stat().st_mtime)


@st.fragment
def hear(run: Run, key: str) -> None:
    """A timeline of a run's epochs to scrub, each with its piece; `key` tells it from others on the page."""
    with sentences():
        _do_asked(run)
        under_way = _choice(run)
        moments = {m.epoch: m for m in timeline(run) if m.sample}
        if not moments:
            return
        st.subheader("Hear it learn", anchor=False)
        epochs = list(moments)
        place = f"{key}.hear.{run.name}"
        if st.session_state.get(place) not in moments:
            st.session_state[place] = next((e for e in epochs if moments[e].chosen or moments[e].best), epochs[-1])
        if len(epochs) > 1:
            st.select_slider("Epoch", epochs, key=place)
        moment = moments[st.session_state[place]]
        _play(run, moment, moments, place)
        st.caption(_said(moment, moments))
        if under_way is not None:
            st.caption(f":material/tune: Finding the settings by which epoch {under_way} composes best. Once they are "
                       "found, the run composes with it; until then all stays as it is.")  # fmt: skip
            st.fragment(_wait, run_every=1.0)(run)
        elif not (moment.best and not any(m.chosen for m in moments.values())):
            _buttons(run, moment, place)


def title(moment: Moment) -> str:
    """An epoch, and what it is. No stop of the slider is called so: a value whose name changes is lost to it."""
    words = ["untrained"] * (moment.epoch == 0) + ["validation's choice"] * moment.best + ["yours"] * moment.chosen
    return f"epoch {moment.epoch}" + (f" ({', '.join(words)})" if words else "")


def _play(run: Run, moment: Moment, moments: dict[int, Moment], place: str) -> None:
    """The piece, beside that of validation's choice where this is wanted."""
    best = next((m for m in moments.values() if m.best), None)
    beside = best is not None and best.epoch != moment.epoch
    if beside and st.toggle("Beside validation's choice", key=f"{place}.beside"):
        pieces = [(title(m), song_of(m)) for m in (moment, best)]
        players(pieces, f"{place}.both")
    else:
        player(song_of(moment), f"{run.name}-epoch-{moment.epoch}", f"{place}.one", listen=False)


def _said(moment: Moment, moments: dict[int, Moment]) -> str:
    known = {"nll": "surprise {:.2f} nats a frame", "density": "{:.1f} notes a frame"}
    scores = [form.format(moment.scores[k]) for k, form in known.items() if moment.scores.get(k) is not None]
    songs = "held-out songs" if moment.held_out else "the songs it learnt"
    own = f" On {songs}: {', '.join(scores)}." if scores else ""
    marked = [f"{who} chose epoch {m.epoch}" for who, m in (
        ("validation", next((m for m in moments.values() if m.best), None)),
        ("you", next((m for m in moments.values() if m.chosen), None)),
    ) if m and m is not moment]  # fmt: skip
    others = f" {capital(', '.join(marked))}" if marked else ""
    alike = "Every epoch composes from the same start with the same random numbers."
    return f"{capital(title(moment))}{own} {alike}{others}"


def _buttons(run: Run, moment: Moment, place: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        if moment.chosen:
            _button("Let validation choose again", run, None, place, ":material/undo:")
        elif moment.model is None:
            st.caption("The model of this epoch was not kept; “Epochs whose model is kept” says which are.")
        else:
            _button(f"Compose with epoch {moment.epoch}", run, moment.epoch, place, ":material/check:")


def _button(label: str, run: Run, epoch: int | None, place: str, icon: str) -> None:
    st.button(label, icon=icon, key=f"{place}.choose", on_click=_ask, args=(run.name, epoch))


def _ask(name: str, epoch: int | None) -> None:
    st.session_state[_ASKED] = (name, epoch)


def _do_asked(run: Run) -> None:
    if st.session_state.get(_ASKED, ("",))[0] != run.name:
        return
    _, epoch = st.session_state.pop(_ASKED)
    if epoch is None:
        let_validation_choose(run)
        st.toast("The run composes with the model that validation chose.")
        return
    if before := _choices().pop(str(run.path), None):  # another epoch was asked for: its process is not waited for
        before[1].kill()
    try:
        if process := choose_apart(run, epoch):
            _choices()[str(run.path)] = (epoch, process)
        else:
            _chosen(epoch)
    except DeepMusicianError as error:
        st.error(sentence(str(error)), icon=":material/error:")


@st.cache_resource
def _choices() -> dict[str, tuple[int, subprocess.Popen]]:
    """The choices under way: run folder to the epoch and the process that finds its settings."""
    return {}


def _choice(run: Run) -> int | None:
    """The epoch whose settings are being found; where that has just ended, it is told how."""
    epoch, process = _choices().get(str(run.path), (None, None))
    if process is None or process.poll() is None:
        return epoch
    _choices().pop(str(run.path), None)
    if process.returncode:
        said = process.stderr.read().strip().splitlines() or [f"choosing epoch {epoch} did not work"]
        st.error(sentence(said[-1]), icon=":material/error:")
    else:
        _chosen(epoch)
    return None


def _chosen(epoch: int) -> None:
    st.toast(f"The run composes with its model of epoch {epoch} now.")


def _wait(run: Run) -> None:
    """Ask again whether the settings are found; then the page shows the choice."""
    _, process = _choices().get(str(run.path), (None, None))
    if process is None or process.poll() is not None:
        st.rerun()
