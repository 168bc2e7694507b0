"""Slow things the pages ask for again and again, kept in memory: data sets, sound, pictures, models, compositions.

What is read here is the package's; a page never waits twice for the same answer. Songs are immutable, so they are
shared, not copied; they are told apart by their fingerprint.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

from deepmusician.notes import Song, fingerprint
from ui import converting, figures

if TYPE_CHECKING:
    from deepmusician.attention import Look
    from deepmusician.generation import Composition
    from deepmusician.library import DataSet
    from deepmusician.render import Audio
    from deepmusician.roll import Roll

KEPT_DATA_SETS = 6
LOOKED_AT = 1_000  # pieces, evenly spread, by which a page says how full music is


@dataclass(frozen=True)
class Shelved:
    """A data set as it is learnt from."""

    data: DataSet


@st.cache_resource
def _shelf() -> OrderedDict[tuple[str, str, float], Shelved]:
    return OrderedDict()


def data_set(name: str) -> Shelved:
    """A saved data set or a corpus by name, as it is learnt from: what was decided of it in the Library is carried out.
    Raises LibraryError."""
    shelf, place = _shelf(), _place(name)
    if place not in shelf:
        shelf[place] = Shelved(converting.read(name))
        while len(shelf) > KEPT_DATA_SETS:
            shelf.popitem(last=False)
    return shelf[place]


def _place(name: str) -> tuple[str, str, float]:
    """What tells a data set from another: workspace, name, and when it or a decision was saved (0 for a corpus)."""
    from deepmusician.workspace import workspace

    saved = workspace() / "library" / name
    return str(workspace()), name, saved.stat().st_mtime if saved.exists() else 0.0


class progress_bar:
    """Shows `done` of `total` while the block runs and is gone after it; gives the callback that moves it."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __enter__(self) -> Callable[[int, int], None]:
        self.place = st.empty()
        bar = self.place.progress(0.0, f"{self.text} …")
        return lambda done, total: bar.progress(
            min(done / max(total, 1), 1.0), f"{self.text}: {done} of {total}"
        )

    def __exit__(self, *error: object) -> None:
        self.place.empty()


@st.cache_data(max_entries=60, show_spinner=False, hash_funcs={Song: fingerprint})
def midi(song: Song) -> bytes:
    """The song as a MIDI file."""
    from deepmusician.midi import write_midi

    return write_midi(song)


@st.cache_data(max_entries=60, show_spinner=False)
def _musicxml(_song: Song, of: tuple[str, str]) -> bytes:
    from deepmusician.score import to_musicxml

    return to_musicxml(_song)


def musicxml(song: Song) -> bytes:
    """The song as a MusicXML file. Raises ScoreError where it cannot be written down."""
    return _musicxml(song, (fingerprint(song), song.title))


@st.cache_resource(max_entries=1, show_spinner=False, hash_funcs={Song: fingerprint})  # 20 MB a minute
def _audio(song: Song) -> Audio:
    from deepmusician.render import render

    return render(song)


@st.cache_data(max_entries=6, show_spinner=False, hash_funcs={Song: fingerprint})  # a minute of WAV is 10 MB
def sound(song: Song, kind: str) -> bytes:
    """The song as a "wav" or "mp3" file. Raises RenderError where no sound can be made."""
    from deepmusician.render import encode

    return encode(_audio(song), kind)


@st.cache_data(ttl=60, show_spinner=False)
def sound_problem() -> str | None:
    """None where sound works, else what to install; asked again after a minute."""
    from deepmusician import render

    return render.sound_problem()


def sounding_share(names: list[str], division: str, voices: str, remove_zeros: bool) -> float | None:
    """Share of the keys that sound in a frame of these data sets, by at most LOOKED_AT of their pieces; None where one
    is yet to be converted."""
    from deepmusician.corpora import CORPORA, is_converted

    if any(name in CORPORA and not is_converted(name) for name in names):
        return None  # nobody asked to wait for it
    data = tuple(data_set(name).data for name in names)
    return _share(tuple(map(_place, names)), division, voices, remove_zeros, data)


