"""The one way in for what a person brings: files, hostile ones too, become songs, and nothing else happens.

A look at the size, the format, and of MIDI the header and the declared lengths, comes first (see formats); then a
worker process under limits reads the piece (see sandbox); its answer comes back as plain arrays and JSON and is checked
again here. A piece that breaks a limit, or the worker, is refused in a sentence. Many files keep several workers busy.

It does not know archives, folders or data sets (see library). `python -m deepmusician.reading` is the worker.
"""

from __future__ import annotations

import dataclasses
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from deepmusician import formats, limits, sandbox
from deepmusician.errors import BrokenOffError, LibraryError, MidiError
from deepmusician.limits import Limits
from deepmusician.notes import KEY, METER, NOTE, TEMPO, Song, Touched, Track, check_numbers

MODULE = "deepmusician.reading"  # not __name__, which is __main__ in the worker
WORKERS = min(2, os.cpu_count() or 1)
MANY = 24  # files for which a second worker is worth its start
_ARRAYS = {"notes": NOTE, "tempos": TEMPO, "meters": METER, "keys": KEY}
_MOST_CHANGES = 1_000_000  # rows of the maps together

Source = str | Path | bytes


def read_song(source: Source, name: str = "", within: Limits | None = None) -> Song:
    """As `formats.read_song`, in a worker and within the limits in force here."""
    return formats.read_song(source, name, within or limits.current(), _in_worker)


def read_songs(source: Source, name: str = "", within: Limits | None = None) -> list[Song]:
    """As `formats.read_songs`, in a worker and within the limits in force here.

    Raises BrokenOffError, a MidiError, where a piece took too much time or memory, or the worker with it.
    """
    return formats.read_songs(source, name, within or limits.current(), _in_worker)


def read_many(
    files: Iterable[tuple[str, Callable[[], bytes | Path]]], within: Limits | None = None, ahead: bool = True
) -> Iterator[list[Song] | str]:
    """For each (name, how to get at its content), in order, its songs or the sentence that refuses it.

    Contents are asked for one after another, a few files before they are needed if `ahead`.
    """
    within = within or limits.current()
    waiting: deque[Future] = deque()
    with ThreadPoolExecutor(WORKERS if ahead else 1, "reading") as threads:
        try:
            for name, get in files:
                try:
                    source: Any = get()
                except (MidiError, LibraryError) as error:
                    source = error
                except OSError as error:
                    source = LibraryError(f"it cannot be read ({error.strerror or error})")
                waiting.append(threads.submit(_songs_or_reason, source, name, within))
                if len(waiting) >= 2 * WORKERS or not ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:  # where nobody waits for the rest
                future.cancel()


def _songs_or_reason(source: Source | Exception, name: str, within: Limits) -> list[Song] | str:
    if isinstance(source, Exception):
        return str(source)
    try:
        return read_songs(source, name, within)
    except MidiError as error:
        return str(error)


def peak_mb() -> float:
    """The most memory that a worker has held in this process's life, in megabytes."""
    return _pool(limits.current()).peak_mb


def _pool(within: Limits) -> sandbox.Pool:
    return sandbox.pool(MODULE, within.read_mb, WORKERS)


def _in_worker(kind: str, data: bytes, within: Limits) -> Song:
    request = {"kind": kind, "limits": dataclasses.asdict(within)}
    most = within.notes * NOTE.itemsize + _MOST_CHANGES * TEMPO.itemsize
    try:
        answer, sent = _pool(within).ask(request, data, within.read_seconds, most)
        return _unpack(answer, sent)
    except sandbox.Refused as refused:
        raise MidiError(str(refused)) from None
    except sandbox.Fault as fault:
        raise BrokenOffError(_why(fault, within), fault.kind) from fault


def _why(fault: sandbox.Fault, within: Limits) -> str:
    if fault.kind == "time":
        return (
            f"reading may take {within.read_seconds:g} seconds, this takes longer; split it, convert it to MIDI, "
            f"or allow more in {limits.VARIABLE}READ_SECONDS"
        )
    if fault.kind == "memory":
        return (
            f"reading may take {within.read_mb:,} MB of memory, this takes more; split it, convert it to MIDI, "
            f"or allow more in {limits.VARIABLE}READ_MB"
        )
    return f"the reader broke down over it ({fault.detail or 'without a word'}); export it again, or convert it to MIDI"


# ---- between the processes


def _pack(song: Song) -> tuple[dict, list[bytes]]:
    """A song as JSON and the bytes of its arrays."""
    arrays = [getattr(song, name) for name in _ARRAYS]
    about = {
        "lengths": [len(array) for array in arrays],
        "ticks_per_beat": int(song.ticks_per_beat),
        "tracks": [[track.name, int(track.program), bool(track.drum)] for track in song.tracks],
        "title": song.title,
        "repairs": song.repairs,
        "touched": [int(count) for count in song.touched],
    }
    return about, [array.tobytes() for array in arrays]


def _unpack(about: dict, sent: memoryview | bytearray) -> Song:
    """Inverse of `_pack`; nothing of it is taken on trust. Raises Fault."""
    try:
        arrays, at = {}, 0
        for (name, dtype), length in zip(_ARRAYS.items(), about["lengths"], strict=True):
            end = at + length * dtype.itemsize
            arrays[name] = np.frombuffer(bytes(sent[at:end]), dtype, length)
            at = end
        if at != len(sent):
            raise ValueError(f"{len(sent) - at} bytes too many")
        song = Song(
            ticks_per_beat=int(about["ticks_per_beat"]),
            tracks=tuple(Track(str(name), int(program), bool(drum)) for name, program, drum in about["tracks"]),
            title=str(about["title"]),
            repairs=tuple(map(str, about["repairs"])),
            touched=Touched(*map(int, about["touched"])),
            **arrays,
        )
        check_numbers(song)
        return song
    except (KeyError, TypeError, ValueError, OverflowError, MidiError) as error:
        raise sandbox.Fault("crash", f"its answer is no song: {error}") from error


def _answer(request: dict, data: bytes, send: Callable[[Any], None]) -> dict:
    about, arrays = _pack(formats.read_piece(request["kind"], data, Limits(**request["limits"])))
    for array in arrays:
        send(array)
    return about


if __name__ == "__main__":
    sandbox.serve(_answer)
