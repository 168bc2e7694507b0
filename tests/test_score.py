"""The score: what is written of what is played."""

from dataclasses import replace
from fractions import Fraction
from xml.etree import ElementTree

import numpy as np
import pytest
from conftest import scale_song

from deepmusician.errors import ScoreError
from deepmusician.formats import read_song
from deepmusician.notes import KEY, NOTE, Song, Track
from deepmusician.score import engrave, quantise, to_musicxml

HOSTILE = '<img src=x onerror="alert(1)"> & "co"'


def sounds(song):
    return sorted((round(n["onset"], 3), round(n["duration"], 3), int(n["pitch"])) for n in song.notes)


def read_back(song, tmp_path):
    file = tmp_path / "score.musicxml"
    file.write_bytes(to_musicxml(song))
    return read_song(file)


def test_played_times_go_to_semiquavers_and_to_triplets_where_those_fit_better():
    song = Song.from_notes(
        [(0.02, 0.47, 60), (0.51, 0.5, 62), (1.0, 0.34, 64), (1.33, 0.33, 65), (1.66, 0.36, 67), (2.9, 0.01, 60)]
    )
    thirds = Fraction(1, 3)
    assert quantise(song) == [
        (0, Fraction(1, 2)), (Fraction(1, 2), 1), (1, 1 + thirds), (1 + thirds, 1 + 2 * thirds), (1 + 2 * thirds, 2),
        (3, 3 + Fraction(1, 4)),
    ]  # fmt: skip


def test_what_is_written_is_read_back_as_the_same_notes(tmp_path):
    song = scale_song(48, beats=8)
    assert sounds(read_back(song, tmp_path)) == sounds(song)


def test_a_note_over_a_bar_line_and_notes_over_held_ones_stay_one_note_each(tmp_path):
    song = Song.from_notes([(0, 6, 72), (1, 0.5, 67), (3.5, 1.25, 64), (5, 1 / 3, 65)])
    assert sounds(read_back(song, tmp_path)) == sounds(song)


def test_title_key_meter_and_names_are_written_down_and_escaped():
    notes = np.array([(0, 1, 61, 80, 0, False, 0)], NOTE)
    song = Song(notes, keys=np.array([(0, -3, False)], KEY), tracks=(Track(HOSTILE),), title=HOSTILE)
    score = ElementTree.fromstring(to_musicxml(song))
    assert HOSTILE in {e.text for e in score.iter() if e.tag in ("work-title", "movement-title")}
    assert score.findtext(".//part-name") == HOSTILE
    assert (score.findtext(".//fifths"), score.findtext(".//beats")) == ("-3", "4")
    assert (score.findtext(".//pitch/step"), score.findtext(".//pitch/alter")) == ("D", "-1")  # flats in a key of flats
    engraving = engrave(song)
    assert "<img" not in "".join(engraving.pages)


def test_each_moment_names_the_notes_that_sound_in_the_picture():
    engraving = engrave(Song.from_notes([(0, 1, 60), (1, 2, 64), (2, 1, 67)]))
    moments = dict(engraving.times)
    assert [len(moments[beat]) for beat in (0, 1, 2, 3)] == [1, 1, 2, 0]
    assert set(moments[1]) < set(moments[2])  # what is held stays lit
    assert all(f'id="{i}"' in engraving.pages[0] for ids in moments.values() for i in ids)


def test_two_hands_are_written_on_two_staves_and_drums_on_none():
    rows = [(0, 1, 40, 80, 0, False, 0), (0, 1, 76, 80, 0, False, 0), (0, 1, 38, 80, 0, True, 1)]
    score = ElementTree.fromstring(to_musicxml(Song(np.array(rows, NOTE), tracks=(Track(), Track(drum=True)))))
    assert [clef.findtext("sign") for clef in score.iter("clef")] == ["G", "F"]


MAJOR, MINOR = (0, 2, 4, 5, 7, 9, 11, 12), (0, 2, 3, 5, 7, 8, 10, 12)


@pytest.mark.parametrize(("tonic", "steps", "fifths"), [(62, MAJOR, "2"), (65, MAJOR, "-1"), (64, MINOR, "1")])
def test_a_piece_that_names_no_key_is_written_in_the_one_that_is_heard(tonic, steps, fifths):
    notes = [(i, 1 + 3 * (step in (0, 7, 12)), tonic + step) for i, step in enumerate(steps * 3)]
    song = Song.from_notes(notes)
    assert ElementTree.fromstring(to_musicxml(song)).findtext(".//fifths") == fifths
    assert engrave(song).remarks == ("The key signature is guessed from the notes.",)
    named = replace(song, keys=np.array([(0, 0, False)], KEY))
    assert ElementTree.fromstring(to_musicxml(named)).findtext(".//fifths") == "0" and engrave(named).remarks == ()
    few = Song.from_notes(notes[:8])
    assert ElementTree.fromstring(to_musicxml(few)).findtext(".//fifths") == "0"


def test_drums_that_are_left_out_are_named():
    rows = [(0, 1, 60, 80, 0, False, 0), (0, 1, 38, 80, 0, True, 1)]
    song = Song(np.array(rows, NOTE), tracks=(Track(), Track(drum=True)))
    assert engrave(song).remarks == ("Drums are not written down.",)


def test_what_cannot_be_written_says_why():
    with pytest.raises(ScoreError, match="at least one pitched note"):
        to_musicxml(Song.from_notes([]))
    with pytest.raises(ScoreError, match="may have 6,000 notes, this piece has 6,001; take it home as MIDI"):
        to_musicxml(Song.from_notes([(i, 1, 60) for i in range(6001)]))


def test_of_a_long_piece_the_first_bars_are_engraved_and_it_is_said_which(monkeypatch):
    monkeypatch.setattr("deepmusician.score.MAX_NOTES", 10)
    rows = [(i / 2, 4, 60 + i % 12) for i in range(40)]  # eight notes a bar, each sounding into the next
    told = engrave(Song.from_notes(rows, keys=np.array([(0, 0, False)], KEY)))
    assert told.remarks == ("Bars 1 to 1 of 6 are written down: the whole would take too long to engrave.",)
    assert max(beat for beat, _ in told.times) <= 4
    assert len({name for _, names in told.times for name in names}) >= 8
    monkeypatch.setattr("deepmusician.score.MAX_NOTES", 7)
    with pytest.raises(ScoreError, match="shows 7 notes, and more are in the first bar"):
        engrave(Song.from_notes(rows))


def test_a_piece_of_few_notes_in_endless_bars_is_engraved_as_far_as_it_goes(monkeypatch):
    monkeypatch.setattr("deepmusician.score.MAX_MEASURES", 8)
    rows = [(beat, 1, pitch, 80, 0, False, track) for beat in (0, 16, 800) for track, pitch in enumerate((60, 40))]
    song = Song(np.array(rows, NOTE), tracks=(Track("a"), Track("b")), keys=np.array([(0, 0, False)], KEY))
    told = engrave(song)
    assert told.remarks == ("Bars 1 to 2 of 201 are written down: the whole would take too long to engrave.",)
    with pytest.raises(ScoreError, match="may have 8 bars of all its tracks, this piece has 402; take it home as MIDI"):
        to_musicxml(song)
