"""Reading what a person brings: the same songs as the readers give, out of a process that may die."""

import ast
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from midi_hex import C4, midi_file

from deepmusician import formats, reading, sandbox
from deepmusician.errors import BrokenOffError, MidiError
from deepmusician.limits import Limits
from deepmusician.notes import Song, Track

ROOT = Path(__file__).parents[1]
ORCHESTRA = midi_file(
    "00 ff 03 04 46 6c c3 b6  # Flö \n 00 ff 51 03 06 00 00 \n 00 ff 58 04 03 02 18 08 \n 00 ff 59 02 fe 01",
    f"00 c0 28 \n {C4} \n 00 90 40 40  # endless",
    "00 99 24 ff  # velocity over 127 \n 60 24 00",
)
ABC = b"X:1\nT:One\nM:4/4\nL:1/4\nK:D\nCDEF|]\n"
KERN = b"**kern\n*M3/4\n=1\n4c\n4d\n4e\n==\n*-\n"


def same(one: Song, other: Song) -> bool:
    """Whether two songs agree in everything."""
    arrays = ("notes", "tempos", "meters", "keys")
    plain = ("ticks_per_beat", "tracks", "title", "repairs", "touched")
    return all(np.array_equal(getattr(one, a), getattr(other, a)) for a in arrays) and all(
        getattr(one, p) == getattr(other, p) for p in plain
    )


@pytest.mark.parametrize(("data", "name"), [(ORCHESTRA, "o.mid"), (ABC, "a.abc"), (KERN, "k.krn")])
def test_a_worker_reads_what_the_reader_reads(data, name):
    assert same(reading.read_song(data, name), formats.read_song(data, name))


def test_refusals_are_worded_alike(tmp_path):
    path = tmp_path / "silent.mid"
    path.write_bytes(midi_file("00 b0 07 40"))
    with pytest.raises(MidiError, match=r"^silent\.mid: the file holds no notes"):
        reading.read_song(path)
    with pytest.raises(MidiError, match=r"^the file holds no notes"):
        reading.read_song(path.read_bytes(), "silent.mid")


def test_what_a_look_can_tell_starts_no_worker(monkeypatch):
    monkeypatch.setattr(reading, "_pool", lambda limits: pytest.fail("a worker was asked"))
    for data, words in (
        (b"<!DOCTYPE html>", "web page"),
        (b"", "empty"),
        (midi_file(C4, division=0), "division"),
        (bytes(8_000_001), "at most 8,000,000 bytes"),
        (midi_file()[:14], "at least one track"),
    ):
        with pytest.raises(MidiError, match=words):
            reading.read_song(data, "a.mid")


def test_limits_of_the_environment_hold_in_the_worker(home, monkeypatch):
    monkeypatch.setenv("DEEPMUSICIAN_MAX_NOTES", "2")
    with pytest.raises(MidiError, match="at most 2 notes, got 3"):
        reading.read_song(midi_file(f"{C4} \n {C4} \n {C4}"))
    with pytest.raises(MidiError, match="at most 2 notes, got 4"):
        reading.read_song(ABC, "a.abc")


def test_a_score_that_takes_too_long_is_broken_off_and_the_next_is_read():
    notes = "\n".join(["4c"] * 3000)
    words = r"may take 0\.2 seconds, this takes longer; split it.*READ_SECONDS"
    with pytest.raises(BrokenOffError, match=words) as caught:
        reading.read_song(f"**kern\n{notes}\n*-\n".encode(), "long.krn", Limits(read_seconds=0.2))
    assert caught.value.kind == "time"
    assert len(reading.read_song(KERN, "k.krn")) == 3


class Failing:
    """A pool whose workers do not answer."""

    def __init__(self, kind: str, detail: str = "") -> None:
        self.fault = sandbox.Fault(kind, detail)

    def ask(self, *_: object) -> None:
        raise self.fault


@pytest.mark.parametrize(
    ("kind", "detail", "words"),
    [
        ("memory", "", "may take 512 MB of memory, this takes more.*READ_MB"),
        ("crash", "-11 Segmentation fault", "broke down over it .-11 Segmentation fault.; export it again"),
    ],
)
def test_what_breaks_the_worker_is_refused_in_a_sentence(monkeypatch, kind, detail, words):
    monkeypatch.setattr(reading, "_pool", lambda limits: Failing(kind, detail))
    with pytest.raises(BrokenOffError, match=words) as caught:
        reading.read_song(ORCHESTRA)
    assert caught.value.kind == kind


def test_a_tune_that_breaks_the_worker_ends_its_book(monkeypatch):
    asked = []
    monkeypatch.setattr(reading, "_pool", lambda limits: asked.append(1) or Failing("time"))
    with pytest.raises(BrokenOffError):
        reading.read_songs(ABC * 3, "book.abc")
    assert len(asked) == 1


