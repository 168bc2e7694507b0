"""The side of the sandbox that answers: what a worker process does with itself before and while it works.

It bounds its own memory, processor time and files, keeps its pipes to itself, and goes home when nobody asks any more.
See `sandbox` for the side that asks.
"""

from __future__ import annotations

import json
import math
import os
import resource
import selectors
import signal
import struct
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from deepmusician.errors import DeepMusicianError

FRAME = struct.Struct(">cI")  # kind, length of what follows
DATA, JSON = b"D", b"J"
MAX_WRITTEN = 1_000_000  # bytes of a file a worker may write: its own last words
IDLE_SECONDS = 600.0  # then a worker goes home
WATCH_SECONDS = 0.05
OUT_OF_MEMORY = 97  # exit code of a worker that watched itself
AT_ONCE = 4_096  # bytes that are sent on as they come; fewer wait for more, or for the answer they belong to

Answer = Callable[[dict, bytes, Callable[[Any], None]], dict]


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
        head, data = json.loads(_frame(requests, JSON)), _frame(requests, DATA)
        busy.set()
        _answer_each(answer, head, data, write)
        busy.clear()
        del data  # before the next is read
    answers.flush()
    os._exit(0)  # what a library does on its way out is nobody's concern


def _answer_each(answer: Answer, head: dict, data: bytes, write: Callable[[bytes, Any], None]) -> None:
    """Answer the requests that came together, each with its part of `data` and its own seconds."""
    at = 0
    for i, (request, size) in enumerate(head["each"], 1):
        _limit_cpu(head["cpu_seconds"])
        told = _answered(answer, head["common"] | request, data[at : at + size], lambda sent: write(DATA, sent))
        at += size
        if i == len(head["each"]):
            told["peak_mb"] = round(peak_bytes() / 1e6, 1)
        write(JSON, json.dumps(told).encode())
        if "fault" in told:
            os._exit(0)


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
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", 1 << 16)
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
    if kind == JSON or len(data) >= AT_ONCE:
        answers.flush()
