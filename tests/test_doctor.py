"""The doctor: a verdict and a reason for every file and track, near-duplicates, pieces at a glance, and what helps."""

import time
from dataclasses import replace

import numpy as np
import pytest
from conftest import scale_song

from deepmusician.copies import INTERVALS, find_copies, lines
from deepmusician.decisions import Choice
from deepmusician.doctor import copies, divided, examine, findings, shares, sides, totals
from deepmusician.glance import bar_count, density_over_time, glance, key_name, meter_name, pitch_classes, polyphony
from deepmusician.notes import KEY, METER, NOTE, Song, Track
from deepmusician.store import Entry


def song(*rows, tracks=2):
    """(onset, duration, pitch, drum, track) rows as a song."""
    notes = np.array([(on, long, pitch, 80, 0, drum, track) for on, long, pitch, drum, track in rows], NOTE)
    return Song(notes, tracks=tuple(Track(f"T{i}") for i in range(tracks)))


MIXED = song((0, 2, 60, 0, 0), (2, 2, 64, 0, 0), (0, 4, 36, 1, 1), (4, 4, 10, 0, 0))  # tones, a drum, one too low


def tune(seed, n=80, up=0):
    """A random tune in quavers."""
    steps = np.random.default_rng(seed).integers(-5, 6, n)
    pitch = 60 + up + np.clip(np.cumsum(steps), -20, 20)
    return Song.from_notes([(i / 2, 0.5, int(p)) for i, p in enumerate(pitch)])


def examined(*pieces, **choices):
    entries = [piece if isinstance(piece, Entry) else Entry.of(f"{i}.mid", piece) for i, piece in enumerate(pieces)]
    return [examine(e, choices.get(f"of_{e.name.removesuffix('.mid')}", Choice())) for e in entries]


# ---- at a glance


def test_a_piece_at_a_glance_counts_what_a_model_learns():
    look = glance(MIXED)
    assert (look.notes, look.lost, look.drums, look.tracks) == (2, 1, 1, 1)
    assert (look.low, look.high, look.bars, look.frames) == (60, 64, 1, 16)
    assert look.minutes == pytest.approx(2 / 60)  # 4 beats at 120
    assert look.density == 0.5 and look.polyphony == 1.0


def test_polyphony_is_of_the_time_in_which_anything_sounds():
    chord = Song.from_notes([(0, 1, 60), (0, 1, 64), (5, 2, 60)])
    assert polyphony(chord.notes) == pytest.approx(4 / 3)
    assert polyphony(chord.notes[:0]) == 0


def test_bars_are_counted_through_changes_of_meter():
    changing = replace(Song.from_notes([(0, 12, 60)]), meters=np.array([(0, 3, 4), (6, 4, 4)], METER))
    assert bar_count(changing, 12) == len(changing.bar_starts()) == 4
    assert bar_count(changing, 6) == 2 and bar_count(changing, 0) == 0
    tiny = replace(Song.from_notes([(0, 7, 60)]), meters=np.array([(0, 4, 4), (6, 1, 128), (6.5, 3, 64)], METER))
    assert bar_count(tiny, 7) == len(tiny.bar_starts()) == 6  # 4/4 twice, 1/128 eight at a time, 3/64 two at a time
    assert meter_name(changing) == "3/4, changing"
    upbeat = replace(Song.from_notes([(0, 101, 60)]), meters=np.array([(0, 1, 4), (1, 4, 4)], METER))
    assert meter_name(upbeat) == "4/4"
    assert meter_name(Song.from_notes([(0, 1, 60)])) == "4/4"


def test_pitch_classes_are_counted_by_how_long_they_sound():
    beats = pitch_classes(song((0, 2, 60, 0, 0), (2, 3, 72, 0, 0), (0, 1, 61, 0, 0), (0, 9, 62, 1, 0)))
    assert beats.tolist() == [5, 1, *[0] * 10]


def test_density_is_told_in_stretches_of_whole_bars():
    even = Song.from_notes([(beat, 1, 60) for beat in range(8)] + [(8, 4, 60)])
    edges, density = density_over_time(even)
    assert edges.tolist() == [0, 4, 8, 12] and density.tolist() == [1, 1, 0.25]
    edges, density = density_over_time(even, most=2)
    assert edges.tolist() == [0, 8, 16] and density.tolist() == [1, 0.125]


