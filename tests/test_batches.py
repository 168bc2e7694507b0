"""Many files at once: the compiled reader gives what the careful one gives, or passes the file over."""

import os
import random
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from midi_hex import C4, midi_file

from deepmusician import batch_worker, batches, columns, formats, marks, midi_columns, sketches
from deepmusician.batch_worker import File
from deepmusician.copies import lines
from deepmusician.errors import LibraryError, MidiError
from deepmusician.glance import Glance, glance
from deepmusician.limits import DEFAULTS
from deepmusician.midi import read_midi, write_midi
from deepmusician.notes import METER as METER_ROW
from deepmusician.notes import NOTE, Song, Touched, Track
from deepmusician.sketches import find_twins, sketched
from deepmusician.survey import survey

ABC = b"X:1\nT:One\nM:4/4\nL:1/4\nK:D\nCDEF|]\nX:2\nT:Two\nM:4/4\nL:1/4\nK:D\nFEDC|]\n"
TEMPO, METER, KEY = "00 ff 51 03 06 00 00", "60 ff 58 04 03 02 18 08", "00 ff 59 02 fe 01"
# each is read by the compiled reader, and shows one thing that it has to get right
PLAIN = {
    "one note": midi_file(C4),
    "running status": midi_file("00 90 3c 40 \n 60 3c 00 \n 00 3e 40 \n 60 3e 00"),
    "running status through a meta event": midi_file("00 90 3c 40 \n 00 ff 01 01 41 \n 60 3c 00"),
    "overlapping notes of one pitch": midi_file("00 90 3c 40 \n 10 90 3c 50 \n 10 80 3c 00 \n 20 80 3c 00"),
    "a note of no length": midi_file(f"00 90 3c 40 \n 00 80 3c 00 \n {C4}"),
    "a note-off with nothing to end": midi_file(f"00 80 40 00 \n {C4} \n 00 80 3c 00"),
    "chords in order of pitch": midi_file("00 90 40 40 \n 00 3c 40 \n 60 3c 00 \n 00 40 00"),
    "tracks side by side": midi_file(C4, f"00 ff 03 04 46 6c c3 b6 \n 00 c1 28 \n 10 {C4[3:].replace(' 3c', ' 40')}"),
    "a name of blanks, then another": midi_file(f"00 ff 03 02 20 20 \n 00 ff 03 01 41 \n {C4}"),
    "a name in format 0": midi_file(f"00 ff 03 01 41 \n {C4} \n 00 99 24 40 \n 10 24 00", format=0),
    "a track that rests but names an instrument": midi_file(C4, "00 c3 10 \n 00 c4 11"),
    "the instrument changes": midi_file(f"00 c0 05 \n {C4} \n 00 c0 06 \n {C4}"),
    "an instrument after the first note": midi_file(f"{C4} \n 00 c0 06 \n {C4}"),
    "maps": midi_file(f"{TEMPO} \n {METER} \n {KEY} \n 10 ff 51 03 05 00 00", C4),
    "two tempos at one tick": midi_file(f"10 ff 51 03 06 00 00 \n 00 ff 51 03 05 00 00 \n {C4}"),
    "tempos of two tracks": midi_file("20 ff 51 03 06 00 00", f"10 ff 51 03 05 00 00 \n {C4}"),
    "system exclusive, controllers, bends, pressure": midi_file(
        f"00 f0 03 01 02 f7 \n 00 b0 07 40 \n 00 e0 00 40 \n 00 d0 10 \n 00 a0 3c 10 \n {C4}"
    ),
    "long waits": midi_file(f"ff ff 7f {C4[3:]}".replace("ff ff 7f 90", "bf ff 7f 90")),
}
# each has something about it that only the careful reader may mend or refuse
ODD = {
    "a note without an end": midi_file("00 90 3c 40 \n 60 90 3e 40 \n 10 3e 00"),
    "an instrument lent by another track": midi_file(f"00 c0 28 \n {C4}", C4),
    "a velocity over 127": midi_file("00 90 3c c0 \n 60 3c 00"),
    "an impossible pitch": midi_file("00 90 bc 40 \n 60 3c 00"),
    "a tempo of 0": midi_file(f"00 ff 51 03 00 00 00 \n {C4}"),
    "a key of nine sharps": midi_file(f"00 ff 59 02 09 00 \n {C4}"),
    "bytes after the end": midi_file(f"{C4} \n 00 ff 2f 00 \n 00 90 3c 40 \n 00 ff 2f 00"),
    "no end": midi_file(C4)[:-4],
    "format 2": midi_file(C4, C4, format=2),
    "SMPTE": midi_file(C4, division=-(25 << 8) + 40),
    "a promise of more tracks": midi_file(C4)[:11] + b"\x02" + midi_file(C4)[12:],
    "no notes": midi_file("00 b0 07 40"),
    "nothing": b"",
    "a header": b"MThd",
    "a long song": midi_file("ff ff ff 7f 90 3c 40 \n 10 3c 00", division=1),
}


