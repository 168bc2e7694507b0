"""The shelf: decisions beside the notes, renaming, the bin; and parcels, to take a data set along."""

import io
import json
import os
import time
import zipfile

import numpy as np
import pytest
from conftest import scale_song

from deepmusician import corpora
from deepmusician.decisions import AS_READ, Choice
from deepmusician.errors import LibraryError
from deepmusician.library import read_source, read_uploads
from deepmusician.midi import read_midi, write_midi
from deepmusician.notes import NOTE, Song, Track
from deepmusician.parcels import MARK, export_data_set, import_data_set, parcel_name
from deepmusician.shelf import (
    decide,
    delete_data_set,
    folder_of,
    list_data_sets,
    list_deleted,
    load_as_read,
    load_data_set,
    load_decisions,
    rename_data_set,
    restore_data_set,
    save_data_set,
    save_decisions,
)  # fmt: skip
from deepmusician.store import DataSet, Entry


@pytest.fixture(autouse=True)
def own_home(home):
    return home


def keep(name="mine", n=3):
    files = [(f"t{i}.mid", write_midi(scale_song(48 + i))) for i in range(n)]
    save_data_set(read_uploads([*files, ("bad.mid", b"x")]), name)


def test_decisions_are_carried_out_wherever_the_data_set_is_read():
    keep()
    decide("mine", "left t1 out", {"t1.mid": Choice(out=True), "t2.mid": Choice(side="held out")})
    for data in (load_data_set("mine"), read_source("library:mine"), read_source("mine")):
        assert data.names == ("t0.mid", "t2.mid") and data.sides == ("", "held out")
    assert load_as_read("mine").names == ("t0.mid", "t1.mid", "t2.mid")


def test_undoing_brings_the_notes_back_as_they_were_read():
    keep()
    before = (folder_of("mine") / "notes.npy").read_bytes()
    decide("mine", "left t1 out", {"t1.mid": Choice(out=True)})
    save_decisions("mine", load_decisions("mine").undo())
    assert load_data_set("mine").names == ("t0.mid", "t1.mid", "t2.mid")
    assert (folder_of("mine") / "notes.npy").read_bytes() == before


def test_a_data_set_of_which_everything_is_left_out_says_how_to_get_it_back():
    keep(n=1)
    decide("mine", "left out", {"t0.mid": Choice(out=True)})
    with pytest.raises(LibraryError, match=r"nothing of mine is taken in .*take something in, in the Library"):
        read_source("library:mine")


def test_decisions_about_a_corpus_are_kept_in_a_copy_of_it(monkeypatch):
    pieces = (Entry.of("a", scale_song(48)), Entry.of("b", scale_song(50)))
    monkeypatch.setattr("deepmusician.shelf.load_corpus_entries", lambda name: pieces)
    assert decide("airds", "left a out", {"a": Choice(out=True)}) == "my airds"
    assert decide("airds", "trimmed b", {"b": Choice(trim=True)}) == "my airds"
    assert load_data_set("my airds").names == ("b",)
    assert load_decisions("my airds").of("b") == Choice(trim=True)
    assert "airds" in corpora.CORPORA and list_data_sets() == ["my airds"]


def test_damaged_decisions_are_a_sentence_with_the_remedy():
    keep()
    (folder_of("mine") / "decisions.json").write_text("{")
    with pytest.raises(LibraryError, match=r"data set mine: its decisions .*delete decisions.json"):
        load_data_set("mine")


def test_a_data_set_is_renamed_with_its_decisions_and_never_over_another():
    keep(), keep("other")
    decide("mine", "left t1 out", {"t1.mid": Choice(out=True)})
    rename_data_set("mine", "ours")
    assert list_data_sets() == ["other", "ours"] and load_data_set("ours").names == ("t0.mid", "t2.mid")
    for taken in ("other", "palestrina"):
        with pytest.raises(LibraryError, match=f"{taken} is taken"):
            rename_data_set("ours", taken)


