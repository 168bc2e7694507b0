"""Files and folders that are there whole or as they were before, whatever happens meanwhile: a kill, a full disk, a
power cut.

Each is written beside its place, on the same file system, flushed, renamed into its place, and the folder is flushed,
too. Where there is no room for it, DiskFullError says how much to free. Knows nothing of what is in them.
"""

from __future__ import annotations

import errno
import math
import os
import re
import shutil
import time
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from deepmusician.errors import DiskFullError

_ASIDE = re.compile(r"\.(.+)\.\d+\.old\.tmp")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
# how libraries that pass on no number say it: safetensors, NumPy, SQLite
_NO_ROOM_WORDS = re.compile(r"os error (28|122)\b|No space left|\d+ requested and \d+ written|disk is full")
LEAST_MB = 10  # to be freed, however little was to be written: something will follow
SETTLED = 10.0  # seconds after which a folder set aside is a dead process's: a living one takes milliseconds


def replace_file(path: Path, content: str | bytes, like: Path | None = None) -> None:
    """Write a file so that it is there whole or as before, with the permissions of `like`. Raises DiskFullError."""
    data = _encoded(content)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if like:
            shutil.copymode(like, draft)
        os.replace(draft, path)
    except BaseException as error:
        draft.unlink(missing_ok=True)  # a full disk is not filled further
        if full := no_room(error, len(data)):
            raise full from error
        raise
    flush(path.parent)


def write_output(path: Path, content: str | bytes) -> None:
    """As `replace_file`, for a place that a person names.

    The file a link leads to is replaced, not the link; it stays as closed or open to others as it was; and what is no
    file, such as a pipe, is written to as it stands. Raises DiskFullError, or OSError where it cannot be written.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        with path.open("wb") as stream:
            stream.write(_encoded(content))
        return
    replace_file(path, content, like=path if path.exists() else None)


def _encoded(content: str | bytes) -> bytes:
    return content.encode("utf-8") if isinstance(content, str) else content


def no_room(error: BaseException, wanted: int = 0) -> DiskFullError | None:
    """What to say where `error` means that a disk is full and `wanted` bytes are to be written; else None."""
    if isinstance(error, DiskFullError):
        return error
    if getattr(error, "errno", None) not in _NO_ROOM and not _NO_ROOM_WORDS.search(str(error)):
        return no_room(error.__cause__, wanted) if error.__cause__ else None
    megabytes = max(LEAST_MB, math.ceil(2 * wanted / 1e6))  # for it, and as much again for what comes after
    return DiskFullError(
        f"the disk is full: free {megabytes:,} MB, then do it again; what was saved before is as it was"
    )


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

    def __exit__(self, kind: type | None, error: BaseException | None, *_: object) -> None:
        try:
            if error is not None:
                raise error
            for top, _, names in os.walk(self.draft):
                for name in names:
                    if not os.path.islink(place := Path(top, name)):
                        flush(place)
                flush(Path(top))
            self._put()
        except BaseException as problem:
            wanted = max(_bytes_in(self.draft), _bytes_in(self.folder))
            shutil.rmtree(self.draft, ignore_errors=True)
            full = no_room(problem, wanted)
            if full and full is not problem:
                raise full from problem
            if problem is not error:  # that one goes on by itself
                raise
            return
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


def _bytes_in(folder: Path) -> int:
    return sum(Path(top, name).lstat().st_size for top, _, names in os.walk(folder) for name in names)


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
