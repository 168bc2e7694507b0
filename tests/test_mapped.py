"""Rolls larger than memory: bit for bit those that memory would hold, and so are the windows cut from them."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import TINY
from midi_hex import midi_file
from test_batches import SONGS

from deepmusician import mapped
from deepmusician.decisions import Choice
from deepmusician.ingest import ingest
from deepmusician.midi import write_midi
from deepmusician.notes import Song
from deepmusician.options import TrainOptions
from deepmusician.rolls import make_rolls, read_rolls
from deepmusician.shelf import decide, load_data_set
from deepmusician.store import DataSet, Entry
from deepmusician.windows import Windows

OPTIONS = TrainOptions(path="all", **TINY)


@pytest.fixture
def data(home, tmp_path):
    """Ten songs of all sorts in a large data set, one of them far off the keyboard, one with a beginning of silence."""
    folder = tmp_path / "tree"
    folder.mkdir()
    for i, song in enumerate(SONGS[:8]):
        write_midi(song, folder / f"{i}.mid")
    write_midi(Song.from_notes([(40, 1, 60), (40.5, 3, 60), (60, 0.01, 61)]), folder / "late.mid")
    write_midi(Song.from_notes([(0, 1, 5)]), folder / "low.mid")
    (folder / "none.mid").write_bytes(midi_file("00 b0 07 40"))
    ingest([folder], "all")
    return load_data_set("all")


def in_memory(data):
    """The same data set, held in memory."""
    return DataSet(data.name, tuple(Entry(e.name, e.song, e.status, e.reason, e.side) for e in data.entries))


def same(one, other):
    arrays = ("packed", "onset", "velocity", "lengths", "styles", "sides")
    return all(np.array_equal(getattr(one, a), getattr(other, a)) for a in arrays if getattr(other, a) is not None)


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"division": "1/24"}, {"division": "1/4"}, {"voices": "melody"}, {"remove_zeros": True},
        {"planes": "onset", "skip": True}, {"planes": "velocity", "skip": True, "remove_zeros": True},
    ],
)  # fmt: skip
def test_mapped_rolls_are_bit_for_bit_those_in_memory(data, monkeypatch, changes):
    monkeypatch.setattr(mapped, "BLOCK", 500)  # several blocks, with their edges anywhere
    options = replace(OPTIONS, **changes)
    names, rolls = read_rolls(options, data)
    known, memory = read_rolls(options, in_memory(data))
    assert names == known
    assert "low.mid" not in names
    assert isinstance(rolls.packed, np.memmap)
    assert same(rolls, memory)
    assert rolls.planes == memory.planes == options.planes
    assert rolls.density == pytest.approx(np.unpackbits(np.asarray(memory.packed)).sum() / len(memory.packed))


def test_decisions_are_laid_out_too_and_anew_where_they_change(data):
    decide("all", "", {"0.mid": Choice(out=True), "late.mid": Choice(trim=True), "1.mid": Choice(no_drums=True)})
    decided = load_data_set("all")
    rolls, memory = read_rolls(OPTIONS, decided)[1], read_rolls(OPTIONS, in_memory(decided))[1]
    assert same(rolls, memory)
    assert len(rolls) == 8
    assert len(read_rolls(OPTIONS, data)[1]) == 9


def test_rolls_are_laid_out_once_and_again_when_music_came(data, tmp_path, monkeypatch):
    read_rolls(OPTIONS, data)
    monkeypatch.setattr(mapped, "_write", lambda *_: pytest.fail("laid out again"))
    read_rolls(OPTIONS, load_data_set("all"))
    monkeypatch.undo()
    monkeypatch.setenv("DEEPMUSICIAN_HOME", str(tmp_path / "home"))
    write_midi(SONGS[9], tmp_path / "tree" / "9.mid")
    ingest([], "all")
    assert len(read_rolls(OPTIONS, load_data_set("all"))[1]) == 10


def test_windows_of_both_are_the_same_in_every_epoch(data, monkeypatch):
    monkeypatch.setattr(mapped, "GIVE_BACK", 1)  # pages are let go after every batch
    rolls = [read_rolls(replace(OPTIONS, planes="velocity", skip=True), each)[1] for each in (data, in_memory(data))]
    songs = np.arange(len(rolls[0]))
    for epoch in range(2):
        batches = []
        for each in rolls:
            rng = np.random.default_rng([3, epoch])
            windows = Windows(each, songs, 24, 24)
            places = windows.places(rng)
            batches.append([windows.batch(places[i : i + 32], rng.integers(-3, 4, len(places[i : i + 32])))
                            for i in range(0, len(places), 32)])  # fmt: skip
        assert len(batches[0]) == len(batches[1]) > 2
        for one, other in zip(*batches, strict=True):
            assert all((a is None and b is None) or a.equal(b) for a, b in zip(
                (one.source, one.target, one.mask), (other.source, other.target, other.mask), strict=True
            ))  # fmt: skip


def test_all_places_are_those_of_song_after_song():
    rolls = make_rolls(SONGS)
    windows = Windows(rolls, np.array([3, 0, 5, 7]), 20, 16)
    one_by_one, rng = [], np.random.default_rng(5)
    for song in windows.songs:
        one_by_one.append(windows._places(song, rng))
    assert np.array_equal(windows._all_places(np.random.default_rng(5)), np.concatenate(one_by_one))


def test_near_duplicates_of_the_catalogue_are_kin(home, tmp_path):
    rng = np.random.default_rng(2)
    tune = Song.from_notes([(i / 2, 0.5, int(p)) for i, p in enumerate(rng.integers(50, 80, 200))])
    for i, song in enumerate((tune, SONGS[0], tune.transpose(2), tune)):
        write_midi(song, tmp_path / f"{i}.mid")
    ingest([tmp_path / f"{i}.mid" for i in range(4)], "all")
    kin = read_rolls(OPTIONS, load_data_set("all"))[1].kin
    assert kin[0] == kin[2] == kin[3] != kin[1]
