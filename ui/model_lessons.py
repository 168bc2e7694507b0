"""Lessons of "How it works" that ask a trained model: what it answers with and without the true notes before it, and
how one frame is drawn from its answer.

A model, and torch with it, is loaded only when a lesson is opened. The numbers are the package's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from deepmusician.errors import CheckpointError
from ui import cached, figures, router, warm
from ui.lessons import lesson
from ui.models import Model, all_models
from ui.player import player

DRAWS = 24  # performances that the share of right notes is a mean of
NEXT_DRAWS = 400


# ---- 4


def choose_model() -> Model | None:
    """A model that composes; where there is none, what to do."""
    models = all_models()
    if not models:
        st.info("This needs a trained model. Train one; then it is shown here.", icon=":material/school:")
        st.page_link(router.TRAIN, label="Train a model", icon=":material/arrow_forward:")
        return None
    chosen = st.selectbox(
        "Model", list(models), format_func=lambda i: models[i].title, key="by", bind="query-params"
    )
    return models[chosen]


def choose_opening(model: Model) -> np.ndarray:
    """The beginning of one of the pieces that the model never saw in training, uint8 [n, W]."""
    openings = _openings(str(model.path), model.version)
    if not openings:
        raise CheckpointError("this model kept no held-out piece to play along with; choose another one")
    number = st.selectbox("Held-out piece", range(1, len(openings) + 1), key="piece", bind="query-params")
    return openings[number - 1]


@st.cache_resource(max_entries=12, show_spinner=False)
def _openings(path: str, version: float) -> list[np.ndarray]:
    """The openings of held-out pieces that a checkpoint keeps."""
    from deepmusician.checkpoint import load_primes
    from deepmusician.roll import KEYS, unpack

    primes = load_primes(path)
    kept = [] if primes is None else [p.numpy() for p in primes if p.any()]
    return [p if p.shape[-1] >= KEYS else unpack(p).view(np.uint8) for p in kept]  # version 0.1 packed them


@st.cache_resource(max_entries=2, show_spinner=False)
def _model(path: str, version: float) -> tuple[Any, dict[str, Any]]:
    from deepmusician.checkpoint import load

    return load(path)


def _step(model: Model) -> float:
    """How long a frame of the model lasts, in beats."""
    from fractions import Fraction

    return float(4 * Fraction(model.division))


@lesson
def teacher_forcing() -> None:
    """Told the truth after each frame, a network goes astray no further than one frame; left alone, it drifts."""
    left, right = st.columns([2, 3], gap="large")
    with left:
        st.markdown(
            "A network is trained as one learns with a **teacher**: it plays a frame, is told the right one, and goes "
            "on from *that*. A slip costs one frame. When it composes, nobody tells it: it goes on from its own "
            "slips. Here it plays along a piece that it never heard in training."
        )
        model = choose_model()
    if model is None:
        return
    step = _step(model)
    with left:
        truth = choose_opening(model)
        beats = len(truth) * step
        grid = max(step, 0.5)
        stays = st.slider(
            "The teacher leaves after (beats)", 0.0, beats, beats / 4 // grid * grid, grid, key="told",
            bind="query-params",
        )  # fmt: skip
        seed = st.number_input("Seed", 0, 999, 0, key="seed", bind="query-params")
    with st.spinner("The network is playing along …"):
        place = str(model.path), model.version, truth
        with_teacher, alone = _play_along(*place, None, seed), _play_along(*place, round(stays / step), seed)
    told, later = round(stays / step), slice(round(stays / step), None)
    with left:
        if told < len(truth):
            st.markdown(
                f"After beat {stays:g}, **{with_teacher[1][later].mean():.0%}** of the notes are right with the "
                f"teacher, **{alone[1][later].mean():.0%}** alone: F1, which counts wrong and missed notes alike, the "
                f"mean of {DRAWS} performances. Alone it may still play good music: it is just no longer *this* piece."
            )
        st.caption(
            "The option *Teacher forcing* on the Train page below 1 lets it hear its own guesses now and then while it "
            "learns."
        )
    with right:
        figures.show(
            "What the network plays with its teacher and alone, beside the truth",
            *_teacher_pictures(*place, told, seed, step, figures.dark()),
        )


@st.cache_data(max_entries=40, show_spinner=False)
def _play_along(
    path: str, version: float, truth: np.ndarray, told: int | None, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The first performance, bool [T, 88], and F1 of each frame over all of them [T]."""
    from deepmusician.generation import one_thread, sampling
    from deepmusician.lessons import agreement, predictions
    from deepmusician.options import GenerateOptions
    from deepmusician.roll import KEYS

    model, card = _model(path, version)
    with one_thread():
        played = predictions(model, truth, sampling(GenerateOptions(), card), told, DRAWS, seed)
    return played[0], agreement(played, truth[:, :KEYS] > 0)


