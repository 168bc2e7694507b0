"""A disposable process that does what may go wrong: it may crash, hang or fill the memory, and only itself with it.

A worker is `python -m MODULE`, whose main calls `serving.serve`. It is started once and answers many requests; one that
breaks a limit is killed and the next request gets a fresh one (see `pools`). Limits: address space and CPU time by the
kernel (and, where the kernel only pretends to, as on macOS, by a watch on its own memory), wall clock by who asks. It
has no terminal, no secrets of the environment, nothing of the folder one stands in on its import path, and writes no
file worth the name.

What goes between is bytes and JSON, never a pickle, and both ends bound what they take in: a worker that was taken over
by what it read can answer nonsense, but runs nothing here. Many small requests go together and are answered one after
another: each has its own seconds, and what was answered before one breaks the worker is kept. A subprocess, not
multiprocessing, whose workers import __main__: that is the whole app when a page asks. This module knows no music.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from deepmusician.errors import DeepMusicianError
from deepmusician.serving import DATA, FRAME, JSON, OUT_OF_MEMORY

MAX_JSON = 32_000_000  # bytes; a request or answer beside its data
START_SECONDS = 60.0  # a fresh interpreter on a machine that is busy
CHUNK = 1 << 20
AHEAD = 1 << 16  # bytes that are read together, however short the frames in them
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "HOMEBREW_PREFIX")
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")

Heard = Callable[[memoryview], None]
Piece = tuple[dict, bytes]  # a request and the data that goes with it
Take = Callable[[dict, memoryview], Any]


class Fault(Exception):
    """A worker did not answer: it took too long, too much memory, or ended."""

    def __init__(self, kind: Literal["time", "memory", "crash"], detail: str = "") -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind, self.detail = kind, detail


class Refused(DeepMusicianError):
    """The worker's own sentence about why it does not do what it was asked."""


