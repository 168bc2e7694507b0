"""The history: every piece is kept with all that makes it again, can be marked, deleted, and brought back."""

import dataclasses

import pytest
from conftest import scale_song

from deepmusician import history
from deepmusician.errors import LibraryError, OptionError
from deepmusician.history import COMPOSED, REWRITTEN, Request
from deepmusician.midi import write_midi
from deepmusician.notes import Song
from deepmusician.options import GenerateOptions, RewriteOptions

pytestmark = pytest.mark.usefixtures("home")
SONG = scale_song(60, 8)
REQUEST = Request("bach", options={"seed": 7, "temperature": 0.8, "scale": "D dorian", "init": "guided", "keep": True})


def test_a_piece_is_kept_with_its_notes_and_all_that_makes_it():
    made = history.add(REQUEST, SONG, "Bach", "abc")
    (piece,) = history.history()
    assert piece == made == history.find(made.id)
    assert (piece.request, piece.title, piece.weights) == (REQUEST, "Bach", "abc")
    assert (piece.notes, piece.beats) == (len(SONG), 8)
    assert write_midi(piece.song()) == write_midi(SONG)


def test_a_silent_piece_is_kept_too():
    assert len(history.add(REQUEST, Song.from_notes([]), "Bach", "abc").song()) == 0


def test_the_newest_piece_comes_first():
    made = [history.add(REQUEST.but(seed=i), SONG, "Bach", "abc") for i in range(3)]
    with_times = [dataclasses.replace(p, made=f"2020-01-0{9 - i}T00:00:00") for i, p in enumerate(made)]
    for piece in with_times:
        history.star(piece, False)
    assert [p.request.seed for p in history.history()] == [0, 1, 2]


def test_a_star_stays():
    made = history.add(REQUEST, SONG, "Bach", "abc")
    assert history.star(made).starred and history.find(made.id).starred
    history.star(made, False)
    assert not history.find(made.id).starred


def test_a_deleted_piece_is_gone_until_it_is_brought_back():
    made = history.add(REQUEST, SONG, "Bach", "abc")
    history.delete(made)
    assert history.history() == [] and history.find(made.id) is None
    assert history.bring_back(made.id) == made and history.history() == [made]
    assert history.bring_back("never") is None


def test_only_the_last_deleted_ones_can_be_brought_back(monkeypatch):
    monkeypatch.setattr(history, "KEPT_ASIDE", 1)
    first, second = (history.add(REQUEST, SONG, "Bach", "abc") for _ in range(2))
    history.delete(first)
    history.delete(second)
    assert history.bring_back(first.id) is None and history.bring_back(second.id) == second


def test_a_damaged_record_hides_no_other(home):
    made, broken = (history.add(REQUEST, SONG, "Bach", "abc") for _ in range(2))
    (home / "compositions" / broken.id / "piece.json").write_text("{")
    assert history.history() == [made]


def test_a_piece_whose_file_is_gone_says_so(home):
    made = history.add(REQUEST, SONG, "Bach", "abc")
    (home / "compositions" / made.id / "piece.mid").unlink()
    with pytest.raises(LibraryError, match="cannot be read"):
        made.song()


@pytest.mark.parametrize("id", ["", "../runs", ".deleted-x", "nobody"])
def test_an_id_that_is_none_finds_nothing(id):
    assert history.find(id) is None


def test_a_song_to_begin_from_is_kept_once_and_comes_back_exactly(home):
    name = history.keep_song(SONG)
    assert history.keep_song(scale_song(60, 8)) == name
    assert history.kept_song(name).notes.tolist() == SONG.notes.tolist()
    assert len(list((home / "compositions" / "songs").iterdir())) == 1
    with pytest.raises(LibraryError, match="not in this workspace"):
        history.kept_song("0" * 16)


@pytest.mark.parametrize("request_", [
    REQUEST, Request("bach"), Request("run-my run", options={"variations": 4, "style": "a:0.5,b:0.5"}),
    dataclasses.replace(REQUEST, song="0123456789abcdef"),
    Request("bach", REWRITTEN, {"candidates": 8, "fullness": 1.05}, "0123456789abcdef", 4.0, 8.5),
], ids=["many", "none", "text", "song", "rewritten"])  # fmt: skip
def test_an_address_asks_for_exactly_the_same_piece(request_):
    assert Request.from_query(request_.query()) == request_


def test_an_address_says_only_what_differs_from_the_defaults():
    assert Request("bach", options={"tempo_bpm": 80.0, "seq_len": 256}).query() == {
        "model": "bach", "seed": "0", "tempo_bpm": "80",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"seed": "x"}, "seed in the address must be a number, got 'x'"),
        ({"seed": "-1"}, "seed must be from 0"),
        ({"scale": "H major"}, "begins with its tonic"),
        ({"rewrite": "a-b"}, "rewrite in the address must be a number"),
    ],
)
def test_a_damaged_address_is_a_sentence(words, message):
    with pytest.raises(OptionError, match=message):
        Request.from_query({"model": "bach", **words})


def test_a_request_with_other_options_is_another_one():
    assert REQUEST.but(temperature=None, seed=9).options == {
        k: v for k, v in {**REQUEST.options, "seed": 9}.items() if k != "temperature"
    }
    assert REQUEST.chosen() == GenerateOptions(**REQUEST.options)
    assert isinstance(Request("bach", REWRITTEN).chosen(), RewriteOptions) and REQUEST.kind == COMPOSED
    with pytest.raises(OptionError, match="composed or rewritten"):
        Request("bach", "sung")
