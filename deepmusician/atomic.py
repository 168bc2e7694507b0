"""Files and folders that are there whole or as they were before, whatever happens meanwhile: a kill, a full disk, a
power cut.

Each is written beside its place, on the same file system, flushed, renamed into its place, and the folder is flushed,
too. Knows nothing of what is in them.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path


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


class AtomicFolder:
    """A folder that appears whole or not at all: filled beside its place, flushed to disk, renamed.

    What stood in its place before is set aside first and goes last.
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
