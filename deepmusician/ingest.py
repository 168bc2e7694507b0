"""Ingest: any number of files to a data set whose notes lie on disk in columns, and whose catalogue says what became of
each.

The files are dealt out in tasks. A worker (a thread here, or one of a Dask cluster that sees the same disk) has a task
read in a process of its own under limits, so a hostile file ends that one only and is then named; it writes the notes
as one shard, whole or not at all. Then the shard's rows enter the catalogue in one transaction. So a call that was
killed goes on where it was, and a later one reads only what is new or changed. What is gone from its folder stays in
the data set.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deepmusician import batch_worker, batches, finding
from deepmusician.catalogue import SHARDS, Catalogue
from deepmusician.collected import is_collected, shard_file
from deepmusician.columns import settle
from deepmusician.errors import LibraryError
from deepmusician.finding import Found
from deepmusician.formats import is_midi
from deepmusician.layouts import told
from deepmusician.library import printable
from deepmusician.limits import Limits, current
from deepmusician.preparing import prepared
from deepmusician.quota import check_room
from deepmusician.shelf import new_place
from deepmusician.tasks import Done, Task, work
from deepmusician.twins import mark_twins

FILES, BYTES = 4_096, 16_000_000  # of a task at most
SLOW = 200  # what is no MIDI takes as long to read as so many times its bytes of MIDI, or longer
PATIENCE = 10.0  # seconds that a cluster's scheduler may take to answer
WORTH = 100  # files for which another worker is worth its start
Label = Callable[[str], tuple[str, str]]  # a file's label -> the style its pieces are in, the side they are pinned to


@dataclass(frozen=True)
class State:
    """How far it is: files done of `total`, known from before, and refused so far. `preparing` is for how many seconds
    the reader has been made ready, 0 where it is ready."""

    done: int = 0
    total: int = 0
    known: int = 0
    refused: int = 0
    preparing: float = 0.0


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
                mark_twins(catalogue, folder)
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
    workers = max(1, min(workers, -(-state.total // WORTH)))
    if not scheduler:  # here once, before each worker would do it for itself
        prepared(batches.compiled, lambda seconds: watch(replace(state, preparing=seconds)))
    with _executor(workers, scheduler) as (executor, at_once):
        for task, did in _in_turn(executor, tasks, at_once):
            files = zip(task.files, did.marks, strict=True)
            sources = [(file.root, file.label, file.size, file.mtime, mark) for file, mark in files]
            if did.pieces:  # waited for here, while the worker goes on
                settle(shard_file(folder, task.number))
            catalogue.add(task.number, sources, did.rows, did.same)
            refused = sum(row[2] == "refused" for row in did.rows)
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
        known: dict[int, int] = {}
        size = 0
        for found in finding.find(self.roots, self.limits.file_bytes, self._is_known):
            before = self.catalogue.known(found.root, found.label) if self.any_known else None
            if not found.done and before and before[:2] == (found.size, found.mtime):
                self.known += 1
                continue
            if before and before[0] == found.size and before[2]:
                known[len(some)] = int.from_bytes(before[2], "little")
            some.append(found)
            size += 0 if found.done else found.size if is_midi(found.label) else SLOW * found.size
            if len(some) >= self.files or size >= BYTES or found.done:
                yield self._task(some, known)
                some, known, size = [], {}, 0
        if some:
            yield self._task(some, known)

    def _is_known(self, root: str, label: str, size: int, mtime: int) -> bool:
        known = self.catalogue.known(root, label)
        return known is not None and known[:2] == (size, mtime)

    def _task(self, some: list[Found], known: dict[int, int]) -> Task:
        self.number += 1
        said = tuple(
            (printable(self.prefix[each.root] + each.label), *self.labels[each.root](each.label)) for each in some
        )
        return Task(self.number, str(self.folder), tuple(some), known, said, self.limits)


def _prefixes(roots: Sequence[str]) -> dict[str, str]:
    """What stands before a label in a piece's name: nothing below the first root, the folder's name below another."""
    return {root: f"{Path(root).name}/" if root != roots[0] else "" for root in dict.fromkeys(roots)}


def _in_turn(executor: Executor, tasks: Iterable[Task], at_once: int) -> Iterator[tuple[Task, Done]]:
    """The tasks as they are done, a few under way at a time."""
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


def _done(under_way: dict[Future, Task]) -> Iterator[tuple[Task, Done]]:
    for future in wait(under_way, return_when=FIRST_COMPLETED).done:
        yield under_way.pop(future), future.result()


@contextmanager
def _executor(workers: int, scheduler: str) -> Iterator[tuple[Executor, int]]:
    """What runs tasks, and how many are handed to it at once."""
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
    batch_worker.processes(current()).size = workers
    with ThreadPoolExecutor(workers + 1) as executor:  # one writes what was read while the processes go on reading
        yield executor, 2 * workers + 1


def _cluster(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError:
        raise LibraryError("--scheduler needs Dask: pip install distributed, here and on its workers") from None
    try:
        return Client(address, timeout=PATIENCE)
    except (OSError, ValueError) as error:
        raise LibraryError(f"no Dask scheduler answers at {address} ({error}); start one: dask scheduler") from error


def cores() -> int:
    """How many workers this machine has room for."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
