"""Many files at once: a batch of bytes becomes columns of notes, with what is said of each piece.

Well-kept MIDI goes through the compiled reader; all else, and everything where numba is not installed, through
`formats`, which mends and reports. It reads in the process it is called in: `python -m deepmusician.batches` is the
worker that `ingest` asks, under limits, since a hostile file may take the process with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from deepmusician import columns as columnar
from deepmusician import formats, pools, sandbox, serving
from deepmusician.columns import Columns
from deepmusician.errors import MidiError
from deepmusician.glance import Glance
from deepmusician.limits import Limits
from deepmusician.midi_bytes import decode_text
from deepmusician.midi_notes import REPAIRS
from deepmusician.notes import KEY, METER, TEMPO, Song
from deepmusician.plurals import count
from deepmusician.sketches import sketched
from deepmusician.survey import survey

if TYPE_CHECKING:
    from deepmusician.midi_kernel import Read

MODULE = "deepmusician.batches"  # not __name__, which is __main__ in the worker
PROCESSES = 64  # at most; there are as many as threads ask at once
COMPILED_MB = 640  # of address space that the compiler's libraries take, beside what reading takes
MICROSECONDS_A_MINUTE = 60_000_000


@dataclass(frozen=True)
class Piece:
    """What is said of one piece beside its notes; `music` is a hash of them."""

    title: str
    repairs: tuple[str, ...]
    touched: tuple[int, int, int, int]
    music: bytes
    glance: Glance


@dataclass(frozen=True)
class Batch:
    """`files` [F]: the pieces found in each file, by their places in `pieces` and `columns`, or why it was refused."""

    files: tuple[tuple[int, ...] | str, ...]
    pieces: tuple[Piece, ...]
    columns: Columns


def read_batch(files: Sequence[tuple[str, bytes]], limits: Limits) -> Batch:
    """Read (name, content) files."""
    plain, fast = _read_plain(files, limits)
    found: list[tuple[int, ...] | str] = [()] * len(files)
    titles = fast.titles
    for place, i in enumerate(plain):
        found[i] = (place,)
    songs: list[Song] = []
    for i in sorted(set(range(len(files))) - set(plain)):
        read = read_carefully(*files[i], limits)
        if isinstance(read, str):
            found[i] = read
            continue
        found[i] = tuple(range(len(titles) + len(songs), len(titles) + len(songs) + len(read)))
        songs += read
    return finish(found, fast, songs)


@dataclass(frozen=True)
class Plain:
    """What the compiled reader gave: columns, and for each piece title, repairs and touched."""

    columns: Columns
    titles: list[str]
    repairs: list[tuple[str, ...]]
    touched: list[tuple[int, int, int, int]]


NONE = Plain(columnar.of_songs([]), [], [], [])
NOTHING = Batch((), (), NONE.columns)


def finish(found: Sequence[tuple[int, ...] | str], fast: Plain, songs: Sequence[Song]) -> Batch:
    """A batch of the pieces that were read fast, then of those that were read carefully."""
    carefully = Plain(
        columnar.of_songs(songs), [song.title for song in songs], [song.repairs for song in songs],
        [tuple(map(int, song.touched)) for song in songs],
    )  # fmt: skip
    blocks = [_examined(part) for part in (fast, carefully) if len(part.columns)] or [([], NONE.columns)]
    columns = columnar.join([block for _, block in blocks])
    return Batch(tuple(found), tuple(piece for pieces, _ in blocks for piece in pieces), columns)


def extended(batch: Batch, found: Sequence[tuple[int, ...] | str], songs: Sequence[Song]) -> Batch:
    """A batch of more files: with `songs` after its own pieces, and `found` of all files."""
    more = finish(found, NONE, songs)
    blocks = [block for block in (batch.columns, more.columns) if len(block)] or [NONE.columns]
    return Batch(more.files, (*batch.pieces, *more.pieces), columnar.join(blocks))


def _examined(part: Plain) -> tuple[list[Piece], Columns]:
    """Each piece with what it is at a glance, and the columns with their sketches."""
    columns = sketched(part.columns)
    said = zip(part.titles, part.repairs, part.touched, _hashes(columns), survey(columns), strict=True)
    return [Piece(*row) for row in said], columns


def read_carefully(name: str, content: bytes, limits: Limits) -> list[Song] | str:
    """The songs in one file, or the sentence that refuses it."""
    try:
        songs = formats.read_songs(content, name, limits)
    except MidiError as error:
        return str(error)
    return [song for song in songs if len(song)] or "it holds no notes"


def _hashes(columns: Columns) -> list[bytes]:
    """A hash of the notes of each piece: the same of files that hold the same music, whatever else is in them."""
    edges, result = columns.notes.tolist(), []
    parts = (columns.onset, columns.length, columns.pitch, columns.velocity, columns.sound)
    for i, ticks in enumerate(columns.ticks.tolist()):
        digest = hashlib.sha256(ticks.to_bytes(4, "little"))
        for part in parts:
            digest.update(np.ascontiguousarray(part[edges[i] : edges[i + 1]]))
        result.append(digest.digest()[:12])
    return result


# ---- the compiled reader


@cache
def compiled() -> Callable[..., Read] | None:
    """The compiled reader, made ready the first time; None where numba is not installed."""
    try:
        from deepmusician.midi_kernel import read_files
    except ImportError:
        return None
    nothing = np.frombuffer(b"MThd", np.uint8)
    read_files(nothing, np.array([0, 4]), (1, 1, 1, 1.0))  # compiled once, and kept beside the module
    survey(sketched(columnar.of_songs([Song.from_notes([(0, 1, 60)])])))  # so are these
    return read_files


def _read_plain(files: Sequence[tuple[str, bytes]], limits: Limits) -> tuple[list[int], Plain]:
    """The files that the compiled reader read, by their places, and what it gave."""
    read_files = compiled()
    if read_files is None or not files:
        return [], NONE
    midi = [data if formats.is_midi(name, data) else b"" for name, data in files]
    content, edges = b"".join(midi), columnar.bounds([*map(len, midi)])
    within = (limits.notes, limits.tracks, limits.beats, 3600.0 * limits.hours)
    read = read_files(np.frombuffer(content, np.uint8), edges, within)
    plain = np.flatnonzero(read.plain)
    return plain.tolist(), _columns_of(read, plain, content)


def _columns_of(read: Read, plain: np.ndarray, content: bytes) -> Plain:
    """What the compiled reader read as columns. Of files that it passed over it holds no rows."""
    edge = np.append(plain, len(read.plain))
    notes, part_at, ticks = read.notes[edge], read.parts[edge], read.head[plain, 1]
    names, titles = _names(read, plain, part_at, content)
    encoded = [name.encode("utf-8", "replace") for name in names]
    piece = np.repeat(np.arange(len(plain)), np.diff(read.metas[edge]))
    maps = [_map(kind, dtype, read.meta, piece, ticks) for kind, dtype in ((0, TEMPO), (1, METER), (2, KEY))]
    (tempos, tempo_at), (meters, meter_at), (keys, key_at) = maps
    drum = read.part[:, 1] == 9
    parts = np.empty(len(drum), columnar.PART)
    parts["program"], parts["drum"] = read.part[:, 2], drum
    struck = drum[np.repeat(part_at[:-1], np.diff(notes)) + read.of]
    columns = Columns(
        notes=notes, onset=read.note[:, 0], length=read.note[:, 1], pitch=read.voice[:, 0], velocity=read.voice[:, 1],
        sound=read.voice[:, 2] | (columnar.DRUM * struck).astype(np.uint8), track=read.of,
        ticks=ticks.astype(np.uint32), tempo_at=tempo_at,
        tempos=tempos, meter_at=meter_at, meters=meters, key_at=key_at, keys=keys, part_at=part_at,
        parts=parts, name_at=columnar.bounds([*map(len, encoded)]), names=np.frombuffer(b"".join(encoded), np.uint8),
        **columnar.no_sketches(len(plain)),
    )  # fmt: skip
    short = read.head[plain, 2].tolist()
    repairs = [(REPAIRS["short"].format(count(n, "note")),) if n else () for n in short]
    return Plain(columns, titles, repairs, [(0, 0, n, 0) for n in short])


def _map(kind: int, dtype: np.dtype, meta: np.ndarray, piece: np.ndarray, ticks: np.ndarray) -> tuple:
    """The rows of one kind as a Song's map, and their bounds."""
    mine = meta[:, 0] == kind
    of, rows = piece[mine], meta[mine]
    events = np.empty(len(rows), dtype)
    events["beat"] = rows[:, 1] / ticks[of]
    if kind == 0:
        events["bpm"] = MICROSECONDS_A_MINUTE / rows[:, 2]
    else:
        for name, column in zip(dtype.names[1:], (2, 3), strict=True):
            events[name] = rows[:, column]
    return events, columnar.bounds(np.bincount(of, minlength=len(ticks)))