def test_a_deleted_data_set_comes_back_under_a_free_name(home):
    keep()
    delete_data_set("mine")
    assert list_data_sets() == [] and list_deleted() == ["mine"]
    keep("mine", n=1)
    assert restore_data_set("mine") == "mine 2"
    assert len(load_data_set("mine 2").songs) == 3 and list_deleted() == []
    with pytest.raises(LibraryError, match="no deleted data set is called mine"):
        restore_data_set("mine")


def test_what_has_lain_in_the_bin_for_a_month_goes_for_good(home):
    keep("old"), keep("new")
    delete_data_set("old")
    long_ago = time.time() - 31 * 86_400
    os.utime(home / "library" / ".bin" / "old", (long_ago, long_ago))
    delete_data_set("new")
    assert list_deleted() == ["new"]


# ---- parcels


def drummed():
    """A track of tones and drums, which MIDI would part in two."""
    rows = [(0, 1 / 3, 60, 1, 40, False, 1), (1, 2, 35, 127, 0, True, 1), (2, 2, 64, 90, 40, False, 1)]
    return Song(np.array(rows, NOTE), 96, tracks=(Track("silent"), Track("Both", 40)), title="Air")


def test_a_parcel_comes_back_whole_with_its_decisions():
    entries = (
        Entry.of("a/b.xml", drummed()),
        Entry.refused("bad.mid", "it is not MIDI"),
        Entry.of("c", scale_song(60)),
    )
    save_data_set(DataSet("x", entries), "mine")
    decide("mine", "left out track 1", {"a/b.xml": AS_READ.hear(1, False), "c": Choice(side="training")})
    parcel = export_data_set("mine")
    assert parcel_name(parcel) == "mine"
    delete_data_set("mine")
    import_data_set(parcel, "back")
    assert load_decisions("back").choices == {"a/b.xml": Choice(mute=(1,)), "c": Choice(side="training")}
    back = load_as_read("back")
    assert [(e.name, e.status, e.reason) for e in back.entries] == [(e.name, e.status, e.reason) for e in entries]
    np.testing.assert_array_equal(back.songs[0].notes, drummed().notes)


def test_a_parcel_holds_midi_as_it_is_learnt_for_other_programs():
    keep()
    decide("mine", "left t1 out", {"t1.mid": Choice(out=True)})
    with zipfile.ZipFile(io.BytesIO(export_data_set("mine"))) as archive:
        midi = [name for name in archive.namelist() if name.startswith("midi/")]
        assert midi == ["midi/t0.mid", "midi/t2.mid"]
        assert len(read_midi(archive.read("midi/t2.mid"))) == len(scale_song(50))


def test_names_in_a_parcel_stay_below_midi_and_apart():
    songs = [Entry.of(name, scale_song(48)) for name in ("../../x.mid", "X.MID", "/x.mid", "c:\\x.mid")]
    save_data_set(DataSet("x", tuple(songs)), "mine")
    with zipfile.ZipFile(io.BytesIO(export_data_set("mine"))) as archive:
        midi = [name for name in archive.namelist() if name.startswith("midi/")]
    assert len({name.lower() for name in midi}) == 4
    assert not any(".." in name or ":" in name or "//" in name for name in midi)


def repacked(parcel, **changes):
    """The parcel with some members replaced, or taken out where None is given."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(parcel)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            content = changes.get(name.split(".")[0], old.read(name))
            if content is not None:
                new.writestr(name, content)
    return out.getvalue()


@pytest.mark.parametrize(
    "changes",
    [{"notes": b""}, {"notes": None}, {"catalogue": b"{}"}, {"decisions": b"{"}, {"deepmusician": b'{"form": 9}'}],
    ids=str,
)
def test_a_damaged_parcel_is_a_sentence_and_nothing_is_kept(changes):
    keep()
    parcel = repacked(export_data_set("mine"), **changes)
    with pytest.raises(LibraryError):
        import_data_set(parcel, "back")
    assert list_data_sets() == ["mine"]


@pytest.mark.parametrize("content", [b"", b"PK", b"MThd"])
def test_other_files_are_no_parcels(content):
    assert parcel_name(content) is None


def test_a_zip_of_midi_is_no_parcel():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.mid", write_midi(scale_song(48)))
        archive.writestr("x.json", json.dumps({"name": MARK}))
    assert parcel_name(file.getvalue()) is None