NONSENSE = {
    "too few bytes": lambda about, sent: (about, sent[:-1]),
    "too many bytes": lambda about, sent: (about, sent + b"x"),
    "no title": lambda about, sent: ({k: v for k, v in about.items() if k != "title"}, sent),
    "lengths that are none": lambda about, sent: (about | {"lengths": ["x", 1, 1, 1]}, sent),
    "more notes than there are": lambda about, sent: (about | {"lengths": [2**40, 1, 1, 0]}, sent),
    "tracks that are none": lambda about, sent: (about | {"tracks": 3}, sent),
    "no time": lambda about, sent: (about | {"ticks_per_beat": 0}, sent),
    "pitch 255": lambda about, sent: (about, _with_byte(sent, 16, 255)),
    "a track that is not there": lambda about, sent: (about, _with_byte(sent, 20, 9)),
    "onset before the beginning": lambda about, sent: (about, _with_byte(sent, slice(0, 8), np.float64(-1).tobytes())),
    "no number": lambda about, sent: (about, _with_byte(sent, slice(8, 16), np.float64(np.nan).tobytes())),
}


def _with_byte(sent, place, value):
    sent = bytearray(sent)
    sent[place] = value
    return sent


@pytest.mark.parametrize("change", NONSENSE.values(), ids=NONSENSE)
def test_an_answer_that_is_no_song_is_not_believed(change):
    about, arrays = reading._pack(Song.from_notes([(0, 1, 60)]))
    sent = bytearray(b"".join(arrays))
    assert len(reading._unpack(about, sent)) == 1
    with pytest.raises(sandbox.Fault, match="no song"):
        reading._unpack(*change(about, sent))


def test_many_files_come_back_in_order_with_songs_or_reasons():
    def get(number):
        if number % 7 == 3:
            raise OSError(5, "Input/output error")
        return midi_file(f"00 90 {number:02x} 40 \n 60 80 {number:02x} 00") if number % 7 else b"no music"

    files = [(f"{n}.mid", lambda n=n: get(n)) for n in range(1, 60)]
    for ahead in (True, False):
        found = list(reading.read_many(files, ahead=ahead))
        for number, songs in enumerate(found, 1):
            if number % 7 == 3:
                assert songs == "it cannot be read (Input/output error)"
            elif number % 7:
                assert songs[0].notes["pitch"].tolist() == [number]
            else:
                assert "begins with 'MThd'" in songs


def test_one_file_that_breaks_its_limits_costs_no_other_its_place():
    many = midi_file(f"{C4} \n " * 40)
    slow = b"**kern\n" + b"4c\n" * 60_000 + b"*-\n"
    files = [("a.mid", ORCHESTRA), ("many.mid", many), ("slow.krn", slow), ("b.mid", ORCHESTRA), ("x.mid", b"MThd")]
    within = Limits(notes=30, read_seconds=1)
    assert len(reading.read_song(ORCHESTRA, "a.mid", within))
    found = list(reading.read_many(((name, lambda data=data: data) for name, data in files * 2), within))
    for i in (0, 5):
        assert same(found[i][0], found[i + 3][0]) and len(found[i][0])
        assert "at most 30 notes" in found[i + 1] and "takes longer" in found[i + 2] and "header" in found[i + 4]


def test_what_a_worker_says_of_the_wrong_song_is_told_of_that_file_alone(monkeypatch):
    unpack = reading._unpack

    def doubtful(about, sent):
        if about["title"] == "liar":
            raise sandbox.Fault("crash", "its answer is no song")
        return unpack(about, sent)

    monkeypatch.setattr(reading, "_unpack", doubtful)
    named = [midi_file(f"00 ff 03 04 {name.encode().hex(' ')} \n {C4}") for name in ("good", "liar", "fine")]
    good, liar, fine = reading.read_many([("x.mid", lambda data=data: data) for data in named])
    assert (good[0].title, fine[0].title) == ("good", "fine") and "broke down over it (its answer is no song)" in liar


def test_files_are_fetched_only_a_few_ahead():
    fetched = []
    files = [("a.mid", lambda: fetched.append(1) or midi_file(C4)) for _ in range(300)]
    answers = reading.read_many(files)
    next(answers)
    answers.close()
    assert len(fetched) <= 2 * reading.WORKERS * reading.FILES < 300


def test_names_in_any_encoding_are_readable_on_the_other_side():
    japanese = "主旋律".encode("cp932").hex(" ")
    song = reading.read_song(midi_file(f"00 ff 03 06 {japanese} \n {C4}"))
    assert song.tracks == (Track("主旋律"),)
    assert same(song, replace(song))


def test_nobody_reads_a_persons_files_but_through_here():
    """Others may read MIDI that this program wrote; no one who is handed a person's file may read it himself."""
    readers = {"read_song", "read_songs", "read_piece", "read_midi", "song_from_music21"}
    handed = ("file_uploader", "args.file", "args.prime")
    for folder in ("deepmusician", "ui", "pages"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            text, imported = file.read_text(), set()
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.ImportFrom) and node.module != "deepmusician.reading":
                    imported |= {alias.name for alias in node.names} & readers
            if file.name not in ("formats.py", "corpora.py"):  # corpora: music21's own, in processes of its own
                assert imported <= {"read_midi"}, file
            if any(sign in text for sign in handed):
                assert not imported, file
