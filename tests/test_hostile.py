"""Hostile files: whatever comes, it is read or refused in a sentence, in time, and no note is lost without a word."""

import subprocess
import sys
import time
from pathlib import Path

import bombs
import fuzz_reading
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepmusician import reading
from deepmusician.errors import BrokenOffError, MidiError
from deepmusician.library import read_uploads
from deepmusician.limits import Limits
from deepmusician.midi import read_midi

ROOT = Path(__file__).parents[1]
ZIPS = [name for name in bombs.BOMBS if name.endswith(".zip")]
SLOW = (
    {"many-notes.krn", "many-notes.musicxml", "one-line.abc", "splits.krn", "spines.krn", "no-status.mid", "all-ff.mid"}
    | {f"{w}-changes.mid" for w in ("tempo", "meter")}
    | {
        "program-switches.mid",
        "program-switches-with-notes.mid",
        "many-names.mid",
        "repeated.musicxml",
        "bomb.mxl",
        "deltas-without-end.mid",
        "silences-and-endless-notes.mid",
        "changes-beyond-count.mid",
    }
)
BRISK = Limits(read_seconds=1)  # the slow ones are to be broken off, here sooner


@pytest.mark.parametrize("name", sorted(set(bombs.BOMBS) - set(ZIPS)))
def test_a_bomb_is_read_or_refused_in_a_sentence_in_time(name):
    data, started = bombs.BOMBS[name](), time.monotonic()
    try:
        for song in reading.read_songs(data, name, BRISK if name in SLOW else Limits()):
            assert len(song)
    except BrokenOffError as error:
        assert name in SLOW
        assert error.kind == "time"
    except MidiError as error:
        assert len(str(error).splitlines()) == 1
    assert time.monotonic() - started < 10
    assert reading.peak_mb() < 512


@pytest.mark.parametrize(
    ("name", "states"),
    [
        ("lying.zip", ["refused"]),
        ("nested.zip", ["refused", "kept"]),
        ("traversal.zip", ["refused"] * 3),
        ("link.zip", ["refused"]),
        ("same-names.zip", ["kept", "kept"]),
        ("inflating.zip", ["refused", "kept"]),
        ("crowded.zip", ["refused"]),
        ("table.zip", ["refused"]),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_of_a_hostile_zip_what_is_harmless_is_read(name, states, home):
    entries = read_uploads([(name, bombs.BOMBS[name]())]).entries
    assert [entry.status for entry in entries] == states
    assert len({entry.name for entry in entries}) == len(entries)


def test_a_file_cut_at_every_byte_is_read_or_refused_by_the_worker():
    whole = bombs.midi(b"\x00\xff\x51\x03\x07\xa1\x20" + bombs.NOTE * 3, bombs.NOTE)
    files = [(f"{size}.mid", lambda size=size: whole[:size]) for size in range(len(whole) + 1)]
    found = list(reading.read_many(files, Limits()))
    assert all(isinstance(songs, str) or len(songs) == 1 for songs in found)
    assert len(found[-1][0]) == 4
    told = [len(s[0]) == 4 or bool(s[0].repairs) for s in found if not isinstance(s, str)]
    assert all(told)


@pytest.mark.parametrize("seed", range(3))
def test_the_target_of_the_fuzzer_holds_on_seeded_mutations(seed):
    assert fuzz_reading.run(seed, times=400) == 400


def test_the_fuzzer_would_find_a_note_lost_in_silence(monkeypatch):
    def losing(data):
        song = read_midi(data)
        return type(song)(song.notes[1:]) if len(song) > 1 else song

    monkeypatch.setattr(fuzz_reading, "read_midi", losing)
    with pytest.raises(AssertionError):
        fuzz_reading.run(0, times=400)


EVENT = st.tuples(st.integers(0, 300), st.sampled_from([0x80, 0x90, 0x91]), st.integers(60, 62), st.integers(0, 2))


def written(events):
    """A track of (delta, status, pitch, velocity)."""
    return b"".join(
        (bytes([delta >> 7 | 0x80, delta & 0x7F]) if delta > 127 else bytes([delta])) + bytes([status, pitch, velocity])
        for delta, status, pitch, velocity in events
    )


@settings(deadline=None, max_examples=150)
@given(st.lists(EVENT, min_size=1, max_size=40))
def test_every_note_begun_is_in_the_song_or_counted(events):
    begun = sum(status > 0x8F and velocity > 0 for _, status, _, velocity in events)
    depth, unended = {}, 0
    for _, status, pitch, velocity in events:
        key = (status & 0x0F, pitch)
        on = status > 0x8F and velocity > 0
        depth[key] = max(depth.get(key, 0) + (1 if on else -1), 0)
    unended = sum(depth.values())
    data = bombs.midi(written(events))
    if not begun:
        with pytest.raises(MidiError, match="no notes"):
            read_midi(data)
        return
    song = read_midi(data)
    assert len(song) + song.touched.dropped == begun
    assert song.touched.closed + song.touched.dropped == unended  # those without an end are closed, or were told twice


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=300))
def test_any_bytes_after_a_header_are_read_or_refused(data):
    fuzz_reading.target(bombs.midi(data))
    fuzz_reading.target(bombs.midi()[:14] + data)


def test_the_benchmark_prints_its_table_and_judges(tmp_path):
    (tmp_path / "a.mid").write_bytes(bombs.midi(bombs.NOTE))
    (tmp_path / "b.mid").write_bytes(bombs.midi(bombs.NOTE + b"\x00\x90\x40\x40"))
    (tmp_path / "c.zip").write_bytes(bombs.BOMBS["nested.zip"]())
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "hostile.py"), str(tmp_path)],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    lines = {line.rsplit(None, 1)[0]: line.split()[-1] for line in done.stdout.splitlines() if len(line.split()) > 1}
    assert done.returncode == 0, done.stdout + done.stderr
    assert (lines["accepted"], lines["repaired"], lines["refused"], lines["crashed"]) == ("2", "1", "1", "0")
    assert lines["notes closed"] == "1"
    assert "goals met" in done.stdout
