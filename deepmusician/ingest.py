"""Ingest: any number of files to a data set whose notes lie on disk in columns, and whose catalogue says what became of
each.

The files are dealt out in tasks. A worker (a thread here, or one of a Dask cluster that sees the same disk) has a task
read in a process of its own under limits, so a hostile file ends that one only and is then named; it writes the notes
as one shard, whole or not at all. Then the shard's rows enter the catalogue in one transaction. So a call that was
killed goes on where it was, and a later one reads only what is new or changed. What is gone from its folder stays in
the data set.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from deepmusician import batches, finding, reading, sandbox
from deepmusician.catalogue import GLANCE, SHARDS, Catalogue, Source
from deepmusician.collected import is_collected, shard, shard_file
from deepmusician.columns import bounds, write_columns
from deepmusician.copies import Lines, lines
from deepmusician.errors import LibraryError, MidiError
from deepmusician.finding import Found
from deepmusician.layouts import told
from deepmusician.library import printable
from deepmusician.limits import Limits, current
from deepmusician.notes import Song
from deepmusician.quota import check_room
from deepmusician.shelf import new_place
from deepmusician.sketches import find_twins

FILES, BYTES = 512, 16_000_000  # of a task at most
PATIENCE = 10.0  # seconds that a cluster's scheduler may take to answer
WORTH = 100  # files for which another worker is worth its start
ROUND = 2_000_000  # hashes of sketches that are compared at a time
Label = Callable[[str], tuple[str, str]]  # a file's label -> the style its pieces are in, the side they are pinned to


@dataclass(frozen=True)
class Task:
    """Some files that become one shard; `digests` are those under which they were known, b"" where they were not."""

    number: int
    folder: str
    files: tuple[Found, ...]
    digests: tuple[bytes, ...]
    labels: tuple[tuple[str, str, str], ...]  # name, style and side of each
    limits: Limits


@dataclass(frozen=True)
class State:
    """How far it is: files done of `total`, known from before, and refused so far."""

    done: int = 0
    total: int = 0
    known: int = 0
    refused: int = 0


Watch = Callable[[State], None]


def plain(label: str) -> tuple[str, str]:
    """No style, no side."""
    return "", ""


def by_folder(label: str) -> tuple[str, str]:
    """The first folder names the style."""
    head, _, rest = label.partition("/")
    return (head if rest else ""), ""


def ingest(
    paths: Sequence[str | Path], name: str, workers: int = 1, scheduler: str = "", label: Label | None = None,
    watch: Watch = lambda state: None,
) -> dict[str, float]:  # fmt: skip
    """Make the data set `name` of everything below `paths`, or bring it up to date; without paths, of those it was made
    of. `label` says style and side of each file; without it the `styles.csv` of its folder does. Returns its totals.

    Raises LibraryError for a name that another kind of data set has, or where nothing can be read; QuotaError, with
    what has been read kept to go on from, where a person keeps as much as one may.
    """
    check_room()
    with new_place(name, is_collected) as folder:
        (folder / SHARDS).mkdir(exist_ok=True)
        with Catalogue(folder, writing=True) as catalogue:
            roots = _roots(catalogue, paths, name)
            catalogue.say("finished", False)
            _sweep(catalogue, folder)
            state = _read(catalogue, folder, roots, workers, scheduler, label, watch)
            totals = catalogue.totals()
            if not totals["kept"] + totals["repaired"]:
                raise LibraryError(_nothing(catalogue, paths))
            if state.done > state.known or catalogue.said("twins") is None:
                _mark_twins(catalogue, folder)
                catalogue.say("twins", True)
                catalogue.say("revision", secrets.token_hex(8))  # what was made of the notes is made again
            catalogue.say("finished", True)
            return catalogue.totals()


def _roots(catalogue: Catalogue, paths: Sequence[str | Path], name: str) -> list[tuple[str, str]]:
    before = [tuple(each) for each in catalogue.said("roots") or ()]
    roots = finding.roots_of(paths) if paths else before
    if not roots:
        raise LibraryError(f"nothing is known of {name} yet; give the folders to ingest")
    catalogue.say("roots", list(dict.fromkeys([*before, *roots])))
    return roots


def _nothing(catalogue: Catalogue, paths: Sequence[str | Path]) -> str:
    reasons = "; ".join(f"{name}: {reason}" for name, reason in catalogue.refusals(3))
    where = ", ".join(map(str, paths)) or "its folders"
    return f"nothing in {where} can be read as music" + (f" ({reasons})" if reasons else "")


def _sweep(catalogue: Catalogue, folder: Path) -> None:
    """Remove what a killed call left: shards that the catalogue does not know."""
    known = {shard_file(folder, number).name for number in catalogue.shards()}
    for file in (folder / SHARDS).iterdir():
        if file.name not in known:
            file.unlink()


# ---- dealing out


def _read(
    catalogue: Catalogue, folder: Path, roots: list[tuple[str, str]], workers: int, scheduler: str, label: Label | None,
    watch: Watch,
) -> State:  # fmt: skip
    limits, state = current(), State(total=finding.count(roots))
    tasks = _Tasks(catalogue, folder, roots, limits, label, _share(state.total, workers))
    workers = min(workers, -(-state.total // WORTH))
    with _executor(workers, scheduler) as (executor, at_once):
        for task, sources in _in_turn(executor, tasks, at_once):
            catalogue.add(task.number, sources)
            refused = sum(piece[1] == "refused" for source in sources for piece in source.pieces or ())
            done = state.done + len(task.files) + tasks.known - state.known
            state = replace(
                state, done=done, known=tasks.known, refused=state.refused + refused, total=max(state.total, done)
            )
            watch(state)
            check_room()  # what is read is kept, and a later call goes on from there
    state = replace(state, done=state.done + tasks.known - state.known, known=tasks.known)
    watch(state)
    return state


def _share(total: int, workers: int) -> int:
    """Files of a task: few enough for all workers to have several, and for a few files to be one."""
    return min(FILES, max(16, -(-total // (4 * max(workers, 1)))))


class _Tasks:
    """The files that are new or changed, some at a time."""

    def __init__(
        self, catalogue: Catalogue, folder: Path, roots: list[tuple[str, str]], limits: Limits, label: Label | None,
        files: int,
    ) -> None:  # fmt: skip
        self.catalogue, self.folder, self.roots = catalogue, folder, roots
        self.limits, self.files = limits, files
        self.labels = {root: label or told(Path(root)) or plain for root, _ in roots}
        self.known = 0
        self.any_known = catalogue.any_known()
        self.number = max([0, *catalogue.shards()])
        self.prefix = _prefixes([root for root, _ in catalogue.said("roots")])

    def __iter__(self) -> Iterator[Task]:
        some: list[Found] = []
        digests: list[bytes] = []
        size = 0
        for found in finding.find(self.roots, self.limits.file_bytes, self._is_known):
            before = self.catalogue.known(found.root, found.label) if self.any_known else None
            if not found.done and before and before[:2] == (found.size, found.mtime):
                self.known += 1
                continue
            some.append(found)
            digests.append(before[2] if before else b"")
            size += 0 if found.done else found.size
            if len(some) >= self.files or size >= BYTES or found.done:
                yield self._task(some, digests)
                some, digests, size = [], [], 0
        if some:
            yield self._task(some, digests)

    def _is_known(self, root: str, label: str, size: int, mtime: int) -> bool:
        known = self.catalogue.known(root, label)
        return known is not None and known[:2] == (size, mtime)

    def _task(self, some: list[Found], digests: list[bytes]) -> Task:
        self.number += 1
        styles = (self.labels[each.root](each.label) for each in some)
        names = (printable(self.prefix[each.root] + each.label) for each in some)
        labels = tuple((name, *style) for name, style in zip(names, styles, strict=True))
        return Task(self.number, str(self.folder), tuple(some), tuple(digests), labels, self.limits)


def _prefixes(roots: Sequence[str]) -> dict[str, str]:
    """What stands before a label in a piece's name: nothing below the first root, the folder's name below another."""
    return {root: f"{Path(root).name}/" if root != roots[0] else "" for root in dict.fromkeys(roots)}


def _in_turn(
    executor: Executor | None, tasks: Iterable[Task], at_once: int
) -> Iterator[tuple[Task, tuple[Source, ...]]]:
    """The tasks as they are done, a few under way at a time."""
    if executor is None:
        for task in tasks:
            yield task, work(task)
        return
    under_way: dict[Future, Task] = {}
    try:
        for task in tasks:
            under_way[executor.submit(work, task)] = task
            if len(under_way) >= at_once:
                yield from _done(under_way)
        while under_way:
            yield from _done(under_way)
    finally:
        for future in under_way:
            future.cancel()


def _done(under_way: dict[Future, Task]) -> Iterator[tuple[Task, tuple[Source, ...]]]:
    for future in wait(under_way, return_when=FIRST_COMPLETED).done:
        yield under_way.pop(future), future.result()


@contextmanager
def _executor(workers: int, scheduler: str) -> Iterator[tuple[Executor | None, int]]:
    """What runs tasks, and how many are handed to it at once; None does them here."""
    if scheduler:
        with _cluster(scheduler) as client:
            from distributed import KilledWorker

            threads = sum(client.nthreads().values()) or 1
            try:
                yield client.get_executor(pure=False), 2 * threads
            except KilledWorker as error:
                raise LibraryError(
                    "workers of the cluster were ended from outside, perhaps for want of memory; start them anew with "
                    "more of it, and go on with --resume"
                ) from error
        return
    batches.compiled()  # once, before each worker would do it for itself
    if workers <= 1:
        yield None, 1
        return
    with ThreadPoolExecutor(workers) as executor:  # each waits for a process of its own most of the time
        yield executor, 2 * workers


def _cluster(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError:
        raise LibraryError("--scheduler needs Dask: pip install distributed, here and on its workers") from None
    try:
        return Client(address, timeout=PATIENCE)
    except (OSError, ValueError) as error:
        raise LibraryError(f"no Dask scheduler answers at {address} ({error}); start one: dask scheduler") from error


# ---- a task's work, in the process of a worker


def work(task: Task) -> tuple[Source, ...]:
    """Read the files of a task, write their notes as a shard, and say what was found in each."""
    contents = [_content(found) for found in task.files]
    digests = [hashlib.sha256(c).digest()[:16] if isinstance(c, bytes) else b"" for c in contents]
    fresh = [i for i, c in enumerate(contents) if isinstance(c, bytes) and digests[i] != task.digests[i]]
    batch = read([(task.labels[i][0], contents[i]) for i in fresh], task.limits)
    if len(batch.columns):
        write_columns(shard_file(Path(task.folder), task.number), batch.columns)
    found: dict[int, tuple[int, ...] | str] = dict(zip(fresh, batch.files, strict=True))
    found |= {i: content for i, content in enumerate(contents) if isinstance(content, str)}
    return tuple(
        Source(
            file.root, file.label, file.size, file.mtime, digests[i],
            _rows(task.labels[i], found[i], batch) if i in found else () if file.done else None,
        )
        for i, file in enumerate(task.files)
    )  # fmt: skip


def _content(found: Found) -> bytes | str | None:
    """A file's content, the reason why there is none, or None of an archive that was gone through."""
    if found.content is not None or found.done:
        return found.content
    try:
        with open(found.place, "rb") as file:
            return file.read(found.size + 1)[: found.size]  # one that grows meanwhile is changed, next time
    except OSError as error:
        return f"it cannot be read ({error.strerror or error})"


