"""A PostgreSQL server of a test's own, where one can be started."""

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

PLACES = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True), Path("/opt/homebrew/bin")]


def program(name):
    return shutil.which(name) or next((str(p / name) for p in PLACES if (p / name).exists()), None)


@contextmanager
def server():
    """The address of an empty database, gone afterwards; None where there is no PostgreSQL here."""
    initdb, control = program("initdb"), program("pg_ctl")
    if not (initdb and control):
        yield None
        return
    folder = tempfile.mkdtemp(prefix="dm-pg-", dir="/tmp")  # short: a socket's path may have 107 bytes
    plain_user = {}
    if os.getuid() == 0:  # the server refuses to run as root
        os.chown(folder, 65534, 65534)
        plain_user = {"user": 65534, "group": 65534, "extra_groups": []}

    def call(*words):
        env = {"LC_ALL": "C", "HOME": folder, "PATH": os.environ["PATH"]}
        done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=60, cwd=folder, **plain_user)
        assert done.returncode == 0, done.stdout + done.stderr

    data = f"{folder}/data"
    try:
        call(initdb, "-D", data, "-A", "trust", "-U", "me", "-N", "-E", "UTF8")
        settings = f"-k {folder} -c listen_addresses= -c fsync=off -c max_connections=60"
        call(control, "-D", data, "-w", "-l", f"{folder}/log", "-o", settings, "start")
        try:
            yield f"postgresql://me@/postgres?host={folder}"
        finally:
            call(control, "-D", data, "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
