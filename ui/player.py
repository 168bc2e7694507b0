"""The player: how a piece is seen, heard and taken home, the same wherever music appears."""

from __future__ import annotations

import streamlit as st

from deepmusician.notes import Song
from ui import cached, figures, keys
from ui.page import sentences

SHOWN_BARS = 16  # more are hard to read at once; the slider moves on
FEW_BARS = 8  # no slider is needed for these
MIME = {"mid": "audio/midi", "wav": "audio/wav", "mp3": "audio/mpeg"}


@st.fragment
def player(song: Song, name: str, key: str, listen: bool = True) -> None:
    """Show the roll, the sound and the downloads of a piece.

    `name` is what downloads are called; `key` tells this player from others on the page. Where `listen` is false the
    sound waits for a click, so that looking through a library costs no rendering. See `play` for music that begins
    by itself.
    """
    with sentences():
        _roll(song, name, key)
        problem = cached.sound_problem()
        if problem:
            st.info(f"There is no sound: {problem}", icon=":material/volume_off:")
        else:
            _sound(song, key, listen)
        _downloads(song, name, key, sound=not problem)


def play(song: Song) -> None:
    """Let the player of this song begin by itself, until another page is opened."""
    keys.LISTENING.set(cached.fingerprint(song))


def _sound(song: Song, key: str, listen: bool) -> None:
    if not listen and not _playing(song):
        st.button(
            "Listen",
            key=f"{key}.listen",
            icon=":material/play_arrow:",
            type="primary",
            on_click=play,
            args=(song,),
        )
        return
    with st.spinner("Rendering the sound …"):
        audio = cached.sound(song, "wav")  # ten times sooner there than an MP3, and the way to here is short
    st.audio(audio, format=MIME["wav"], autoplay=_playing(song))


def _playing(song: Song) -> bool:
    return keys.LISTENING.get() == cached.fingerprint(song)


def _roll(song: Song, name: str, key: str) -> None:
    start, end = _shown_part(song, key)
    wide, narrow = cached.roll_pictures(song, start, end, figures.dark())
    figures.show(f"Piano roll of {name}, {len(song)} notes", wide, narrow)


def _shown_part(song: Song, key: str) -> tuple[float, float]:
    """The part of the song to draw, in beats; a slider over bars where it is long."""
    bars, end = song.bar_starts(), max(song.beats, 1.0)
    if len(bars) <= FEW_BARS:
        return 0.0, end
    place = f"{key}.bars.{cached.fingerprint(song)}"
    first, last = st.slider("Bars shown", 1, len(bars), (1, min(SHOWN_BARS, len(bars))), key=place)
    return float(bars[first - 1]), float(bars[last]) if last < len(bars) else end


def _downloads(song: Song, name: str, key: str, sound: bool) -> None:
    """MIDI at once; sound is made when it is asked for."""
    kinds = ("mid", "mp3", "wav") if sound else ("mid",)
    with st.container(horizontal=True):
        for kind in kinds:
            data = cached.midi(song) if kind == "mid" else _later(song, kind)
            st.download_button(
                {"mid": "MIDI", "wav": "WAV", "mp3": "MP3"}[kind], data, f"{name}.{kind}", MIME[kind],
                key=f"{key}.{kind}", on_click="ignore", icon=":material/download:",
            )  # fmt: skip


def _later(song: Song, kind: str):  # noqa: ANN202  a callable without arguments
    return lambda: cached.sound(song, kind)