def _names(read: Read, plain: np.ndarray, part_at: np.ndarray, content: bytes) -> tuple[list[str], list[str]]:
    """The name of each part, and the title of each piece, as `midi` gives them."""
    from deepmusician.midi_kernel import NAME

    file = np.repeat(np.arange(len(read.plain)), np.diff(read.metas))
    named = read.meta[:, 0] == NAME
    names: dict[tuple[int, int], str] = {}
    for place, (_, track, at, size) in zip(file[named].tolist(), read.meta[named].tolist(), strict=True):
        if not names.get((place, track)):
            names[place, track] = decode_text(content[at : at + size])
    edges, tracks, result = part_at.tolist(), read.part[:, 0].tolist(), []
    for i, (place, kind) in enumerate(zip(plain.tolist(), read.head[plain, 0].tolist(), strict=True)):
        first, last = edges[i : i + 2]
        is_parts = kind != 0 or last - first == 1  # in format 0 the one name is the piece's
        result += [names.get((place, track), "") if is_parts else "" for track in tracks[first:last]]
    return result, [names.get((place, 0), "") for place in plain.tolist()]


# ---- between the processes


def processes(limits: Limits) -> pools.Pool:
    """The processes that read, each for one thread at a time."""
    return pools.pool(MODULE, limits.read_mb + COMPILED_MB, PROCESSES)