def same(batch, place, song):
    """Whether a piece of a batch is that song, in everything."""
    touched = Touched(*batch.touched.get(place, (0, 0, 0, 0)))
    read = batch.columns.song(place, batch.titles[place], batch.repairs.get(place, ()), touched)
    arrays = all(np.array_equal(getattr(read, a), getattr(song, a)) for a in ("notes", "tempos", "meters", "keys"))
    plain = ("ticks_per_beat", "tracks", "title", "repairs", "touched")
    return arrays and all(getattr(read, name) == getattr(song, name) for name in plain)


def holds(batch, contents):
    """Whether a batch holds what the careful reader makes of each file, its refusals too."""
    place = {file: place for place, file in enumerate(batch.facts["file"].tolist())}
    assert len(place) == len(batch.facts) == len(contents) - len(batch.refused)
    for i, content in enumerate(contents):
        try:
            song = read_midi(content)
        except MidiError as error:
            assert batch.refused[i] == str(error)
            continue
        assert same(batch, place[i], song)
    return True


def made_up(seed):
    """A song of some tracks and some thousand ticks, every note on a random place."""
    rng = np.random.default_rng(seed)
    n, tracks = int(rng.integers(1, 3000)), int(rng.integers(1, 20))
    notes = np.zeros(n, NOTE)
    notes["onset"], notes["duration"] = rng.integers(0, 4000, n) / 96, rng.integers(1, 200, n) / 96
    notes["pitch"], notes["velocity"] = rng.integers(0, 128, n), rng.integers(1, 128, n)
    notes["track"] = rng.integers(0, tracks, n)
    named = tuple(Track(f"Stimme {i} ♪", int(rng.integers(128)), i % 5 == 4) for i in range(tracks))
    notes["drum"] = np.array([track.drum for track in named])[notes["track"]]
    notes["program"] = np.array([track.program for track in named])[notes["track"]]
    return Song(notes, 96, tracks=named, title=f"Piece {seed}")


SONGS = [made_up(seed) for seed in range(12)]


@pytest.fixture(scope="module")
def compiled():
    return midi_columns.compiled() or pytest.skip("numba is not installed")


def passed_over(content):
    return not len(midi_columns.read_plain(*batches.laid_out([content]), DEFAULTS).file)


@pytest.mark.parametrize("name", PLAIN)
def test_the_compiled_reader_reads_what_is_in_good_order(compiled, name):
    assert not passed_over(PLAIN[name])


@pytest.mark.parametrize("name", ODD)
def test_the_compiled_reader_passes_over_what_is_not(compiled, name):
    assert passed_over(ODD[name])


def test_both_readers_give_the_same_songs_and_the_same_refusals(compiled):
    contents = [*PLAIN.values(), *ODD.values(), *map(write_midi, SONGS)]
    random.Random(4).shuffle(contents)
    assert holds(batches.read_batch([("a.mid", content) for content in contents], DEFAULTS), contents)


