"""A task of `ingest`: some files are read, their notes become one shard on disk, and the rest rows for the catalogue.

It runs wherever a worker is: in a thread here, or in a process of a Dask cluster that sees the same disk. What is read
together and breaks off is read again one by one, so that the file to blame is named and the others are kept.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

import numpy as np

from deepmusician import batch_worker, batches, marks, reading, sandbox
from deepmusician.batch_worker import File
from deepmusician.batches import Batch
from deepmusician.catalogue import GLANCE
from deepmusician.collected import shard_file
from deepmusician.columns import write_columns
from deepmusician.finding import Found
from deepmusician.formats import is_midi
from deepmusician.library import printable
from deepmusician.limits import Limits
from deepmusician.notes import Song


@dataclass(frozen=True)
class Task:
    """Some files that become one shard; `known` are the marks under which some of them are known, by place, and `said`
    what goes with each: name, style, side."""

    number: int
    folder: str
    files: tuple[Found, ...]
    known: dict[int, int]
    said: tuple[tuple[str, str, str], ...]
    limits: Limits


class Done(NamedTuple):
    """What became of a task's files: their marks, b"" where there are none, the places of those that are as they were
    though their time is another, and of the pieces in the others the file's place and what the catalogue keeps."""

    marks: list[bytes]
    same: frozenset[int]
    rows: list[tuple]
    pieces: int  # in its shard, which is not there without any


def work(task: Task) -> Done:
    """Read the files of a task, write their notes as a shard, and say what was found in each."""
    batch = read(task.files, task.known, task.limits)
    if len(batch.columns):
        write_columns(shard_file(Path(task.folder), task.number), batch.columns)
    made = [mark.to_bytes(8, "little") if mark else b"" for mark in batch.marks.tolist()]
    return Done(made, batch.same, [*_rows(task, batch), *_refused(task, batch)], len(batch.columns))


def read(files: Sequence[Found], known: dict[int, int], limits: Limits) -> Batch:
    """Read files together; where that breaks off, and what is no MIDI, one by one."""
    open_ = [i for i, file in enumerate(files) if not file.done and not isinstance(file.content, str)]
    midi = [i for i in open_ if is_midi(files[i].label)]
    try:
        batch = _together(files, midi, known, limits) if midi else batches.NOTHING
    except sandbox.Fault:
        midi, batch = [], batches.NOTHING
    refused = {i: file.content for i, file in enumerate(files) if isinstance(file.content, str)} | batch.refused
    made, same = np.zeros(len(files), np.uint64), set(batch.same)
    made[midi] = batch.marks
    songs: list[tuple[int, Song]] = []
    for i in sorted({*open_} - {*midi}):
        found = _content(files[i])
        if isinstance(found, bytes):
            made[i] = marks.of_bytes(found)
            if made[i] == known.get(i):
                same.add(i)
                continue
            found = batches.read_carefully(files[i].label, found, limits, reading.read_songs)
        if isinstance(found, str):
            refused[i] = found
        else:
            songs += zip(repeat(i), found)
    if songs:
        batch = batches.joined([batch, batches.of_songs(songs)] if len(batch.facts) else [batches.of_songs(songs)])
    return replace(batch, refused=refused, same=frozenset(same), marks=made)


def _together(files: Sequence[Found], midi: Sequence[int], known: dict[int, int], limits: Limits) -> Batch:
    """What is found in the files at the places `midi`, spoken of by their places among all."""
    asked = [_file(files[i]) for i in midi]
    batch = batch_worker.ask(asked, limits, {at: known[i] for at, i in enumerate(midi) if i in known} if known else {})
    if len(midi) == len(files):
        return batch
    facts = batch.facts.copy()
    facts["file"] = np.array(midi)[facts["file"]]
    refused = {midi[at]: reason for at, reason in batch.refused.items()}
    return replace(batch, facts=facts, refused=refused, same=frozenset(midi[at] for at in batch.same))


def _file(found: Found) -> File:
    if isinstance(found.content, bytes):
        return File(found.label, len(found.content), found.content)
    return File(found.place, found.size)


def _content(found: Found) -> bytes | str:
    """A file's content, or the reason why there is none."""
    if isinstance(found.content, bytes):
        return found.content
    try:
        with open(found.place, "rb") as file:
            return file.read(found.size)  # one that grows meanwhile is changed, next time
    except OSError as error:
        return f"it cannot be read ({error.strerror or error})"


# ---- rows


_json = lru_cache(maxsize=256)(json.dumps)  # of thousands of pieces nearly all say the same
_NUMBERS = ("notes", "lost", "drums", "tracks", "bars", "minutes", "frames")


def _rows(task: Task, batch: Batch) -> list[tuple]:
    """The pieces as the catalogue keeps them."""
    facts, pieces = batch.facts, len(batch.facts)
    files = facts["file"].tolist()
    names, styles, sides = zip(*(task.said[i] for i in files), strict=True) if pieces else ((), (), ())
    status, reasons, repairs, touched = ["kept"] * pieces, [""] * pieces, ["[]"] * pieces, ["[0, 0, 0, 0]"] * pieces
    for piece, said in batch.repairs.items():
        status[piece], reasons[piece], repairs[piece] = "repaired", "; ".join(said), _json(said)
    for piece, counts in batch.touched.items():
        touched[piece] = _json(counts)
    low, high = ([pitch if pitch >= 0 else None for pitch in facts[name].tolist()] for name in ("low", "high"))
    music = [mark.to_bytes(8, "little") for mark in facts["music"].tolist()]
    return list(zip(
        files, _called(names, files, batch.titles), status, reasons, styles, sides, range(pieces), batch.titles,
        repairs, touched, music, *(facts[name].tolist() for name in _NUMBERS), batch.keys, facts["tempo_bpm"].tolist(),
        batch.meters, low, high, facts["density"].tolist(), facts["polyphony"].tolist(), strict=True,
    ))  # fmt: skip


def _called(names: Sequence[str], files: Sequence[int], titles: Sequence[str]) -> Sequence[str]:
    """Pieces by the names of their files; several of one file by number and title, too."""
    if len(set(files)) == len(files):
        return names
    many, seen, result = {i for i in files if files.count(i) > 1}, dict.fromkeys(files, 0), []
    for name, i, title in zip(names, files, titles, strict=True):
        seen[i] += 1
        result.append(printable(f"{name} {seen[i]} {title}".rstrip()) if i in many else name)
    return result


def _refused(task: Task, batch: Batch) -> list[tuple]:
    rows = []
    for i, reason in sorted(batch.refused.items()):
        name, style, side = task.said[i]
        rows.append((i, name, "refused", reason, style, side, None, "", "[]", "[]", None, *[None] * len(GLANCE)))
    return rows
