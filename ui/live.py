"""A run as it is now: progress, curves, warnings, and what can be done with it. All of it is read from disk."""

from __future__ import annotations

import time
from typing import Any

import streamlit as st

from deepmusician.advice import pulse, stop_advice
from deepmusician.checkpoint import read_card
from deepmusician.lab import lab_of
from deepmusician.plots import curve_names
from deepmusician.runs import Run, Status, current_name, list_runs
from ui import cached, figures, router
from ui.hear import hear
from ui.lab_view import listen, show_lab
from ui.page import capital, sentence, sentences
from ui.player import player
from ui.time_form import how_it_kept
from ui.words import count, duration

EVERY_SECONDS = 2.0
NEW = "new"  # in the address: no run, but the form for one
_SHOWN = "train.shown"
_ASKED = "train.asked"  # (button, run) pressed and not yet done
SCORES = (  # of a report: name, title, form, help
    ("nll", "Surprise", ".2f", "nats a frame on held-out songs; lower is better"),
    ("f1", "F1", ".2f", "of the sounding keys on held-out songs; 1 is perfect"),
)
BEATS = {"ok": ":material/favorite:", "slow": ":material/hourglass_bottom:", "quiet": ":material/help:"}
ADVICE = {
    "begun": ":material/start:", "improving": ":material/trending_down:", "stalled": ":material/trending_flat:",
    "memorising": ":material/psychology_alt:",
}  # fmt: skip
SIMPLE = {  # baselines: what they are called, what they know
    "silence": ("Silence", "Knows only how rarely any key sounds. What it would play is what you hear now: nothing."),
    "key_frequencies": ("Key frequencies", "Knows how often each key sounds, and nothing of what came before."),
    "repeat_last": ("Copying", "Knows how often a sounding key sounds on, and a silent one begins."),
    "markov": ("Markov chain", "Knows which chord followed which; where it has met none, how each key goes on."),
}
CURVES = {"loss": "loss", "nll": "surprise", "density": "density"}
COLOURS = {"finished": "green", "failed": "red", "interrupted": "orange", "stopped": "orange"}


def choose_run() -> Run | None:
    """The run in the address, else the one at work; None for a new training. A choice among all where there are any."""
    runs = {run.name: run for run in list_runs()}
    wanted = st.query_params.get("run") or next((n for n, run in runs.items() if run.status().live), NEW)
    wanted = current_name(wanted)
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
    """Show a run, again and again while it or another of its lab is at work; the page is run anew when one begins or
    ends."""
    with sentences():
        _do_asked(run)
    doing = _doing(run)
    every = EVERY_SECONDS if any(live for live, *_ in doing) else None
    st.fragment(_view, run_every=every)(run, doing)
    _actions(run, run.status())  # in no fragment: a click there is lost where a run of the whole page replaces it
    st.fragment(_hear, run_every=every)(run)
    with sentences():
        listen(run)
        _baselines(run)


def _hear(run: Run) -> None:
    with sentences():
        hear(run, "train")


def _doing(run: Run) -> list[tuple[bool, bool, bool]]:
    """Of the run, or of each of its lab: is it at work, is there something to hear of it, has it a model?"""
    lab = lab_of(run)
    runs = lab.runs().values() if lab else (run,)
    return [(r.status().live, bool(r.samples()), r.model() is not None) for r in runs]


def _view(run: Run, was_doing: list[tuple[bool, bool, bool]]) -> None:
    with sentences():
        status = run.status()
        if _doing(run) != was_doing:
            st.rerun()  # the whole page: buttons change, there is more to hear, or asking again stops
        _headline(run, status)
        _progress(status)
        _alive(run, status)
        _numbers(run, status)
        _advice(run, status)
        for warning in run.warnings():
            st.warning(sentence(warning), icon=":material/hearing:")
        _curves(run, status.live)
        _judged(run, status)
        show_lab(run)


def _headline(run: Run, status: Status) -> None:
    st.markdown(f"#### {run.name}  :{COLOURS.get(status.state, 'blue')}-badge[{status.state}]")
    if status.message and status.state not in ("training", "queued"):  # said better below
        (st.error if status.state == "failed" else st.markdown)(sentence(status.message))


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


