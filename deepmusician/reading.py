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
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from deepmusician import formats, limits, pools, sandbox, serving
from deepmusician.errors import BrokenOffError, LibraryError, MidiError
from deepmusician.limits import Limits
from deepmusician.notes import KEY, METER, NOTE, TEMPO, Song, Touched, Track, check_numbers

MODULE = "deepmusician.reading"  # not __name__, which is __main__ in the worker
WORKERS = min(2, os.cpu_count() or 1)
FILES, BYTES = 16, 250_000  # that go to a worker together
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

    Contents are asked for one after another, some files before they are needed if `ahead`: then short files go to a
    worker together, and several workers are kept busy.
    """
    within = within or limits.current()
    waiting: deque[Future] = deque()
    with ThreadPoolExecutor(WORKERS if ahead else 1, "reading") as threads:
        try:
            for some in _together(files, FILES if ahead else 1):
                waiting.append(threads.submit(_read_some, some, within))
                if len(waiting) >= 2 * WORKERS or not ahead:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            for future in waiting:  # where nobody waits for the rest
                future.cancel()


_File = tuple[str, bytes | Path | Exception]  # its name, and its content or why there is none


def _together(files: Iterable[tuple[str, Callable[[], bytes | Path]]], most: int) -> Iterator[list[_File]]:
    """The files in their order, as many at a time as a worker is given: at most so many, and BYTES of them."""
    some: list[_File] = []
    size = 0
    for name, get in files:
        try:
            content: bytes | Path | Exception = get()
            size += len(content) if isinstance(content, bytes) else content.stat().st_size
        except (MidiError, LibraryError) as error:
            content = error
        except OSError as error:
            content = LibraryError(f"it cannot be read ({error.strerror or error})")
        some.append((name, content))
        if len(some) >= most or size >= BYTES:
            yield some
            some, size = [], 0
    if some:
        yield some


def _read_some(files: Sequence[_File], within: Limits) -> list[list[Song] | str]:
    """Songs or reason of each; what is one piece by what can be told of it is read together with the others."""
    found: list[list[Song] | str] = []
    pieces: dict[int, tuple[dict, bytes]] = {}  # by their places
    for name, content in files:
        if isinstance(content, Exception):
            found.append(str(content))
            continue
        try:
            kind, data, _ = formats.look_at(content, name, within)
            if kind == "midi":
                pieces[len(found)] = ({"kind": kind}, data)
            found.append([] if kind == "midi" else read_songs(data, name, within))
        except MidiError as error:
            found.append(str(error))
    common, most = _asked(within)
    answers = _pool(within).ask_each(common, [*pieces.values()], within.read_seconds, most, _unpack)
    for place, answer in zip(pieces, answers, strict=True):
        song = not isinstance(answer, Exception)
        found[place] = [answer] if song else _why(answer, within) if isinstance(answer, sandbox.Fault) else str(answer)
    return found


def peak_mb() -> float:
    """The most memory that a worker has held in this process's life, in megabytes."""
    return _pool(limits.current()).peak_mb


def _pool(within: Limits) -> pools.Pool:
    return pools.pool(MODULE, within.read_mb, WORKERS)


def _asked(within: Limits) -> tuple[dict, int]:
    """What every request says, and the most bytes an answer may have."""
    common = {"limits": dataclasses.asdict(within)}
    return common, within.notes * NOTE.itemsize + _MOST_CHANGES * TEMPO.itemsize


def _in_worker(kind: str, data: bytes, within: Limits) -> Song:
    common, most = _asked(within)
    try:
        answer, sent = _pool(within).ask(common | {"kind": kind}, data, within.read_seconds, most)
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


@lru_cache(maxsize=1)
def _limits(values: tuple[tuple[str, float], ...]) -> Limits:
    """Made once for all the pieces that are read under the same."""
    return Limits(**dict(values))


def _answer(request: dict, data: bytes, send: Callable[[Any], None]) -> dict:
    about, arrays = _pack(formats.read_piece(request["kind"], data, _limits(tuple(request["limits"].items()))))
    for array in arrays:
        send(array)
    return about


if __name__ == "__main__":
    serving.serve(_answer)
