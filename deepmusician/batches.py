"""Many files at once: a batch of them becomes columns of notes, with what is said of each piece.

Well-kept MIDI goes through the compiled reader; all else, and everything where numba is not installed, through
`formats`, which mends and reports. It reads in the process it is called in, as `batch_worker` does under limits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from deepmusician import columns as columnar
from deepmusician import formats, marks, midi_columns
from deepmusician.columns import Columns
from deepmusician.errors import MidiError
from deepmusician.limits import Limits
from deepmusician.midi_notes import REPAIRS
from deepmusician.notes import Song
from deepmusician.plurals import count
from deepmusician.sketches import sketched
from deepmusician.survey import NUMBERS, survey

FACTS = np.dtype([("file", "i8"), ("music", "u8"), *((name, NUMBERS[name]) for name in NUMBERS.names)])


@dataclass(frozen=True)
class Batch:
    """What was found in F files: P pieces, those of one file together.

    `facts` [P] FACTS: the file a piece is in, the mark of its notes (see marks), and its numbers at a glance; `titles`,
    `keys`, `meters` [P]. `repairs` and `touched` say of some pieces, by place, what was mended. `refused` says of some
    files why; those of `same` were not read again. `marks` uint64 [F] of the files' contents.
    """

    columns: Columns
    facts: np.ndarray
    titles: list[str]
    keys: list[str]
    meters: list[str]
    repairs: dict[int, tuple[str, ...]]
    touched: dict[int, tuple[int, ...]]
    refused: dict[int, str]
    same: frozenset[int]
    marks: np.ndarray


NOTHING = Batch(
    columnar.of_songs([]), np.zeros(0, FACTS), [], [], [], {}, {}, {}, frozenset(), np.zeros(0, np.uint64)
)  # fmt: skip


def compiled() -> bool:
    """Make the compiled code ready, once; False where numba is not installed."""
    ready = midi_columns.compiled() is not None
    read_batch([("a.mid", b"MThd")], Limits())
    of_songs([(0, Song.from_notes([(0, 1, 60)]))])
    return ready


def read_batch(files: Sequence[tuple[str, bytes]], limits: Limits) -> Batch:
    """Read (name, content) files."""
    data, starts, ends = laid_out([content for _, content in files])
    return read_files([name for name, _ in files], data, starts, ends, limits, {})


def laid_out(contents: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Files in one uint8 array, and where they begin and end in it, int64 [F]: at whole words, PAD behind the last."""
    sizes = np.array([*map(len, contents)], np.int64)
    starts, room = places(sizes)
    data = np.zeros(room, np.uint8)
    for start, content in zip(starts.tolist(), contents, strict=True):
        data[start : start + len(content)] = np.frombuffer(content, np.uint8)
    return data, starts, starts + sizes


def places(sizes: np.ndarray) -> tuple[np.ndarray, int]:
    """Where files of so many bytes begin, and the room that all of them take, in whole words."""
    edges = columnar.bounds(-(-sizes // marks.WORD) * marks.WORD)
    return edges[:-1], int(edges[-1]) + midi_columns.PAD


def read_files(
    names: Sequence[str], data: np.ndarray, starts: np.ndarray, ends: np.ndarray, limits: Limits,
    known: Mapping[int, int],
) -> Batch:  # fmt: skip
    """Read the files that lie from `starts` to `ends` in `data`, but those whose mark is `known`."""
    made = marks.of_files(data, starts, ends)
    same = frozenset(i for i, mark in known.items() if int(made[i]) == mark)
    closed = [i for i, name in enumerate(names) if i in same or not formats.is_midi(name)]
    until = ends.copy()
    until[closed] = starts[closed]
    read = midi_columns.read_plain(data, starts, until, limits)
    done = same.union(read.file.tolist() if read else ())
    songs: list[tuple[int, Song]] = []
    refused: dict[int, str] = {}
    for i in range(len(names)) if len(done) < len(names) else ():
        if i not in done:
            found = read_carefully(names[i], data[starts[i] : ends[i]].tobytes(), limits)
            if isinstance(found, str):
                refused[i] = found
            else:
                songs += [(i, song) for song in found]
    plain = [_of_plain(read)] if read and len(read.file) else []
    carefully = [of_songs(songs)] if songs else []
    return replace(joined([*plain, *carefully]), refused=refused, same=same, marks=made)


def _of_plain(read: midi_columns.Plain) -> Batch:
    short = {i: int(read.short[i]) for i in np.flatnonzero(read.short).tolist()}
    repairs = {i: (REPAIRS["short"].format(count(n, "note")),) for i, n in short.items()}
    return _examined(read.file, read.columns, read.titles, repairs, {i: (0, 0, n, 0) for i, n in short.items()})


def of_songs(songs: Sequence[tuple[int, Song]]) -> Batch:
    """The pieces found in some files, each with the file's number; of no file is anything else said."""
    repairs = {i: song.repairs for i, (_, song) in enumerate(songs) if song.repairs}
    touched = {i: tuple(map(int, song.touched)) for i, (_, song) in enumerate(songs) if any(song.touched)}
    columns = columnar.of_songs([song for _, song in songs])
    return _examined(np.array([i for i, _ in songs]), columns, [song.title for _, song in songs], repairs, touched)


def _examined(file: np.ndarray, columns: Columns, titles: list[str], repairs: dict, touched: dict) -> Batch:
    """What is said of pieces beside what their reader said, and their columns with sketches."""
    columns, seen = sketched(columns), survey(columns)
    facts = np.empty(len(columns), FACTS)
    facts["file"], facts["music"] = file, marks.of_music(columns)
    for name in NUMBERS.names:
        facts[name] = seen.numbers[name]
    return replace(
        NOTHING, columns=columns, facts=facts, titles=titles, keys=seen.keys, meters=seen.meters, repairs=repairs,
        touched=touched,
    )  # fmt: skip


def joined(batches: Sequence[Batch]) -> Batch:
    """The pieces of all, one after another; of files nothing is said."""
    if not batches:
        return NOTHING
    first = batches[0]
    for batch in batches[1:]:
        at = len(first.facts)
        first = replace(
            first, columns=columnar.join([first.columns, batch.columns]),
            facts=np.concatenate([first.facts, batch.facts]), titles=first.titles + batch.titles,
            keys=first.keys + batch.keys, meters=first.meters + batch.meters,
            repairs=first.repairs | {at + i: said for i, said in batch.repairs.items()},
            touched=first.touched | {at + i: said for i, said in batch.touched.items()},
        )  # fmt: skip
    return first


def read_carefully(
    name: str, content: bytes, limits: Limits, read: Callable[[bytes, str, Limits], list[Song]] = formats.read_songs
) -> list[Song] | str:
    """The songs in one file, by `read`, or the sentence that refuses it."""
    try:
        songs = read(content, name, limits)
    except MidiError as error:
        return str(error)
    return [song for song in songs if len(song)] or "it holds no notes"