@st.cache_data(max_entries=60, show_spinner=False)
def _share(places: tuple, division: str, voices: str, remove_zeros: bool, _data: tuple[DataSet, ...]) -> float | None:
    from deepmusician.errors import DeepMusicianError
    from deepmusician.roll import KEYS
    from deepmusician.rolls import make_rolls

    step = max(-(-sum(len(data.songs) for data in _data) // LOOKED_AT), 1)
    songs = [song for data in _data for song in data.songs[::step]]  # of a large one no more are made
    try:
        return make_rolls(songs, division, voices, remove_zeros).density / KEYS
    except DeepMusicianError:  # no note on the keyboard: starting says so
        return None


@st.cache_data(max_entries=60, show_spinner=False)
def focal_pictures(loss: str, alpha: float, gamma: float, share: float | None, dark: bool) -> tuple[bytes, bytes]:
    """The loss of one key against the probability given to the truth and, where the share of sounding keys is known,
    who makes it up; as PNG for a wide and a narrow screen."""
    from deepmusician.lab_plots import plot_balance
    from deepmusician.plots import plot_focal

    def draw(axes: Any, palette: Any) -> None:
        plot_focal(alpha, gamma, axes[0], loss, palette)
        if share:
            plot_balance(share, loss, alpha, gamma, axes[1], palette)

    rows = 2 if share else 1
    wide, narrow = (5.4, 3.2 + 2.2 * (rows - 1)), (4.0, 3.1 + 2.2 * (rows - 1))
    return figures.draw_png(draw, *wide, dark, rows), figures.draw_png(draw, *narrow, dark, rows)


@st.cache_data(max_entries=20, show_spinner=False)
def lab_curves(histories: dict[str, list[dict]], narrow: bool, dark: bool) -> bytes:
    """The curves of a loss lab as PNG: side by side, or below one another where it is narrow."""
    return draw_lab(histories, narrow, dark)


def draw_lab(histories: dict[str, list[dict]], narrow: bool, dark: bool) -> bytes:
    """As `lab_curves`, drawn anew."""
    from deepmusician.lab_plots import plot_lab

    width, height, rows, columns = (4.2, 8.6, 3, 1) if narrow else (11, 3.5, 1, 3)
    draw = lambda axes, palette: plot_lab(histories, axes, palette)  # noqa: E731
    return figures.draw_png(draw, width, height, dark, rows, columns)


@st.cache_data(max_entries=40, show_spinner=False)
def piece(path: str, version: float) -> Song:
    """A MIDI file of ours; `version` is when it was written."""
    from deepmusician.midi import read_midi

    return read_midi(path)


@st.cache_data(max_entries=40, show_spinner=False)
def curves(history: list[dict], baselines: dict, narrow: bool, dark: bool) -> bytes:
    """Loss, likelihood and density of each epoch as PNG: side by side, or below one another where it is narrow."""
    return draw_curves(history, baselines, narrow, dark)


def draw_curves(history: list[dict], baselines: dict, narrow: bool, dark: bool) -> bytes:
    """As `curves`, drawn anew."""
    from deepmusician.plots import curve_names, plot_loss_curves

    n = len(curve_names(history))
    width, height, rows, columns = (4.2, 2.87 * n, n, 1) if narrow else (11, 3.5, 1, n)
    draw = lambda axes, palette: plot_loss_curves(history, axes, baselines, palette)  # noqa: E731
    return figures.draw_png(draw, width, height, dark, rows, columns)


@st.cache_resource(max_entries=20, show_spinner=False, hash_funcs={Song: fingerprint})
def composition(path: str, version: float, options: dict[str, Any], prime: Song | None) -> Composition:
    """What the model composes: the same request gives the same piece, so it is kept rather than made again.

    `version` is when the weights were written: a run that trains on composes differently.
    """
    from deepmusician.generation import compose
    from deepmusician.options import GenerateOptions, from_dict

    return compose(loaded(path, version), from_dict(GenerateOptions, options), prime)


@st.cache_resource(max_entries=5, show_spinner=False, hash_funcs={Song: fingerprint})
def variations(path: str, version: float, options: dict[str, Any], prime: Song | None) -> list[Composition]:
    """Several pieces, composed side by side in less time than one after the other; each as `composition` gives it."""
    from deepmusician.generation import compose_variations
    from deepmusician.options import GenerateOptions, from_dict

    return compose_variations(loaded(path, version), from_dict(GenerateOptions, options), prime)


@st.cache_resource(max_entries=4, show_spinner=False)
def loaded(path: str, version: float) -> tuple[Any, ...]:
    """A model with its card and openings, read once. It composes; nobody changes it."""
    from deepmusician.checkpoint import load_whole

    return load_whole(path)


@st.cache_data(max_entries=60, show_spinner=False)
def weights(path: str, version: float) -> str:
    """A short name for exactly these weights."""
    from deepmusician.checkpoint import fingerprint as of_weights

    return of_weights(path)


@st.cache_resource(max_entries=20, show_spinner=False, hash_funcs={Song: fingerprint})
def rewritten(path: str, version: float, options: dict[str, Any], song: Song, start: float, end: float) -> Composition:
    """The song with its part from `start` to `end`, in beats, written anew."""
    from deepmusician.options import RewriteOptions, from_dict
    from deepmusician.rewrite import rewrite

    return rewrite(loaded(path, version), song, start, end, from_dict(RewriteOptions, options))


@st.cache_resource(max_entries=20, show_spinner=False, hash_funcs={Song: fingerprint})
def looks(path: str, version: float, options: dict[str, Any], prime: Song | None, _roll: Roll) -> list[Look]:
    """What the model's attention looked at in each window of the roll that it composed so; empty where there is nothing
    to show."""
    from deepmusician.attention import attention_of
    from deepmusician.options import GenerateOptions, from_dict

    return attention_of(path, _roll, from_dict(GenerateOptions, options), prime)


@st.cache_data(max_entries=60, show_spinner=False)
def look_pictures(look: Look, frame: float, dark: bool) -> tuple[bytes, bytes]:
    """One window's attention as PNG, for a wide and for a narrow screen; a frame lasts `frame` beats."""
    from deepmusician.plots import plot_attention

    def draw(axes: Any, palette: Any) -> None:
        plot_attention(look.weights, axes[0], look.begin * frame, look.source * frame, frame, palette)

    return figures.draw_png(draw, 11, 4.6, dark), figures.draw_png(draw, 4.2, 3.8, dark)


@st.cache_resource(max_entries=20, show_spinner=False, hash_funcs={Song: fingerprint})
def humanised(path: str, version: float, song: Song, strength: float, seed: int) -> Song:
    """The song with the velocities that a model of expression gives it."""
    from deepmusician.expression import humanise

    return humanise(path, song, strength=strength, seed=seed)
