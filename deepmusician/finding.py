"""What there is to ingest: the music files below some folders, those in archives too, one after another.

Nothing is read but archives, whose members have no other place; of files their size and time are looked at, by which a
later call knows what it has read already. It holds one file at a time, so a million cost no more memory than one.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from deepmusician import bulk
from deepmusician.archives import is_hidden
from deepmusician.errors import LibraryError
from deepmusician.formats import SUFFIXES

ARCHIVE_MB = 20_000  # an archive's own size; the largest collection has 2,000


_ENDS = frozenset(suffix[1:] for suffix in SUFFIXES)


class Found(NamedTuple):
    """A file to read: `label` is its path below `root`, `place` where it lies on disk.

    A member of an archive, or a file that is refused without reading it, has its `content`, or the reason, instead. An
    archive itself, whose members came before it, is `done`.
    """

    root: str
    label: str
    place: str
    size: int
    mtime: int
    content: bytes | str | None = None
    done: bool = False


def is_music(name: str) -> bool:
    """Whether a file of that name is read as music."""
    _, dot, suffix = name.rpartition(".")
    return suffix.lower() in _ENDS and bool(dot)


def roots_of(paths: Sequence[str | Path]) -> list[tuple[str, str]]:
    """(root, place) of each path: a folder is its own root, a file's is the folder it lies in.

    Raises LibraryError where there is nothing of that name.
    """
    places = [Path(os.path.abspath(os.path.expanduser(path))) for path in paths]
    for path, place in zip(paths, places, strict=True):
        if not place.exists():
            raise LibraryError(f"no file or folder is called {path}; give a folder of music, or an archive of it")
    return list(dict.fromkeys((str(p if p.is_dir() else p.parent), str(p)) for p in places))


def count(paths: Sequence[tuple[str, str]]) -> int:
    """How many files there will be, but for what is in tar archives."""
    found = 0
    for _, place in paths:
        for path in _walk(place):
            if is_music(path):
                found += 1
            elif bulk.is_archive(path):
                found += bulk.count(Path(path), is_music)
    return found


def find(
    paths: Sequence[tuple[str, str]], most_bytes: int, is_known: Callable[[str, str, int, int], bool]
) -> Iterator[Found]:
    """Every music file at or below `paths`, the known ones too; but of an archive that is known, as a whole, nothing.

    `is_known(root, label, size, mtime)` says whether a file was read as it stands.
    """
    for root, place in paths:
        below = os.path.join(root, "")
        for path in _walk(place):
            inside = path[len(below) :] if path.startswith(below) else os.path.relpath(path, root)
            label = inside if os.sep == "/" else inside.replace(os.sep, "/")
            try:
                seen = os.stat(path)
            except OSError as error:
                yield Found(root, label, path, 0, 0, f"it cannot be read ({error.strerror})")
                continue
            about = (seen.st_size, seen.st_mtime_ns)
            if not stat.S_ISREG(seen.st_mode):
                is_folder = stat.S_ISDIR(seen.st_mode)
                if is_folder or is_music(path):
                    reason = "the folder cannot be looked into; see who may read it" if is_folder else "it is no file"
                    yield Found(root, label, path, *about, reason)
            elif is_music(path):
                yield Found(root, label, path, *about, _too_large(seen.st_size, most_bytes))
            elif bulk.is_archive(path) and not is_known(root, label, *about):
                yield from _opened(root, label, path, *about, most_bytes)


def _too_large(size: int, most: int) -> str | None:
    if size <= most:
        return None
    return f"a file may have at most {most:,} bytes, got {size:,}; split it into pieces"


def _opened(root: str, label: str, path: str, size: int, mtime: int, most_bytes: int) -> Iterator[Found]:
    """The members of an archive, then it itself: whole, or with the reason why no more could be got out of it."""
    reason = None
    if size > ARCHIVE_MB * 1_000_000:
        reason = f"an archive may have at most {ARCHIVE_MB:,} MB, got {size / 1e6:,.0f}; unpack it"
    else:
        try:
            for name, content in bulk.members(Path(path), is_music, most_bytes):
                length = len(content) if isinstance(content, bytes) else 0
                yield Found(root, f"{label}/{name}", path, length, mtime, content)
        except LibraryError as error:
            reason = str(error)
    yield Found(root, label, path, size, mtime, reason, done=True)


def _walk(place: str) -> Iterator[str]:
    """Every file at or below a place, folder by folder in the order of their names. A link that leads back up is not
    followed again."""
    if not os.path.isdir(place):
        yield place
        return
    seen = {os.path.realpath(place)}
    waiting = [place]
    while waiting:
        folder = waiting.pop()
        try:
            entries = sorted(os.scandir(folder), key=attrgetter("name"))
        except OSError:
            yield folder  # stands for what is in it, and is refused
            continue
        below = []
        for entry in entries:
            if is_hidden(entry.name):
                continue
            if not entry.is_dir():
                yield entry.path
            elif not entry.is_symlink():
                below.append(entry.path)
            elif (real := os.path.realpath(entry.path)) not in seen and not place.startswith(real):
                seen.add(real)
                below.append(entry.path)
        waiting += reversed(below)
