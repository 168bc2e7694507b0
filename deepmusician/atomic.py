"""Files and folders that are there whole or as they were before, whatever happens meanwhile: a kill, a full disk, a
power cut.

Each is written beside its place, on the same file system, flushed, renamed into its place, and the folder is flushed,
too. Knows nothing of what is in them.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

_ASIDE = re.compile(r"\.(.+)\.\d+\.old\.tmp")
SETTLED = 10.0  # seconds after which a folder set aside is a dead process's: a living one takes milliseconds


def replace_file(path: Path, text: str) -> None:
    """Write a file so that it is there whole or as before."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)  # a full disk is not filled further
        raise
    flush(path.parent)


def flush(path: Path) -> None:
    """Ask the disk to keep a file or folder through a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_held(file: Path) -> bool:
    """Whether a living process holds the lock `file`."""
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


class AtomicFolder:
    """A folder that appears whole or not at all: filled beside its place, flushed to disk, renamed.

    What stood in its place before is set aside first and goes last; `put_back` mends what a kill in between leaves.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.draft = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
        self.old = folder.with_name(f".{folder.name}.{os.getpid()}.old.tmp")

    def __enter__(self) -> Path:
        shutil.rmtree(self.draft, ignore_errors=True)
        self.draft.mkdir(parents=True)
        return self.draft

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind is not None:
            shutil.rmtree(self.draft, ignore_errors=True)
            return
        try:
            for top, _, names in os.walk(self.draft):
                for name in names:
                    if not os.path.islink(place := Path(top, name)):
                        flush(place)
                flush(Path(top))
            self._put()
        except BaseException:
            shutil.rmtree(self.draft, ignore_errors=True)
            raise
        flush(self.folder.parent)

    def _put(self) -> None:
        shutil.rmtree(self.old, ignore_errors=True)
        if self.folder.exists():
            self.folder.rename(self.old)
        try:
            self.draft.rename(self.folder)
        except OSError:
            if self.old.exists():
                self.old.rename(self.folder)
            raise
        shutil.rmtree(self.old, ignore_errors=True)


def put_back(parent: Path) -> None:
    """Mend what processes left in `parent` that were killed while they replaced a folder: what they had set aside gets
    its name back where the new form never came, and goes where it did."""
    for old in parent.glob(".*.old.tmp"):
        aside = _ASIDE.fullmatch(old.name)
        with suppress(FileNotFoundError):  # another process was quicker
            if not aside or time.time() - old.stat().st_ctime < SETTLED:
                continue
            if (parent / aside[1]).exists():
                shutil.rmtree(old)
            else:
                old.rename(parent / aside[1])
