"""The library: files, folders, archives, corpora and saved data sets, all read into one DataSet.

A file that cannot be read becomes a refused entry with the reason in words; nothing vanishes. Archives are never
unpacked to disk, and what they inflate to is counted while it streams, because their headers may lie. Saved data
sets are kept by `shelf`, whose calls are found here too. Knows nothing of grids or models.
"""

from __future__ import annotations

import logging
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from io import BytesIO
from itertools import chain, count
from pathlib import Path, PurePosixPath

from deepmusician.corpora import CORPORA, load_corpus_entries
from deepmusician.errors import LibraryError, MidiError
from deepmusician.formats import SUFFIXES, read_songs
from deepmusician.shelf import delete_data_set, list_data_sets, load_data_set, not_found, save_data_set
from deepmusician.store import DataSet, Entry

log = logging.getLogger(__name__)

__all__ = [
    "delete_data_set",
    "list_data_sets",
    "load_data_set",
    "read_source",
    "read_sources",
    "read_uploads",
    "save_data_set",
    "source_of",
    "split_paths",
]
BETWEEN = "|"  # between the sources of one path
Progress = Callable[[int, int], None]  # pieces done, pieces in all
File = tuple[str, Callable[[], "bytes | Path"]]  # a label, and how to get at what is in it

MAX_ZIP_FILES = 1_000
MAX_ZIP_BYTES = 100_000_000  # inflated
MAX_FILE_BYTES = 100_000_000
_CHUNK = 1 << 16


SAVED = "library:"  # before the name of a saved data set, where a folder may have the same

# ---- reading


def read_source(source: str | Path, progress: Progress | None = None) -> DataSet:
    """Read a file, a folder with all below it, a zip, a built-in corpus or a saved data set.

    What is on disk comes before a corpus or data set of the same name; `library:NAME` is always the saved data set.
    Raises LibraryError where there is nothing of that name, or nothing in it can be read.
    """
    path = os.path.expanduser(source)
    if str(source).startswith(SAVED):
        data = load_data_set(str(source).removeprefix(SAVED))
    elif os.path.exists(path):  # unlike Path.exists, no error for a name too long or a folder closed to us
        data = _read_files(_files_under(Path(path)), Path(path).resolve().name, progress)
    elif str(source) in CORPORA:
        data = DataSet(str(source), load_corpus_entries(str(source), progress))
    elif str(source) in list_data_sets():
        data = load_data_set(str(source))
    else:
        raise LibraryError(not_found(str(source)))
    if not data.songs:
        raise LibraryError(_nothing_read(data, source))
    return data


def split_paths(path: str) -> list[str]:
    """The sources that a path names, each once: several are joined by "|"."""
    if os.path.exists(os.path.expanduser(path)):  # a file's name may hold the sign
        return [path]
    return list(dict.fromkeys(part.strip() for part in path.split(BETWEEN) if part.strip())) or [path]


def read_sources(path: str, progress: Progress | None = None) -> list[tuple[str, DataSet]]:
    """Every source of `path` by a short name of its own: what a model learns them by, as styles."""
    named: dict[str, DataSet] = {}
    for source in split_paths(path):
        data = read_source(source, progress)
        short = _style_name(data.name)
        name = next(n for n in chain([short], (f"{short}-{i}" for i in count(2))) if n not in named)
        named[name] = data
    return list(named.items())


def _style_name(name: str) -> str:
    """A data set's name without a file's suffix and the signs that mixes of styles are written with."""
    stem, suffix = os.path.splitext(name)
    short = stem if suffix.lower() in SUFFIXES or _is_zip(name) else name
    return " ".join(re.sub("[,:>|]", " ", short).split()) or "music"


def source_of(name: str) -> str:
    """What `read_source` takes for the data set or corpus of that name, whatever lies in the folder one stands in."""
    return SAVED + name if name in list_data_sets() else name


def read_uploads(files: Iterable[tuple[str, bytes]], name: str = "upload", progress: Progress | None = None) -> DataSet:
    """Read uploaded (name, content) files; zips are opened. A broken file becomes a refused entry, no exception."""
    found: list[File] = []
    for label, content in files:
        if _hidden(label):
            continue
        if _is_zip(label):
            found += _files_in_zip(label, BytesIO(content))
        else:
            found.append((label, _given(content)))
    return _read_files(found, name, progress)


def _read_files(files: Sequence[File], name: str, progress: Progress | None) -> DataSet:
    entries: list[Entry] = []
    for done, (label, get) in enumerate(files, 1):
        entries += _read_file(label, get)
        if progress:
            progress(done, len(files))
    return DataSet(name, tuple(_apart(entries)))


def _read_file(label: str, get: Callable[[], bytes | Path]) -> list[Entry]:
    label = _printable(label)
    try:
        songs = read_songs(get(), label)
    except (MidiError, LibraryError) as error:
        return [Entry.refused(label, str(error))]
    except OSError as error:
        return [Entry.refused(label, f"it cannot be read ({error.strerror or error})")]
    if len(songs) == 1:
        return [Entry.of(label, songs[0])]
    return [Entry.of(_printable(f"{label} {i} {song.title}".rstrip()), song) for i, song in enumerate(songs, 1)]


