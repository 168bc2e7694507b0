"""What the Judge page shows of a model: its report, asked of a process of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from deepmusician import verdicts
from deepmusician.features import FEATURES
from ui.models import Model
from ui.page import sentence

QUICK, FULL = "quick", "full"
CHANGED = (
    "The music has changed since this model learnt it: what it is judged by may not be what was held out then."
)
LADDER = {
    "silence": "silence", "key_frequencies": "note frequencies", "repeat_last": "repeating the last frame",
    "markov": "a Markov chain", "model": "this model",
}  # fmt: skip
LIMITS = """
**The classifier** hears short clips through the features below and no others. If it cannot tell them apart, a listener
still may; if it can, it says by what. With few held-out songs its interval is wide.

**Overlap** looks at one feature at a time. Music may overlap in all of them and make no sense as a whole.

**The ladder** compares likelihoods: how well held-out music is predicted, not how well new music is composed.

**Originality** finds chords that stand in the training songs in a row, in any key and rhythm. What was copied with
other chords under the tune is not found; and human pieces quote as well, which is why they stand beside it.

**Surprise** is no fault: the best moment of a piece may be the one that a model expected least.
"""


def report_of(model: Model) -> dict[str, Any] | None:
    """The best report there is: made here, else the one in the model's card."""
    found = verdicts.read(model.path)
    if found:
        return found
    card = model.card
    if "judges" not in card:
        return None
    scores = card.get("scores", {})
    return {"model": scores.get("model", {}), "baselines": scores.get("baselines", {}), "judges": card["judges"]}


def judge_here(model: Model) -> None:
    """The buttons that start a judgement, and its progress while it is under way."""
    for size in (FULL, QUICK):
        work = verdicts.under_way(model.path, size)
        if work:
            st.fragment(_watch, run_every=2.0)(model, size)
            return
    with st.container(horizontal=True):
        for size, label in ((QUICK, "Judge it"), (FULL, "Judge it on more music")):
            if st.button(label, key=f"judge.{size}", icon=":material/gavel:"):
                verdicts.start(model.path, size)
                st.rerun()
    for size in (FULL, QUICK):
        if problem := verdicts.problem(model.path, size):
            st.error(sentence(problem), icon=":material/error:")
    st.caption("It composes pieces and compares them, in a process of its own: half a minute, or some minutes.")


def _watch(model: Model, size: str) -> None:
    work = verdicts.under_way(model.path, size)
    if work is None:
        st.rerun()
    st.progress(min(work.share, 1.0), f"{work.what} …")


def show_report(report: dict[str, Any]) -> None:
    """Sentences, the ladder and the table of features."""
    judges = report["judges"]
    if "problem" in judges:
        st.info(sentence(judges["problem"]))
        return
    if report.get("music_changed"):
        st.warning(CHANGED, icon=":material/sync_problem:")
    for words in judges["words"]:
        (st.warning if "by heart" in words else st.markdown)(words.replace("**", ""))
    ladder = [(LADDER[k], v["nll"]) for k, v in report.get("baselines", {}).items() if k in LADDER and "nll" in v]
    if "nll" in report.get("model", {}):
        ladder.append((LADDER["model"], report["model"]["nll"]))
    if ladder:
        st.markdown("##### The likelihood ladder")
        rows = sorted(ladder, key=lambda row: -row[1])
        st.dataframe(
            [{"predicts held-out songs": name, "nats a frame (lower is better)": round(n, 2)} for name, n in rows],
            hide_index=True, width="stretch",
        )  # fmt: skip
    clips = judges["clips"]
    st.markdown("##### Feature by feature")
    st.caption(
        f"Means over {clips['composed']} composed and {clips['human']} held-out human clips of "
        f"{judges['clip_bars']} bars; overlap 1 means alike. Real against real, training songs beside held-out ones, "
        "is the ceiling: overlap and KL stand as model / ceiling. A bar counts four beats here, whatever the meter."
    )
    st.table(_rows(judges["features"]), border="horizontal", hide_index=True)
    with st.expander("Note lengths and onset intervals, class by class", icon=":material/bar_chart:"):
        for name in (name for name in judges["features"] if FEATURES[name].classes):
            _histogram(name, judges["features"][name])


def _rows(features: dict[str, Any]) -> list[dict[str, str]]:
    """A row a feature; of a histogram the class in which composed and human music differ most."""
    rows = []
    for name, row in features.items():
        feature, mine, theirs = FEATURES[name], row["composed"], row["human"]
        what = feature.unit
        if feature.classes and mine and theirs:
            most = int(np.abs(np.subtract(mine, theirs)).argmax())
            what, mine, theirs = f"share of {feature.classes[most]}", mine[most], theirs[most]
        found = {
            title: f"{_number(row['model'][of])} / {_number(row['real'][of])}" if "real" in row else "–"
            for title, of in (("overlap", "area"), ("KL", "kl"))
        }
        means = {"composed": _number(mine), "human": _number(theirs)}
        rows.append({"feature": f"**{feature.title}**, {what}"} | means | found)
    return rows


def _number(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, int | float) else "–"


def _histogram(name: str, row: dict[str, Any]) -> None:
    """The shares of the classes, composed and human side by side."""
    if not (row["composed"] and row["human"]):
        return
    st.markdown(f"**{FEATURES[name].title}**")
    st.bar_chart(
        {"class": FEATURES[name].classes, "composed": row["composed"], "human": row["human"]},
        x="class", y=["composed", "human"], x_label="share", y_label="", stack=False, sort=False, horizontal=True,
        height=320,
    )  # fmt: skip
