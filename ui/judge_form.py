"""What the Judge page shows: a model's report, asked of a process of its own, and one piece seen by index and model."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from deepmusician import verdicts
from deepmusician.features import FEATURES
from deepmusician.notes import Song
from ui import cached
from ui.compose_form import FILE, LIBRARY, choose_piece
from ui.models import Model
from ui.page import capital
from ui.player import player

if TYPE_CHECKING:
    from deepmusician.originality import Human, Index, Shared
    from deepmusician.rolls import Rolls
    from deepmusician.surprise import Surprise

COMPOSED, MINE = "a piece it composes", "a piece of mine"
QUICK, FULL = "quick", "full"
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
            st.error(capital(problem), icon=":material/error:")
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
        st.info(capital(judges["problem"]))
        return
    for sentence in judges["words"]:
        (st.warning if "by heart" in sentence else st.markdown)(sentence.replace("**", ""))
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
        "is the ceiling."
    )
    st.dataframe(_rows(judges["features"]), hide_index=True, width="stretch")


def _rows(features: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for name, row in features.items():
        means = [row[who] if isinstance(row[who], float) else None for who in ("composed", "human")]
        found = [row[who][what] if "real" in row else None for what in ("area", "kl") for who in ("model", "real")]
        titles = ("composed", "human", "overlap", "real against real", "KL", "KL real")
        numbers = [None if value is None else round(value, 2) for value in (*means, *found)]
        unit = {"feature": FEATURES[name].title, "unit": FEATURES[name].unit}
        rows.append(unit | dict(zip(titles, numbers, strict=True)))
    return rows


# ---- one piece


def choose(model: Model) -> Song | None:
    """The piece to look at: composed now by its seed, uploaded, or of the library."""
    source = st.segmented_control("Look at", (COMPOSED, MINE), key="judge.piece")
    if source is None:
        return None
    if source == MINE:
        return choose_piece("From", (FILE, LIBRARY))
    seed = st.number_input("Seed", 0, 2**31 - 1, 1, key="judge.seed")
    options = {"seq_len": model.frames(16), "seed": int(seed), **model.composing}
    with st.spinner(f"{model.title} is composing …"):
        return cached.composition(str(model.path), model.version, options, None).song


@st.cache_resource(max_entries=3, show_spinner="Reading the training songs …")
def _index(path: str, version: float) -> tuple[Index, Human, Rolls, tuple[str, ...], np.ndarray]:
    from deepmusician.evaluation import training_music
    from deepmusician.judging import make_index
    from deepmusician.roll import parse_division

    card, names, rolls, train, judged = training_music(path)
    index, human = make_index(rolls, train, judged, parse_division(card["options"].get("division", "1/16")))
    return index, human, rolls, names, train


def show_originality(model: Model, song: Song) -> None:
    """The roll with each bar coloured by what stands in the training songs, and a bar's source beside it."""
    from deepmusician.judging import as_seen
    from deepmusician.originality import verdict

    index, human, rolls, names, train = _index(str(model.path), model.version)
    roll = as_seen(song, model.card)
    shared = index.search(roll)
    much, said = verdict(shared, human)
    (st.warning if much else st.markdown)(said)
    starts = np.append(song.bar_starts(), song.beats)
    frames = np.rint(starts * float(roll.frames_per_beat)).astype(int)
    bars = [shared.bar(a, b, human.mark) for a, b in pairwise(frames)]
    player(
        song, "piece", "judge.original", bar_shade=np.array([bar.shade for bar in bars]),
        shade_label="stands in the training songs",
    )  # fmt: skip
    known = [i for i, bar in enumerate(bars) if bar.passage is not None]
    if not known:
        st.caption("No bar holds a passage of the training songs.")
        return
    first = max(known, key=lambda i: bars[i].shade)
    chosen = st.selectbox(
        "Hear a bar beside the training song it stands in", known, known.index(first),
        format_func=lambda i: f"bar {i + 1}: {bars[i].chords} chords of {names[train[bars[i].passage.song]]}",
    )  # fmt: skip
    _beside(shared, bars[chosen].passage, index, roll, rolls, train, names)


def _beside(
    shared: Shared, passage: Any, index: Index, roll: Any, rolls: Rolls, train: np.ndarray, names: tuple[str, ...]
) -> None:
    from deepmusician.judging import passage_song
    from deepmusician.roll import roll_from_frames

    source = roll_from_frames(rolls.frames(train[passage.song]), roll.division)
    left, right = st.columns(2)
    with left:
        st.markdown("**In the piece**")
        player(passage_song(roll, shared.chords, passage.begin, passage.end), "piece", "judge.mine", listen=False)
    with right:
        moved = f", {abs(passage.semitones)} semitones {'higher' if passage.semitones > 0 else 'lower'}"
        st.markdown(f"**In {names[train[passage.song]]}**{moved if passage.semitones else ''}")
        chords = index.songs[passage.song]
        song = passage_song(source, chords, passage.song_begin, passage.song_end)
        player(song, "training song", "judge.theirs", listen=False)


@st.cache_data(max_entries=20, show_spinner=False, hash_funcs={Song: cached.fingerprint})
def _surprise(path: str, version: float, song: Song) -> Surprise:
    from deepmusician.surprise import surprise

    return surprise(path, song)


def show_surprise(model: Model, song: Song) -> None:
    """The roll with each note coloured by how unlikely it was, and the nats of each bar as a line."""
    found = _surprise(str(model.path), model.version, song)
    st.markdown(
        f"**{found.nats:.2f} nats a frame** over the whole piece. The stronger a note's colour, the less "
        f"{model.title} expected {'its loudness' if found.velocities else 'it'}."
    )
    player(
        song, "piece", "judge.surprise", note_shade=1 - found.probability, shade_label="the model did not expect this",
        listen=False,
    )  # fmt: skip
    st.line_chart(
        {"bar": np.arange(1, len(found.bars) + 1), "nats a frame": found.bars}, x="bar", y="nats a frame", height=200
    )
