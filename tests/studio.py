"""The studio and a real Chromium, for tests and programs that drive it: a server, and what a page may ask and say."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACES = [
    os.environ.get("CHROMIUM"),
    "/usr/bin/chromium",
    shutil.which("chromium"),
    shutil.which("google-chrome"),
]
CHROMIUM = next((place for place in PLACES if place and Path(place).exists()), None)
ARGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
]  # fmt: skip
# a page asks for these below its own path first, to find the root of the app; a 404 there is the answer
PROBES = ("/_stcore/health", "/_stcore/host-config")


def free_port():
    """A port that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def studio(home, script="app.py", serve=(), port=None, **environment):
    """A server of its own; gives its address. `script` is what it runs instead of the studio; with `serve`, flags of
    `deepmusician serve`, that verb opens it."""
    port, python = port or free_port(), [sys.executable, "-X", "faulthandler"]
    if serve:
        command = [*python, "-m", "deepmusician", "serve", f"--port={port}", *serve]
    else:
        command = [*python, "-m", "streamlit", "run", str(script), f"--server.port={port}"]
    env = os.environ | {"PYTHONPATH": str(ROOT), "DEEPMUSICIAN_HOME": str(home), "OMP_NUM_THREADS": "1"}
    env |= {"STREAMLIT_SERVER_HEADLESS": "true"} | environment
    with (home.parent / "server.log").open("wb") as log:
        server = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log)
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/_stcore/health"))
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        try:
            server.wait(60)  # a busy machine takes its time
        except subprocess.TimeoutExpired:
            server.send_signal(signal.SIGABRT)  # faulthandler says where each thread stands
            server.wait(60)
            print((home.parent / "server.log").read_text(errors="replace")[-20_000:], file=sys.stderr)


def answers(url):
    try:
        return urllib.request.urlopen(url).status == 200
    except OSError:
        return False


def wait_until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.1)


def at_home(url):
    return url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:"))


def probe(message):
    return message.location.get("url", "").endswith(PROBES)


def watched(page):
    """Two lists that fill as the page lives: its requests to other hosts, and the errors in its console."""
    outside, errors = [], []
    page.on("request", lambda r: outside.append(r.url) if not at_home(r.url) else None)
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" and not probe(m) else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    return outside, errors
