"""Zip archives from strangers: what is in them, one file at a time, in memory.

Nothing is unpacked to disk, so no path and no link can leave a folder. What is inflated is counted while it streams,
against one budget for the whole archive and one for each file, because headers may lie; so may the number of entries,
which is counted in the bytes before they are parsed. Archives within archives stay closed. It knows no music.

Source: PKWARE, .ZIP File Format Specification (APPNOTE) 6.3.10.
"""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path, PurePosixPath

from deepmusician.errors import LibraryError
from deepmusician.limits import Limits

_CHUNK = 1 << 16
_ENTRY = b"PK\x01\x02"  # begins each entry of an archive's table
_SPARE = 20_000  # entries beyond twice as many as files are looked at: folders, what systems leave about, chance
# what zipfile raises over damaged bytes
ERRORS = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError, ValueError)
_BOUNDED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the kinds that zipfile inflates no further than asked


_LEFT_ABOUT = frozenset(("__MACOSX", "Thumbs.db", "desktop.ini"))


class Archive:
    """A zip whose inflated bytes are counted. Raises LibraryError where it is none, or beyond a limit."""

    def __init__(self, source: Path | BytesIO, limits: Limits) -> None:
        self.limits, self.left = limits, limits.zip_bytes
        try:
            _check_table(source, limits)
            self.zip = zipfile.ZipFile(source)
        except ERRORS as error:
            raise LibraryError(f"it is not a readable zip archive ({error})") from error
        files = [info for info in self.zip.infolist() if not info.filename.endswith("/")]
        self.members = [info for info in files if not is_hidden(info.filename)]
        if not self.members:
            raise LibraryError("the archive is empty")
        if len(self.members) > limits.zip_files:
            raise LibraryError(
                f"the archive holds {len(self.members):,} files, at most {limits.zip_files:,} are read; unpack it"
            )

    def read(self, info: zipfile.ZipInfo, most: int | None = None) -> bytes:
        """The content of one member of at most `most` bytes. Raises LibraryError with the reason it is refused for."""
        content = BytesIO()
        for chunk in self.chunks(info, most):
            content.write(chunk)
        return content.getvalue()

    def chunks(self, info: zipfile.ZipInfo, most: int | None = None) -> Iterator[bytes]:
        """As `read`, piece by piece as it inflates."""
        _check_member(info)
        most = self.limits.file_bytes if most is None else min(most, self.limits.file_bytes)
        size = 0
        try:
            with self.zip.open(info) as stream:
                while chunk := stream.read(_CHUNK):
                    size += len(chunk)
                    self._count(len(chunk), size, most)
                    yield chunk
        except ERRORS as error:
            raise LibraryError(f"it is damaged within the archive ({error})") from error

    def _count(self, size: int, of_file: int, most: int) -> None:
        self.left -= size
        if self.left < 0:
            raise LibraryError(f"its archive inflates to more than {self.limits.zip_mb:g} MB; give a smaller one")
        if of_file > most:
            raise LibraryError(f"it inflates to more than {most:,} bytes; split it into pieces")


def is_zip(label: str) -> bool:
    """Does a file of this name call itself a zip?"""
    return label.lower().endswith(".zip")


def is_hidden(label: str) -> bool:
    """Is it a file that systems leave about: .DS_Store, __MACOSX, Thumbs.db?"""
    if "/" not in label and "\\" not in label:  # as nearly all are that are asked about by the hundred thousand
        return label in _LEFT_ABOUT or (label[:1] == "." and label not in (".", ".."))
    parts = [part for part in label.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return any(part.startswith(".") or part in _LEFT_ABOUT for part in parts)


def _check_table(source: Path | BytesIO, limits: Limits) -> None:
    """Raise LibraryError for a table that would fill the memory when parsed: zipfile makes an object of each entry."""
    size = source.stat().st_size if isinstance(source, Path) else source.getbuffer().nbytes
    if size > limits.zip_bytes:
        raise LibraryError(f"an archive may have at most {limits.zip_mb:g} MB, got {size / 1e6:,.0f}; split it")
    found = (source.read_bytes() if isinstance(source, Path) else source.getvalue()).count(_ENTRY)
    if found > _SPARE + 2 * limits.zip_files:
        raise LibraryError(f"the archive holds {found:,} entries, at most {limits.zip_files:,} are read; unpack it")


def _check_member(info: zipfile.ZipInfo) -> None:
    parts = PurePosixPath(info.filename.replace("\\", "/")).parts
    if ".." in parts or info.filename.startswith(("/", "\\")) or ":" in info.filename[:2]:
        raise LibraryError("its path leads out of the archive; pack it again without")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise LibraryError("it is a link, not a file; pack what it points to")
    if info.flag_bits & 1:
        raise LibraryError("it is encrypted; unpack the archive first")
    if info.compress_type not in _BOUNDED:
        raise LibraryError("it is compressed in an unusual way; pack the archive again as plain zip")
    if is_zip(info.filename):
        raise LibraryError("it is an archive within an archive; unpack it first")