def _apart(entries: Iterable[Entry]) -> list[Entry]:
    """Number entries of the same name: a.mid, a.mid (2)."""
    seen: dict[str, int] = {}
    result = []
    for entry in entries:
        count = seen[entry.name] = seen.get(entry.name, 0) + 1
        label = entry.name if count == 1 else f"{entry.name} ({count})"
        result.append(Entry(label, entry.song, entry.status, entry.reason))
    return result


def _printable(label: str) -> str:
    """A name that is safe on one line and in UTF-8, whatever bytes a file system or archive held."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in label)


# ---- finding


def _files_under(path: Path) -> list[File]:
    if path.is_file():
        return _files_in_zip(path.name, path) if _is_zip(path.name) else [(path.name, _on_disk(path))]
    found: list[File] = []
    for file in sorted(_walk(path)):
        label = file.relative_to(path).as_posix()
        found += _files_in_zip(label, file) if _is_zip(label) else [(label, _on_disk(file))]
    if not found:
        raise LibraryError(f"{path} holds no files; give a folder with music in it (.mid, .xml, .abc, .krn …)")
    return found


def _walk(folder: Path) -> list[Path]:
    """Every file below a folder, through links too; a folder that cannot be opened stands for what is in it."""
    found: list[Path] = []
    seen = {os.path.realpath(folder)}  # a link may lead back up

    def fresh(path: str) -> bool:
        real = os.path.realpath(path)
        return real not in seen and not seen.add(real)

    def closed(error: OSError) -> None:
        found.append(Path(error.filename))

    for parent, folders, names in os.walk(folder, onerror=closed, followlinks=True):
        folders[:] = [name for name in folders if not _hidden(name) and fresh(os.path.join(parent, name))]
        found += [Path(parent, name) for name in names if not _hidden(name)]
    return found


def _hidden(label: str) -> bool:
    """Is it a file that systems leave about: .DS_Store, __MACOSX, Thumbs.db?"""
    parts = [part for part in label.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return any(part.startswith(".") or part in ("__MACOSX", "Thumbs.db", "desktop.ini") for part in parts)


def _is_zip(label: str) -> bool:
    return label.lower().endswith(".zip")


def _on_disk(path: Path) -> Callable[[], Path]:
    def get() -> Path:
        if not path.is_file():
            raise LibraryError("it is a folder that cannot be opened" if path.is_dir() else "it is not a file")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise LibraryError(f"it is larger than {MAX_FILE_BYTES // 1_000_000} MB; split it")
        return path

    return get


def _given(content: bytes) -> Callable[[], bytes]:
    return lambda: content


def _refusing(reason: str) -> Callable[[], bytes]:
    def get() -> bytes:
        raise LibraryError(reason)

    return get


# ---- archives


# what zipfile raises over damaged bytes
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError, ValueError)
_BOUNDED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the kinds that zipfile inflates no further than asked


class _Archive:
    """A zip whose inflated bytes are counted against one budget over all its members."""

    def __init__(self, source: Path | BytesIO) -> None:
        self.zip = zipfile.ZipFile(source)
        self.left = MAX_ZIP_BYTES

    def members(self) -> list[zipfile.ZipInfo]:
        return [info for info in self.zip.infolist() if not _hidden(info.filename) and not info.filename.endswith("/")]

    def read(self, info: zipfile.ZipInfo) -> bytes:
        """The content of one member. Raises LibraryError with the reason it is refused for."""
        _check_member(info)
        content = BytesIO()
        try:
            with self.zip.open(info) as stream:
                while chunk := stream.read(_CHUNK):
                    self.left -= len(chunk)
                    if self.left < 0:
                        raise LibraryError(
                            f"its archive inflates to more than {MAX_ZIP_BYTES // 1_000_000} MB; give a smaller one"
                        )
                    content.write(chunk)
        except _ZIP_ERRORS as error:
            raise LibraryError(f"it is damaged within the archive ({error})") from error
        return content.getvalue()


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
    if _is_zip(info.filename):
        raise LibraryError("it is an archive within an archive; unpack it first")


def _files_in_zip(label: str, source: Path | BytesIO) -> list[File]:
    """The files in an archive, or the archive itself as one file that is refused."""
    try:
        archive = _Archive(source)
    except _ZIP_ERRORS as error:
        return [(label, _refusing(f"it is not a readable zip archive ({error})"))]
    members = archive.members()
    if not members:
        return [(label, _refusing("the archive is empty"))]
    if len(members) > MAX_ZIP_FILES:
        reason = f"the archive holds {len(members):,} files, at most {MAX_ZIP_FILES:,} are read; unpack it"
        return [(label, _refusing(reason))]
    return [(info.filename or "a file without a name", lambda info=info: archive.read(info)) for info in members]


# ---- what to say


def _nothing_read(data: DataSet, source: str | Path) -> str:
    reasons = [f"{entry.name}: {entry.reason}" for entry in data.entries[:3]]
    more = f" … and {len(data.entries) - 3} more" if len(data.entries) > 3 else ""
    said = f"({'; '.join(reasons)}{more})"
    if any(entry.status == "left out" for entry in data.entries):
        return f"nothing of {data.name} is taken in {said}; take something in, in the Library"
    return f"nothing in {source} can be read as music {said}"
