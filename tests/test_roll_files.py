"""Roll files: read, and refused where they are hostile, before memory is given to what they say."""

import io
import re

import numpy as np
import pytest

from deepmusician import roll_files
from deepmusician.errors import LibraryError
from deepmusician.limits import Limits
from deepmusician.roll import KEYS, pack
from deepmusician.roll_files import read_npz
from deepmusician.rolls import Rolls
from tests.bombs import link, many_entries, zipped


@pytest.fixture
def file(tmp_path):
    frames = np.random.default_rng(0).random((12, KEYS)) < 0.1
    path = tmp_path / "set.npz"
    np.savez(path, train=pack(frames), train_lengths=[5, 7], valid=pack(frames[:3]), valid_lengths=[3])
    return path


def test_a_roll_file_holds_its_splits(file):
    train, valid = read_npz(file, "train"), read_npz(str(file), "valid")
    assert train.lengths.tolist() == [5, 7] and valid.lengths.tolist() == [3]
    assert isinstance(train, Rolls) and train.planes == "sounding"
    np.testing.assert_array_equal(train.sounding(0)[:3], valid.sounding(0))


def test_a_split_that_is_not_there_is_refused_with_those_there_are(file):
    with pytest.raises(LibraryError, match=r"set\.npz has no split called test; it has train, valid"):
        read_npz(file, "test")


@pytest.mark.parametrize(
    ("packed", "lengths", "reason"),
    [
        (np.zeros((4, 11), bool), [4], r"must be uint8 \[frames, 11\], 88 keys packed, got bool \[4, 11\]"),
        (np.zeros((4, 88), np.uint8), [4], r"got uint8 \[4, 88\]"),
        (np.zeros(4, np.uint8), [4], r"got uint8 \[4\]"),
        (np.zeros((4, 11), np.uint8), [4.0], "must be whole numbers, one a sequence, got float64"),
        (np.zeros((4, 11), np.uint8), [[4]], r"one a sequence, got int64 \[1, 1\]"),
        (np.zeros((0, 11), np.uint8), np.zeros(0, int), r"one a sequence, got int64 \[0\]"),
        (np.zeros((4, 11), np.uint8), [2, 3], "sum to its 4 frames, got 2 at least and a sum of 5"),
        (np.zeros((4, 11), np.uint8), [5, -1], "must be above 0 .* got -1 at least"),
    ],
)
def test_arrays_of_another_form_are_refused(tmp_path, packed, lengths, reason):
    np.savez(tmp_path / "odd.npz", valid=packed, valid_lengths=lengths)
    with pytest.raises(LibraryError, match=reason):
        read_npz(tmp_path / "odd.npz", "valid")


def test_pickled_arrays_are_never_loaded(tmp_path):
    np.savez(tmp_path / "odd.npz", valid=np.array([{"a": 1}], object), valid_lengths=[1])
    with pytest.raises(LibraryError, match=r"cannot be read as an \.npz file of rolls"):
        read_npz(tmp_path / "odd.npz", "valid")


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04", b"\x93NUMPY\x01\x00", b"\x80\x04N."])
def test_what_is_no_roll_file_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "odd.npz").write_bytes(content)
    with pytest.raises(LibraryError, match=r"odd\.npz cannot be read as an \.npz file of rolls: .*; give another"):
        read_npz(tmp_path / "odd.npz", "valid")


def test_a_roll_file_with_any_byte_changed_is_read_or_refused(file):
    whole = file.read_bytes()
    rng = np.random.default_rng(1)
    for place in rng.choice(len(whole), 300, replace=False):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ int(rng.integers(1, 256))]) + whole[place + 1 :])
        try:
            assert len(read_npz(file, "train")) == 2
        except LibraryError as error:
            assert "set.npz" in str(error)


def test_a_roll_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(LibraryError, match="No such file"):
        read_npz(tmp_path / "none.npz", "valid")


# ---- hostile ones


def header(descr="'|u1'", shape="(4, 11)", fortran="False"):
    """The first bytes of an array's file, whatever they say."""
    text = f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}}}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def array(values):
    content = io.BytesIO()
    np.save(content, values)
    return content.getvalue()


FRAMES, LENGTHS = array(np.zeros((4, 11), np.uint8)), array(np.array([4]))