class Worker:
    """One process and the pipe to it. One thread at a time may ask it."""

    def __init__(self, module: str, memory_mb: int) -> None:
        self.served, self.ready, self.peak_mb = 0, False, 0.0
        self.asked = 0.0  # since when it has been at what it answers next, by time.monotonic
        self.words = tempfile.TemporaryFile()  # noqa: SIM115  what it says in its last moments
        home = str(Path(__file__).resolve().parent.parent)  # the studio also runs uninstalled
        environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
        search = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
        environment |= {"PYTHONPATH": search, "PYTHONDONTWRITEBYTECODE": "1"} | dict.fromkeys(ONE_THREAD, "1")
        self.process = subprocess.Popen(
            # -P: a numpy.py in the folder one stands in is not numpy
            [sys.executable, "-P", "-m", module, str(memory_mb)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.words, env=environment, bufsize=0,
        )  # fmt: skip
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        _widen(self.stdin, self.stdout)
        self.buffer, self.ahead = bytearray(AHEAD), memoryview(b"")  # what came beyond the frame that was read
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.stdout, selectors.EVENT_READ)

    def ask(
        self, request: dict, data: bytes, seconds: float, most_bytes: int, heard: Heard | None = None
    ) -> tuple[dict, memoryview]:
        """What the worker answers, and the data it sends along, at most `most_bytes`.

        `heard` is shown the data that has come so far, again and again. Raises Fault, after which the worker is dead;
        or Refused. Whatever `heard` raises ends the worker, too.
        """
        try:
            place = self._begin({}, [(request, data)], seconds, most_bytes)
            return self._answer(seconds, place, heard)
        except Refused:
            raise
        except BaseException:  # an interruption, too, leaves an answer in the pipe that belongs to nobody
            self.close()
            raise

    def ask_each(
        self, common: dict, pieces: Sequence[Piece], seconds: float, most_bytes: int, take: Take, found: list[Any]
    ) -> None:
        """Ask several things together, `common` being part of each request: what `take` makes of each answer, or the
        Refused, is put to `found` as it comes.

        Each may take so many seconds and send so many bytes, which `take` must copy. Raises Fault, after which the
        worker is dead, where one does not; those before it are answered. So `take` may, too.
        """
        try:
            place = self._begin(common, pieces, seconds, most_bytes)
            for _ in pieces:
                try:
                    found.append(take(*self._answer(seconds, place, None)))
                except Refused as refused:
                    found.append(refused)
        except BaseException:
            self.close()
            raise

    def _begin(self, common: dict, pieces: Sequence[Piece], seconds: float, most_bytes: int) -> memoryview:
        """Hand over the requests; returns the place for the data of an answer."""
        self.wait()
        self.asked = time.monotonic()
        each = [(request, len(data)) for request, data in pieces]
        head = json.dumps({"cpu_seconds": seconds, "common": common, "each": each}).encode()
        data = pieces[0][1] if len(pieces) == 1 else b"".join(data for _, data in pieces)
        self._send(FRAME.pack(JSON, len(head)) + head + FRAME.pack(DATA, len(data)), data)
        return memoryview(mmap.mmap(-1, max(most_bytes, 1)))  # memory is taken as it is filled

    def _answer(self, seconds: float, place: memoryview, heard: Heard | None) -> tuple[dict, memoryview]:
        self.asked = time.monotonic()
        answer, sent = self._receive(self.asked + seconds, place, heard)
        self.served += 1
        self.peak_mb = max(self.peak_mb, float(answer.get("peak_mb", 0)))
        if fault := answer.get("fault"):
            raise Fault("memory" if fault == "memory" else "crash", str(answer.get("detail", ""))[:300])
        if "refused" in answer:
            raise Refused(str(answer["refused"])[:2000])
        return answer, sent

    def wait(self) -> None:
        """Wait until it can be asked. Raises Fault where it never can."""
        if not self.ready:
            self._receive(time.monotonic() + START_SECONDS, memoryview(bytearray()), None)
            self.ready = True

    def _send(self, *parts: bytes) -> None:
        try:
            for part in parts:
                view = memoryview(part)
                while view:
                    view = view[self.stdin.write(view[:CHUNK]) :]
        except OSError:
            raise self._ended() from None

    def _receive(self, deadline: float, place: memoryview, heard: Heard | None) -> tuple[dict, memoryview]:
        filled = 0
        while True:
            kind, length = FRAME.unpack(self._read(FRAME.size, deadline))
            if length > (MAX_JSON if kind == JSON else len(place) - filled):
                raise Fault("crash", f"it answers with {length:,} bytes more than it may")
            if kind == DATA:
                self._fill(place[filled : filled + length], deadline)
                filled += length
                if heard:
                    heard(place[:filled])
                continue
            try:
                return dict(json.loads(self._read(length, deadline))), place[:filled]
            except (ValueError, TypeError, RecursionError) as error:
                raise Fault("crash", f"its answer is no JSON ({error})") from error

    def _read(self, length: int, deadline: float) -> bytes:
        read = bytearray(length)
        self._fill(memoryview(read), deadline)
        return bytes(read)

    def _fill(self, place: memoryview, deadline: float) -> None:
        while place:
            if self.ahead:
                count = min(len(place), len(self.ahead))
                place[:count], self.ahead = self.ahead[:count], self.ahead[count:]
                place = place[count:]
                continue
            if not self.selector.select(max(deadline - time.monotonic(), 0)):
                raise Fault("time")
            direct = len(place) >= AHEAD
            count = self.stdout.readinto(place if direct else self.buffer)
            if not count:
                raise self._ended()
            if direct:
                place = place[count:]
            else:
                self.ahead = memoryview(self.buffer)[:count]

    def _ended(self) -> Fault:
        """Why the process is no more."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        code = self.process.poll()
        if code == OUT_OF_MEMORY:
            return Fault("memory")
        if code == -signal.SIGXCPU:
            return Fault("time")
        self.words.seek(0)
        lines = self.words.read(100_000).decode("utf-8", "replace").strip().splitlines()
        return Fault("memory" if "MemoryError" in "".join(lines[-1:]) else "crash", f"{code} {' '.join(lines[-1:])}")

    @property
    def alive(self) -> bool:
        """Whether it can still be asked."""
        return self.process.poll() is None

    def close(self) -> None:
        """End the process for good."""
        if self.selector.get_map() is not None:
            self.selector.close()
        self.process.kill()
        self.process.wait()
        for stream in (self.stdin, self.stdout, self.words):
            with suppress(OSError):
                stream.close()


def _widen(*pipes: Any) -> None:
    """Let a pipe hold more, where the system can: then the processes wait for one another less often."""
    for pipe in pipes:
        with suppress(AttributeError, OSError):  # Linux only, and only up to what an administrator allows
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, CHUNK)