def read(files: Sequence[tuple[str, bytes]], limits: Limits) -> batches.Batch:
    """Read (name, content) files together; where that breaks off, and what is no MIDI, one by one."""
    midi = [i for i, (name, content) in enumerate(files) if _is_midi(name, content)]
    try:
        batch = batches.ask([files[i] for i in midi], limits) if midi else batches.NOTHING
    except sandbox.Fault:
        midi, batch = [], batches.NOTHING
    together = dict(zip(midi, batch.files, strict=True))
    if len(together) == len(files):
        return batch
    found: list[tuple[int, ...] | str] = []
    songs: list[Song] = []
    for i, (name, content) in enumerate(files):
        if i in together:
            found.append(together[i])
            continue
        one = _alone(name, content, limits)
        first = len(batch.pieces) + len(songs)
        found.append(one if isinstance(one, str) else tuple(range(first, first + len(one))))
        songs += [] if isinstance(one, str) else one
    return batches.extended(batch, found, songs)


def _is_midi(name: str, content: bytes) -> bool:
    from deepmusician.formats import is_midi

    return is_midi(name, content)


def _alone(name: str, content: bytes, limits: Limits) -> list[Song] | str:
    try:
        songs = reading.read_songs(content, name, limits)
    except MidiError as error:
        return str(error)
    return [song for song in songs if len(song)] or "it holds no notes"


