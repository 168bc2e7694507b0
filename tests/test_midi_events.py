"""Bytes to events: the container, the two scanners, text."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from midi_hex import C4, END, hex_bytes, midi_file, rows

from deepmusician import midi_events, midi_scan
from deepmusician.errors import MidiError
from deepmusician.limits import Limits
from deepmusician.midi import read_midi
from deepmusician.midi_bytes import decode_text, open_container, read_number, write_number


def same(one, other) -> bool:
    columns = all((getattr(one, c) == getattr(other, c)).all() for c in ("tick", "status", "one", "two"))
    lists = all(getattr(one, c) == getattr(other, c) for c in ("bounds", "ends", "programs", "metas", "repairs"))
    return columns and lists


# --- the two scanners ---------------------------------------------------------------------------------------------

sevens = st.integers(0, 127)
deltas = st.one_of(st.integers(0, 127), st.integers(0, 2**28 - 1)).map(write_number)
channels = st.integers(0, 15)
two_bytes = st.tuples(st.sampled_from((0x80, 0x90, 0xA0, 0xB0, 0xE0)), channels, st.tuples(sevens, sevens))
one_byte = st.tuples(st.sampled_from((0xC0, 0xD0)), channels, st.tuples(sevens))
bodies = st.binary(max_size=130)
metas = st.tuples(st.sampled_from((0x01, 0x03, 0x21, 0x51, 0x58, 0x59, 0x7F)), bodies)
sysex = st.tuples(st.sampled_from((0xF0, 0xF7)), bodies)
events = st.lists(st.tuples(deltas, st.one_of(two_bytes, two_bytes, one_byte, metas, sysex)), max_size=25)


def track_bytes(events, running: bool) -> bytes:
    out, last = b"", None
    for delta, event in events:
        if len(event) == 3:
            status = event[0] | event[1]
            out += delta + (b"" if running and status == last else bytes([status])) + bytes(event[2])
            last = status
        else:
            lead = bytes([event[0]]) if event[0] >= 0xF0 else bytes([0xFF, event[0]])
            out += delta + lead + write_number(len(event[1])) + event[1]
    return out + hex_bytes(END)


@settings(max_examples=150, deadline=None)
@given(st.lists(events, min_size=1, max_size=3), st.booleans())
def test_the_fast_scanner_reads_what_the_careful_one_reads(tracks, running):
    whole = b"".join(b"MTrk" + struct.pack(">I", len(t)) + t for t in (track_bytes(e, running) for e in tracks))
    container = open_container(b"MThd" + struct.pack(">IHHH", 6, 1, len(tracks), 480) + whole)
    assert same(midi_scan._scan_fast(container), midi_events.scan(container))


def test_a_file_in_good_order_is_never_read_twice(monkeypatch):
    monkeypatch.delattr(midi_scan, "scan_carefully")
    assert len(read_midi(midi_file(f"00 c0 28 \n 00 07  # running program \n 00 f0 01 f7 \n {C4}"))) == 1


@pytest.mark.parametrize(
    ("track", "notes", "repair"),
    [
        ("00 90 3c c8 \n 60 80 3c 00", [(0, 0.2, 60)], "1 velocity over 127 taken as 127"),
        (
            f"00 90 c8 40 \n 60 80 c8 00 \n {C4}",
            [(0.2, 1, 60)],
            "2 note events on a pitch above 127 left out",
        ),
        (f"00 c0 c8 \n {C4}", [(0, 1, 60)], "1 program change to a number above 127 left out"),
        (
            f"00 f8 \n 00 f2 01 02 \n {C4}",
            [(0, 1, 60)],
            "2 events of a kind that has no place in a file skipped",
        ),
        (f"00 3c \n {C4}", [(0, 1, 60)], "1 byte belonging to no event skipped"),
        (f"{C4} \n {END} \n 00 90 3c", [(0, 1, 60)], "3 bytes after a track's end mark ignored"),
        (
            f"{C4} \n 00 ff 01 7f 68  # text of 127 bytes",
            [(0, 1, 60)],
            "1 track cut off in the middle of an event",
        ),
    ],
)
def test_damage_is_mended_and_told(track, notes, repair):
    song = read_midi(midi_file(track))
    assert rows(song) == notes
    assert song.repairs[0].startswith(repair)


def test_a_missing_end_mark_is_told():
    body = hex_bytes(C4)
    song = read_midi(midi_file(C4)[:18] + struct.pack(">I", len(body)) + body)
    assert song.repairs == ("1 track without an end mark read to the last event",)


def test_a_file_that_changes_program_endlessly_is_refused(monkeypatch):
    monkeypatch.setattr(midi_events, "MAX_CHANGES", 5)
    monkeypatch.setattr(midi_scan, "MAX_CHANGES", 5)
    with pytest.raises(MidiError, match="at most 5 times"):
        read_midi(midi_file("00 c0 01" + " 00 02" * 8 + C4))


# --- the container ------------------------------------------------------------------------------------------------


def test_a_riff_wrapper_is_taken_off():
    inner = midi_file(C4)
    info = b"LIST" + struct.pack("<I", 5) + b"INFOx\0"  # padded to an even length
    wrapped = b"RIFF" + struct.pack("<I", 99) + b"RMID" + info + b"data" + struct.pack("<I", len(inner)) + inner
    assert rows(read_midi(wrapped)) == [(0, 1, 60)]


def test_bytes_before_the_header_are_skipped_and_reported():
    song = read_midi(b"\0" * 128 + midi_file(C4))
    assert len(song) == 1
    assert song.repairs == ("128 bytes before the MIDI header skipped",)


def test_a_longer_header_and_unknown_chunks_are_passed_over():
    whole = midi_file(C4)
    longer = whole[:4] + struct.pack(">I", 8) + whole[8:14] + b"\1\2"
    assert read_midi(longer + b"XFIH" + struct.pack(">I", 3) + b"abc" + whole[14:] + b"\0\0\0").repairs == ()


@pytest.mark.parametrize("declared", [0, 5, 60, 10_000])
def test_a_track_of_a_wrong_declared_length_is_measured_anew(declared):
    whole = midi_file(C4, C4)
    song = read_midi(whole[:18] + struct.pack(">I", declared) + whole[22:])
    assert rows(song) == [(0, 1, 60), (0, 1, 60)]
    assert song.repairs == ("1 track of a wrong declared length measured anew",)


def test_a_file_of_fewer_tracks_than_promised_says_so():
    whole = midi_file(C4)
    song = read_midi(whole[:10] + b"\0\4" + whole[12:])
    assert song.repairs == ("the header promises 4 tracks, the file holds 1",)


def test_an_unknown_format_is_read_as_format_1():
    assert read_midi(midi_file(C4, format=7)).repairs == ("format 7 does not exist (0, 1 and 2 do); read as format 1",)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "this file is empty"),
        (b"\n <!DOCTYPE html><html>", "a web page or XML; export or download it again as MIDI"),
        (b"\x89PNG\r\n", "a PNG picture"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "RIFF file without MIDI"),
        (b"hello\xff", r"begins with 'hello\\xff'"),
        (b"MThd\0\0", "takes 14 bytes, got 6"),
        (midi_file(C4, division=0), "division must be 1..32767 ticks a beat.*got 0x0000"),
        (midi_file(C4, division=0xFFFF), "24, 25, 29 or 30 SMPTE frames.*got 0xffff"),
        (midi_file(C4)[:14], "needs at least one track"),
    ],
)
def test_what_is_not_midi_is_refused_in_words(data, words):
    with pytest.raises(MidiError, match=words):
        read_midi(data)


def test_files_beyond_the_size_and_track_limits_are_refused(tmp_path):
    with pytest.raises(MidiError, match="at most 2 tracks, this one has more"):
        read_midi(midi_file(C4, C4, C4), limits=Limits(tracks=2))
    with pytest.raises(MidiError, match="at most 8,000,000 bytes, got 8,000,001"):
        read_midi(bytes(8_000_001))
    path = tmp_path / "big.mid"
    path.write_bytes(bytes(8_000_001))
    with pytest.raises(MidiError, match=r"big\.mid: a file may have at most 8,000,000 bytes"):
        read_midi(path)


# --- numbers and text ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0, "00"),
        (0x7F, "7f"),
        (0x80, "81 00"),
        (0x3FFF, "ff 7f"),
        (0x4000, "81 80 00"),
        (0x0FFFFFFF, "ff ff ff 7f"),
    ],
)
def test_numbers_are_written_as_in_the_specification(value, written):
    raw = bytes.fromhex(written)
    assert write_number(value) == raw
    assert read_number(raw, 0, len(raw)) == (value, len(raw))


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("Klavier für Elise".encode(), "Klavier für Elise"),
        ("Prélude à l’été".encode("cp1252"), "Prélude à l’été"),
        ("Caf\xe9".encode("latin-1"), "Café"),
        ("ピアノ".encode("shift-jis"), "ピアノ"),
        ("交響曲".encode("shift-jis"), "交響曲"),
        (b"Piano\0\0", "Piano"),
        (b"a\x1b[31m\nb", "a [31m b"),
        (b"\x81\x8d\x9d", ""),
        (b"x" * 500, "x" * 200),
    ],
)
def test_any_bytes_become_a_readable_name(raw, text):
    assert decode_text(raw) == text
