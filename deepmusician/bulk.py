"""Archives of any size, member by member: zip, and tar as it is, or packed by gzip, bzip2 or xz.

Nothing is unpacked to disk and one member at a time is held in memory, so no path leads out of a folder and no length
fills the memory; what inflates to far more than any music does is given up, with the reason. For a person's own zips
`archives` is stricter. It knows no music.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import mmap
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from deepmusician.archives import ERRORS, is_hidden
from deepmusician.errors import LibraryError

TIMES = 200  # what music inflates to at most, as a multiple of the archive; gzip reaches a thousand on zeros
ALLOWED = 1 << 30  # bytes an archive may inflate to in any case
MOST = 5_000_000  # members
_TARS: dict[str, Callable[[Path], BinaryIO]] = {
    ".tar": lambda path: path.open("rb"), ".tar.gz": gzip.open, ".tgz": gzip.open, ".tar.bz2": bz2.open,
    ".tbz2": bz2.open, ".tar.xz": lzma.open, ".txz": lzma.open,
}  # fmt: skip
_ERRORS = (*ERRORS, tarfile.TarError, lzma.LZMAError, zlib.error)

Member = tuple[str, bytes | str]  # its path within, and its content or the reason why there is none


def is_archive(name: str) -> bool:
    """Does a file of this name call itself an archive that is opened here?"""
    return name.lower().endswith((".zip", *_TARS))


def members(path: Path, wanted: Callable[[str], bool], most_bytes: int) -> Iterator[Member]:
    """The members that are `wanted` by their paths, of at most `most_bytes` each, in their order.

    Raises LibraryError where the archive is damaged, or beyond what music can be; what came before it stays true.
    """
    try:
        yield from (_in_zip if path.name.lower().endswith(".zip") else _in_tar)(path, wanted, most_bytes)
    except _ERRORS as error:
        raise LibraryError(f"it is damaged ({error}); get it again") from error


def count(path: Path, wanted: Callable[[str], bool]) -> int:
    """How many members of a zip are wanted; of a tar, which would have to be gone through for it, 0."""
    if not path.name.lower().endswith(".zip"):
        return 0
    try:
        with _open_zip(path) as archive:
            return sum(_is_file(info) and wanted(info.filename) for info in archive.infolist())
    except (*_ERRORS, LibraryError):
        return 0


def _allowance(path: Path) -> int:
    return max(ALLOWED, TIMES * path.stat().st_size)


def _out_of(name: str) -> bool:
    """Whether a path leads out of its archive."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return ".." in parts or name.startswith(("/", "\\")) or ":" in name[:2]


def _bomb(path: Path) -> LibraryError:
    inflated = _allowance(path) / 1e9
    return LibraryError(f"it inflates to more than {inflated:,.1f} GB, {TIMES} times its size: no music does")


# ---- zip


def _open_zip(path: Path) -> zipfile.ZipFile:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as seen:
        at, found = seen.find(b"PK\x01\x02"), 0
        while at >= 0:  # zipfile makes an object of each entry
            found += 1
            if found > MOST:
                raise LibraryError(f"it holds more than {MOST:,} entries; unpack it")
            at = seen.find(b"PK\x01\x02", at + 46)
    return zipfile.ZipFile(path)


def _is_file(info: zipfile.ZipInfo) -> bool:
    return not info.is_dir() and not is_hidden(info.filename)


def _in_zip(path: Path, wanted: Callable[[str], bool], most_bytes: int) -> Iterator[Member]:
    left = _allowance(path)
    with _open_zip(path) as archive:
        for info in archive.infolist():
            if not _is_file(info) or not wanted(info.filename):
                continue
            content = _zipped(archive, info, most_bytes)
            left -= len(content) if isinstance(content, bytes) else 0
            if left < 0:
                raise _bomb(path)
            yield info.filename, content


def _zipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo, most_bytes: int) -> bytes | str:
    if _out_of(info.filename):
        return "its path leads out of the archive"
    if info.flag_bits & 1:
        return "it is encrypted; unpack the archive first"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "it is compressed in an unusual way; pack the archive again as plain zip"
    try:
        with archive.open(info) as stream:
            content = stream.read(most_bytes + 1)
    except _ERRORS as error:
        return f"it is damaged within the archive ({error})"
    return content if len(content) <= most_bytes else _too_large(most_bytes)


def _too_large(most_bytes: int) -> str:
    return f"it inflates to more than {most_bytes:,} bytes; split it into pieces"


# ---- tar


class _Forward(io.RawIOBase):
    """A stream that is read forwards, in bounded bites, and counted; tarfile steps back by one byte at most."""

    def __init__(self, stream: BinaryIO, bite: int, left: int, path: Path) -> None:
        self.stream, self.bite, self.left, self.path = stream, bite, left, path
        self.at, self.last, self.back = 0, b"", False

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= self.bite:  # such as a header that says it is a gigabyte long
            raise LibraryError(f"a header of {size:,} bytes has no place in an archive of music")
        again, self.back = (self.last if self.back and size else b""), False
        fresh = self._next(size - len(again))
        self.at += len(again) + len(fresh)
        self.last = (again + fresh)[-1:] or self.last
        return again + fresh

    def _next(self, size: int) -> bytes:
        data = self.stream.read(size) if size else b""
        self.left -= len(data)
        if self.left < 0:
            raise _bomb(self.path)
        return data

    def seek(self, place: int, whence: int = 0) -> int:
        if whence or place < self.at - 1:
            raise LibraryError("its members do not follow one another")
        if place == self.at - 1:
            self.back, self.at = True, place
        while place > self.at:
            if not self.read(min(place - self.at, 1 << 16)):
                break
        return self.at

    def tell(self) -> int:
        return self.at

    def seekable(self) -> bool:
        return True


def _in_tar(path: Path, wanted: Callable[[str], bool], most_bytes: int) -> Iterator[Member]:
    opener = next(opener for end, opener in _TARS.items() if path.name.lower().endswith(end))
    with opener(path) as stream:
        forward = _Forward(stream, max(most_bytes, 1 << 20) + 1, _allowance(path), path)
        with tarfile.open(fileobj=forward, mode="r:") as archive:  # type: ignore[call-overload]
            found = 0
            while info := archive.next():
                archive.members = []  # or it would hold on to all of them
                found += 1
                if found > MOST:
                    raise LibraryError(f"it holds more than {MOST:,} entries; unpack it")
                if not info.isreg() or is_hidden(info.name) or not wanted(info.name):
                    continue
                if _out_of(info.name):
                    yield info.name, "its path leads out of the archive"
                elif info.size > most_bytes:
                    yield info.name, _too_large(most_bytes)
                else:
                    content = archive.extractfile(info).read()
                    whole = len(content) == info.size
                    yield info.name, content if whole else "it is cut off within the archive"
