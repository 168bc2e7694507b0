"""Columns: the notes and maps of many songs end to end, in few bytes each, as they lie on disk and in memory alike.

A note takes 13 bytes: onset and length in ticks, pitch, velocity, sound (its program, 128 more for a drum) and track.
`song(i)` gives the Song back exactly. On disk all columns lie in one .npy file, one record whose fields are the
columns end to end, so a file is there whole or not at all and is mapped, not read. Knows nothing of where songs come
from.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from deepmusician.errors import LibraryError
from deepmusician.notes import KEY, METER, NOTE, TEMPO, UNTOUCHED, Song, Touched, Track

DRUM = 128  # added to the program of a drum
PART = np.dtype([("program", "u1"), ("drum", "?")])
SAID = "i8"  # bounds of each piece's rows, one more than there are pieces


def _column(dtype: object) -> np.dtype:
    return np.dtype(dtype)


# by falling alignment, since the columns lie end to end in one record
_DTYPES = {
    "notes": _column(SAID), "tempo_at": _column(SAID), "meter_at": _column(SAID), "key_at": _column(SAID),
    "part_at": _column(SAID), "name_at": _column(SAID), "sketch_at": _column(SAID), "grams": _column("i8"),
    "sketch": _column("u8"), "tempos": TEMPO, "onset": _column("u4"), "length": _column("u4"), "ticks": _column("u4"),
    "track": _column("u2"), "meters": METER, "keys": KEY, "parts": PART, "pitch": _column("u1"),
    "velocity": _column("u1"), "sound": _column("u1"), "names": _column("u1"),
}  # fmt: skip
_BOUNDS = {
    "notes": ("onset", "length", "pitch", "velocity", "sound", "track"), "tempo_at": ("tempos",),
    "meter_at": ("meters",), "key_at": ("keys",), "part_at": ("parts",), "sketch_at": ("sketch",),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Columns:
    """P pieces. `notes`, `tempo_at`, `meter_at`, `key_at`, `part_at`, `sketch_at` int64 [P + 1] bound each one's rows.

    Notes [N]: `onset`, `length` uint32 ticks, `pitch`, `velocity`, `sound` uint8, `track` uint16, sorted as in a Song.
    `ticks` uint32 [P] in a beat. `names` holds the tracks' names in UTF-8, bounded by `name_at` [K + 1]. `sketch` holds
    what near-duplicates are found by, out of `grams` [P] in each piece (see sketches).
    """

    notes: np.ndarray
    onset: np.ndarray
    length: np.ndarray
    pitch: np.ndarray
    velocity: np.ndarray
    sound: np.ndarray
    track: np.ndarray
    ticks: np.ndarray
    tempo_at: np.ndarray
    tempos: np.ndarray
    meter_at: np.ndarray
    meters: np.ndarray
    key_at: np.ndarray
    keys: np.ndarray
    part_at: np.ndarray
    parts: np.ndarray
    name_at: np.ndarray
    names: np.ndarray
    sketch_at: np.ndarray
    sketch: np.ndarray
    grams: np.ndarray

    def __len__(self) -> int:
        return len(self.ticks)

    @property
    def piece_of(self) -> np.ndarray:
        """The piece of each note, int64 [N]."""
        return np.repeat(np.arange(len(self)), np.diff(self.notes))

    def song(self, piece: int, title: str = "", repairs: tuple[str, ...] = (), touched: Touched = UNTOUCHED) -> Song:
        """One piece as it was; what is said of it lies elsewhere."""
        here, ticks = slice(self.notes[piece], self.notes[piece + 1]), int(self.ticks[piece])
        notes = np.empty(here.stop - here.start, NOTE)
        notes["onset"], notes["duration"] = self.onset[here] / ticks, self.length[here] / ticks
        notes["pitch"], notes["velocity"], notes["track"] = self.pitch[here], self.velocity[here], self.track[here]
        notes["program"], notes["drum"] = self.sound[here] % DRUM, self.sound[here] >= DRUM
        maps = {name: self._rows(name, at, piece) for name, at in _MAPS.items()}
        first, last = int(self.part_at[piece]), int(self.part_at[piece + 1])
        tracks = tuple(self._part(i) for i in range(first, last))
        return Song(notes, ticks, tracks=tracks, title=title, repairs=repairs, touched=touched, **maps)

    def _rows(self, name: str, at: str, piece: int) -> np.ndarray:
        bounds = getattr(self, at)
        return np.array(getattr(self, name)[bounds[piece] : bounds[piece + 1]])

    def _part(self, i: int) -> Track:
        name = self.names[self.name_at[i] : self.name_at[i + 1]].tobytes().decode("utf-8", "replace")
        return Track(name, int(self.parts["program"][i]), bool(self.parts["drum"][i]))


_MAPS = {"tempos": "tempo_at", "meters": "meter_at", "keys": "key_at"}
FIELDS = tuple(field.name for field in fields(Columns))


def bounds(counts: Sequence[int] | np.ndarray) -> np.ndarray:
    """Counts [P] to bounds [P + 1]."""
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)


def of_songs(songs: Sequence[Song]) -> Columns:
    """Songs in columns; their titles and repairs are not kept. No sketches yet."""
    notes = np.concatenate([np.zeros(0, NOTE), *(song.notes for song in songs)])
    counts = np.array([len(song) for song in songs], np.int64)
    ticks = np.array([song.ticks_per_beat for song in songs], np.uint32)
    scale = np.repeat(ticks, counts)
    parts = [track for song in songs for track in song.tracks]
    names = [track.name.encode("utf-8", "replace") for track in parts]
    maps = {}
    for name, at in _MAPS.items():
        rows = [getattr(song, name) for song in songs]
        maps |= {name: np.concatenate([np.zeros(0, _DTYPES[name]), *rows]), at: bounds([len(row) for row in rows])}
    return Columns(
        notes=bounds(counts), onset=_ticks(notes["onset"], scale), length=_ticks(notes["duration"], scale),
        pitch=notes["pitch"].copy(), velocity=notes["velocity"].copy(),
        sound=notes["program"] | (DRUM * notes["drum"]).astype(np.uint8), track=notes["track"].copy(), ticks=ticks,
        part_at=bounds([len(song.tracks) for song in songs]),
        parts=np.array([(track.program, track.drum) for track in parts], PART), name_at=bounds([*map(len, names)]),
        names=np.frombuffer(b"".join(names), np.uint8), **no_sketches(len(songs)), **maps,
    )  # fmt: skip


def _ticks(beats: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Beats in ticks; of a Song they are whole, and fit into 32 bits by the limit of beats."""
    return np.rint(beats * scale).astype(np.uint32)


