"""A disposable process that does what may go wrong: it may crash, hang or fill the memory, and only itself with it.

A worker is `python -m MODULE`, whose main calls `serve`. It is started once and answers many requests; one that breaks
a limit is killed and the next request gets a fresh one. Limits: address space and CPU time by the kernel (and, where
the kernel only pretends to, as on macOS, by a watch on its own memory), wall clock by who asks. It has no terminal, no
secrets of the environment, nothing of the folder one stands in on its import path, and writes no file worth the name.

What goes between is bytes and JSON, never a pickle, and both ends bound what they take in: a worker that was taken over
by what it read can answer nonsense, but runs nothing here. A subprocess, not multiprocessing, whose workers import
__main__: that is the whole app when a page asks. This module knows nothing of music.
"""

from __future__ import annotations

import atexit
import fcntl
import json
import logging
import math
import mmap
import os
import resource
import selectors
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Literal, NoReturn

from deepmusician.errors import DeepMusicianError

log = logging.getLogger(__name__)

FRAME = struct.Struct(">cI")  # kind, length of what follows
DATA, JSON = b"D", b"J"
MAX_JSON = 32_000_000  # bytes; a request or answer beside its data
MAX_WRITTEN = 1_000_000  # bytes of a file a worker may write: its own last words
START_SECONDS = 60.0  # a fresh interpreter on a machine that is busy
IDLE_SECONDS = 600.0  # then a worker goes home
WATCH_SECONDS = 0.05
OUT_OF_MEMORY = 97  # exit code of a worker that watched itself
CHUNK = 1 << 20
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "HOMEBREW_PREFIX")
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")

Heard = Callable[[memoryview], None]
Answer = Callable[[dict, bytes, Callable[[Any], None]], dict]


class Fault(Exception):
    """A worker did not answer: it took too long, too much memory, or ended."""

    def __init__(self, kind: Literal["time", "memory", "crash"], detail: str = "") -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind, self.detail = kind, detail


class Refused(DeepMusicianError):
    """The worker's own sentence about why it does not do what it was asked."""


# ---- the side that asks


class Worker:
    """One process and the pipe to it. One thread at a time may ask it."""

    def __init__(self, module: str, memory_mb: int) -> None:
        self.served, self.ready, self.peak_mb = 0, False, 0.0
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
            self.wait()
            head = json.dumps(request | {"cpu_seconds": seconds}).encode()
            self._send(FRAME.pack(JSON, len(head)) + head + FRAME.pack(DATA, len(data)), data)
            place = memoryview(mmap.mmap(-1, max(most_bytes, 1)))  # memory is taken as it is filled
            answer, sent = self._receive(time.monotonic() + seconds, place, heard)
        except BaseException:  # an interruption, too, leaves an answer in the pipe that belongs to nobody
            self.close()
            raise
        self.served += 1
        self.peak_mb = max(self.peak_mb, float(answer.get("peak_mb", 0)))
        if fault := answer.get("fault"):
            self.close()
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
            if not self.selector.select(max(deadline - time.monotonic(), 0)):
                raise Fault("time")
            count = self.stdout.readinto(place)
            if not count:
                raise self._ended()
            place = place[count:]

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


def _widen(*pipes: Any) -> None:
    """Let a pipe hold more, where the system can: then the processes wait for one another less often."""
    for pipe in pipes:
        with suppress(AttributeError, OSError):  # Linux only, and only up to what an administrator allows
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, CHUNK)


@cache
def pool(module: str, memory_mb: int, size: int) -> Pool:
    """The one pool of that kind in this process."""
    return Pool(module, memory_mb, size)


# ---- the side that answers


def serve(answer: Answer) -> NoReturn:
    """The main of a worker: answer requests until nobody asks any more.

    `answer(request, data, send)` returns the answer, having sent what data belongs to it. A DeepMusicianError becomes
    the sentence of a Refused there; any other exception ends the worker, whose state nobody can vouch for.
    """
    memory_mb = int(sys.argv[1])
    requests, answers = _private_pipes()
    _limit_itself(memory_mb)
    busy = _watch(memory_mb)
    write = lambda kind, data: _write(answers, kind, data)  # noqa: E731
    write(JSON, b"{}")  # ready
    while _is_asked(requests):
        request = json.loads(_frame(requests, JSON))
        data = _frame(requests, DATA)
        _limit_cpu(request.pop("cpu_seconds"))
        busy.set()
        told = _answered(answer, request, data, lambda sent: write(DATA, sent))
        busy.clear()
        del data  # before the next is read
        told["peak_mb"] = round(peak_bytes() / 1e6, 1)
        write(JSON, json.dumps(told).encode())
        if "fault" in told:
            break
    answers.flush()
    os._exit(0)  # what a library does on its way out is nobody's concern


def _answered(answer: Answer, request: dict, data: bytes, send: Callable[[Any], None]) -> dict:
    try:
        return answer(request, data, send)
    except DeepMusicianError as error:
        return {"refused": str(error)}
    except MemoryError:
        return {"fault": "memory"}
    except Exception as error:
        return {"fault": "crash", "detail": f"{type(error).__name__}: {error}"[:300]}


def _private_pipes() -> tuple[BinaryIO, BinaryIO]:
    """The pipes of standard input and output, out of reach of libraries that print or ask."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who asked; its end ends us
    return requests, answers


def _limit_itself(memory_mb: int) -> None:
    for what, most in (("CORE", 0), ("FSIZE", MAX_WRITTEN), ("AS", memory_mb * 1_000_000)):
        with suppress(ValueError, OSError):  # macOS refuses to bound the address space: see _watch
            resource.setrlimit(getattr(resource, f"RLIMIT_{what}"), (most, most))


def _limit_cpu(seconds: float) -> None:
    """End this process where it computes longer, even if nobody waits for it any more."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = math.ceil(used.ru_utime + used.ru_stime + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _watch(memory_mb: int) -> threading.Event:
    """End this process where it takes more memory while the event is set."""
    busy = threading.Event()

    def watch() -> None:
        while busy.wait():
            if peak_bytes() > memory_mb * 1_000_000:
                os._exit(OUT_OF_MEMORY)
            time.sleep(WATCH_SECONDS)

    threading.Thread(target=watch, daemon=True).start()
    return busy


def peak_bytes() -> int:
    """The most memory this process has held at once."""
    try:  # not getrusage on Linux: its peak begins with that of the process that started this one
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def _is_asked(requests: BinaryIO) -> bool:
    """Wait for a request; False where nobody is there any more, or none came for a long time."""
    with selectors.DefaultSelector() as selector:
        selector.register(requests, selectors.EVENT_READ)
        return bool(selector.select(IDLE_SECONDS)) and bool(requests.peek(1))


def _frame(requests: BinaryIO, kind: bytes) -> bytes:
    got, length = FRAME.unpack(requests.read(FRAME.size))
    if got != kind:
        raise ValueError(f"a frame of {kind!r} must follow, got {got!r}")
    return requests.read(length)


def _write(answers: BinaryIO, kind: bytes, data: Any) -> None:
    data = memoryview(data).cast("B")
    answers.write(FRAME.pack(kind, len(data)))
    answers.write(data)
    answers.flush()