@st.cache_data(max_entries=40, show_spinner=False)
def _teacher_pictures(
    path: str, version: float, truth: np.ndarray, told: int, seed: int, step: float, dark: bool
) -> tuple[bytes, bytes]:
    from deepmusician.lesson_plots import plot_agreement, plot_beside_truth
    from deepmusician.roll import KEYS

    sounding = truth[:, :KEYS] > 0
    taught, alone = (_play_along(path, version, truth, n, seed) for n in (None, told))

    def draw(axes: Any, palette: Any) -> None:
        plot_beside_truth(taught[0], sounding, step, axes[0], "with the teacher", None, palette)
        plot_beside_truth(alone[0], sounding, step, axes[1], "the teacher leaves", told, palette)
        axes[1].legend(
            frameon=False, fontsize=9, labelcolor=palette.ink, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.22)
        )
        plot_agreement({"with the teacher": taught[1], "alone": alone[1]}, step, axes[2], told, palette)

    return figures.draw_png(draw, 8, 8.4, dark, 3, 1), figures.draw_png(draw, 4.2, 7.6, dark, 3, 1)


# ---- 5


@lesson
def temperature() -> None:
    """Safer or bolder: how one frame is drawn from what the network knows."""
    left, right = st.columns([2, 3], gap="large")
    with left:
        st.markdown(
            "After each frame the network does not name *the* next one; it says how likely each is, and one is drawn. "
            "**Temperature** makes the likely ones likelier still (below 1: safer, in the end for ever the same) or "
            "gives the unlikely ones a chance (above 1: bolder, in the end noise)."
        )
        model = choose_model()
    if model is None:
        return
    with left:
        heard = choose_opening(model)
        heat = st.slider("Temperature", 0.1, 2.0, 0.7, 0.1, key="heat", bind="query-params")
        seed = st.number_input("Seed", 0, 999, 0, key="seed", bind="query-params")
    place = str(model.path), model.version
    with st.spinner("The network is asked …"):
        drawn, honest = _next_frame(*place, heard, heat), _next_frame(*place, heard, 1.0)
    with left:
        st.markdown(
            f"The frame after this opening, drawn {NEXT_DRAWS} times: **{len(drawn.chords)} different chords** (at 1: "
            f"{len(honest.chords)}). The commonest, {_named(drawn.chords[0][0])}, comes {drawn.chords[0][1]:.0%} of "
            "the time."
        )
    with right:
        figures.show(
            "How often each key is drawn in the next frame", *_choice_pictures(*place, heard, heat, figures.dark())
        )
        st.markdown(f"Four bars, drawn at temperature {heat:g}:")
        options = {
            "seq_len": model.frames(4), "seed": seed, "temperature": heat, "top_p": 1.0, **model.composing
        }  # fmt: skip
        with warm.composing("The network is composing …"):
            piece = cached.composition(*place, options, None)
        player(piece.song, f"temperature-{heat:g}-{seed}", "how.heat")


def _named(chord: tuple[int, ...]) -> str:
    from deepmusician.plots import pitch_name

    return " ".join(map(pitch_name, chord)) if chord else "silence"


@st.cache_resource(max_entries=60, show_spinner=False, hash_funcs={np.ndarray: lambda a: a.tobytes()})
def _next_frame(path: str, version: float, heard: np.ndarray, heat: float) -> Any:
    from deepmusician.generation import one_thread
    from deepmusician.lessons import next_frame
    from deepmusician.models.contract import Sampling

    model, _ = _model(path, version)
    with one_thread():
        return next_frame(model, heard, Sampling(temperature=heat), NEXT_DRAWS)


@st.cache_data(max_entries=60, show_spinner=False)
def _choice_pictures(
    path: str, version: float, heard: np.ndarray, heat: float, dark: bool
) -> tuple[bytes, bytes]:
    from deepmusician.lesson_plots import plot_choice

    keys, honest = (_next_frame(path, version, heard, t).keys for t in (heat, 1.0))

    def draw(axes: Any, palette: Any) -> None:
        plot_choice(keys, honest, axes[0], palette)

    return figures.draw_png(draw, 8, 3.4, dark), figures.draw_png(draw, 4.2, 3.2, dark)