@pytest.mark.parametrize(
    ("fifths", "minor", "name"),
    [(0, False, "C major"), (-3, True, "C minor"), (-5, False, "D♭ major"), (7, False, "C♯ major")],
)
def test_the_key_a_file_names_is_spelled_by_its_signature(fifths, minor, name):
    assert key_name(Song.from_notes([(0, 1, 60)], keys=np.array([(0, fifths, minor)], KEY))) == name


@pytest.mark.parametrize(("tonic", "steps", "name"), [
    (62, (0, 2, 4, 5, 7, 9, 11, 12, 7, 4, 0), "≈ D major"),
    (57, (0, 2, 3, 5, 7, 8, 11, 12, 7, 3, 0), "≈ A minor"),
])  # fmt: skip
def test_a_key_that_no_file_names_is_guessed_from_the_notes(tonic, steps, name):
    assert key_name(Song.from_notes([(i, 1, tonic + step) for i, step in enumerate(steps)])) == name


def test_drums_alone_have_no_key():
    assert key_name(song((0, 1, 36, 1, 0))) == ""


# ---- verdicts


def test_a_file_that_could_not_be_read_is_left_out_with_its_reason():
    report = examine(Entry.refused("bad.mid", "bad.mid: it is not MIDI"), Choice())
    assert (report.verdict, report.reason) == ("left out", "it could not be read: it is not MIDI")
    assert not report.is_in and report.tracks == () and report.before is None


def test_a_file_in_order_is_kept_without_a_word():
    report = examine(Entry.of("a.mid", scale_song(60)), Choice())
    assert (report.verdict, report.reason) == ("kept", "")


def test_notes_off_the_keyboard_and_drums_are_told_of():
    report = examine(Entry.of("a.mid", MIXED), Choice())
    assert report.verdict == "changed"
    assert report.reason == (
        "1 note off the 88 keys is not learnt; its drums (1 note) have no pitch and are not learnt"
    )
    better = examine(Entry.of("a.mid", MIXED), Choice(fit=True, no_drums=True))
    assert better.after.notes == 3 and better.after.lost == better.after.drums == 0
    assert better.reason == "you dropped its drums (1 note); the piece moved 1 octave up onto the keyboard"


def test_a_file_is_changed_by_its_reader_or_by_a_person_but_only_the_reader_repairs_it():
    mended = Entry.of("a.mid", replace(scale_song(60), repairs=("a note was closed",)))
    drummed = Entry.of("b.mid", song((0, 1, 60, 0, 0), (0, 1, 36, 1, 1), tracks=2))
    seen = [examine(mended, Choice()), examine(drummed, Choice()), examine(drummed, Choice(no_drums=True))]
    assert [report.verdict for report in seen] == ["changed", "kept", "changed"]
    assert [report.result.status for report in seen] == ["repaired", "kept", "kept"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ((0, 1, 36, 1, 0), "it holds only drums, which have no pitch"),
        ((0, 1, 5, 0, 0), "none of its notes is on the 88 keys"),
    ],
)
def test_a_file_of_which_nothing_can_be_learnt_is_left_out(row, reason):
    report = examine(Entry.of("a.mid", song(row)), Choice())
    assert (report.verdict, report.reason, report.after) == ("left out", reason, None)


def test_every_track_has_a_verdict_and_a_reason():
    rows = [(0, 1, 60, 0, 0), (0, 1, 36, 1, 1), (0, 1, 5, 0, 2), (0, 1, 60, 0, 3), (1, 1, 5, 0, 3), (0, 1, 62, 0, 4)]
    entry = Entry.of("a.mid", song(*rows, tracks=6))
    told = [(t.verdict, t.reason) for t in examine(entry, Choice(mute=(4,))).tracks]
    assert told == [
        ("kept", ""),
        ("left out", "drums have no pitch: heard, not learnt"),
        ("left out", "none of its notes is on the 88 keys"),
        ("changed", "1 note off the 88 keys not learnt"),
        ("left out", "you left it out"),
        ("left out", "it holds no notes"),
    ]
    fitted = [(t.verdict, t.reason) for t in examine(entry, Choice(fit=True, no_drums=True)).tracks]
    assert fitted[1:4] == [
        ("left out", "drums have no pitch: you dropped them"),
        ("changed", "1 note off the 88 keys moved onto them"),
        ("changed", "1 note off the 88 keys moved onto them"),
    ]