def refused(tmp_path, *members):
    path = tmp_path / "odd.npz"
    path.write_bytes(zipped(*members))
    with pytest.raises(LibraryError) as caught:
        read_npz(path, "valid")
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (header(shape=f"({10**15}, 11)"), "not of the length its header says"),
        (header(shape=f"({10**30}, 11)"), "not of the length its header says"),
        (header(shape="(-1, 11)") + bytes(11), r"cannot have the shape \[-1, 11\]"),
        (header(shape="(1, 11)") + bytes(12), "not of the length its header says"),
        (header(descr="'|O'") + bytes(44), r"must be uint8 \[frames, 11\], 88 keys packed, got object"),
        (header(descr="'<U500000000'"), "got <U500000000"),
        (header(descr="[('a', '|u1', (1000, 1000))]"), "must be uint8"),
        (header(descr="(" * 3000 + ")" * 3000), "no array of NumPy's"),
        (header(descr="{[]: 1}"), "no array of NumPy's"),
        (header(descr="'|u1"), "no array of NumPy's"),
        (header(descr="'|u1', (("), "no array of NumPy's"),
        (header(shape=" " * 20_000 + "(4, 11)"), "no array of NumPy's"),
        (b"\x93NUMPY\x09\x00" + bytes(80), "no array of NumPy's"),
        (b"", "not of the length its header says"),
    ],
    ids=range(14),
)
def test_a_header_is_looked_at_before_memory_is_given_to_what_it_says(tmp_path, content, reason):
    said = refused(tmp_path, ("valid.npy", content), ("valid_lengths.npy", LENGTHS))
    assert re.search(reason, said) and "odd.npz" in said and "\n" not in said


def test_what_inflates_beyond_its_header_is_left_there(tmp_path, monkeypatch):
    taken = []
    counted = roll_files.Archive._count

    def count(self, size, of_file, most):
        taken.append(size)
        counted(self, size, of_file, most)

    monkeypatch.setattr(roll_files.Archive, "_count", count)
    said = refused(tmp_path, ("valid.npy", header() + bytes(20_000_000)), ("valid_lengths.npy", LENGTHS))
    assert "not of the length" in said and sum(taken) < 200_000


def test_what_inflates_beyond_the_limit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(roll_files, "WITHIN", Limits(file_mb=0.5, zip_mb=1, zip_files=10))
    frames = array(np.zeros((100_000, 11), np.uint8))
    said = refused(tmp_path, ("valid.npy", frames), ("valid_lengths.npy", array([100_000])))
    assert "inflates to more than 500,000 bytes" in said


@pytest.mark.parametrize("lengths", [[2**63 - 1, 2**63 - 1, 6], [2**62] * 4 + [4]], ids=["wraps", "wraps again"])
def test_lengths_whose_sum_wraps_around_are_refused(tmp_path, lengths):
    assert "sum to its 4 frames" in refused(
        tmp_path, ("valid.npy", FRAMES), ("valid_lengths.npy", array(np.array(lengths, np.int64)))
    )


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ((link("valid.npy", "/etc/passwd"), ("valid_lengths.npy", LENGTHS)), "it is a link"),
        ((("../valid.npy", FRAMES), ("../valid_lengths.npy", LENGTHS)), "has no split called valid"),
        ([(f"{i}.npy", b"") for i in range(101)], "holds 101 files"),
    ],
    ids=["link", "path", "crowd"],
)
def test_links_paths_and_crowds_are_refused(tmp_path, members, reason):
    assert reason in refused(tmp_path, *members)


def test_a_table_that_would_fill_the_memory_is_refused(tmp_path):
    (tmp_path / "odd.npz").write_bytes(many_entries(50_000))
    with pytest.raises(LibraryError, match=r"holds 50,0.. entries"):
        read_npz(tmp_path / "odd.npz", "valid")


def test_an_array_in_the_order_of_fortran_is_read_as_it_is(tmp_path, file):
    packed = np.asfortranarray(pack(np.random.default_rng(2).random((6, KEYS)) < 0.3))
    np.savez_compressed(tmp_path / "f.npz", valid=packed, valid_lengths=np.array([2, 4], np.uint8))
    np.testing.assert_array_equal(read_npz(tmp_path / "f.npz", "valid").packed, packed)
