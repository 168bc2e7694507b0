"""`deepmusician library`: what became of every file, in a terminal; taken along, renamed, deleted, brought back."""

import pytest
from conftest import scale_song

from deepmusician.cli import main
from deepmusician.decisions import Choice
from deepmusician.doctor import examine, totals
from deepmusician.ingest import ingest
from deepmusician.library import list_data_sets, save_data_set
from deepmusician.midi import write_midi
from deepmusician.notes import Song
from deepmusician.options import TrainOptions
from deepmusician.rolls import read_rolls
from deepmusician.shelf import decide, load_as_read, load_data_set, load_decisions
from deepmusician.store import DataSet, Entry

pytestmark = pytest.mark.usefixtures("home")


def keep(name="mine"):
    entries = (
        Entry.of("a.mid", scale_song(50)),
        Entry.of("b.mid", scale_song(55)),
        Entry.refused("c.mid", "it is not MIDI"),
    )
    save_data_set(DataSet(name, entries), name)
    decide(name, "left out", {"b.mid": Choice(out=True)})


def said(capsys, *argv, code=0):
    assert main(["library", *map(str, argv)]) == code
    captured = capsys.readouterr()
    return captured.out if code == 0 else captured.err


def test_an_empty_library_says_what_to_do(capsys):
    assert "no data set is kept yet" in said(capsys)


def test_data_sets_are_listed_with_how_much_of_them_is_learnt_from(capsys, home):
    keep(), keep("other")
    (home / "library" / "other" / "notes.npy").write_bytes(b"")
    first, second = said(capsys).splitlines()
    assert first.split() == ["mine", "1", "of", "3", "files", "learnt", "from"]
    assert "data set other is damaged" in second


def drum_loop():
    notes = scale_song(40, 8).notes.copy()
    notes["drum"] = True
    return Song(notes)


def test_the_command_the_doctor_and_a_training_count_the_same_files(capsys, tmp_path):
    songs = {
        "a.mid": scale_song(50), "drums.mid": drum_loop(), "low.mid": Song.from_notes([(0, 1, 5)]),
        "lower.mid": Song.from_notes([(0, 1, 6)]), "out.mid": scale_song(60), "z.mid": scale_song(45),
    }  # fmt: skip
    for name, song in songs.items():
        write_midi(song, tmp_path / name)
    save_data_set(DataSet("small", tuple(Entry.of(*item) for item in songs.items())), "small")
    ingest([tmp_path], "large")
    for name in ("small", "large"):
        decide(name, "some", {"low.mid": Choice(fit=True), "out.mid": Choice(out=True), "z.mid": Choice(mute=(0,))})
        seen = [examine(entry, load_decisions(name).of(entry.name)) for entry in load_as_read(name).entries]
        trained, _ = read_rolls(TrainOptions(path=f"library:{name}"))
        assert trained == ("a.mid", "low.mid")
        assert load_data_set(name).learnt == totals(seen).files[1] == len(trained)
    assert [line.split()[1] for line in said(capsys).splitlines()] == ["2", "2"]
    assert ["learnt", "2", "pieces"] in [line.split() for line in said(capsys, "large").splitlines()]


def test_what_became_of_every_file_is_told_with_the_reason(capsys):
    keep()
    text = said(capsys, "mine")
    assert text.splitlines()[1].split() == ["files", "3", "1"]
    assert "- 1 file could not be read. c.mid: it is not MIDI." in text
    assert "left out  b.mid: you left it out" in text and "held out: none" in text


def test_a_data_set_is_exported_and_imported_under_its_own_or_another_name(capsys, tmp_path):
    keep()
    said(capsys, "mine", "--export", tmp_path / "mine.zip")
    assert "mine is taken" in said(capsys, "--import", tmp_path / "mine.zip", code=2)
    assert said(capsys, "ours", "--import", tmp_path / "mine.zip") == "ours: 1 piece\n"
    assert load_decisions("ours").of("b.mid") == Choice(out=True)


def test_a_data_set_is_renamed_deleted_and_brought_back(capsys):
    keep()
    said(capsys, "mine", "--rename", "ours")
    said(capsys, "ours", "--delete")
    assert list_data_sets() == []
    assert said(capsys, "ours", "--restore") == "ours is here again\n"
    assert list_data_sets() == ["ours"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--delete"], "--delete needs the NAME"),
        (["mine", "--delete", "--restore"], "give one of them"),
        (["nobody"], "no file, folder, corpus or data set is called nobody"),
        (["mine", "--export", "nowhere/x.zip"], "the folder nowhere does not exist; make it first"),
        (["--import", "nowhere.zip"], "cannot be read"),
        (["--import", __file__], "is no exported data set"),
    ],
)
def test_what_cannot_be_done_is_one_line(capsys, argv, words):
    keep()
    assert words in said(capsys, *argv, code=2)
