"""Decisions: kept apart from the notes, undone step by step, carried out on reading."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepmusician.decisions import AS_READ, Choice, Decisions, fit, music_span, silent_beats, treat, treated, trim
from deepmusician.errors import LibraryError
from deepmusician.notes import KEY, METER, NOTE, TEMPO, Song, Track
from deepmusician.roll import MAX_BEATS, off_keyboard, to_roll
from deepmusician.store import Entry

TRACKS = (Track("Right"), Track("Left"), Track("Kit", 0, True))


def trio(first=8.0):
    """A right hand and a left hand from beat `first` on, and drums from beat 0 to 20."""
    rows = [(first, 1, 72, 80, 0, 0, 0), (first + 1, 3, 74, 80, 0, 0, 0), (first, 4, 48, 80, 0, 0, 1)]
    drums = [(beat, 1, 36, 90, 0, 1, 2) for beat in range(20)]
    return Song(np.array(rows + drums, NOTE), tracks=TRACKS)


def rows(song):
    return [(float(n["onset"]), float(n["duration"]), int(n["pitch"])) for n in song.notes]


# ---- carrying out


def test_a_choice_that_decides_nothing_gives_the_same_song():
    song = trio()
    assert treat(song, AS_READ) == (song, ())
    entry = Entry.of("a.mid", song)
    assert treated(entry) == entry


def test_tracks_are_left_out_one_by_one_and_taken_in_again():
    choice = AS_READ.hear(1, False).hear(0, False)
    assert choice.mute == (0, 1)
    song, said = treat(trio(), choice.hear(0, True))
    assert {int(t) for t in song.notes["track"]} == {0, 2}
    assert said == ("you left out 1 track of 3 (1 note)",)
    assert choice.hear(0, True).hear(1, True) == AS_READ


def test_drums_are_dropped_with_their_number():
    song, said = treat(trio(), Choice(no_drums=True))
    assert len(song) == 3 and said == ("you dropped its drums (20 notes)",)
    assert treat(song, Choice(no_drums=True))[1] == ()


def test_silence_is_what_no_key_sounds_in_though_drums_do():
    assert music_span(trio()) == (8, 12)
    assert silent_beats(trio()) == 16


def test_trimming_keeps_the_upbeat_in_its_bar():
    song, words = trim(trio(first=11.0))  # the third bar's last beat
    assert words == "12 beats of silence trimmed"
    assert [row for row in rows(song) if row[2] != 36] == [(3, 4, 48), (3, 1, 72), (4, 3, 74)]
    assert music_span(song) == (0, 8)
    assert to_roll(song).sounding.shape[0] == 7 * 4
    assert trim(song) == (song, "")


def test_trimming_carries_tempo_meter_and_key_along():
    song = Song(
        np.array([(6, 1, 60, 80, 0, 0, 0), (20, 2, 62, 80, 0, 0, 0)], NOTE),
        tempos=np.array([(0, 60), (4, 90), (12, 120)], TEMPO),
        meters=np.array([(0, 2, 4), (4, 3, 4)], METER),
        keys=np.array([(0, 1, False), (19, 2, False)], KEY),
    )
    cut, _ = trim(song)  # bars begin at 0, 2, 4, 7, 10 ...
    assert [tuple(t) for t in cut.tempos] == [(0, 90), (8, 120)]
    assert [tuple(m) for m in cut.meters] == [(0, 3, 4)]
    assert [tuple(k) for k in cut.keys] == [(0, 1, False), (15, 2, False)]
    assert rows(cut) == [(2, 1, 60), (16, 2, 62)]


def test_a_few_notes_off_the_keyboard_move_alone():
    song = Song.from_notes([(i, 1, 60) for i in range(20)] + [(20, 1, 10), (21, 1, 120)])
    fitted, words = fit(song)
    assert words == "2 notes moved by octaves onto the keyboard"
    assert fitted.notes["pitch"].tolist() == [60] * 20 + [22, 108]


def test_a_piece_that_lies_too_low_moves_as_a_whole_and_keeps_its_intervals():
    song = Song.from_notes([(0, 1, 12), (1, 1, 16), (2, 1, 19), (3, 1, 40)])
    fitted, words = fit(song)
    assert fitted.notes["pitch"].tolist() == [24, 28, 31, 52]
    assert words == "the piece moved 1 octave up onto the keyboard"


@given(st.lists(st.integers(0, 127), min_size=1, max_size=40))
def test_fitting_leaves_no_note_off_the_keyboard_and_every_pitch_class_as_it_was(pitches):
    song = Song.from_notes([(i, 1, pitch) for i, pitch in enumerate(pitches)])
    fitted, _ = fit(song)
    assert off_keyboard(fitted) == 0
    assert (fitted.notes["pitch"] % 12).tolist() == (song.notes["pitch"] % 12).tolist()


def test_drums_have_no_pitch_to_fit():
    drums = Song(np.array([(0, 1, 10, 90, 0, 1, 0), (0, 1, 60, 90, 0, 0, 0)], NOTE))
    assert fit(drums) == (drums, "")


def test_a_piece_left_out_keeps_its_name_and_says_who_did_it():
    entry = treated(Entry.of("a.mid", trio()), Choice(out=True))
    assert (entry.name, entry.song, entry.status, entry.reason) == ("a.mid", None, "left out", "you left it out")


def test_what_was_done_stands_behind_what_was_mended_on_reading():
    song = Song(trio().notes, tracks=TRACKS, repairs=("one note was closed",))
    entry = treated(Entry.of("a.mid", song), Choice(no_drums=True, side="held out"))
    assert entry.status == "repaired" and entry.side == "held out"
    assert entry.reason == "one note was closed; you dropped its drums (20 notes)"
    assert treated(Entry.of("b.mid", trio()), Choice(no_drums=True)).status == "kept"  # as it was read


def test_a_piece_of_which_nothing_is_left_says_so():
    entry = treated(Entry.of("a.mid", trio()), Choice(mute=(0, 1), no_drums=True))
    assert entry.song is None and entry.reason.startswith("no note is left of it: you left out 2 tracks of 3")


def test_a_piece_too_long_for_a_roll_is_left_out_until_it_is_trimmed():
    late = Entry.of("late.mid", Song.from_notes([(MAX_BEATS, 1, 60)]))
    assert "its last note lies at beat 20,001, 20,000 are possible" in treated(late).reason
    assert rows(treated(late, Choice(trim=True)).song) == [(0, 1, 60)]


def test_a_refused_file_stays_refused_whatever_is_decided():
    entry = Entry.refused("bad.mid", "it is not MIDI")
    assert treated(entry, Choice(out=True)) == entry


def test_a_side_that_does_not_exist_is_refused():
    with pytest.raises(LibraryError, match="pinned to one of training, held out or to none, got 'both'"):
        Choice(side="both")


# ---- keeping and undoing


def test_decisions_are_undone_one_after_the_other():
    none = Decisions()
    one = none.decide("left out a", {"a": Choice(out=True)})
    two = one.decide("trimmed a and b", {"a": Choice(out=True, trim=True), "b": Choice(trim=True)})
    assert two.of("a") == Choice(out=True, trim=True) and two.of("c") == AS_READ
    assert [step.what for step in two.steps] == ["left out a", "trimmed a and b"]
    assert two.undo() == one and one.undo() == none and none.undo() == none


def test_what_changes_nothing_is_no_step_and_what_stands_as_read_is_not_kept():
    one = Decisions().decide("x", {"a": Choice(out=True)})
    assert one.decide("again", {"a": Choice(out=True)}) is one
    assert one.decide("back", {"a": AS_READ}).choices == {}


def test_decisions_come_back_from_text():
    choice = Choice(True, (0, 3), True, True, True, "training")
    decisions = Decisions().decide("é", {"a\udc80.mid": choice}).decide("b", {"b": Choice(trim=True)})
    assert Decisions.from_json(decisions.to_json()) == decisions


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"form": 2}', '{"form": 1, "choices": {"a": {"x": 1}}, "steps": []}']
)
def test_text_that_holds_no_decisions_is_refused(text):
    with pytest.raises(LibraryError, match="decisions cannot be read"):
        Decisions.from_json(text)