def test_totals_stand_beside_one_another_before_and_after():
    reports = examined(MIXED, scale_song(60), Entry.refused("bad.mid", "no"), of_1=Choice(out=True))
    found = totals(reports)
    assert found.files == (3, 1) and found.notes == (4 + len(scale_song(60)), 2)
    assert found.tracks == (3, 1) and found.bars == (9, 1)
    assert found.minutes == (pytest.approx((2 + 16) / 60), pytest.approx(2 / 60))


# ---- the split and shares


def test_the_split_is_the_one_that_training_makes_and_pins_hold():
    from deepmusician.windows import split_songs

    reports = examined(*[tune(i) for i in range(10)])
    where = sides(reports, 0.2, 3)
    assert [i for i, side in enumerate(where) if side == "held out"] == split_songs(10, 0.2, 3)[1].tolist()
    pinned = examined(*[tune(i) for i in range(10)], of_0=Choice(side="held out"), of_1=Choice(out=True))
    where = sides(pinned, 0.2, 3)
    assert where[0] == "held out" and where[1] == "" and where.count("held out") == 2


def test_shares_are_of_the_frames_that_are_trained_on():
    reports = examined(Song.from_notes([(0, 30, 60)]), Song.from_notes([(0, 10, 60)]), Song.from_notes([(0, 60, 60)]))
    assert shares(reports, ["training", "training", "held out"]) == [0.75, 0.25, 0]


# ---- near-duplicates


def test_a_transposed_slower_copy_with_a_few_other_notes_is_found_and_named():
    other = tune(1, up=3)
    notes = other.notes.copy()
    notes["pitch"][40] += 2
    notes["onset"] *= 2
    groups = find_copies([lines(s) for s in (tune(0), tune(1), replace(other, notes=notes), tune(2))])
    (group,) = groups
    (copy,) = group.copies
    assert {group.original, copy.index} == {1, 2} and abs(copy.semitones) == 3
    assert 0.7 < copy.share < 1


def test_an_excerpt_is_a_copy_of_the_whole():
    whole = tune(5, n=200)
    excerpt = Song(whole.notes[60:130])
    (group,) = find_copies([lines(excerpt), lines(whole)])
    assert group.original == 1 and group.copies[0].index == 0 and group.copies[0].share == 1.0


def test_tunes_that_share_a_scale_are_no_copies():
    scale = [(i / 2, 0.5, 60 + s) for i, s in enumerate((0, 2, 4, 5, 7, 9, 11, 12))]
    ends = [[(4 + n["onset"], 0.5, int(n["pitch"])) for n in tune(seed, 40).notes] for seed in (1, 2)]
    assert find_copies([lines(Song.from_notes([*scale, *end])) for end in ends]) == []


def test_another_harmony_under_the_same_tune_is_no_copy():
    melody = [(i, 1, int(n["pitch"]) + 24) for i, n in enumerate(tune(1).notes)]
    basses = [[(i, 1, int(n["pitch"]) - 24) for i, n in enumerate(tune(seed).notes)] for seed in (7, 8)]
    assert find_copies([lines(Song.from_notes([*melody, *bass])) for bass in basses]) == []


@pytest.mark.parametrize("rows", [[], [(0, 1, 60)], [(i, 1, 60) for i in range(30)], [(0, 1, 5)]])
def test_what_has_no_line_is_like_nothing(rows):
    piece = lines(Song.from_notes(rows))
    assert len(piece.grams) == 0 and find_copies([piece, piece]) == []


def test_short_tunes_are_copies_only_as_a_whole():
    short = [(i, 1, 60 + p) for i, p in enumerate((0, 4, 7, 4))]
    assert len(short) <= INTERVALS
    assert len(find_copies([lines(Song.from_notes(short)), lines(Song.from_notes(short).transpose(5))])) == 1
    longer = Song.from_notes([*short, *((4 + i, 1, 70 - i) for i in range(20))])
    assert find_copies([lines(Song.from_notes(short)), lines(longer)]) == []


