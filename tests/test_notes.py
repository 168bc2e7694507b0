"""Song: its maps between beats and seconds, its bars, and what it refuses."""

import numpy as np
import pytest

from deepmusician.errors import MidiError
from deepmusician.notes import METER, TEMPO, Song, Track


def test_seconds_follow_every_tempo_change():
    # 4 beats at 120 (0.5 s each), then 60 (1 s each)
    song = Song.from_notes([(0, 8, 60)], tempos=np.array([(0, 120), (4, 60)], TEMPO))
    assert song.seconds_at([0, 4, 6]).tolist() == [0, 2, 4]
    assert song.seconds == 6
    assert song.beats_at([0, 2, 4]).tolist() == [0, 4, 6]


def test_bars_follow_the_meters():
    song = Song.from_notes([(0, 10, 60)], meters=np.array([(0, 4, 4), (4, 3, 4)], METER))
    assert song.bar_starts().tolist() == [0, 4, 7]


def test_a_map_that_starts_late_begins_with_the_default():
    song = Song.from_notes([(0, 8, 60)], tempos=np.array([(4, 60)], TEMPO))
    assert song.tempos.tolist() == [(0, 120), (4, 60)]


def test_the_last_of_two_tempos_on_one_beat_holds():
    song = Song.from_notes([(0, 1, 60)], tempos=np.array([(0, 90), (0, 100)], TEMPO))
    assert song.tempos.tolist() == [(0, 100)]


def test_the_tempo_is_the_one_that_holds_longest():
    song = Song.from_notes([(0, 10, 60)], tempos=np.array([(0, 120), (2, 90)], TEMPO))
    assert song.tempo_bpm == 90


def test_notes_are_sorted_by_onset_then_pitch():
    song = Song.from_notes([(1, 1, 60), (0, 1, 67), (0, 1, 64)])
    assert song.notes["pitch"].tolist() == [64, 67, 60]


def test_an_empty_song_has_no_length():
    assert Song.from_notes([]).beats == 0
    assert Song.from_notes([]).seconds == 0


def test_transposing_moves_tones_but_not_drums():
    song = Song.from_notes([(0, 1, 60), (1, 1, 36)], tracks=(Track(),))
    song.notes["drum"][1] = True
    assert song.transpose(5).notes["pitch"].tolist() == [65, 36]
    with pytest.raises(MidiError, match=r"transposing by \+70 .* use a smaller step"):
        song.transpose(70)


def test_choosing_tracks_and_leaving_out_drums():
    song = Song.from_notes([(0, 1, 60), (0, 1, 64), (0, 1, 67)], tracks=(Track("a"), Track("b", drum=True)))
    song.notes["track"][1:] = [1, 1]
    song.notes["drum"][1] = True
    assert song.select([1]).notes["pitch"].tolist() == [64, 67]
    assert song.select(drums=False).notes["pitch"].tolist() == [60, 67]
    with pytest.raises(MidiError, match=r"track must be 0\.\.1, got 7"):
        song.select([7])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Song.from_notes([(0, 0, 60)]), "duration above 0"),
        (lambda: Song.from_notes([(np.nan, 1, 60)]), "finite onset"),
        (lambda: Song.from_notes([(0, 1, 60)], ticks_per_beat=0), "ticks_per_beat must be at least 1, got 0"),
        (lambda: Song.from_notes([(0, 1, 60)], tempos=np.array([(0, 0)], TEMPO)), "tempo must be above 0"),
        (lambda: Song.from_notes([(0, 1, 60)], tracks=()), "names track 0, but the song has 0"),
        (lambda: Song.from_notes([(0, 1, 60)]).with_program(128), r"program must be 0\.\.127"),
    ],
)
def test_impossible_songs_are_refused_in_words(build, message):
    with pytest.raises(MidiError, match=message):
        build()


def test_bars_end_with_the_song_where_a_meter_lies_far_beyond_it():
    meters = np.array([(0, 4, 4), (6, 1, 128), (2**28, 1, 128), (2**30, 4, 4)], METER)
    song = Song.from_notes([(0, 7, 60)], meters=meters)
    assert song.bar_starts().tolist() == [0, 4, 6, 6.25, 6.5, 6.75]  # 1/128 is no bar


def test_a_meter_that_begins_as_the_song_ends_begins_no_bar():
    meters = np.array([(0, 4, 4), (8, 3, 4)], METER)
    assert Song.from_notes([(0, 8, 60)], meters=meters).bar_starts().tolist() == [0, 4]
