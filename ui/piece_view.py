"""One file of a data set: what became of it and of each of its tracks, a switch for every decision, its music."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import streamlit as st

from ui import describe, examined, figures
from ui.page import capital, plain
from ui.player import player

if TYPE_CHECKING:
    from deepmusician.decisions import Choice
    from deepmusician.doctor import Report
    from deepmusician.notes import Song
    from ui.examined import Examined

LEARNT, READ = "as it is learnt", "as it was read"
CHANCE, MANY = "by chance", 8


def show_piece(seen: Examined, name: str) -> None:
    """The whole panel of one file."""
    report = seen.reports[seen.of(name)]
    colour = {"kept": "green", "changed": "orange", "left out": "red"}[report.verdict]
    st.subheader(plain(report.name), anchor=False)
    reason = plain(capital(report.reason)) if report.reason else ""
    st.markdown(f":{colour}[**{capital(report.verdict)}**] {reason}")
    if report.read.song is None:
        st.info("Mend the file or choose another, then add it again above.", icon=":material/build:")
        return
    if touched := describe.touched_sentence(report.read):
        st.caption(touched)
    decisions, tracks = st.columns(2, gap="large")
    with decisions:
        _decisions(seen, report)
    with tracks:
        _tracks(seen, report)
    song, what = _heard(report)
    if not len(song):
        st.info(f"Nothing is left to hear {what}: take a track in again.", icon=":material/music_off:")
        return
    player(song, PurePath(report.name).stem, "library", listen=False)
    look = report.after or report.before
    st.markdown(describe.piece_sentence(look))
    if look.notes:
        left, right = st.columns(2, gap="large")
        with left:
            figures.show("How long each pitch class sounds", *examined.pitch_pictures(look.classes, figures.dark()))
        with right:
            figures.show("Notes a beat along the piece", *examined.density_pictures(song, figures.dark()))


def _decisions(seen: Examined, report: Report) -> None:
    """A switch for each thing that can be decided of the piece; one that would change nothing is greyed out."""
    from deepmusician.decisions import silent_beats

    choice, before = report.choice, report.before
    song = report.read.song
    _switch(seen, report, "Use this file", not choice.out, "took in {}", "left out {}", lambda on: {"out": not on})
    for label, field, has, why, did in (
        ("Drop the drums", "no_drums", before.drums, "it has none", "dropped the drums of {}"),
        ("Trim the silence", "trim", silent_beats(song) > 0 or choice.trim, "there is none", "trimmed {}"),
        ("Transpose into range", "fit", before.lost, "every note is on the 88 keys", "transposed {} into range"),
    ):
        _switch(
            seen, report, label if has else f"{label} ({why})", getattr(choice, field), did, f"no longer {did}",
            lambda on, field=field: {field: on}, disabled=not has or choice.out,
        )  # fmt: skip
    sides = {"": CHANCE, "training": "training", "held out": "held out"}
    key = f"piece.side.{seen.name}.{report.name}"
    st.session_state[key] = choice.side
    st.segmented_control(
        "Side of the split", list(sides), format_func=sides.__getitem__, key=key, required=True,
        disabled=choice.out, on_change=lambda: _decide(
            seen, report, f"put {{}} {sides[st.session_state[key]]} in the split", {"side": st.session_state[key]}
        ),
        help="Training songs are learnt from; held-out songs judge the model. By chance about one in ten is held out.",
    )  # fmt: skip


def _tracks(seen: Examined, report: Report) -> None:
    """A switch for each track that holds notes."""
    sounding = [t for t in report.tracks if t.notes]
    silent = len(report.tracks) - len(sounding)
    st.markdown(f"**Tracks**{f' ({silent} more without notes)' if silent else ''}")
    with st.container(height=330 if len(sounding) > MANY else "content", border=len(sounding) > MANY):
        for track in sounding:
            _switch(
                seen, report, describe.track_line(track), track.index not in report.choice.mute,
                f"took in track {track.index + 1} of {{}}", f"left out track {track.index + 1} of {{}}",
                lambda on, i=track.index: {"mute": report.choice.hear(i, on).mute}, disabled=report.choice.out,
                key=f"track.{track.index}",
            )  # fmt: skip


def _switch(
    seen: Examined, report: Report, label: str, on: bool, did: str, undid: str,
    decided: Callable[[bool], dict[str, Any]], disabled: bool = False, key: str = "",
) -> None:  # fmt: skip
    """One decision as a toggle that shows how it stands."""
    place = f"piece.{key or label.split(' (')[0]}.{seen.name}.{report.name}"
    st.session_state[place] = on  # undoing moves it, too

    def change() -> None:
        now = st.session_state[place]
        _decide(seen, report, did if now else undid, decided(now))

    st.toggle(label, key=place, disabled=disabled, on_change=change)


def _decide(seen: Examined, report: Report, what: str, changes: dict[str, Any]) -> None:
    choice: Choice = replace(report.choice, **changes)
    examined.decide(seen.name, what.format(report.name), {report.name: choice})


def _heard(report: Report) -> tuple[Song, str]:
    """Which of its forms is shown and heard: as it is learnt, as it was read, or one track alone."""
    song = report.read.song
    forms = {LEARNT: report.result.song} if report.result.song is not None else {}
    forms[READ] = song
    sounding = [t for t in report.tracks if t.notes]
    if len(sounding) > 1:
        forms |= {f"track {t.index + 1} {t.name}".strip(): t.index for t in sounding}
    what = st.selectbox("Hear it", list(forms), key=f"piece.heard.{report.name}.{len(forms)}")
    form = forms[what]
    return (song.select([form]) if isinstance(form, int) else form), what
