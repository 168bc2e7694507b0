"""Lessons of "How it works" that need no model: each a picture that moves with its controls, and what it shows in short
words.

What they show is real: a chorale by Bach, the person's own music, or what is played. The numbers are the package's. The
lessons that ask a model are in model_lessons.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from deepmusician.notes import Song
from ui import cached, figures
from ui.keyboard import keyboard
from ui.options_form import DIVISIONS
from ui.page import sentences
from ui.player import player

CHORALE = Path(__file__).parent / "chorale.mid"
BACH, OWN, PLAYED = "a chorale by Bach", "my music", "what I play"
SHOWN_BEATS = 16.0
FRAMES = [d for d in DIVISIONS if d not in ("1/96", "1/48")]
GUESSES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)


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
