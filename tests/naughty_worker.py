"""A worker of the sandbox that does what workers must not: `python -m naughty_worker`, asked by test_sandbox."""

import ctypes
import os
import sys
import time

from deepmusician import serving
from deepmusician.errors import MidiError

SERVED = []


def answer(request, data, send):
    """Do what `request["do"]` names."""
    SERVED.append(request)
    return globals()[request["do"]](request, data, send)


def echo(request, data, send):
    for byte in data:
        send(bytes([byte]))
    return {"said": request["say"], "pid": os.getpid()}


def hang(request, data, send):
    time.sleep(60)


def fill(request, data, send):
    return {"length": sum(len(bytes(10_000_000)) for _ in [bytearray(10_000_000) for _ in range(100)])}


def fall(request, data, send):
    ctypes.string_at(0)


def fail(request, data, send):
    raise RuntimeError("no idea")


def refuse(request, data, send):
    raise MidiError("it holds no notes")


def wear(request, data, send):
    if len(SERVED) > 1:
        os.abort()
    send(data)
    return {"pid": os.getpid(), "said": request.get("say")}


def stale(request, data, send):
    if len(SERVED) == 1:
        time.sleep(60)
    time.sleep(0.4)
    os.abort()


def nap(request, data, send):
    time.sleep(0.3)
    return echo(request, data, send)


def flood(request, data, send):
    send(bytes(1001))
    return {}


def chatter(request, data, send):
    print("hello")
    os.write(1, b"hello")
    sys.stdin.read()
    return {}


def look(request, data, send):
    import numpy

    return {"environment": dict(os.environ), "numpy": numpy.__file__}


def write(request, data, send):
    with open(request["path"], "wb") as file:
        file.write(bytes(3_000_000))
    return {}


def babble(request, data, send):
    os.write(sandbox_pipe(), b"J\x00\x00\x00\x04nope")
    time.sleep(60)


def sandbox_pipe():
    """The descriptor on which answers go out: the only pipe that can be written."""
    for number in range(3, 20):
        try:
            if os.readlink(f"/proc/self/fd/{number}").startswith("pipe:"):
                os.write(number, b"")
                return number
        except OSError:
            continue


if __name__ == "__main__":
    serving.serve(answer)