def ask(files: Sequence[tuple[str, bytes]], limits: Limits) -> Batch:
    """As `read_batch`, in a worker under the limits. Raises Fault, after which the worker is dead."""
    request = {
        "limits": {name: getattr(limits, name) for name in limits.__dataclass_fields__},
        "files": [(name, len(content)) for name, content in files],
    }
    seconds = limits.read_seconds + 0.02 * len(files)
    size = sum(len(content) for _, content in files)
    pool = processes(limits)
    most = 8 * size + 65_536 * len(files) + 1_000_000  # a note takes three bytes there at least, and 13 here
    answer, sent = pool.ask(request, b"".join(content for _, content in files), seconds, most)
    try:
        columns = columnar.from_bytes(sent, answer["lengths"])
        check(columns)
        batch = _said(answer, columns)
        if len(batch.files) != len(files) or len(batch.pieces) != len(columns):
            raise ValueError("it speaks of other files")
        return batch
    except (KeyError, TypeError, ValueError, MidiError) as error:
        raise sandbox.Fault("crash", f"its answer is no batch: {error}") from error


def check(columns: Columns) -> None:
    """Raise ValueError for numbers that no reader gives."""
    room = np.repeat(np.diff(columns.part_at), np.diff(columns.notes))
    wrong = (columns.pitch > 127).any() or (columns.velocity > 127).any() or (columns.track >= room).any()
    if wrong or (columns.length < 1).any() or (columns.ticks < 1).any() or (np.diff(columns.notes) < 1).any():
        raise ValueError("a note is out of range")
    finite = np.isfinite(columns.tempos["beat"]).all() and np.isfinite(columns.meters["beat"]).all()
    if not finite or not (columns.tempos["bpm"] > 0).all() or not (columns.meters["denominator"] > 0).all():
        raise ValueError("a time is no number")


def _said(answer: dict, columns: Columns) -> Batch:
    files = tuple(each if isinstance(each, str) else tuple(map(int, each)) for each in answer["files"])
    if any(not 0 <= place < len(columns) for each in files if not isinstance(each, str) for place in each):
        raise ValueError("it names pieces that are not there")
    pieces = tuple(
        Piece(str(title), tuple(map(str, repairs)), tuple(map(int, touched)), bytes.fromhex(music), Glance(*glance))
        for title, repairs, touched, music, glance in answer["pieces"]
    )
    return Batch(files, pieces, columns)


def _answer(request: dict, data: bytes, send: Callable[[Any], None]) -> dict:
    files, at = [], 0
    for name, size in request["files"]:
        files.append((name, data[at : at + size]))
        at += size
    batch = read_batch(files, Limits(**request["limits"]))
    send(columnar.pack(batch.columns).reshape(1).view(np.uint8))
    pieces = [(p.title, p.repairs, p.touched, p.music.hex(), _values(p.glance)) for p in batch.pieces]
    return {"files": batch.files, "pieces": pieces, "lengths": columnar.lengths_of(batch.columns)}


def _values(glance: Glance) -> list:
    return [getattr(glance, name) for name in Glance.__dataclass_fields__]


if __name__ == "__main__":
    compiled()
    serving.serve(_answer)