def test_whatever_happens_to_a_file_both_readers_agree(compiled):
    rng = random.Random(11)
    contents = []
    for _ in range(300):
        content = bytearray(rng.choice([*PLAIN.values(), write_midi(SONGS[0].select([0]))]))
        for _ in range(rng.randint(1, 3)):
            content[rng.randrange(len(content))] = rng.choice((0, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        contents.append(bytes(content[: rng.choice((len(content), rng.randrange(len(content))))]))
    assert holds(batches.read_batch([("a.mid", content) for content in contents], DEFAULTS), contents)


UNCOMPILED = """
import sys
import numpy as np
from deepmusician.midi_kernel import PAD, read_files

class Guarded(np.ndarray):
    def __getitem__(self, i):
        assert np.ndim(i) == 0 and 0 <= i < len(self), i
        return np.asarray(super().__getitem__(i))[()]

data = np.frombuffer(sys.stdin.buffer.read(), np.uint8)
n = int(data[:4].view("<i4")[0])
starts, ends = data[4 : 4 + 16 * n].view("<i8").reshape(2, n)
for start, end in zip(starts, ends):
    file = np.array(data[4 + 16 * n :][start : end + PAD]).view(Guarded)
    read = read_files(file, np.zeros(1, np.int64), np.array([end - start]), (3000, 20, 20000, 7200.0))
    print(read.plain[0], *(column.tolist() for column in read[4:12]))
"""


def test_whatever_a_file_claims_the_compiled_reader_stays_within_its_arrays(compiled):
    """Machine code checks no index; the same code uncompiled does, and reads the same."""
    rng = random.Random(5)
    contents = [*PLAIN.values(), *ODD.values()]
    contents += [
        midi_file("00 90 3c 40 \n" * 300),
        midi_file("00 ff 03 00 \n" * 900 + C4),
    ]  # more than there is room for
    chord = [f"00 90 {pitch:02x} 40" for pitch in (*range(80, 60, -1), 65, 61, 90)]
    ends = [event.replace("90", "80") for event in chord]
    contents.append(midi_file("\n".join([*chord, "20 90 10 40", *ends, "00 80 10 00"])))
    for _ in range(250):
        content = bytearray(rng.choice(contents[: len(PLAIN)]))
        for _ in range(rng.randint(1, 3)):
            content[rng.randrange(22, len(content))] = rng.choice((0, 0x7F, 0x80, 0xFF, 0x90, rng.randrange(256)))
        contents.append(bytes(content[: rng.choice((*3 * [len(content)], rng.randrange(len(content))))]))
    data, starts, ends = batches.laid_out(contents)
    sent = len(starts).to_bytes(4, "little") + starts.tobytes() + ends.tobytes() + data.tobytes()
    told = subprocess.run(
        [sys.executable, "-W", "error", "-c", UNCOMPILED], input=sent, capture_output=True, check=False,
        cwd=Path(__file__).parents[1], env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
    )  # fmt: skip
    assert not told.stderr
    lines = told.stdout.decode().splitlines()
    for line, start, end in zip(lines, starts, ends, strict=True):
        read = compiled(data, np.array([start]), np.array([end]), (3000, 20, 20000, 7200.0))
        meta = read.meta.copy()
        meta[meta[:, 0] == 3, 2] -= start  # where a name lies
        columns = (*read[4:11], meta)
        assert line == " ".join(map(str, [read.plain[0], *(column.tolist() for column in columns)]))
    assert sum(line.startswith("True") for line in lines) > 40


def test_limits_hold_for_the_compiled_reader_too(compiled):
    content = write_midi(SONGS[1])
    most = replace(DEFAULTS, notes=len(SONGS[1]))
    assert batches.read_batch([("a.mid", content)], most).facts["file"].tolist() == [0]
    for limits, words in (
        (replace(most, notes=len(SONGS[1]) - 1), "notes"),
        (replace(most, tracks=1), "tracks"),
        (replace(most, beats=30), "beats"),
        (replace(most, hours=0.001), "hours"),
    ):
        assert words in batches.read_batch([("a.mid", content)], limits).refused[0]


def test_without_numba_everything_is_read_by_the_careful_reader(monkeypatch):
    monkeypatch.setattr(midi_columns, "compiled", lambda: None)
    contents = [*list(PLAIN.values())[:4], ODD["format 2"]]
    assert holds(batches.read_batch([("a.mid", content) for content in contents], DEFAULTS), contents)


def test_a_worker_answers_what_is_read_here():
    files = [("a.mid", PLAIN["maps"]), ("b.mid", ODD["no notes"]), ("c.mid", ODD["format 2"])]
    here = batches.read_batch(files, DEFAULTS)
    there = batch_worker.ask([File(name, len(content), content) for name, content in files], DEFAULTS)
    assert there.refused == here.refused == {1: "the file holds no notes; choose one with music in it"}
    assert there.facts.tolist() == here.facts.tolist()
    assert there.facts["file"].tolist() == [0, 2]
    assert all(same(there, place, read_midi(files[i][1])) for place, i in ((0, 0), (1, 2)))


def test_a_worker_opens_what_lies_on_disk_and_leaves_what_is_known(tmp_path):
    for name in ("maps", "one note"):
        (tmp_path / f"{name}.mid").write_bytes(PLAIN[name])
    files = [File(str(tmp_path / f"{name}.mid"), 500) for name in ("maps", "nowhere", "one note")]
    files.append(File("b.mid", len(PLAIN["one note"]), PLAIN["one note"]))
    batch = batch_worker.ask(files, DEFAULTS, {2: marks.of_bytes(PLAIN["one note"]), 3: 7})
    assert batch.facts["file"].tolist() == [0, 3]
    assert (batch.same, list(batch.refused)) == ({2}, [1])
    assert "cannot be read (No such file" in batch.refused[1]
    assert batch.marks.tolist() == [marks.of_bytes(PLAIN["maps"]), marks.of_bytes(b""), *2 * [batch.marks[2]]]


def test_a_batch_with_numbers_that_no_reader_gives_is_refused():
    good = batches.read_batch([("a.mid", write_midi(song)) for song in SONGS[:2]], DEFAULTS)
    batch_worker.check(good)
    for name, value in (("pitch", 200), ("velocity", 128), ("track", 999), ("length", 0)):
        bad = getattr(good.columns, name).copy()
        bad[5] = value
        with pytest.raises(ValueError, match="out of range"):
            batch_worker.check(replace(good, columns=replace(good.columns, **{name: bad})))
    for wrong, words in (
        ({"titles": ["one"]}, "other pieces"), ({"keys": [1, 2]}, "other pieces"), ({"touched": {2: ()}}, "not there"),
        ({"refused": {-1: ""}}, "not there"), ({"marks": good.marks[:1]}, "other files"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            batch_worker.check(replace(good, **wrong))


# ---- columns


def test_columns_give_every_song_back(tmp_path):
    songs = [*SONGS, *formats.read_songs(ABC, "two.abc"), read_midi(ODD["SMPTE"])]
    made = columns.of_songs(songs)
    size = columns.write_columns(tmp_path / "a.npy", made)
    assert size < 13.1 * sum(map(len, songs)) + 300 * len(songs) + 4000
    for read in (made, columns.open_columns(tmp_path / "a.npy")):
        for i, song in enumerate(songs):
            again = read.song(i, song.title)
            assert np.array_equal(again.notes, song.notes)
            assert again.tracks == song.tracks
            assert all(np.array_equal(getattr(again, m), getattr(song, m)) for m in ("tempos", "meters", "keys"))


def test_joined_columns_hold_the_pieces_of_all():
    joined = columns.join([columns.of_songs(SONGS[:3]), columns.of_songs([]), columns.of_songs(SONGS[3:5])])
    assert len(joined) == 5
    assert all(np.array_equal(joined.song(i).notes, SONGS[i].notes) for i in range(5))


def test_a_damaged_file_of_columns_is_refused_with_a_remedy(tmp_path):
    path = tmp_path / "a.npy"
    columns.write_columns(path, columns.of_songs(SONGS[:2]))
    content = path.read_bytes()
    for damage in (content[:-40], content[:100], b"", content.replace(b"'pitch'", b"'patch'")):
        path.write_bytes(damage)
        with pytest.raises(LibraryError, match="ingest its files again"):
            columns.open_columns(path)


# ---- at a glance, and near-duplicates


def test_a_survey_says_of_each_piece_what_a_glance_says():
    songs = [*SONGS, *(read_midi(content) for content in PLAIN.values())]
    drums = Song.from_notes([(0, 1, 36)])
    drums.notes["drum"] = True
    songs += [drums, Song.from_notes([(0, 1, 20), (3, 1, 60)])]
    songs.append(Song.from_notes([(0, 7, 60)], meters=np.array([(0, 4, 4), (6, 1, 128), (6.5, 3, 64)], METER_ROW)))
    seen = survey(columns.of_songs(songs))
    for i, song in enumerate(songs):
        told = glance(song)
        for field in fields(Glance):
            its, words = getattr(told, field.name), {"key": seen.keys, "meter": seen.meters, "classes": seen.classes}
            mine = words[field.name][i] if field.name in words else seen.numbers[field.name][i]
            its = -1 if its is None else its
            assert mine == (its if isinstance(its, str) else pytest.approx(its)), field.name


def tune(seed, n=400):
    rng = np.random.default_rng(seed)
    return Song.from_notes([(i / 2, 0.5, int(p)) for i, p in enumerate(rng.integers(48, 84, n))])


def twins_among(songs):
    made = sketched(columns.of_songs(songs))
    blocks = lambda: iter([(np.arange(len(made)), made.sketch_at, made.sketch)])  # noqa: E731
    found = [
        find_twins(blocks, made.grams, np.diff(made.sketch_at), lambda i: lines(songs[i]), rounds) for rounds in (1, 3)
    ]
    assert found[0] == found[1]
    return {(twin.index, twin.original) for twin in found[0]}


def test_copies_in_another_key_tempo_or_length_are_found_among_strangers():
    one, other = tune(1), tune(2)
    halves = replace(one, notes=np.array([(o * 2, d * 2, *rest) for o, d, *rest in one.notes.tolist()], NOTE))
    most = replace(one, notes=one.notes[:330])
    strangers = [tune(seed) for seed in range(10, 40)]
    songs = [one, other, one.transpose(3), halves, most, *strangers]
    assert twins_among(songs) == {(2, 0), (3, 0), (4, 0)}


def test_a_sketch_holds_some_of_a_pieces_own_n_grams():
    songs = [*SONGS, tune(5, 6000)]
    made = sketched(columns.of_songs(songs))
    for i, song in enumerate(songs):
        sketch = made.sketch[made.sketch_at[i] : made.sketch_at[i + 1]]
        assert np.isin(sketch, lines(song).grams).all()
        assert len(sketch) == len(np.unique(sketch)) <= 700
    assert made.grams[-1] > 10_000


def test_n_grams_are_the_same_compiled_or_not(compiled):
    made = columns.of_songs([*SONGS, tune(5, 900), Song.from_notes([(0, 1, 20)]), Song.from_notes([(0, 1, 60)] * 9)])
    one, other = sketches._compiled()(made), sketches._sampled(made)
    assert np.array_equal(one[0], other[0])
    assert np.array_equal(one[1], other[1])
    assert np.array_equal(one[2], other[2])
    assert (len(one[0]), one[2].sum() > 5000) == (1149, True)


def test_marks_are_the_same_compiled_or_not_and_tell_contents_apart(compiled, monkeypatch):
    contents = [b"", b"\0", b"\0\0", b"12345678", b"123456789", b"8765432112345678", b"1234567887654321"]
    laid, made = batches.laid_out(contents), columns.of_songs([*SONGS, replace(SONGS[0], ticks_per_beat=48)])
    fast = marks.of_files(*laid).tolist(), marks.of_music(made).tolist()
    monkeypatch.setattr(marks, "_compiled", lambda: None)
    assert fast == ([*map(marks.of_bytes, contents)], marks.of_music(made).tolist())
    assert len({*fast[0], *fast[1]}) == len(contents) + len(made)


def test_files_of_the_real_world_are_read_alike(compiled):
    folder = Path(__file__).parents[2] / "shared" / "data" / "midi"
    files = [p for p in sorted(folder.rglob("*")) if p.suffix.lower() in (".mid", ".midi")][::3]
    if not files:
        pytest.skip("there are no real files here")
    contents = [p.read_bytes() for p in files]
    assert holds(batches.read_batch([("a.mid", content) for content in contents], DEFAULTS), contents)
