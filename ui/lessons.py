"""The five lessons of "How it works": each a picture that moves with its controls, and what it shows in short words.

What they show is real: a chorale by Bach or the person's own music, and what a trained model answers. The numbers are
the package's; the last two load a model, and torch with it, only when they are opened.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from deepmusician.errors import CheckpointError
from deepmusician.notes import Song
from ui import cached, figures, router
from ui.keyboard import keyboard
from ui.models import Model, all_models
from ui.options_form import DIVISIONS
from ui.page import sentences
from ui.player import player

CHORALE = Path(__file__).parent / "chorale.mid"
BACH, OWN, PLAYED = "a chorale by Bach", "my music", "what I play"
SHOWN_BEATS = 16.0
FRAMES = [d for d in DIVISIONS if d not in ("1/96", "1/48")]
GUESSES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
DRAWS = 24  # performances that the share of right notes is a mean of
NEXT_DRAWS = 400


def lesson(show: Callable[[], None]) -> Callable[[], None]:
    """Redraw only this lesson when one of its controls moves; what goes wrong in it is a sentence."""

    @st.fragment
    @wraps(show)
    def alone() -> None:
        with sentences():
            show()

    return alone


# ---- the music that is looked at


def choose_music() -> Song:
    """The chorale, a piece of the person's own where there is one, or what is played on the keyboard here."""
    from deepmusician.library import list_data_sets

    names = list_data_sets()
    source = st.segmented_control(
        "Look at", [BACH, *([OWN] if names else []), PLAYED], default=BACH, required=True, key="music",
        bind="query-params",
    )  # fmt: skip
    if source == OWN:
        data = cached.data_set(st.selectbox("From", names, key="set", bind="query-params")).data
        place = st.selectbox("Piece", range(len(data.songs)), format_func=lambda i: data.names[i])
        return data.songs[place]
    if source == PLAYED:
        song = keyboard("how.keyboard")
        if song is not None:
            return song
        st.caption("Until you have played something, the chorale is shown.")
    return chorale()


@st.cache_resource(show_spinner=False)
def chorale() -> Song:
    """Bach's setting of Alles ist an Gottes Segen, BWV 263."""
    from deepmusician.midi import read_midi

    return read_midi(CHORALE)


def choose_frame() -> str:
    """The length of a frame."""
    return st.select_slider(
        "Length of a frame", FRAMES, "1/8", format_func=DIVISIONS.__getitem__, key="frame", bind="query-params"
    )


# ---- 1


@lesson
def piano_roll() -> None:
    """Notes, and the frames a network is told instead."""
    left, right = st.columns([2, 3], gap="large")
    with left:
        st.markdown(
            "A network reads no notes. It reads **frames**: time is cut into equal slices, and for each slice there "
            "is a row of 88 numbers, one for each key of a piano: 1 where the key sounds, 0 where it is silent. That "
            "table is the *piano roll*."
        )
        song = choose_music()
        frame = choose_frame()
    grid = _gridded(song, frame)
    with left:
        st.markdown(
            f"These {song.beats:g} beats become **{len(grid.roll):,} frames of 88 keys**. Of {len(song)} notes "
            f"**{grid.kept} come back** as they were written. Long frames swallow short notes; short frames make more "
            "to learn of the same music."
        )
    with right:
        figures.show(
            "The roll's cells, with the written notes outlined", *_roll_pictures(song, frame, figures.dark())
        )
        st.markdown("Hear the frames:")
        player(grid.song, f"frames-{frame.replace('/', '-')}", "how.roll", listen=False)


@st.cache_resource(max_entries=20, show_spinner=False, hash_funcs={Song: cached.fingerprint})
def _gridded(song: Song, frame: str) -> Any:
    from deepmusician.lessons import put_on_grid

    return put_on_grid(song, frame)


@st.cache_data(max_entries=40, show_spinner=False, hash_funcs={Song: cached.fingerprint})
def _roll_pictures(song: Song, frame: str, dark: bool) -> tuple[bytes, bytes]:
    from deepmusician.lesson_plots import plot_frames

    roll = _gridded(song, frame).roll

    def draw(axes: Any, palette: Any, beats: float) -> None:
        plot_frames(song, roll, min(beats, max(song.beats, 1)), axes[0], palette)

    return (
        figures.draw_png(lambda a, p: draw(a, p, SHOWN_BEATS), 8, 3.8, dark),
        figures.draw_png(lambda a, p: draw(a, p, SHOWN_BEATS / 2), 4.2, 3.2, dark),
    )


# ---- 2


