"""From any tree of files to a large data set: everything told, nothing read twice, nothing lost to a kill."""

import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from bombs import midi
from conftest import TINY, scale_song
from midi_hex import midi_file

from deepmusician import batch_worker, bulk, finding, ingest, reading, sandbox, tasks
from deepmusician.catalogue import Catalogue
from deepmusician.cli import main
from deepmusician.collected import rows, shard_file
from deepmusician.decisions import AS_READ, Choice
from deepmusician.errors import LibraryError, MidiError, QuotaError
from deepmusician.glance import glance
from deepmusician.library import read_source
from deepmusician.midi import read_midi, write_midi
from deepmusician.notes import Song
from deepmusician.options import TrainOptions
from deepmusician.rolls import read_rolls
from deepmusician.shelf import decide, folder_of, list_data_sets, load_as_read, load_data_set
from deepmusician.store import DataSet
from deepmusician.workspace import SERVER_VARIABLE, workspace

BROKEN = midi_file("00 b0 07 40")  # no notes
MENDED = midi_file("00 90 3c 40 \n 60 90 3e 40 \n 10 3e 00")  # a note without an end


@pytest.fixture
def tree(tmp_path):
    """Eight files in two folders: one is mended, one refused, one a copy in another key, one no music."""
    folder = tmp_path / "tree"
    (folder / "bach").mkdir(parents=True)
    (folder / "mozart").mkdir()
    for i in range(3):
        write_midi(tune(i), folder / "bach" / f"{i}.mid")
        write_midi(tune(10 + i), folder / "mozart" / f"{i}.mid")
    write_midi(tune(0).transpose(2), folder / "mozart" / "copy.mid")
    (folder / "mended.mid").write_bytes(MENDED)
    (folder / "broken.mid").write_bytes(BROKEN)
    (folder / "notes.txt").write_text("no music")
    return folder


def tune(seed, n=200):
    rng = np.random.default_rng(seed)
    return Song.from_notes([(i / 2, 0.5, int(p)) for i, p in enumerate(rng.integers(48, 84, n))])


def told(name):
    """Name, status and reason of every piece."""
    found, count = rows(folder_of(name), 0, 1000)
    assert count == len(found)
    return {row.name: (row.status, row.reason) for row in found}


def counting(monkeypatch):
    """The names of the files that are read from now on."""
    read, names = tasks.read, []

    def counted(files, known, limits):
        batch = read(files, known, limits)
        asked = [i for i, file in enumerate(files) if not file.done and not isinstance(file.content, str)]
        names.extend(files[i].label for i in asked if i not in batch.same)
        return batch

    monkeypatch.setattr(tasks, "read", counted)
    return names


def test_every_file_is_told_and_every_song_is_as_it_was_read(home, tree):
    totals = ingest.ingest([tree], "all")
    assert {k: totals[k] for k in ("files", "kept", "repaired", "refused", "twins")} == {
        "files": 9, "kept": 7, "repaired": 1, "refused": 1, "twins": 1,
    }  # fmt: skip
    assert list_data_sets() == ["all"]
    data = load_data_set("all")
    assert data.names == ("bach/0.mid", "bach/1.mid", "bach/2.mid", "mended.mid", *(
        f"mozart/{n}.mid" for n in ("0", "1", "2", "copy")
    ))  # fmt: skip
    for name, song in zip(data.names, data.songs, strict=True):
        read = read_midi(tree / name)
        assert np.array_equal(song.notes, read.notes)
        assert (song.tracks, song.title, song.repairs, song.touched) == (
            read.tracks, read.title, read.repairs, read.touched,
        )  # fmt: skip
    assert told("all")["broken.mid"] == ("refused", "the file holds no notes; choose one with music in it")
    assert told("all")["mended.mid"][0] == "repaired"
    assert "closed 1 note" in told("all")["mended.mid"][1]


def test_the_catalogue_knows_what_the_doctor_knows(home, tree):
    ingest.ingest([tree], "all")
    found = {row.name: row for row in rows(folder_of("all"), 0, 100)[0]}
    at, seen = found["bach/1.mid"].at, glance(read_midi(tree / "bach" / "1.mid"))
    assert (at.notes, at.key, at.meter, at.low, at.high, at.bars) == (200, seen.key, "4/4", seen.low, seen.high, 25)
    assert (at.density, at.polyphony, at.minutes) == pytest.approx((seen.density, seen.polyphony, seen.minutes))
    assert (found["mozart/copy.mid"].twin, found["mozart/copy.mid"].twin_share) == ("bach/0.mid", 1)
    assert found["bach/0.mid"].twin == ""