def test_copies_are_found_among_hundreds_of_pieces_in_about_a_second():
    pieces = [tune(seed, n=300) for seed in range(400)] + [tune(7, n=300, up=2)]
    begin = time.perf_counter()
    (group,) = find_copies([lines(piece) for piece in pieces])
    assert time.perf_counter() - begin < 5  # a tenth of it where nothing else is running
    assert set(group.members) == {7, 400}


# ---- findings


def found(reports):
    where = sides(reports, 0.1, 0)
    return {f.kind: f for f in findings(reports, where, copies(reports))}


def test_nothing_to_say_of_music_in_order():
    assert found(examined(*[tune(seed) for seed in range(12)])) == {}


def test_what_could_not_be_read_or_learnt_is_named_with_its_reason():
    bad = [Entry.refused(f"b{i}_*.mid", "it is not MIDI") for i in range(5)]
    drums = Entry.of("beat.mid", song((0, 1, 36, 1, 0)))
    said = found(examined(*bad, drums, tune(1), tune(2)))
    assert said["unread"].words == (
        "**5 files could not be read.** `b0_*.mid`: it is not MIDI; `b1_*.mid`: it is not MIDI; "
        "`b2_*.mid`: it is not MIDI; and 2 more, in the table."
    )
    assert "`beat.mid`: it holds only drums" in said["toneless"].words
    assert "drums" not in said  # dropping them would leave nothing


def applied(reports, finding):
    return [examine(r.read, finding.changes.get(r.name, r.choice)) for r in reports]


@pytest.mark.parametrize(
    ("kind", "piece"),
    [
        ("range", song((0, 1, 60, 0, 0), (1, 1, 5, 0, 0))),
        ("drums", song((0, 1, 60, 0, 0), (0, 1, 36, 1, 1))),
        ("silence", song((8, 1, 60, 0, 0))),
    ],
)
def test_a_remedy_does_away_with_what_it_is_for(kind, piece):
    reports = examined(piece, tune(1), tune(2))
    said = found(reports)
    assert kind in said and said[kind].remedy and set(said[kind].changes) == {"0.mid"}
    assert kind not in found(applied(reports, said[kind]))


def test_leaving_out_the_copies_keeps_one_of_each():
    reports = examined(tune(1), tune(1, up=2), tune(1, up=-3), tune(2))
    said = found(reports)["copies"]
    assert said.words.startswith("**2 near-duplicates.**") and "2 semitones higher" in said.words
    after = applied(reports, said)
    assert [r.is_in for r in after] == [True, False, False, True]
    assert "copies" not in found(after)


def test_copies_on_both_sides_are_put_on_one():
    pieces = [*[tune(seed) for seed in range(10)], tune(0, up=1)]
    assert not divided(sides(reports := examined(*pieces), 0.5, 0), copies(reports))  # chance keeps them together
    reports = examined(*pieces, of_0=Choice(side="held out"), of_10=Choice(side="training"))
    assert divided(sides(reports, 0.1, 0), copies(reports))
    said = found(reports)["sides"]
    after = applied(reports, said)
    assert {after[0].choice.side, after[10].choice.side} == {"training"}
    assert "sides" not in found(after)


def test_one_that_dominates_is_named_with_its_share():
    long = Song.from_notes([(i, 1, 40 + i % 40) for i in range(400)])
    reports = examined(long, *[tune(seed) for seed in range(10)], of_0=Choice(side="training"))
    said = found(reports)["share"]
    assert "`0.mid` makes up" in said.words and "a fair share would be 10%" in said.words
    assert "share" not in found(examined(*[tune(seed) for seed in range(11)]))


def test_a_single_piece_cannot_be_judged():
    assert "one piece cannot be parted" in found(examined(tune(1)))["unjudged"].words
    pinned = {f"of_{i}": Choice(side="training") for i in range(2)}
    assert "all are pinned to training" in found(examined(tune(1), tune(2), **pinned))["unjudged"].words