_glance = attrgetter(*GLANCE)
_json = lru_cache(maxsize=256)(json.dumps)  # of thousands of pieces nearly all say the same


def _rows(label: tuple[str, str, str], found: tuple[int, ...] | str, batch: batches.Batch) -> tuple[tuple, ...]:
    """A file's pieces as the catalogue keeps them (PIECE)."""
    name, style, side = label
    if isinstance(found, str):
        return ((name, "refused", found, style, side, None, "", "[]", "[]", None, *[None] * len(GLANCE)),)
    rows = []
    for number, place in enumerate(found, 1):
        piece = batch.pieces[place]
        whole = name if len(found) == 1 else printable(f"{name} {number} {piece.title}".rstrip())
        status, repairs = "repaired" if piece.repairs else "kept", "; ".join(piece.repairs)
        said = (_json(piece.repairs), _json(piece.touched), piece.music)
        rows.append((whole, status, repairs, style, side, place, piece.title, *said, *_glance(piece.glance)))
    return tuple(rows)


# ---- near-duplicates


def _mark_twins(catalogue: Catalogue, folder: Path) -> None:
    """Mark every piece that is the same as an earlier one, or nearly the same as a larger one."""
    question = "SELECT id, shard, place, music FROM pieces WHERE place IS NOT NULL ORDER BY name"
    id_, where, first, same = [], [], {}, []
    for piece, number, place, music in catalogue.ask(question):
        if music in first:
            same.append((piece, first[music], 1.0))
            continue
        first[music] = piece
        id_.append(piece)
        where.append((number, place))
    at = np.array(where, np.int64).reshape(-1, 2)
    order = np.lexsort((at[:, 1], at[:, 0]))
    blocks = np.split(order, np.flatnonzero(np.diff(at[order, 0])) + 1)
    grams, sizes = np.zeros(len(id_), np.int64), np.zeros(len(id_), np.int64)
    for mine in blocks:
        notes = shard(folder, int(at[mine[0], 0]))
        grams[mine], sizes[mine] = notes.grams[at[mine, 1]], np.diff(notes.sketch_at)[at[mine, 1]]

    def sketches() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        for mine in blocks:
            notes = shard(folder, int(at[mine[0], 0]))
            wanted = np.zeros(len(notes), bool)
            wanted[at[mine, 1]] = True
            counts = np.diff(notes.sketch_at)
            yield mine, bounds(counts[at[mine, 1]]), notes.sketch[np.repeat(wanted, counts)]

    @lru_cache(maxsize=256)
    def all_lines(i: int) -> Lines:
        number, place = at[i].tolist()
        return lines(shard(folder, number).song(place))

    twins = find_twins(sketches, grams, sizes, all_lines, rounds=1 + int(sizes.sum()) // ROUND)
    near = [(id_[twin.index], id_[twin.original], twin.share) for twin in twins]
    catalogue.mark_twins([*same, *near])


def cores() -> int:
    """How many workers this machine has room for."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
