"""Pools of sandboxed processes: several workers of one kind, shared by all threads of this process."""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from deepmusician.sandbox import Fault, Heard, Piece, Take, Worker

log = logging.getLogger(__name__)


class Pool:
    """At most `size` workers of one kind, started when they are needed and kept warm; any thread may ask.

    There are as many as threads have asked at once. Who finds them all at work has another started, and is served by
    it or by one of the others, whichever is free first: a start takes longer than many an answer.
    """

    def __init__(self, module: str, memory_mb: int, size: int) -> None:
        self.module, self.memory_mb = module, memory_mb
        self.size, self.lock = size, threading.Lock()
        self.free = threading.Semaphore(1)  # one more as each further worker is ready
        self.waiting, self.starting, self.started = 0, 0, 1
        self.idle: list[Worker] = []
        self.peak_mb = 0.0  # the most any of them has taken
        atexit.register(self.close)

    def ask(
        self, request: dict, data: bytes, seconds: float, most_bytes: int, heard: Heard | None = None
    ) -> tuple[dict, memoryview]:
        """As `Worker.ask`. A worker that fails after other work may have been worn out: a fresh one has the last word.

        Not so where time ran out, since waiting twice helps nobody.
        """
        for again in (True, False):
            with self._lent(fresh=not again) as worker:
                worn = worker.served > 0
                try:
                    return worker.ask(request, data, seconds, most_bytes, heard)
                except Fault as fault:
                    if fault.kind == "time" or not (worn and again):
                        raise
                    log.info("%s failed after %d requests (%s); asking a fresh one", self.module, worker.served, fault)
        raise AssertionError("unreachable")

    def ask_each(self, common: dict, pieces: Sequence[Piece], seconds: float, most_bytes: int, take: Take) -> list[Any]:
        """As `Worker.ask_each`, of all pieces: where one breaks the worker, its Fault stands in its place, and those
        after it are asked of a fresh one."""
        found: list[Any] = []
        again = False
        while len(found) < len(pieces):
            begun = len(found)
            with self._lent(fresh=again) as worker:
                worn = worker.served > 0
                try:
                    worker.ask_each(common, pieces[begun:], seconds, most_bytes, take, found)
                except Fault as fault:
                    again = fault.kind != "time" and (worn or len(found) > begun)  # a fresh one has the last word
                    if not again:
                        found.append(fault)
        return found

    def warm(self) -> None:
        """Start a worker, if there is none, without waiting for it."""
        if not self.idle:
            with self._lent():
                pass

    @contextmanager
    def _lent(self, fresh: bool = False) -> Iterator[Worker]:
        with self._turn():
            worker = None if fresh else self._idle_one()
            if worker is None:
                worker = Worker(self.module, self.memory_mb)
            try:
                yield worker
            finally:
                self.peak_mb = max(self.peak_mb, worker.peak_mb)
                if worker.alive:
                    self.idle.append(worker)
                else:
                    worker.close()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self.free.acquire(blocking=False):
            with self.lock:
                self.waiting += 1
                if starts := self.waiting > self.starting and self.started < self.size:
                    self.starting, self.started = self.starting + 1, self.started + 1
            try:
                if starts:
                    threading.Thread(target=self._start_another, daemon=True).start()
                self.free.acquire()
            finally:
                with self.lock:
                    self.waiting -= 1
        try:
            yield
        finally:
            self.free.release()

    def _start_another(self) -> None:
        worker = None
        try:
            worker = Worker(self.module, self.memory_mb)
            worker.wait()
            self.idle.append(worker)
        except (Fault, OSError) as error:  # who asks next starts one in its place, and hears why it cannot be
            log.info("another %s did not start (%s)", self.module, error)
            if worker:
                worker.close()
        finally:
            with self.lock:
                self.starting -= 1
            self.free.release()

    def _idle_one(self) -> Worker | None:
        while True:
            try:
                worker = self.idle.pop()
            except IndexError:
                return None
            if worker.alive:
                return worker
            worker.close()

    def close(self) -> None:
        """End all workers that nobody is asking."""
        while (worker := self._idle_one()) is not None:
            worker.close()


@cache
def pool(module: str, memory_mb: int, size: int) -> Pool:
    """The one pool of that kind in this process."""
    return Pool(module, memory_mb, size)