def test_pieces_are_paged_and_searched(home, tree):
    ingest.ingest([tree], "all")
    folder = folder_of("all")
    first, second = rows(folder, 0, 5), rows(folder, 5, 5)
    assert (len(first[0]), len(second[0]), first[1]) == (5, 4, 9)
    assert [row.name for row in rows(folder, 0, 9, search="COPY")[0]] == ["mozart/copy.mid"]
    assert [row.name for row in rows(folder, 0, 9, status="refused")[0]] == ["broken.mid"]


def test_it_is_used_as_any_other_data_set(home, tree):
    ingest.ingest([tree], "all")
    data = read_source("all")
    assert isinstance(data, DataSet)
    assert (len(data.entries), len(data.songs)) == (9, 8)
    assert data.entries[1].name == "bach/1.mid"
    assert [entry.status for entry in data.entries[2:5]] == ["kept", "refused", "repaired"]
    assert len(data.songs[1:3]) == 2
    assert data.sides == ("",) * 8
    with pytest.raises(IndexError):
        data.entries[9]


def test_decisions_hold_for_it_and_can_be_undone(home, tree):
    ingest.ingest([tree], "all")
    decide("all", "", {"bach/0.mid": Choice(out=True), "bach/1.mid": Choice(side="held out")})
    decide("all", "", {"bach/2.mid": Choice(mute=(0,)), "mozart/0.mid": Choice(no_drums=True)})
    data = load_data_set("all")
    assert (len(data.entries), len(data.songs)) == (9, 6)
    assert dict(zip(data.names, data.sides, strict=True))["bach/1.mid"] == "held out"
    by_name = {entry.name: entry for entry in data.entries}
    assert by_name["bach/0.mid"].status == by_name["bach/2.mid"].status == "left out"
    assert len(load_as_read("all").songs) == 8
    decide("all", "", dict.fromkeys(("bach/0.mid", "bach/2.mid"), AS_READ))
    assert len(load_data_set("all").songs) == 8


# ---- again, and after a kill


def test_a_second_call_reads_only_what_is_new_or_changed(home, tree, monkeypatch):
    ingest.ingest([tree], "all")
    names = counting(monkeypatch)
    ingest.ingest([tree], "all")
    assert names == []
    write_midi(scale_song(60), tree / "new.mid")
    write_midi(tune(9), tree / "bach" / "1.mid")
    os.utime(tree / "bach" / "2.mid")  # another time, the same content
    (tree / "mozart" / "1.mid").unlink()
    totals = ingest.ingest([tree], "all")
    assert sorted(names) == ["bach/1.mid", "new.mid"]
    assert totals["kept"] == 8
    data = load_data_set("all")
    songs = dict(zip(data.names, data.songs, strict=True))
    assert np.array_equal(songs["bach/1.mid"].notes, tune(9).notes)
    assert "mozart/1.mid" in songs  # what is gone from the folder stays in the data set
    names.clear()
    ingest.ingest([tree], "all")
    assert names == []


def test_the_order_of_pieces_is_the_same_however_they_came(home, tree):
    ingest.ingest([tree], "once")
    ingest.ingest([tree / "mozart", tree / "mended.mid"], "twice")
    ingest.ingest([tree], "again")
    assert load_data_set("again").names == load_data_set("once").names
    assert load_data_set("twice").names[0] == "0.mid"
    assert load_data_set("twice").names[-1].endswith("/mended.mid") or "tree/mended.mid" in load_data_set("twice").names


def test_files_of_one_name_are_told_apart(home, tree):
    ingest.ingest([tree / "bach", tree / "mozart"], "both")
    assert {"0.mid", "mozart/0.mid"} <= set(load_data_set("both").names)


