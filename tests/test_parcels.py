"""Parcels from strangers: what is in them is counted, capped and checked before it is kept."""

import io
import json
import random
import tracemalloc
import zipfile

import numpy as np
import pytest

from deepmusician import parcels
from deepmusician.errors import LibraryError
from deepmusician.notes import NOTE, Song
from deepmusician.parcels import LARGEST, export_data_set, import_data_set, parcel_name
from deepmusician.shelf import list_data_sets, save_data_set
from deepmusician.store import CATALOGUE_FILE, NOTES_FILE, DataSet, Entry
from tests.bombs import flipped, link, many_entries, zipped


@pytest.fixture
def parcel(home):
    """The members of an exported data set, to be changed."""
    entries = [Entry.of(f"{name}.mid", Song.from_notes([(0, 1, 60), (1, 1, 64)])) for name in "ab"]
    save_data_set(DataSet("x", tuple(entries)), "mine")
    with zipfile.ZipFile(io.BytesIO(export_data_set("mine"))) as archive:
        return {name: archive.read(name) for name in LARGEST}


def said_of(content):
    """Why an import is refused; nothing is kept of it."""
    with pytest.raises(LibraryError) as caught:
        import_data_set(content, "back")
    assert list_data_sets() == ["mine"]
    return str(caught.value)


def changed(parcel, **values):
    """The catalogue with other values in its first piece."""
    catalogue = json.loads(parcel[CATALOGUE_FILE])
    catalogue["entries"][0] |= values
    return parcel | {CATALOGUE_FILE: json.dumps(catalogue).encode()}


def test_a_parcel_put_together_again_is_read(parcel):
    assert len(import_data_set(zipped(*parcel.items()), "back").songs) == 2


@pytest.mark.parametrize("file", LARGEST)
def test_what_inflates_beyond_its_cap_is_refused_and_never_held(parcel, file, monkeypatch):
    monkeypatch.setitem(LARGEST, NOTES_FILE, 1_000_000)
    content = zipped(*(parcel | {file: bytes(40_000_000)}).items())
    tracemalloc.start()
    try:
        assert f"inflates to more than {LARGEST[file]:,} bytes" in said_of(content)
        assert tracemalloc.get_traced_memory()[1] < 2 * LARGEST[file] + 5_000_000
    finally:
        tracemalloc.stop()


def test_a_header_that_lies_about_its_size_is_refused(parcel):
    content = bytearray(zipped(*(parcel | {"decisions.json": b" " * 20_000_000}).items()))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = content.index(b"decisions.json", content.index(signature))
        at = content.rindex(signature, 0, at)
        content[at + offset : at + offset + 4] = (10).to_bytes(4, "little")
    assert "damaged" in said_of(bytes(content))


