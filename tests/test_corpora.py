import subprocess
import sys
import time

import numpy as np
import pytest

from deepmusician import corpora
from deepmusician.corpora import CORPORA, Piece, convert_piece, list_corpora, load_corpus, pieces_of
from deepmusician.errors import LibraryError
from deepmusician.library import read_source


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPMUSICIAN_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def piece(corpus, name):
    return next(each for each in pieces_of(corpus) if each.name == name)


# ---- listing


def test_listing_takes_no_time_and_does_not_import_music21():
    program = (
        "import sys, time; from deepmusician.corpora import list_corpora; began = time.perf_counter();"
        "assert len(list_corpora()) > 8; assert 'music21' not in sys.modules;"
        "assert time.perf_counter() - began < 3"  # a quarter of a second on a quiet machine
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_every_corpus_is_there_and_says_where_it_comes_from():
    listed = {corpus.name: corpus for corpus in list_corpora()}
    assert list(listed) == list(CORPORA)
    assert all(corpus.count > 0 and corpus.title and corpus.licence.endswith(".") for corpus in listed.values())
    assert "non-commercial" in listed["essen"].licence
    assert "John Miller" in listed["palestrina"].licence


def test_chorales_are_those_in_four_parts():
    names = {piece.name for piece in pieces_of("bach-chorales")}
    assert 360 <= len(names) <= 370
    assert {"bwv269", "bwv67.4", "bwv113.8"} <= names
    assert not {"bwv1.6", "bwv846", "bwv248.64-6"} & names  # with a horn, for piano, with trumpets


def test_mozart_has_four_quartets_and_no_piano_sonata():
    names = [piece.name for piece in pieces_of("mozart-quartets")]
    assert len(names) == 15
    assert "k458/movement1" in names
    assert not any("545" in name for name in names)


def test_movement_that_music21_has_in_two_formats_is_listed_once():
    names = [piece.name for piece in pieces_of("beethoven-quartets")]
    assert names.count("opus18no1/movement1") == 1


def test_tune_that_music21_has_in_two_transcriptions_is_listed_once():
    numbers = [piece.name.split("/")[-1].split()[0] for piece in pieces_of("oneills")]
    assert numbers.count("732") == numbers.count("1120") == numbers.count("1720") == 1


def test_tune_is_named_by_book_number_and_title():
    assert pieces_of("airds")[0].name == "book1/0001 The Ranting Highlandman."
    assert [piece.name for piece in pieces_of("nottingham")] == [
        "reelsa-c/80 Cuckoo's Nest",
        "reelsa-c/81 Little Czech Number",
    ]


# ---- converting


def test_chorale_comes_out_as_the_score_has_it():
    song = convert_piece(piece("bach-chorales", "bwv269")).song  # Aus meines Herzens Grunde
    assert len(song.tracks) == 4
    assert [track.name for track in song.tracks] == ["Soprano", "Alto", "Tenor", "Bass"]
    first = song.notes[song.notes["onset"] == 0]
    assert first["pitch"].tolist() == [43, 59, 62, 67]  # G2 B3 D4 G4
    assert song.keys["fifths"].tolist() == [1]
    assert song.meters[:2].tolist() == [(0, 1, 4), (1, 3, 4)]  # an upbeat, then three crotchets a bar


def test_movement_whose_repeats_music21_cannot_expand_is_read_all_the_same():
    entry = convert_piece(piece("mozart-quartets", "k458/movement2"))  # a minuet with trio, da capo
    assert entry.status != "refused"
    assert [track.name for track in entry.song.tracks] == ["1st Violin", "2nd Violin", "Viola", "Cello"]
    assert entry.song.beats > 150  # as written, once


def test_piece_that_cannot_be_read_is_a_refused_entry_with_a_reason(tmp_path):
    (tmp_path / "broken.mxl").write_bytes(b"not a score")
    entry = convert_piece(Piece("broken", tmp_path / "broken.mxl"))
    assert entry.status == "refused"
    assert len(entry.reason) > 10


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """A whole small corpus, converted once by worker processes."""
    home = tmp_path_factory.mktemp("converted")
    told = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEEPMUSICIAN_HOME", str(home))
        songs = load_corpus("nottingham", progress=lambda done, total: told.append((done, total)))
    return home, songs, told


def test_progress_is_told_for_every_piece(converted):
    assert converted[2] == [(1, 2), (2, 2)]


def test_converted_corpus_keeps_its_order_and_its_notes(converted):
    names, songs = zip(*converted[1], strict=True)
    assert list(names) == [piece.name for piece in pieces_of("nottingham")]
    for each, song in zip(pieces_of("nottingham"), songs, strict=True):
        np.testing.assert_array_equal(song.notes, convert_piece(each).song.notes)


def test_tune_is_played_with_its_repeats(converted):
    (_, song), _ = converted[1]
    assert song.notes["pitch"][:5].tolist() == [69, 69, 74, 74, 73]  # A | A/2 d/2 d/2 c/2, with two sharps
    assert song.beats > 4 * 16


def test_cached_corpus_loads_at_once_and_is_not_converted_again(converted, monkeypatch):
    monkeypatch.setenv("DEEPMUSICIAN_HOME", str(converted[0]))
    monkeypatch.setattr(corpora, "_convert", None)  # calling it would fail
    began = time.perf_counter()
    again = load_corpus("nottingham", progress=None)
    assert time.perf_counter() - began < 1
    assert [name for name, _ in again] == [name for name, _ in converted[1]]


def test_corpus_is_a_source_of_the_library(converted, monkeypatch):
    monkeypatch.setenv("DEEPMUSICIAN_HOME", str(converted[0]))
    data = read_source("nottingham")
    assert (data.name, len(data.songs)) == ("nottingham", 2)


def test_damaged_cache_is_made_anew(converted, monkeypatch):
    monkeypatch.setenv("DEEPMUSICIAN_HOME", str(converted[0]))
    (folder,) = (converted[0] / "cache" / "corpora").glob("nottingham-*")
    (folder / "catalogue.json").write_text("{")
    assert len(load_corpus("nottingham")) == 2


def test_pieces_that_fail_are_reported_and_the_rest_is_loaded(monkeypatch):
    good, bad = convert_piece(pieces_of("nottingham")[0]), corpora.Entry.refused("bad", "it is torn")
    monkeypatch.setattr(corpora, "_convert", lambda name, parts, progress: parts.mkdir() or [good, bad])
    data = read_source("nottingham")
    assert data.names == (good.name,)
    assert [entry.reason for entry in data.entries if entry.status == "refused"] == ["it is torn"]


def test_worker_that_dies_says_why_and_leaves_no_cache(home, monkeypatch):
    monkeypatch.setattr(corpora.sys, "executable", "/bin/false")
    with pytest.raises(LibraryError, match="converting nottingham failed: its process was ended"):
        load_corpus("nottingham")
    assert not list((home / "cache" / "corpora").glob("nottingham*"))


def test_interrupted_conversion_ends_its_workers(home):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_corpus("nottingham", progress=stop)
    assert not list((home / "cache" / "corpora").glob("nottingham*"))


def test_conversion_broken_off_goes_on_where_it_was(home):
    done_before = corpora.Entry.of("as it was", convert_piece(pieces_of("nottingham")[0]).song)
    folder = corpora._cache_folder("nottingham")
    parts = folder.with_name(f".{folder.name}.parts")
    corpora.write_entries(parts / "0", [done_before])
    told = []
    songs = load_corpus("nottingham", progress=lambda *at: told.append(at))
    assert [name for name, _ in songs] == ["as it was", "reelsa-c/81 Little Czech Number"]
    assert told == [(1, 2), (2, 2)]
    assert [path.name[:10] for path in (home / "cache" / "corpora").iterdir() if path.is_dir()] == ["nottingham"]


def test_unknown_corpus_is_refused_with_the_known_ones():
    with pytest.raises(LibraryError, match=r"no built-in corpus is called bartok; there are bach-chorales, .*essen"):
        load_corpus("bartok")


def test_music21_without_its_corpus_says_what_to_do(monkeypatch):
    pieces_of.cache_clear()
    monkeypatch.setattr(corpora, "_corpus_folder", lambda: None)
    assert {corpus.count for corpus in list_corpora()} == {0}
    with pytest.raises(LibraryError, match="without its corpus; install it again"):
        load_corpus("airds")
    pieces_of.cache_clear()
