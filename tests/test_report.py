"""The import report: every note that is dropped, closed, moved or changed is counted, and the command tells it."""

import json
import struct

import pytest
from midi_hex import C4, midi_file
from test_formats import attributes, musicxml, note

from deepmusician.cli import main
from deepmusician.formats import read_song
from deepmusician.library import read_paths, read_uploads
from deepmusician.midi import read_midi
from deepmusician.notes import Touched
from deepmusician.report import Report, reports, summary, totals
from deepmusician.store import Entry, read_entries, write_entries

ENDLESS = "00 90 40 40  # a note nobody ends"
AFTER_END = f"{C4} \n 00 ff 2f 00 \n {C4} \n 00 ff 2f 00 \n {C4}"


@pytest.mark.parametrize(
    ("tracks", "touched"),
    [
        ([C4], Touched()),
        ([f"{C4} \n {ENDLESS}"], Touched(closed=1)),
        ([f"00 90 3c 40 \n 00 90 3c 40 \n {C4}"], Touched(dropped=2)),  # struck once, told three times
        ([f"{C4} \n 00 90 3d 40 \n 00 80 3d 00  # of no length"], Touched(moved=1)),
        ([f"{C4} \n 00 90 90 40 \n 00 90 91 00 \n 00 80 92 40  # pitches over 127: one note"], Touched(dropped=1)),
        ([f"{C4} \n 00 90 3c ff \n 60 80 3c 00  # velocity over 127"], Touched(changed=1)),
        ([AFTER_END], Touched(dropped=2)),
    ],
)
def test_each_note_that_is_not_taken_as_it_stands_is_counted(tracks, touched):
    song = read_midi(midi_file(*tracks))
    assert song.touched == touched
    assert bool(song.repairs) == bool(any(touched))


def test_notes_of_patterns_laid_in_a_row_are_moved():
    song = read_midi(midi_file(C4, f"{C4} \n {C4}", format=2))
    assert song.touched == Touched(moved=2)


def test_notes_left_out_of_a_score_are_counted():
    grace = "<note><grace/><pitch><step>C</step><octave>5</octave></pitch><voice>1</voice></note>"
    assert read_song(musicxml([attributes() + grace + note("C", duration=16)])).touched == Touched(dropped=1)


def test_notes_of_a_score_between_all_ticks_are_moved_and_it_says_so():
    lengths = "".join(f"{n}c\n" for n in (44, 52, 68, 76, 92))  # of 11, 13, 17, 19, 23 in the time of a semibreve's 4
    song = read_song(f"**kern\n{lengths}*-\n".encode(), "a.krn")
    assert song.touched == Touched(moved=5)
    assert "moved 5 notes to the nearest of 10,080 ticks a beat" in song.repairs


def test_the_other_tunes_of_a_book_are_dropped_where_one_is_asked_for():
    book = b"X:1\nL:1/4\nK:C\nCD|\n\nX:2\nK:C\nL:1/4\nCDE|\n"
    assert read_song(book, "a.abc").touched == Touched(dropped=3)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (midi_file(AFTER_END), "2 notes among them left out"),
        (midi_file(f"{C4} \n 00 ff 01 7f 90 3c 40  # a text longer than the file"), "of such an event not read"),
        (midi_file(C4) + b"\xff\xff\xffMTrk" + struct.pack(">I", 4) + b"\0\xff\x2f\0", "3 bytes between its tracks"),
        (midi_file(C4) + midi_file(C4), "a second MIDI file stands in this one"),
    ],
)
def test_what_was_passed_over_is_told(data, words):
    assert words in "; ".join(read_midi(data).repairs)


def test_reports_tell_each_piece_and_add_up(home):
    files = [("a.mid", midi_file(C4)), ("b.mid", midi_file(f"{C4} \n {ENDLESS}")), ("c.mid", b"GIF8")]
    found = reports(read_uploads(files).entries)
    assert [(r.name, r.state, r.notes) for r in found] == [
        ("a.mid", "read", 1), ("b.mid", "repaired", 2), ("c.mid", "refused", 0),
    ]  # fmt: skip
    assert found[1].touched == Touched(closed=1)
    assert "GIF picture" in found[2].remarks[0]
    assert totals(found) == {
        "read": 1, "repaired": 1, "refused": 1, "notes": 3, "dropped": 0, "closed": 1, "moved": 0, "changed": 0,
    }  # fmt: skip
    assert summary(found) == "1 read, 1 repaired, 1 refused; notes 1 closed"
    assert summary(found[:1]) == "1 read, 0 repaired, 0 refused; every note as it stands in its file"


def test_the_counts_are_kept_with_the_data_set(tmp_path):
    song = read_midi(midi_file(f"{C4} \n {ENDLESS}"))
    write_entries(tmp_path / "set", [Entry.of("a", song)])
    assert Report.of(read_entries(tmp_path / "set")[0]) == Report.of(Entry.of("a", song))


@pytest.fixture
def files(tmp_path, home):
    (tmp_path / "good.mid").write_bytes(midi_file(C4))
    (tmp_path / "bad.mid").write_bytes(b"<html>")
    return tmp_path


def test_inspect_says_line_by_line_what_became_of_each_file(files, capsys):
    assert main(["inspect", str(files / "good.mid")]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "read     good.mid: 1 note, 1 beat",
        "1 read, 0 repaired, 0 refused; every note as it stands in its file",
    ]
    assert main(["inspect", str(files / "good.mid"), str(files / "bad.mid"), str(files / "none.mid")]) == 1
    said = capsys.readouterr().out
    assert "refused  bad.mid" in said
    assert "web page" in said
    assert "there is no such file" in said
    assert said.endswith("1 read, 0 repaired, 2 refused; every note as it stands in its file\n")


def test_inspect_takes_folders_and_gives_json(files, capsys):
    assert main(["inspect", "--json", str(files)]) == 1
    told = json.loads(capsys.readouterr().out)
    assert [(f["name"], f["state"]) for f in told["files"]] == [("bad.mid", "refused"), ("good.mid", "read")]
    assert told["files"][1] == {
        "name": "good.mid", "state": "read", "notes": 1, "beats": 1.0, "seconds": 0.5,
        "dropped": 0, "closed": 0, "moved": 0, "changed": 0, "remarks": [],
    }  # fmt: skip
    assert told["totals"]["refused"] == 1


def test_an_empty_folder_is_refused_among_other_files(files, tmp_path):
    (tmp_path / "empty").mkdir()
    entries = read_paths([tmp_path / "empty", tmp_path / "good.mid"]).entries
    assert [entry.status for entry in entries] == ["refused", "kept"]
