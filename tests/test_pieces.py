"""A bar and its source, cut to be heard in turn; what is said of one piece."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import scale_song

from deepmusician.notes import METER, Song
from deepmusician.originality import Index, calibrate
from deepmusician.pieces import Read, semitones_words
from deepmusician.roll import to_roll
from deepmusician.rolls import make_rolls

CARD = {"options": {"division": "1/8"}}


def read(songs):
    rolls = make_rolls(songs, "1/8")
    index = Index(to_roll(song, "1/8") for song in songs)
    names = tuple(f"song {i}" for i in range(len(songs)))
    return Read(CARD, names, rolls, np.arange(len(songs)), index, calibrate(index, []))


def test_one_semitone_is_one_and_more_are_many():
    assert semitones_words(1) == "1 semitone higher" and semitones_words(-2) == "2 semitones lower"
    assert semitones_words(0) == ""


def test_a_bar_is_cut_with_its_neighbours_and_its_source_lined_up_with_it():
    """The piece is the training song from its third bar on, a third higher: bar 2 of it stands in bar 4 there."""
    whole = scale_song(50, beats=32)
    late = [(n["onset"] - 8, n["duration"], n["pitch"] + 4) for n in whole.notes if n["onset"] >= 8]
    source = read([whole])
    found = source.search(Song.from_notes(late).with_program(6).with_tempo(90))
    assert source.name(found.bars[1]) == "song 0" and found.bars[1].passage.semitones == -4
    mine, theirs = source.beside(found, 1)
    assert mine.beats == theirs.beats == 12
    assert np.array_equal(mine.notes["onset"], theirs.notes["onset"])
    assert set((mine.notes["pitch"].astype(int) - theirs.notes["pitch"]).tolist()) == {4}
    assert set(theirs.notes["program"].tolist()) == {6} and theirs.tempo_bpm == pytest.approx(90)


def test_bars_are_those_of_the_songs_meter():
    song = replace(scale_song(50, beats=30), meters=np.array([(0, 3, 4)], METER))
    source = read([scale_song(50, beats=30)])
    found = source.search(song)
    assert set(np.diff(found.frames)[:-1].tolist()) == {6}
    mine, theirs = source.beside(found, 3)
    assert mine.meters["numerator"].tolist() == theirs.meters["numerator"].tolist() == [3]
    assert 8 < mine.beats <= 9