def test_a_killed_call_is_gone_on_with_and_loses_no_file(home, tmp_path, monkeypatch):
    folder = tmp_path / "many"
    folder.mkdir()
    for i in range(60):
        write_midi(tune(i, 40), folder / f"{i:02d}.mid")
    monkeypatch.setattr(ingest, "FILES", 8)
    add, shards = Catalogue.add, []

    def killed(self, number, *rest):
        shards.append(number)
        if len(shards) == 4:
            raise KeyboardInterrupt
        add(self, number, *rest)

    monkeypatch.setattr(Catalogue, "add", killed)
    with pytest.raises(KeyboardInterrupt):
        ingest.ingest([folder], "many")
    assert list_data_sets() == []  # not there before it is whole
    draft = next((home / "library").glob(".many.making"))
    assert shard_file(draft, shards[-1]).exists()  # written, but not in the catalogue
    monkeypatch.setattr(Catalogue, "add", add)
    names = counting(monkeypatch)
    ingest.ingest([], "many")
    assert len(names) == 60 - 3 * 8
    assert load_data_set("many").names == tuple(f"{i:02d}.mid" for i in range(60))


def test_a_real_kill_leaves_nothing_that_cannot_be_gone_on_with(home, tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    for i in range(400):
        write_midi(tune(i, 30), folder / f"{i:03d}.mid")
    code = "from deepmusician import ingest; ingest.FILES = 16; ingest.ingest([__import__('sys').argv[1]], 'many')"
    process = subprocess.Popen([sys.executable, "-c", code, str(folder)], cwd=Path(__file__).parents[1])
    shards = home / "library" / ".many.making" / "shards"
    while process.poll() is None and len(list(shards.glob("*.npy") if shards.exists() else [])) < 3:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    totals = ingest.ingest([folder], "many")
    assert totals["kept"] == 400
    assert len(load_data_set("many").songs) == 400


def test_two_calls_cannot_make_one_data_set_at_once(home, tree):
    (home / "library").mkdir(parents=True)
    with ingest.new_place("all", ingest.is_collected), pytest.raises(LibraryError, match="another process"):
        ingest.ingest([tree], "all")


def test_a_name_of_other_music_is_refused(home, tree, midi_folder):
    from deepmusician.library import save_data_set

    save_data_set(read_source(midi_folder), "mine")
    for name in ("mine", "bach-chorales"):
        with pytest.raises(LibraryError, match="already"):
            ingest.ingest([tree], name)


def test_where_nothing_can_be_read_it_says_why(home, tmp_path):
    (tmp_path / "broken.mid").write_bytes(BROKEN)
    with pytest.raises(LibraryError, match="holds no notes"):
        ingest.ingest([tmp_path / "broken.mid"], "none")
    with pytest.raises(LibraryError, match="no file or folder"):
        ingest.ingest([tmp_path / "nowhere"], "none")
    assert list_data_sets() == []


# ---- workers


def test_workers_and_a_dask_cluster_give_the_same_data_set(home, tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed", reason="a cluster needs Dask: pip install distributed")
    folder = tmp_path / "many"
    folder.mkdir()
    for i in range(64):
        (folder / f"{i:03d}.mid").write_bytes(BROKEN if i % 20 == 7 else write_midi(tune(i, 30)))
    monkeypatch.setattr(ingest, "WORTH", 32)
    ingest.ingest([folder], "alone", workers=1)
    ingest.ingest([folder], "two", workers=2)
    assert batch_worker.processes(ingest.current()).started == 2  # whatever the threads
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    ) as cluster:
        ingest.ingest([folder], "dask", scheduler=cluster.scheduler_address)
    alone = load_data_set("alone")
    for name in ("two", "dask"):
        data = load_data_set(name)
        assert told(name) == told("alone")
        assert all(np.array_equal(a.notes, b.notes) for a, b in zip(alone.songs, data.songs, strict=True))


def test_a_scheduler_that_does_not_answer_is_named(home, tree, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(ingest, "PATIENCE", 0.2)
    with pytest.raises(LibraryError, match="no Dask scheduler answers"):
        ingest.ingest([tree], "all", scheduler="tcp://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(LibraryError, match="pip install distributed"):
        ingest.ingest([tree], "all", scheduler="tcp://127.0.0.1:1")


@pytest.mark.parametrize("kind", ["time", "memory", "crash"])
def test_a_bomb_ends_its_worker_only_and_is_named(home, tree, monkeypatch, kind):
    """A file over which the batch breaks off is read alone, and so are those beside it."""
    (tree / "bomb.mid").write_bytes(midi(b"\x00\x90\x3c\x40\x60\x80\x3c\x00"))
    ask, alone = batch_worker.ask, reading.read_songs

    def breaks(files, *rest):
        if any(file.name.endswith("bomb.mid") for file in files):
            raise sandbox.Fault(kind)
        return ask(files, *rest)

    monkeypatch.setattr(batch_worker, "ask", breaks)
    def read(content, name, *rest):
        if name == "bomb.mid":
            raise MidiError("it takes too much")
        return alone(content, name, *rest)

    monkeypatch.setattr(reading, "read_songs", read)
    totals = ingest.ingest([tree], "all")
    assert told("all")["bomb.mid"] == ("refused", "it takes too much")
    assert (totals["kept"], totals["repaired"], totals["refused"]) == (7, 1, 2)


def test_a_real_bomb_ends_its_worker_only(home, tree, monkeypatch):
    monkeypatch.setenv("DEEPMUSICIAN_MAX_READ_SECONDS", "0.3")
    (tree / "bomb.abc").write_text("X:1\nL:1/4\nK:C\n" + "CDEF" * 20_000 + "\n")
    totals = ingest.ingest([tree], "all")
    assert "may take 0.3 seconds" in told("all")["bomb.abc"][1]
    assert totals["kept"] == 7


def test_what_is_no_file_or_cannot_be_looked_into_is_named(home, tree, monkeypatch):
    os.mkfifo(tree / "pipe.mid")
    (tree / "closed").mkdir()
    scandir = os.scandir

    def refused(folder):
        if Path(folder).name == "closed":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(finding.os, "scandir", refused)
    ingest.ingest([tree], "all")
    assert told("all")["pipe.mid"] == ("refused", "it is no file")
    assert told("all")["closed"] == ("refused", "the folder cannot be looked into; see who may read it")


# ---- archives


def test_members_of_archives_are_read_and_an_archive_once(home, tree, tmp_path, monkeypatch):
    place = tmp_path / "archives"
    place.mkdir()
    with tarfile.open(place / "a.tar.gz", "w:gz") as archive:
        archive.add(tree, "x")
        evil = tarfile.TarInfo("../evil.mid")
        evil.size = len(MENDED)
        archive.addfile(evil, io.BytesIO(MENDED))
    with zipfile.ZipFile(place / "b.zip", "w") as archive:
        for i in range(3):
            archive.writestr(f"y/{i}.mid", write_midi(tune(20 + i)))
        archive.writestr("y/large.mid", bytes(9_000_000))
    totals = ingest.ingest([place], "all")
    found = told("all")
    assert {"a.tar.gz/x/bach/0.mid", "b.zip/y/2.mid"} <= set(found)
    assert found["a.tar.gz/../evil.mid"] == ("refused", "its path leads out of the archive")
    assert "inflates to more than 8,000,000" in found["b.zip/y/large.mid"][1]
    assert totals["kept"] == 10
    names = counting(monkeypatch)
    ingest.ingest([place], "all")
    assert names == []
    with zipfile.ZipFile(place / "b.zip", "a") as archive:
        archive.writestr("y/3.mid", write_midi(tune(30)))
    ingest.ingest([place], "all")
    assert names == ["b.zip/y/3.mid"]


def test_an_archive_that_breaks_off_gives_what_came_before_and_says_so(home, tree, tmp_path):
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:gz") as archive:
        archive.add(tree / "bach", "bach")
        archive.add(tree / "mozart", "mozart")
    (tmp_path / "cut.tar.gz").write_bytes(whole.getvalue()[:-200])
    ingest.ingest([tmp_path / "cut.tar.gz"], "cut")
    assert "it is damaged" in told("cut")["cut.tar.gz"][1]
    assert told("cut")["cut.tar.gz/bach/0.mid"] == ("kept", "")


@pytest.mark.parametrize("end", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_what_inflates_beyond_any_music_is_given_up(tmp_path, monkeypatch, end):
    monkeypatch.setattr(bulk, "ALLOWED", 3_000_000)
    monkeypatch.setattr(bulk, "TIMES", 1 if end == "tar" else 5)
    path = tmp_path / f"bomb.{end}"
    if end == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for i in range(9):
                archive.writestr(f"{i}.mid", bytes(1_000_000))
    else:
        with tarfile.open(path, f"w:{end.partition('.')[2]}") as archive:
            for i in range(9):
                info = tarfile.TarInfo(f"{i}.mid")
                info.size = 1_000_000
                archive.addfile(info, io.BytesIO(bytes(1_000_000)))
    found = []
    members = bulk.members(path, lambda name: True, 2_000_000)
    if end == "tar":
        assert len(list(members)) == 9  # it is no larger than it is
        return
    with pytest.raises(LibraryError, match="no music does"):
        found += members
    assert len(found) <= 3


def test_a_header_that_claims_gigabytes_fills_no_memory(tmp_path):
    info = tarfile.TarInfo("a.mid")
    info.type, info.size = tarfile.XHDTYPE, 4_000_000_000
    (tmp_path / "a.tar").write_bytes(info.tobuf() + bytes(5000))
    with pytest.raises(LibraryError, match="header of"):
        list(bulk.members(tmp_path / "a.tar", lambda name: True, 1_000_000))


# ---- the command line


def test_the_command_reads_says_and_trains(home, tree, capsys):
    assert main(["ingest", str(tree), "-o", "all", "--styles", "--workers", "1", "--without-copies"]) == 0
    said = capsys.readouterr().out
    assert "all: 8 pieces of 9 files, 1 of them repaired on reading, 1 refused, 1 nearly the same as another" in said
    assert "refused broken.mid: the file holds no notes" in said and "no note to learn" not in said
    assert "1 near-duplicates are left out" in said or "1 near-duplicate is left out" in said
    assert "deepmusician train -p all" in said
    assert main(["ingest", "-o", "all", "--resume"]) == 0
    assert "nothing new: 9 files as they had been" in capsys.readouterr().out
    assert main(["library"]) == 0
    assert "7 of 9 files learnt from" in capsys.readouterr().out
    assert main(["library", "all"]) == 0
    said = capsys.readouterr().out
    assert "bach" in said
    assert "broken.mid: the file holds no notes" in said
    names, rolls = read_rolls(TrainOptions(path="all/bach|all/mozart", **TINY))
    assert len(names) == len(rolls) == 6
    assert rolls.style_names == ("all/bach", "all/mozart")


def test_the_command_refuses_what_cannot_be(home, tree, capsys):
    for arguments, words in (
        (["-o", "all"], "needs a PATH"),
        (["-o", "all", "--resume"], "nothing to go on with"),
        ([str(tree), "-o", "all", "--workers", "0"], "at least 1"),
        ([str(tree), "-o", "../all"], "letters"),
    ):
        assert main(["ingest", *arguments]) == 2
        assert words in capsys.readouterr().err


def test_a_style_is_a_source_of_its_own(home, tree):
    ingest.ingest([tree], "all", label=ingest.by_folder)
    assert load_data_set("all/bach").names == tuple(f"bach/{i}.mid" for i in range(3))
    assert len(read_source("library:all/mozart").songs) == 4
    with pytest.raises(LibraryError, match="has no style bac; it has bach"):
        load_data_set("all/bac")


def test_a_damaged_data_set_is_refused_with_a_remedy(home, tree):
    ingest.ingest([tree], "all")
    folder = folder_of("all")
    aside = folder.with_name("aside")
    shutil.copytree(folder, aside)
    shard_file(folder, 1).write_bytes(b"nonsense")
    with pytest.raises(LibraryError, match="ingest its files again"):
        list(load_data_set("all").songs)
    shutil.copy(aside / "catalogue.sqlite", folder / "catalogue.sqlite")
    (folder / "catalogue.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(LibraryError, match="damaged"):
        load_data_set("all")


def test_what_was_read_before_there_was_no_more_room_is_kept_and_gone_on_with(home, monkeypatch, midi_folder):
    monkeypatch.setenv(SERVER_VARIABLE, str(home / "all"))  # as in a process at work for one of several persons
    monkeypatch.setenv("DEEPMUSICIAN_MAX_PERSON_MB", "1")
    monkeypatch.setattr(ingest, "_share", lambda total, workers: 2)  # files of a task
    much, read = workspace() / "much", []

    def fill(state):
        read.append(state.done)
        much.write_bytes(bytes(1_100_000))

    with pytest.raises(QuotaError, match="you keep 1 MB here"):
        ingest.ingest([midi_folder], "many", watch=fill)
    assert read == [2] and list_data_sets() == []
    much.unlink()
    assert ingest.ingest([], "many")["kept"] == 6
    assert list_data_sets() == ["many"]