@lesson
def silence() -> None:
    """Nearly all cells are silent, so silence is nearly always right."""
    from deepmusician.lessons import constant_loss

    left, right = st.columns([2, 3], gap="large")
    with left:
        st.markdown(
            "Most keys are silent most of the time. A network is trained by one number, the **loss**: how far its "
            "answers are from the music. The usual one is *cross-entropy* (bce): how surprised it is by each cell, in "
            "nats; 0 is no surprise at all."
        )
        song = choose_music()
        frame = choose_frame()
        guess = st.select_slider(
            "Say of every key, always, that it sounds with", GUESSES, 0.2, format_func="{:.1%}".format, key="guess",
            bind="query-params",
        )  # fmt: skip
    share = float(_gridded(song, frame).roll.sounding.mean())
    with left:
        st.markdown(
            f"**{share:.1%}** of the cells sound. Saying {guess:.1%} of every key costs "
            f"{float(constant_loss(guess, share)):.3f} nats a cell. Saying {share:.1%} costs "
            f"**{float(constant_loss(share, share)):.3f}**, less than any other constant: a network finds that first, "
            "long before it has learnt any music. And a key that is given a few per cent is never played. It has "
            f"learnt to play *nothing*, and it is right {1 - share:.1%} of the time."
        )
    with right:
        figures.show(
            f"All 88 keys, of which {share:.1%} sound, and what a constant answer costs",
            *_silence_pictures(song, frame, guess, figures.dark()),
        )


@st.cache_data(max_entries=40, show_spinner=False, hash_funcs={Song: cached.fingerprint})
def _silence_pictures(song: Song, frame: str, guess: float, dark: bool) -> tuple[bytes, bytes]:
    from deepmusician.lesson_plots import plot_all_keys, plot_constant

    roll = _gridded(song, frame).roll

    def draw(axes: Any, palette: Any) -> None:
        plot_all_keys(roll, SHOWN_BEATS, axes[0], palette)
        plot_constant(float(roll.sounding.mean()), guess, axes[1], palette)

    return figures.draw_png(draw, 8, 4.2, dark, 1, 2), figures.draw_png(draw, 4.2, 6.4, dark, 2, 1)


# ---- 3


@lesson
def focal_loss() -> None:
    """What is easy counts less, so that the notes are heard."""
    from deepmusician.lessons import weight_of_notes
    from deepmusician.losses import loss_curve

    left, right = st.columns([2, 3], gap="large")
    with left:
        st.markdown(
            "The **focal loss** turns down whatever the network knows already. γ says how strongly: a silence it is "
            "sure of then costs next to nothing, and the notes it misses are what is left. α weighs sounding keys "
            "against silent ones. With γ 0 and α 0.5 it is plain cross-entropy, halved."
        )
        gamma = st.slider("γ, focus on what is hard", 0.0, 5.0, 2.0, 0.5, key="gamma", bind="query-params")
        alpha = st.slider("α, weight of sounding keys", 0.05, 0.95, 0.75, 0.05, key="alpha", bind="query-params")
        p = st.slider(
            "Probability the network gives to the truth", 0.01, 0.99, 0.9, 0.01, key="truth", bind="query-params"
        )
    share = float(_gridded(chorale(), "1/16").roll.sounding.mean())
    plain, _ = loss_curve("bce", np.array(p), alpha, gamma)
    note, _ = loss_curve("focal", np.array(p), alpha, gamma)
    _, rest = loss_curve("focal", np.array(1 - p), alpha, gamma)
    before, after = (weight_of_notes(kind, alpha, gamma, share, 0.3, 0.97) for kind in ("bce", "focal"))
    with left:
        st.markdown(
            f"Where the truth was given {p:.0%}: cross-entropy {float(plain):.4f}; focal loss **{float(note):.4f}** "
            f"for a key that sounds, **{float(rest):.4f}** for a silent one."
        )
        st.markdown(
            f"Take the chorale, and a network that gives notes 30% and silences 97%. Notes make up {before:.0%} of "
            f"what cross-entropy (bce) counts, and **{after:.1%}** of the focal loss."
        )
    with right:
        figures.show(
            "Loss of a key against the probability given to the truth",
            *_focal_pictures(alpha, gamma, p, figures.dark()),
        )


@st.cache_data(max_entries=60, show_spinner=False)
def _focal_pictures(alpha: float, gamma: float, p: float, dark: bool) -> tuple[bytes, bytes]:
    from deepmusician.lesson_plots import plot_focal_at

    def draw(axes: Any, palette: Any) -> None:
        plot_focal_at("focal", alpha, gamma, p, axes[0], palette)

    return figures.draw_png(draw, 7, 4.2, dark), figures.draw_png(draw, 4.2, 3.6, dark)


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
        with st.spinner("The network is composing …"):
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