def _alive(run: Run, status: Status) -> None:
    """Is it stuck? And does it keep what was promised?"""
    if status.live:
        beat = pulse(status, run.metrics(), time.time())
        said = f"{BEATS[beat.level]} {beat.text}"
        st.caption(said) if beat.level == "ok" else st.warning(said)
    if kept := how_it_kept(run, status):
        st.caption(f":material/timer: {kept}")
    if heard := _heard(run, status):
        st.caption(f":material/headphones: {heard}")


def _heard(run: Run, status: Status) -> str | None:
    """How much music it has learnt from so far."""
    card = run.checkpoint("last")
    if not card:
        return None
    from deepmusician.checkpoint import read_card
    from deepmusician.roll import parse_division

    data, options = read_card(card)["data"], run.options()
    frames = sum(song["frames"] for song in run.songs() if not song["held_out"]) or data["frames"]
    under_way = status.batch / status.n_batches if 0 < status.batch < status.n_batches else 0.0
    done = status.epoch + under_way
    bars = done * frames * float(parse_division(options.division))
    return f"Heard so far: {count(bars, 'bar')} of 4/4, each of its training songs {_often(done)}."


def _often(times: float) -> str:
    """Once, 2 times, 2.5 times."""
    return "once" if round(times, 1) == 1 else f"{round(times, 1):g} times"


def _advice(run: Run, status: Status) -> None:
    """Go on or stop, in words."""
    advice = stop_advice(run.metrics(), run.options().n_epochs, status.live)
    if advice:
        show = st.warning if advice.kind == "memorising" else st.info
        show(advice.text, icon=ADVICE[advice.kind])


def _baselines(run: Run) -> None:
    """What needs no learning composes, beside how well it predicts."""
    nll = {name: values.get("nll") for name, values in run.baselines().items()}
    pieces = {name: path for name in SIMPLE if (path := run.path / "baselines" / f"{name}.mid").is_file()}
    if not pieces:
        return
    box = st.expander(
        "What needs no learning sounds like", icon=":material/casino:", key="train.simple", on_change="rerun"
    )
    if not box.open:
        return
    with box:
        chosen = st.segmented_control(
            "A model that only counts", list(pieces), default="markov", required=True,
            format_func=lambda name: SIMPLE[name][0],
        )  # fmt: skip
        reached = "" if nll.get(chosen) is None else f" On the held-out songs: {nll[chosen]:.2f} nats a frame."
        st.caption(SIMPLE[chosen][1] + reached)
        song = cached.piece(str(pieces[chosen]), pieces[chosen].stat().st_mtime) if chosen != "silence" else None
        if song is not None:
            player(song, f"{run.name}-{chosen}", key=f"simple.{run.name}.{chosen}", listen=False)


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


def _curves(run: Run, live: bool) -> None:
    history = run.metrics()
    if not history:
        st.caption("The curves begin after the first epoch.")
        return
    baselines, dark = run.baselines(), figures.dark()
    if live:
        drawn = figures.newest(
            f"curves {run.path} {dark}", (len(history), len(baselines)),
            lambda: tuple(cached.draw_curves(history, baselines, slim, dark) for slim in (False, True)),
        )  # fmt: skip
    else:
        drawn = tuple(cached.curves(history, baselines, slim, dark) for slim in (False, True))
    if drawn is None:
        st.caption("The curves are being drawn.")
        return
    names = [CURVES[name] for name in curve_names(history)]
    figures.show(capital(f"{' and '.join(names)} over {count(len(history), 'epoch')}"), *drawn)


STOP, RESUME, COMPOSE, HUMANISE, ANOTHER = "Stop", "Resume", "Compose with it", "Humanise with it", "Another training"


def _judged(run: Run, status: Status) -> None:
    """What the judges said of the best model, in short, once the run has finished."""
    best = run.checkpoint() if status.state == "finished" else None
    words = read_card(best).get("judges", {}).get("words", []) if best else []
    if words:
        with st.expander("What the judges say, in short", icon=":material/gavel:"):
            for sentence in words:
                st.markdown(sentence)


def _actions(run: Run, status: Status) -> None:
    """What can be done with a run: stop it, resume it, compose or humanise with it, leave it for another."""
    with st.container(horizontal=True):
        if status.live:
            _button(STOP, ":material/stop:", run, disabled=run.stop_asked())
        ended_early = status.state == "finished" and status.epoch < status.n_epochs  # with its minutes
        if ended_early or status.state in ("stopped", "interrupted", "failed"):
            _button(RESUME, ":material/play_arrow:", run)
        if run.model():
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
