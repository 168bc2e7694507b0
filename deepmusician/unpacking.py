"""What came of a download, or a person's own copy, taken into a folder: music and the tables beside it, and no more.

Archives are unpacked member by member, those within them too: no path leads out of the folder, links are passed over,
and what inflates beyond any music is given up. It knows no collection.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from deepmusician import bulk
from deepmusician.download import check_room
from deepmusician.errors import LibraryError
from deepmusician.finding import is_music
from deepmusician.limits import Limits

BESIDE = (".csv", ".json", ".txt", ".tsv", ".md")  # kept beside the music: tables, splits, licences
MEMBER_BYTES = 256_000_000  # of an archive within an archive, or a table: it is held in memory
_NO_PLACE = (errno.ENAMETOOLONG, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.EILSEQ)

Watch = Callable[[str, int, int], None]  # what is being done, how far, of how much (0 where it is not known)


def take_in(source: Path, draft: Path, several: bool, limits: Limits, watch: Watch) -> list[tuple[str, str]]:
    """Copy or unpack one source; what was refused of it. One of several archives gets a folder of its own name."""
    if source.is_dir():
        return _copy(source, draft, limits, watch)
    if bulk.is_archive(source.name):
        size = source.stat().st_size
        check_room(draft, size, size)
        into = draft / source.name.partition(".")[0] if several else draft
        return unpack(source, into, limits, lambda done, total: watch(f"unpacking {source.name}", done, total))
    if not _wanted(source.name):
        return [(source.name, "it is neither music nor an archive that is opened here; unpack it and give the folder")]
    shutil.copyfile(source, draft / source.name)
    return []


def _copy(source: Path, draft: Path, limits: Limits, watch: Watch) -> list[tuple[str, str]]:
    refused, found = [], [path for path in sorted(source.rglob("*")) if path.is_file() and not path.is_symlink()]
    check_room(draft, sum(path.stat().st_size for path in found))
    for number, path in enumerate(found, 1):
        at = path.relative_to(source)
        if bulk.is_archive(path.name):
            within = draft / at.parent / path.name.partition(".")[0]
            refused += unpack(path, within, limits, lambda done, total, name=path.name: watch(name, done, total))
        elif _wanted(path.name):
            (draft / at).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, draft / at)
        watch("copying", number, len(found))
    return refused


def _wanted(name: str) -> bool:
    return is_music(name) or os.path.splitext(name)[1].lower() in BESIDE


def unpack(
    archive: Path, into: Path, limits: Limits, watch: Callable[[int, int], None] = lambda done, total: None
) -> list[tuple[str, str]]:
    """Unpack the music and the tables of an archive, member by member; names and reasons of those that are refused.

    No path leads out of `into`, links are passed over, and so are files larger than music can be. Raises LibraryError
    for an archive that is damaged or a bomb.
    """
    into.mkdir(parents=True, exist_ok=True)
    return _Unpacking(archive, limits, watch).of(archive, into)


class _Unpacking:
    """One archive, with the archives in it, but not those in these; all that comes out of it is counted together."""

    def __init__(self, archive: Path, limits: Limits, watch: Callable[[int, int], None]) -> None:
        self.limits, self.watch = limits, watch
        self.total, self.written = bulk.count(archive, _wanted), 0
        self.left = max(bulk.ALLOWED, bulk.TIMES * archive.stat().st_size)

    def of(self, archive: Path, into: Path, within: bool = False) -> list[tuple[str, str]]:
        refused: list[tuple[str, str]] = []
        wanted = _wanted if within else lambda name: _wanted(name) or bulk.is_archive(name)
        for name, content in bulk.members(archive, wanted, max(self.limits.file_bytes, MEMBER_BYTES)):
            if isinstance(content, str):
                refused.append((name, content))
                continue
            self.left -= len(content)
            if self.left < 0:
                raise LibraryError(f"{archive.name} inflates to more than any music does; it is not taken in")
            if bulk.is_archive(name):
                refused += self._within(name, content, into)
            else:
                problem = self._place(into, name, content)
                refused += [(name, problem)] if problem else []
            self.watch(self.written, self.total)
        return refused

    def _within(self, name: str, content: bytes, into: Path) -> list[tuple[str, str]]:
        """Unpack an archive that lies in one, into a folder of its name."""
        parts = _parts(name)
        folder = into.joinpath(*parts[:-1], parts[-1].partition(".")[0] or "archive")
        with tempfile.TemporaryDirectory(dir=into) as aside:
            inner = Path(aside) / f"inner.{parts[-1].partition('.')[2]}"
            inner.write_bytes(content)
            try:
                return [(f"{name}/{member}", reason) for member, reason in self.of(inner, folder, within=True)]
            except LibraryError as error:
                if self.left < 0:
                    raise
                return [(name, str(error))]

    def _place(self, into: Path, name: str, content: bytes) -> str:
        """Write one member; why it cannot be, where it is too large or its name has no place on this disk."""
        if is_music(name) and len(content) > self.limits.file_bytes:
            return f"it has more than {self.limits.file_bytes:,} bytes; split it into pieces"
        path = into.joinpath(*_parts(name))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno not in _NO_PLACE:
                raise
            return f"its name has no place on this disk ({error})"
        self.written += 1
        return ""


def _parts(name: str) -> list[str]:
    return [part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in ("", ".")]
