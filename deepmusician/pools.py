"""Pools of sandboxed processes: several workers of one kind, shared by all threads of this process."""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from deepmusician.sandbox import Fault, Heard, Piece, Refused, Take, Worker

log = logging.getLogger(__name__)

LEAST_SECONDS = 1.0  # for which asking once more is worth a start


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

        It has what is left of the seconds; where time ran out nobody is asked again.
        """
        try:
            with self._lent() as worker:
                worn = worker.served > 0
                return worker.ask(request, data, seconds, most_bytes, heard)
        except Fault as fault:
            if not worn:
                raise
            return self._once_more(fault, worker, request, data, seconds, most_bytes, heard)

    def _once_more(
        self, fault: Fault, worn: Worker, request: dict, data: bytes, seconds: float, most_bytes: int,
        heard: Heard | None = None,
    ) -> tuple[dict, memoryview]:  # fmt: skip
        """Ask a fresh worker what a worn one did not answer."""
        left = seconds - (time.monotonic() - worn.asked)
        if fault.kind == "time" or left < LEAST_SECONDS:
            raise fault
        log.info("%s failed after %d requests (%s); asking a fresh one", self.module, worn.served, fault)
        with self._lent(fresh=True) as worker:
            try:
                return worker.ask(request, data, left, most_bytes, heard)
            except Fault as second:
                raise fault if second.kind == "time" else second from None

    def ask_each(self, common: dict, pieces: Sequence[Piece], seconds: float, most_bytes: int, take: Take) -> list[Any]:
        """As `Worker.ask_each`, of all pieces: where one breaks the worker, and a fresh one, its Fault stands in its
        place, and those after it are asked of another."""
        found: list[Any] = []
        while len(found) < len(pieces):
            begun = len(found)
            try:
                with self._lent() as worker:
                    worn = worker.served > 0
                    worker.ask_each(common, pieces[begun:], seconds, most_bytes, take, found)
            except Fault as fault:
                request, data = pieces[len(found)]
                try:
                    if not worn and len(found) == begun:
                        raise
                    again = self._once_more(fault, worker, common | request, data, seconds, most_bytes)
                    found.append(take(*again))
                except (Fault, Refused) as last:
                    found.append(last)
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