@pytest.mark.parametrize(
    "shape",
    [(10**15,), (10**30,), (-1,), (3,), (5,), (2, 2)],
    ids=["huge", "beyond numbers", "less than none", "few", "many", "wide"],
)
def test_notes_that_are_not_of_the_length_they_say_are_refused(parcel, shape):
    content = io.BytesIO()
    about = {"descr": np.lib.format.dtype_to_descr(NOTE), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(content, about)
    notes = content.getvalue() + bytes(4 * NOTE.itemsize)
    assert "damaged" in said_of(zipped(*(parcel | {NOTES_FILE: notes}).items()))


def test_songs_that_name_the_same_notes_again_and_again_are_refused(parcel):
    catalogue = json.loads(parcel[CATALOGUE_FILE])
    catalogue["entries"] *= 1_000
    parcel |= {CATALOGUE_FILE: json.dumps(catalogue).encode()}
    assert "its songs hold more notes than there are" in said_of(zipped(*parcel.items()))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"name": ["a"]}, "must be a text"),
        ({"name": "a" * 3_000}, "must be a text of at most"),
        ({"status": "loved"}, "no piece can be 'loved'"),
        ({"title": 5}, "must be a text"),
        ({"meters": [[0, 0, 4]]}, "a meter or key is impossible"),
        ({"meters": [[0, 4, 0]]}, "a meter or key is impossible"),
        ({"meters": [[0, 4, 400]]}, "damaged"),
        ({"keys": [[0, 100, False]]}, "a meter or key is impossible"),
        ({"keys": [[float("nan"), 1, False]]}, "a time is no number"),
        ({"tempos": [[0, float("inf")]]}, "a time is no number"),
        ({"tempos": [[0, 0.0001]]}, "a song may last at most 2 hours"),
        ({"tracks": [["x", 10**400, False]]}, "must be a whole one"),
        ({"tracks": [["x", 200, False]]}, "impossible instrument"),
        ({"tracks": [["x", 0, False]] * 300}, "256 tracks"),
        ({"ticks_per_beat": 1.5}, "must be a whole one"),
        ({"touched": ["a", 0, 0, 0]}, "must be a whole one"),
        ({"offset": -1}, "damaged"),
        ({"count": 10**9}, "damaged"),
        ({"count": "two"}, "damaged"),
    ],
    ids=range(19),
)
def test_a_piece_that_no_reader_would_give_is_refused(parcel, values, reason):
    assert reason in said_of(zipped(*changed(parcel, **values).items()))


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [("pitch", 200, "out of range"), ("velocity", 255, "out of range"), ("onset", -4.0, "out of range"),
     ("duration", np.inf, "no number"), ("onset", 1e9, "beats"), ("track", 7, "names track 7")],
)  # fmt: skip
def test_a_note_that_no_reader_would_give_is_refused(parcel, column, value, reason):
    head = len(parcel[NOTES_FILE]) - 4 * NOTE.itemsize
    notes = np.frombuffer(parcel[NOTES_FILE][head:], NOTE).copy()
    notes[column][1] = value
    assert reason in said_of(zipped(*(parcel | {NOTES_FILE: parcel[NOTES_FILE][:head] + notes.tobytes()}).items()))


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b'{"form": 1, "entries": [' + b"[" * 100_000, b"\xff\xfe", b"null"]
)
def test_a_catalogue_that_is_no_catalogue_is_refused(parcel, content):
    assert "damaged" in said_of(zipped(*(parcel | {CATALOGUE_FILE: content}).items()))


def test_members_that_are_links_or_there_twice_are_refused(parcel):
    others = {name: content for name, content in parcel.items() if name != NOTES_FILE}
    assert "it is a link" in said_of(zipped(*others.items(), link(NOTES_FILE, "/etc/passwd")))
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = zipped(*parcel.items(), (NOTES_FILE, parcel[NOTES_FILE]))
    assert "each once" in said_of(twice)


def test_what_else_a_parcel_holds_is_left_where_it_is(parcel, tmp_path):
    out = tmp_path / "out.mid"
    import_data_set(zipped(*parcel.items(), (str(out), b"x"), ("../out.mid", b"x"), ("in.zip", zipped())), "back")
    assert not list(tmp_path.glob("**/out.mid"))


def test_a_table_that_would_fill_the_memory_makes_no_parcel():
    assert parcel_name(many_entries(400_000)) is None


def test_a_name_of_a_corpus_is_not_called_damage(parcel):
    with pytest.raises(LibraryError, match=r"^bach-chorales is the name of a built-in corpus"):
        import_data_set(zipped(*parcel.items()), "bach-chorales")


def test_a_data_set_that_could_not_come_back_is_not_exported(parcel, monkeypatch):
    monkeypatch.setitem(parcels.LARGEST, CATALOGUE_FILE, 100)
    with pytest.raises(LibraryError, match=r"mine is too large for one zip \(catalogue.json has"):
        export_data_set("mine")


@pytest.mark.parametrize("file", LARGEST)
def test_a_parcel_with_anything_changed_in_it_is_read_or_refused(parcel, file):
    words = (b"[", b"null", b"-1", b"1e999", b"{}", b'"x"', b"9" * 30, b"", b"true", b"NaN", b"((", b"'")
    for seed in range(40):
        chance, content = random.Random(seed), bytearray(flipped(parcel[file], seed) if seed % 2 else parcel[file])
        at = chance.randrange(len(content))
        content[at : at + chance.randrange(5)] = chance.choice(words)
        try:
            assert import_data_set(zipped(*(parcel | {file: bytes(content)}).items()), "back").songs
        except LibraryError as error:
            assert "\n" not in str(error)
