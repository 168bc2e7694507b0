"""What the compiled reader reads, as columns: many well-kept MIDI files at once, or where numba is missing none.

The names of tracks and pieces are the ones that `midi` gives. Knows nothing of files on disk.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from deepmusician import columns as columnar
from deepmusician.columns import Columns
from deepmusician.limits import Limits
from deepmusician.midi_bytes import decode_text
from deepmusician.notes import KEY, METER, TEMPO

if TYPE_CHECKING:
    from deepmusician.midi_kernel import Read

PAD = 16  # bytes behind the last file; as midi_kernel wants them
MICROSECONDS_A_MINUTE = 60_000_000


@dataclass(frozen=True)
class Plain:
    """What was read of the files that are in good order: their places `file` int64 [P], of each its notes and title,
    and how many of its notes had no length and were given one tick, int64 [P]."""

    file: np.ndarray
    columns: Columns
    titles: list[str]
    short: np.ndarray


@cache
def compiled() -> Callable[..., Read] | None:
    """The compiled reader, made ready the first time; None where numba is not installed."""
    try:
        from deepmusician.midi_kernel import read_files
    except ImportError:
        return None
    begin = np.zeros(1, np.int64)
    read_files(np.zeros(4 + PAD, np.uint8), begin, begin + 4, (1, 1, 1, 1.0))  # compiled once, kept beside the module
    return read_files


def read_plain(data: np.ndarray, starts: np.ndarray, ends: np.ndarray, limits: Limits) -> Plain | None:
    """Read what is in good order of the files that lie from `starts` to `ends`, int64 [F], in uint8 `data`, which ends
    with PAD bytes that are none's. None where numba is not installed."""
    read_files = compiled()
    if read_files is None:
        return None
    read = read_files(data, starts, ends, (limits.notes, limits.tracks, limits.beats, 3600.0 * limits.hours))
    return _as_columns(read, np.flatnonzero(read.plain), data)


def _as_columns(read: Read, plain: np.ndarray, data: np.ndarray) -> Plain:
    """Of files that were passed over there are no rows."""
    edge = np.append(plain, len(read.plain))
    part_at, ticks = read.parts[edge], read.head[plain, 1]
    names, titles = _names(read, plain, part_at, data)
    encoded = [name.encode("utf-8", "replace") for name in names]
    piece = np.repeat(np.arange(len(plain)), np.diff(read.metas[edge]))
    maps = [_map(kind, dtype, read.meta, piece, ticks) for kind, dtype in ((0, TEMPO), (1, METER), (2, KEY))]
    (tempos, tempo_at), (meters, meter_at), (keys, key_at) = maps
    parts = np.empty(len(read.part), columnar.PART)
    parts["program"], parts["drum"] = read.part[:, 2], read.part[:, 1] == 9
    columns = Columns(
        notes=read.notes[edge], onset=read.onset, length=read.length, pitch=read.pitch, velocity=read.velocity,
        sound=read.sound, track=read.track, ticks=ticks.astype(np.uint32), tempo_at=tempo_at, tempos=tempos,
        meter_at=meter_at, meters=meters, key_at=key_at, keys=keys, part_at=part_at, parts=parts,
        name_at=columnar.bounds([*map(len, encoded)]), names=np.frombuffer(b"".join(encoded), np.uint8),
        **columnar.no_sketches(len(plain)),
    )  # fmt: skip
    return Plain(plain, columns, titles, read.head[plain, 2])


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


def _names(read: Read, plain: np.ndarray, part_at: np.ndarray, data: np.ndarray) -> tuple[list[str], list[str]]:
    """The name of each part, and the title of each piece, as `midi` gives them."""
    from deepmusician.midi_kernel import NAME

    file = np.repeat(np.arange(len(read.plain)), np.diff(read.metas))
    named = read.meta[:, 0] == NAME
    names: dict[tuple[int, int], str] = {}
    for place, (_, track, at, size) in zip(file[named].tolist(), read.meta[named].tolist(), strict=True):
        if not names.get((place, track)):
            names[place, track] = decode_text(data[at : at + size].tobytes())
    tracks, parts = read.part[:, 0].tolist(), np.diff(part_at)
    is_parts = np.repeat((read.head[plain, 0] != 0) | (parts == 1), parts)  # in format 0 the one name is the piece's
    of = zip(np.repeat(plain, parts).tolist(), tracks, is_parts.tolist(), strict=True)
    result = [names.get((place, track), "") if its_own else "" for place, track, its_own in of]
    return result, [names.get((place, 0), "") for place in plain.tolist()]
