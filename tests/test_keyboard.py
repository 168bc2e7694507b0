"""What the on-screen keyboard tells becomes a song; what no keyboard can have played is refused in words."""

import pytest
from streamlit.testing.v1 import AppTest

from deepmusician.errors import MidiError
from ui.keyboard import LIMITS, song_of


def take(*notes, **parts):
    return {"tempo": 100, "bars": 2, "meter": 4, "snap": 0.25, "notes": list(notes), **parts}


def rows(song):
    return [(n["onset"], n["duration"], n["pitch"], n["velocity"]) for n in song.notes]


def test_notes_move_to_the_nearest_sixteenth_and_keep_tempo_and_metre():
    song = song_of(take([0.11, 0.4, 60, 88], [1.13, 0.02, 64, 70], tempo=72, meter=3))
    assert rows(song) == [(0, 0.5, 60, 88), (1.25, 0.25, 64, 70)]
    assert song.tempo_bpm == 72
    assert tuple(song.meters[0]) == (0, 3, 4)


def test_a_coarser_grid_moves_notes_further_and_none_leaves_them_to_the_tick():
    played = [0.7, 0.3, 60, 88]
    assert rows(song_of(take(played, snap=0.5))) == [(0.5, 0.5, 60, 88)]
    ((onset, duration, *_),) = rows(song_of(take(played, snap=0)))
    assert (onset, duration) == pytest.approx((0.7, 0.3), abs=1 / 960)
    assert onset * 480 == pytest.approx(round(onset * 480))  # a whole number of ticks


def test_two_strokes_that_the_grid_makes_one_leave_the_longer():
    assert rows(song_of(take([0.02, 1.0, 60, 88], [0.1, 0.2, 60, 99]))) == [(0, 1, 60, 88)]


def test_nothing_played_is_no_song():
    assert song_of(take()) is None


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ("notes", "must be a table, got str"),
        (take(tempo=0), "tempo must be 40..240, got 0"),
        (take(tempo=float("nan")), "tempo must be 40..240, got nan"),
        (take(tempo=10**400), "tempo must be 40..240"),
        (take(tempo=True), "tempo must be 40..240, got True"),
        (take(bars=3), "bars must be one of 1, 2, 4, 8, 16, got 3"),
        (take(meter="4"), "meter must be one of"),
        (take(snap=0.1), "snap must be one of 0, 0.5, 0.25, got 0.1"),
        (take(notes=None), "at most 2,000 notes can be played, got none"),
        (take(*[[0, 1, 60, 88]] * 2001), "at most 2,000 notes can be played, got 2001"),
        (take([0, 1, 60]), r"must be \[onset, duration, pitch, velocity\]"),
        (take([-1, 1, 60, 88]), "onset of a note must be 0..64, got -1"),
        (take([0, 65, 60, 88]), "duration of a note must be 0..64, got 65"),
        (take([0, 1, 20, 88]), "pitch must be 21..108, got 20"),
        (take([0, 1, 60, 0]), "velocity must be 1..127, got 0"),
        (take([0, 1, "60", 88]), "pitch must be 21..108, got '60'"),
    ],
)  # fmt: skip
def test_what_cannot_have_been_played_is_refused_with_rule_and_value(told, words):
    with pytest.raises(MidiError, match=words):
        song_of(told)


def test_the_keyboard_remembers_what_was_played_when_it_is_shown_anew():
    def page():
        import streamlit as st

        from ui.keyboard import keyboard

        song = keyboard("kb")
        st.write("nothing" if song is None else f"{len(song)} note at {song.tempo_bpm:g}")

    app = AppTest.from_function(page).run()
    assert not app.exception and app.markdown[0].value == "nothing"
    app.session_state["kb.take"] = take([0, 1, 60, 88])
    assert app.run().markdown[0].value == "1 note at 100"
    (shown,) = app.get("bidi_component")
    assert f'"notes": {LIMITS["notes"]}' in shown.proto.json