def no_sketches(pieces: int) -> dict[str, np.ndarray]:
    """The columns of the sketches where none are made yet."""
    nothing = np.zeros(0, np.uint64)
    return {"sketch_at": np.zeros(pieces + 1, np.int64), "sketch": nothing, "grams": np.zeros(pieces, np.int64)}


def join(blocks: Sequence[Columns]) -> Columns:
    """Pieces of several blocks, one after another."""
    if len(blocks) == 1:
        return blocks[0]
    rows = [name for name in FIELDS if not _is_bound(name)]
    joined = {name: np.concatenate([getattr(block, name) for block in blocks]) for name in rows}
    for name in filter(_is_bound, FIELDS):
        joined[name] = bounds(np.concatenate([np.diff(getattr(block, name)) for block in blocks]))
    return Columns(**joined)


def _is_bound(name: str) -> bool:
    return name in _BOUNDS or name == "name_at"


# ---- to and from bytes and files


def rows_of(columns: Columns) -> list[np.ndarray]:
    """The bytes of each column, uint8, in the order in which they lie end to end between processes and in a file."""
    return [np.ascontiguousarray(getattr(columns, name), dtype).view(np.uint8) for name, dtype in _DTYPES.items()]


def _record(lengths: Mapping[str, int]) -> np.dtype:
    return np.dtype([(name, dtype, (lengths[name],)) for name, dtype in _DTYPES.items()])


def unpack(record: np.ndarray) -> Columns:
    """The columns that are the fields of one record. Raises ValueError where it is something else, or its bounds lead
    astray."""
    if record.dtype.names != tuple(_DTYPES):
        raise ValueError("it holds no columns of notes")
    for name, dtype in _DTYPES.items():
        if record.dtype[name].base != dtype:
            raise ValueError(f"its column {name} is of {record.dtype[name].base}, not {dtype}")
    columns = Columns(**{name: record[name] for name in _DTYPES})
    for at, names in (*_BOUNDS.items(), ("name_at", ("names",))):
        edges = getattr(columns, at)
        pieces = len(columns.parts) if at == "name_at" else len(columns)
        whole = len(edges) == pieces + 1 and edges[0] == 0 and (np.diff(edges) >= 0).all()
        if not whole or any(edges[-1] != len(getattr(columns, name)) for name in names):
            raise ValueError(f"its bounds {at} do not fit")
    return columns


def lengths_of(columns: Columns) -> dict[str, int]:
    """How long each column is: with it, `from_bytes` reads what `rows_of` gave, end to end."""
    return {name: len(getattr(columns, name)) for name in _DTYPES}


def from_bytes(content: bytes | memoryview, lengths: dict[str, int]) -> tuple[Columns, int]:
    """The columns at the beginning of `content`, and the bytes they take. Raises ValueError where none are."""
    lengths = {name: int(lengths[name]) for name in _DTYPES}
    size = sum(length * _DTYPES[name].itemsize for name, length in lengths.items())
    if min(lengths.values()) < 0 or len(content) < size:
        raise ValueError(f"{len(content)} bytes are not the {size} that were promised")
    return unpack(np.ndarray((), _record(lengths), buffer=content)), size


def write_columns(path: Path, columns: Columns) -> int:
    """Write a file of columns, whole or not at all, but for a loss of power before `settle`; returns its bytes."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with draft.open("wb") as file:
            descr = np.lib.format.dtype_to_descr(_record(lengths_of(columns)))
            np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": ()})
            for row in rows_of(columns):
                file.write(row)
            size = file.tell()
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return size


def settle(path: Path) -> None:
    """Wait until a file is on the disk for good."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def open_columns(path: Path) -> Columns:
    """Map a file of columns; nothing of it is read before it is looked at. Raises LibraryError where it is damaged."""
    try:
        return unpack(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, TypeError, EOFError) as error:
        raise LibraryError(f"{path} is damaged ({error}); delete the data set and ingest its files again") from error
