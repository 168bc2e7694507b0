"""The processes that read many files at once, under limits, and what goes between them and who asks.

A hostile file may take its process with it; who asked hears of a Fault, and asks for the files one by one. The worker
opens by itself what lies on disk; its answer is arrays and JSON, which are checked here: numbers that no reader gives
are a Fault, too. `python -m deepmusician.batch_worker` is the worker.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from deepmusician import batches, pools, sandbox, serving
from deepmusician import columns as columnar
from deepmusician.batches import FACTS, Batch
from deepmusician.columns import Columns
from deepmusician.errors import MidiError
from deepmusician.limits import Limits

MODULE = "deepmusician.batch_worker"  # not __name__, which is __main__ in the worker
PROCESSES = 64  # at most; there are as many as threads ask at once
COMPILED_MB = 640  # of address space that the compiler's libraries take, beside what reading takes


NOBODY: Mapping[int, int] = MappingProxyType({})


class File(NamedTuple):
    """A file to read, of `size` bytes: where it lies, or the content itself and a name that tells its format."""

    name: str
    size: int
    content: bytes | None = None


def processes(limits: Limits) -> pools.Pool:
    """The processes that read, each for one thread at a time."""
    return pools.pool(MODULE, limits.read_mb + COMPILED_MB, PROCESSES)


def ask(files: Sequence[File], limits: Limits, known: Mapping[int, int] = NOBODY) -> Batch:
    """As `batches.read_files`, in a worker under the limits. Raises Fault, after which the worker is dead."""
    inline = [file.content for file in files if file.content is not None]
    request = {
        "limits": asdict(limits), "names": [file.name for file in files], "sizes": [file.size for file in files],
        "inline": [i for i, file in enumerate(files) if file.content is not None] if inline else [],
        "known": list(known.items()),
    }  # fmt: skip
    size = sum(request["sizes"])
    most = 8 * size + 65_536 * len(files) + 1_000_000  # a note takes three bytes there at least, and 13 here
    answer, sent = processes(limits).ask(request, b"".join(inline), limits.read_seconds + 0.02 * len(files), most)
    try:
        batch = _said(answer, sent, len(files))
        check(batch)
        return batch
    except (KeyError, TypeError, ValueError, OverflowError, MidiError) as error:
        raise sandbox.Fault("crash", f"its answer is no batch: {error}") from error


def check(batch: Batch) -> None:
    """Raise ValueError for numbers that no reader gives."""
    columns, facts, files = batch.columns, batch.facts, len(batch.marks)
    if len(columns):
        _check_notes(columns)
    said = (batch.titles, batch.keys, batch.meters)
    if any(len(each) != len(columns) or {*map(type, each)} - {str} for each in said):
        raise ValueError("it says something of other pieces")
    if len(facts) and (facts["file"].min() < 0 or facts["file"].max() >= files):
        raise ValueError("it speaks of other files")
    if not all(np.isfinite(facts[name]).all() for name in FACTS.names if FACTS[name].kind == "f"):
        raise ValueError("what it says of a piece is no number")
    pieces, others = {*batch.repairs, *batch.touched}, {*batch.refused, *batch.same}
    if not all(0 <= i < len(columns) for i in pieces) or not all(0 <= i < files for i in others):
        raise ValueError("it names what is not there")


def _check_notes(columns: Columns) -> None:
    highest = max(columns.pitch.max(initial=0), columns.velocity.max(initial=0))
    counts = np.diff(columns.notes)
    if counts.min() < 1 or highest > 127 or columns.length.min() < 1 or columns.ticks.min() < 1:
        raise ValueError("a note is out of range")
    if (np.maximum.reduceat(columns.track, columns.notes[:-1]) >= np.diff(columns.part_at)).any():
        raise ValueError("a note's track is out of range")
    finite = np.isfinite(columns.tempos["beat"]).all() and np.isfinite(columns.meters["beat"]).all()
    if not finite or not (columns.tempos["bpm"] > 0).all() or not (columns.meters["denominator"] > 0).all():
        raise ValueError("a time is no number")


def _said(answer: dict, sent: memoryview, files: int) -> Batch:
    columns, end = columnar.from_bytes(sent, answer["lengths"])
    rest = len(columns) * FACTS.itemsize
    if len(sent) != end + rest + 8 * files:
        raise ValueError(f"{len(sent)} bytes are too many or too few")
    return Batch(
        columns, np.frombuffer(sent, FACTS, len(columns), end), *(list(answer[name]) for name in _WORDS),
        {int(i): tuple(map(str, said)) for i, said in answer["repairs"]},
        {int(i): tuple(map(int, said)) for i, said in answer["touched"]},
        {int(i): str(reason) for i, reason in answer["reasons"]}, frozenset(map(int, answer["same"])),
        np.frombuffer(sent, np.uint64, files, end + rest),
    )  # fmt: skip


_WORDS = ("titles", "keys", "meters")


# ---- in the worker


def _answer(request: dict, data: bytes, send: Callable[[Any], None]) -> dict:
    names, limits = request["names"], Limits(**request["limits"])
    content, starts, ends, lost = _gathered(names, np.array(request["sizes"], np.int64), request["inline"], data)
    batch = batches.read_files(names, content, starts, ends, limits, {int(i): mark for i, mark in request["known"]})
    for part in (*columnar.rows_of(batch.columns), batch.facts.view(np.uint8), batch.marks.view(np.uint8)):
        if len(part):
            send(part)
    said = {name: list(getattr(batch, name).items()) for name in ("repairs", "touched")}
    words = {name: getattr(batch, name) for name in _WORDS}
    others = {"reasons": list((batch.refused | lost).items()), "same": list(batch.same)}
    return {"lengths": columnar.lengths_of(batch.columns), **others, **words, **said}


_room = np.zeros(0, np.uint8)  # kept from request to request, since fresh memory costs as much as reading into it


def _gathered(
    names: Sequence[str], sizes: np.ndarray, inline: Sequence[int], data: bytes
) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[int, str]]:
    """The files' contents as `batches.laid_out` lays them, and of those that cannot be read why."""
    global _room
    starts, size = batches.places(sizes)
    if len(_room) < size:
        _room = np.zeros(size + size // 2, np.uint8)
    content, ends, lost, at = _room[: size // 8 * 8], starts + sizes, {}, 0
    here, view = set(inline), memoryview(content)
    for i, (name, start, end) in enumerate(zip(names, starts.tolist(), ends.tolist(), strict=True)):
        if i in here:
            view[start:end] = data[at : at + end - start]
            at += end - start
            continue
        try:
            ends[i] = start + _read_into(name, view[start:end])
        except OSError as error:
            ends[i], lost[i] = start, f"it cannot be read ({error.strerror or error})"
    return content, starts, ends, lost


def _read_into(path: str, place: memoryview) -> int:
    """The bytes of a file, at most as many as there is place for: one that grows meanwhile is changed, next time."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        filled = 0
        while filled < len(place):
            more = os.readv(file, [place[filled:]])
            if not more:
                break
            filled += more
        return filled
    finally:
        os.close(file)


if __name__ == "__main__":
    batches.compiled()
    serving.serve(_answer)
