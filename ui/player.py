"""The player: how a piece is seen, heard and taken home, the same wherever music appears.

It is two components. The roll holds the notes and is sent once; the sound, in a fragment of its own, brings the
address of what can be heard by now, so that news about it sends no notes again and draws no page anew. In the browser
they find each other by the player's key (player_component/post.js).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import streamlit as st

from deepmusician.instruments import program_name
from deepmusician.notes import NOTE, Song
from ui import audio, cached, keys
from ui.page import capital, sentences

MIME = {
    "mid": "audio/midi", "wav": "audio/wav", "mp3": "audio/mpeg",
    "musicxml": "application/vnd.recordare.musicxml+xml",
}  # fmt: skip
LABELS = {"mid": "MIDI", "wav": "WAV", "mp3": "MP3", "musicxml": "MusicXML"}
PATIENCE = 0.15  # seconds that a run waits for sound that is on its way, before the browser asks again

_FOLDER = Path(__file__).parent / "player_component"
_SCRIPTS = ("post", "music", "colours", "roll", "sound", "score", "player")


def _read(*names: str) -> str:
    return "\n".join((_FOLDER / name).read_text(encoding="utf-8") for name in names)


_ROLL = st.components.v2.component(
    "deepmusician.player",
    html=_read("player.html"),
    css=_read("player.css"),
    js=_read(*(f"{name}.js" for name in _SCRIPTS)),
)
_SOUND = st.components.v2.component("deepmusician.sound", js=_read("post.js", "sound_post.js"))


@dataclass(frozen=True)
class Region:
    """A part of a piece that a person has selected, in beats from its start."""

    start_beats: float
    end_beats: float


def player(
    song: Song,
    name: str,
    key: str,
    listen: bool = True,
    *,
    select: bool | Literal["bar"] = False,
    note_shade: np.ndarray | None = None,
    bar_shade: np.ndarray | None = None,
    shade_label: str = "",
    ghost: Song | None = None,
) -> Region | None:
    """Show the roll, the sound and the downloads of a piece; returns the region selected, where `select` asks for it.

    With `select="bar"` a click selects the bar it falls in, too.

    `name` is what downloads are called; `key` tells this player from others on the page. Where `listen` is false the
    sound waits for a click, so that looking through a library costs no rendering. `note_shade` float [notes of the
    song] and `bar_shade` float [bars] in 0..1, nan where unknown, colour notes, and the bars behind them, on a scale
    called `shade_label`; `ghost` is drawn faintly behind. See `play` for music that begins by itself.
    """
    piece = _piece(song, name, note_shade, bar_shade, ghost)
    region = _show([piece], [song], key, listen, select, shade_label)
    with sentences():
        _downloads(song, name, key)
    return region


def players(pieces: Sequence[tuple[str, Song]], key: str) -> None:
    """Show two or more named pieces side by side that play in turn from the same place, in beats."""
    songs = [song for _, song in pieces]
    _show([_piece(song, name) for name, song in pieces], songs, key, listen=False)
    for i, (column, (name, song)) in enumerate(zip(st.columns(len(pieces)), pieces, strict=True)):
        with column, sentences():
            st.caption(f"{chr(ord('A') + i)} to take home")
            _downloads(song, name, f"{key}.{i}")


def play(song: Song) -> None:
    """Let the player of this song begin by itself, until another page is opened."""
    keys.LISTENING.set(f"{cached.fingerprint(song)} {time.monotonic_ns()}")


# ---- the roll


def _show(
    pieces: list[dict], songs: list[Song], key: str, listen: bool, select: bool | str = False, shade_label: str = ""
) -> Region | None:
    problem = cached.sound_problem()
    data = {
        "id": key, "pieces": pieces, "select": select, "shade_label": shade_label, "playable": problem is None,
    }  # fmt: skip
    asked = {"on_region_change": lambda: None} if select else {}
    with st.container(key=f"{key}.player", gap=None):
        result = _ROLL(key=f"{key}.roll", data=data, **asked)
        _sound(songs, [piece["name"] for piece in pieces], key, listen, problem)
    if problem:
        st.info(f"There is no sound: {problem}", icon=":material/volume_off:")
    return _region(result.region, songs[0]) if select else None


def _region(value: Any, song: Song) -> Region | None:
    """The selection as the browser tells it, if it is one of this song."""
    if not isinstance(value, dict) or value.get("of") != cached.fingerprint(song):
        return None
    start, end = value.get("start"), value.get("end")
    if not all(isinstance(x, (int, float)) for x in (start, end)) or not 0 <= start < end:
        return None
    return Region(float(start), float(end))


def _piece(
    song: Song,
    name: str,
    note_shade: np.ndarray | None = None,
    bar_shade: np.ndarray | None = None,
    ghost: Song | None = None,
) -> dict[str, Any]:
    """What the roll is told of a piece."""
    starts = song.bar_starts() if len(song.bar_starts()) else np.zeros(1)
    meter = song.meters[np.searchsorted(song.meters["beat"], starts + 1e-9, side="right") - 1]
    units = 4.0 / meter["denominator"]
    end = starts[-1] + meter["numerator"][-1] * units[-1]
    piece = {
        "name": name,
        "of": cached.fingerprint(song),
        "beats": song.beats,
        "bars": [*_numbers(starts), round(float(end), 5)],
        "units": _numbers(units),
        "tempos": [[float(beat), float(bpm)] for beat, bpm in song.tempos.tolist()],
        "tracks": _tracks(song),
        "notes": _columns(song.notes),
        "ghost": None if ghost is None else _columns(ghost.notes),
        "note_shade": _shade(note_shade, len(song), "note"),
        "bar_shade": _shade(bar_shade, len(starts), "bar"),
    }
    piece["stamp"] = hashlib.sha1(json.dumps(piece).encode()).hexdigest()[:16]
    return piece


def _tracks(song: Song) -> list[dict[str, Any]]:
    counts = np.bincount(song.notes["track"], minlength=len(song.tracks)).tolist()
    return [
        {"name": t.name or ("Drums" if t.drum else program_name(t.program)), "drum": t.drum, "count": n}
        for t, n in zip(song.tracks, counts, strict=True)
    ]


def _columns(notes: np.ndarray) -> dict[str, list]:
    names = ("onset", "duration", "pitch", "velocity", "track")
    return {name: _numbers(notes[name]) if NOTE[name].kind == "f" else notes[name].tolist() for name in names}


def _numbers(values: np.ndarray) -> list[float]:
    return np.round(values, 5).tolist()  # finer than any tick that is heard, and short to send


def _shade(values: np.ndarray | None, count: int, what: str) -> list[float | None] | None:
    if values is None:
        return None
    if len(values) != count:
        raise ValueError(f"{what}_shade must have one value for each of {count} {what}s, got {len(values)}")
    return [None if np.isnan(x) else round(float(x), 3) for x in values]


# ---- the sound


@st.fragment
def _sound(songs: list[Song], names: list[str], key: str, listen: bool, problem: str | None) -> None:
    """Tell the roll what can be heard, and read, by now of what it asked for."""
    of = [cached.fingerprint(song) for song in songs]
    ask = _ask(key, of)
    sounds: list[dict | None] = [None] * len(songs)
    pending = False
    if problem is None:
        first = ask.get("first", 0)
        for i in sorted(range(len(songs)), key=lambda i: i != first):  # what plays comes first
            if listen or ask.get("want") or _playing(songs[i]):
                muted = tuple(sorted(set(ask["muted"][i]))) if ask else ()
                job = audio.desk().job(songs[i], muted)
                if not (job.latest or pending):
                    job.done.wait(PATIENCE)
                sounds[i] = _heard(job, muted, f"{key}.{i}")
                pending |= not job.done.is_set()
                problem = problem or job.problem
    scores: list[dict | None] = [None] * len(songs)
    for i, (song, name) in enumerate(zip(songs, names, strict=True)):
        if ask.get("score"):
            page = audio.press().page(song if song.title else replace(song, title=name))
            scores[i] = _read_page(page, f"{key}.score.{i}")
            pending |= not page.done.is_set()
    news = {
        "id": key, "of": of, "sounds": sounds, "scores": scores, "pending": pending,
        "problem": problem, "turn": ask.get("turn", 0), "play": _token(songs),
    }  # fmt: skip
    _SOUND(key=f"{key}.sound", data=news, on_ask_change=lambda: None)


def _ask(key: str, of: list[str]) -> dict[str, Any]:
    """What the browser last asked for, if it was about these pieces."""
    ask = (st.session_state.get(f"{key}.sound") or {}).get("ask")
    return ask if isinstance(ask, dict) and ask.get("of") == of else {}


def _heard(job: audio.Job, muted: tuple[int, ...], place: str) -> dict[str, Any] | None:
    sound = job.latest
    if sound is None:
        return None
    url = audio.address(sound.wav, MIME["wav"], f"{place}.{sound.hash}")
    return {
        "url": url,
        "hash": sound.hash,
        "whole": sound.whole,
        "seconds": sound.seconds,
        "muted": list(muted),
    }


def _read_page(page: audio.Page, place: str) -> dict[str, Any] | None:
    if page.problem:
        return {"problem": capital(page.problem)}
    if page.json is None:
        return None
    url = audio.address(page.json, "application/json", place)
    return {"url": url, "hash": url}


def _token(songs: list[Song]) -> str | None:
    """What changes each time `play` was called for one of these."""
    return keys.LISTENING.get() if any(map(_playing, songs)) else None


def _playing(song: Song) -> bool:
    return (keys.LISTENING.get() or "").startswith(cached.fingerprint(song))


# ---- downloads


def _downloads(song: Song, name: str, key: str) -> None:
    """MIDI at once; everything else is made when it is asked for."""
    kinds = ("mid", "musicxml") if cached.sound_problem() else ("mid", "wav", "mp3", "musicxml")
    with st.container(horizontal=True):
        for kind in kinds:
            data = cached.midi(song) if kind == "mid" else _later(song, name, kind)
            st.download_button(
                LABELS[kind], data, f"{name}.{kind}", MIME[kind],
                key=f"{key}.{kind}", on_click="ignore", icon=":material/download:",
            )  # fmt: skip


def _later(song: Song, name: str, kind: str) -> Callable[[], bytes]:
    if kind == "musicxml":
        return lambda: cached.musicxml(song if song.title else replace(song, title=name))
    return lambda: audio.with_identity(cached.sound(song, kind), kind)
