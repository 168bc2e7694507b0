"""What a piece shares with training songs: found in any key, however its rhythm is shifted, and named by its place."""

import time

import numpy as np
import pytest

from deepmusician.errors import OptionError
from deepmusician.notes import Song
from deepmusician.originality import GRAMS, Human, Index, calibrate, memorised, verdict
from deepmusician.roll import Roll, to_roll

CHORDS = ((0, 4, 7), (0, 3, 8), (0, 5, 9), (0, 7), (0, 4, 9))


def tune(seed, notes=64, stretch=1.0, up=0, late=0.0, skip=()):
    """Random chords on random keys, one a beat; `skip` leaves some out, `late` and `stretch` move them."""
    rng = np.random.default_rng(seed)
    roots = rng.integers(45, 75, notes)
    kinds = rng.integers(0, len(CHORDS), notes)
    rows = [
        (late + stretch * i, stretch, int(root) + up + k)
        for i, (root, kind) in enumerate(zip(roots, kinds, strict=True))
        if i not in skip
        for k in CHORDS[kind]
    ]
    return to_roll(Song.from_notes(rows), "1/16")


def joined(*rolls):
    planes = (np.concatenate([getattr(r, plane) for r in rolls]) for plane in ("sounding", "onset", "velocity"))
    return Roll(*planes, rolls[0].division)


def part(roll, begin, end):
    """Some beats of a roll."""
    planes = (plane[4 * begin : 4 * end] for plane in (roll.sounding, roll.onset, roll.velocity))
    return Roll(*planes, roll.division)


SONGS = [tune(seed) for seed in range(8)]
INDEX = Index(SONGS)
NEW = tune(99)


def test_a_song_is_found_whole_and_a_new_one_not_at_all():
    found = INDEX.search(SONGS[3])
    assert found.longest == 64 and found.share(10) == 1.0
    assert {p.song for p in found.passages} == {3}
    assert INDEX.search(NEW).share(6) == 0.0


@pytest.mark.parametrize(
    "change", [{"up": 5}, {"up": -7}, {"late": 0.5}, {"stretch": 0.5}, {"stretch": 2, "late": 0.25, "up": 3}], ids=str
)
def test_it_is_found_in_another_key_later_faster_and_slower(change):
    found = INDEX.search(tune(3, **change))
    assert found.longest == 64
    (passage,) = found.passages
    assert (passage.song, passage.song_begin, passage.song_end) == (3, 0, 64)
    assert passage.semitones == -change.get("up", 0)


def test_a_passage_within_new_music_is_found_where_it_stands():
    piece = joined(part(NEW, 0, 20), part(SONGS[5], 30, 46), part(NEW, 20, 40))
    found = INDEX.search(piece)
    reach = found.reach
    assert (reach[20:36] == 16).all() and reach[:20].max() < 4 and reach[36:].max() < 4
    passage = found.passages[found.passage[25]]
    assert (passage.begin, passage.end, passage.song, passage.song_begin) == (20, 36, 5, 30)


@pytest.mark.parametrize("skip", [(30,), (30, 31)])
def test_a_few_chords_left_out_do_not_part_a_passage(skip):
    found = INDEX.search(tune(3, skip=skip))
    assert found.longest == 64 - len(skip)
    apart = INDEX.search(tune(3, skip=range(25, 32)))
    assert apart.longest < 40


def test_a_chord_put_in_or_changed_does_not_part_a_passage():
    changed = tune(3)
    changed.sounding[120:124] = changed.onset[120:124] = False
    changed.sounding[120:124, 10] = changed.onset[120, 10] = True
    assert INDEX.search(changed).longest == 64
    more = joined(part(SONGS[3], 0, 30), part(NEW, 0, 1), part(SONGS[3], 30, 64))
    assert INDEX.search(more).longest == 65


def test_each_bar_says_how_long_its_passage_is_and_where():
    piece = joined(part(NEW, 0, 8), part(SONGS[5], 8, 24))
    bars = INDEX.search(piece).bars(16, mark=8)
    assert [bar.chords for bar in bars] == [0, 0, 16, 16, 16, 16]
    assert [bar.shade for bar in bars] == [0, 0, 1, 1, 1, 1]
    assert INDEX.search(piece).bars(16, mark=16)[3].shade == 0.5  # no longer than human pieces share
    assert bars[3].passage.song == 5 and bars[0].passage is None


def test_a_piece_is_not_compared_with_the_song_left_out():
    assert INDEX.search(SONGS[3], without=3).share(6) == 0.0


def test_the_index_takes_more_chords_in_a_row_where_music_is_plain():
    scale = [to_roll(Song.from_notes([(i, 1, 60 + (i * step) % 12) for i in range(200)]), "1/4") for step in (1, 2)]
    assert Index(SONGS).n == GRAMS[0] < Index(scale).n
    assert Index(SONGS, n=8).n == 8
    with pytest.raises(OptionError, match="n must be one of 3, 4"):
        Index(SONGS, n=7)


def test_silence_and_a_piece_too_short_share_nothing():
    empty = part(NEW, 0, 0)
    assert INDEX.search(empty).share(3) == 0.0 and INDEX.search(empty).longest == 0
    assert INDEX.search(part(SONGS[0], 0, 2)).share(0) == 0.0
    assert Index([]).search(NEW).longest == 0


# ---- beside human pieces


def test_human_pieces_set_the_mark():
    """A tenth of each held-out piece is a cadence that stands in the training songs as well: that is human."""
    songs = [joined(part(tune(i), 0, 50), part(SONGS[0], 0, 14)) for i in range(10, 20)]
    held_out = [joined(part(tune(i), 0, 50), part(SONGS[0], 0, 14)) for i in range(20, 45)]
    index = Index(songs)
    human = calibrate(index, held_out)
    assert (human.mark, human.held_out, len(human.shares)) == (14, 25, 25)
    assert human.mean < 0.1 and human.longest[-1] <= 16
    copied, new = index.search(songs[4]), index.search(held_out[0])
    much, said = verdict(copied, human)
    assert much and said.startswith("More than nearly any human piece: 100%")
    assert f"chords, the longest of {copied.longest}. Of human pieces" in said
    assert "the longest" not in verdict(index.search(part(NEW, 0, 0)), human)[1]
    much, said = verdict(new, human)
    assert not much and said.startswith("No more than human pieces do")


def test_where_few_pieces_are_held_out_training_songs_beside_the_others_help_out():
    human = calibrate(INDEX, [NEW])
    assert human.held_out == 1 and len(human.shares) == 9


def test_composed_pieces_that_are_copies_are_warned_of_and_new_ones_not():
    human = calibrate(INDEX, [tune(i) for i in range(50, 60)])
    copies = [INDEX.search(joined(part(song, 0, 40), part(NEW, 0, 10))) for song in SONGS]
    assert memorised(copies, human).startswith("It has learnt its music by heart: 80% of what it composes")
    assert memorised([INDEX.search(tune(i)) for i in range(60, 68)], human) is None
    assert memorised(copies, Human(4, (), (), 0)) is None  # nothing to compare with
    assert memorised([], human) is None


def test_sixty_four_bars_are_searched_in_a_thousand_songs_within_two_seconds():
    index = Index(tune(seed, notes=160) for seed in range(1000))
    piece = joined(*(part(tune(seed, notes=160), 0, 64) for seed in (5, 2000, 700, 2001)))
    began = time.process_time()
    found = index.search(piece)
    assert time.process_time() - began < 2
    assert len(piece) == 64 * 16 and found.longest == 64
