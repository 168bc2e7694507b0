"""The library: files, folders, archives, corpora and saved data sets, all read into one DataSet.

A file that cannot be read becomes a refused entry with the reason in words; nothing vanishes. Archives are never
unpacked to disk (see archives). Saved data sets are kept by `shelf`, whose calls are found here too. Knows nothing of
grids or models.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from io import BytesIO
from itertools import chain, count
from pathlib import Path

from deepmusician import limits as limits_here
from deepmusician.archives import Archive, is_hidden, is_zip
from deepmusician.corpora import CORPORA, load_corpus_entries
from deepmusician.errors import LibraryError
from deepmusician.formats import SUFFIXES
from deepmusician.limits import Limits
from deepmusician.notes import Song
from deepmusician.reading import MANY, read_many
from deepmusician.shelf import delete_data_set, list_data_sets, load_data_set, not_found, save_data_set
from deepmusician.store import DataSet, Entry
from deepmusician.workspace import check_mine

log = logging.getLogger(__name__)

__all__ = [
    "delete_data_set",
    "list_data_sets",
    "load_data_set",
    "read_paths",
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


SAVED = "library:"  # before the name of a saved data set, where a folder may have the same

# ---- reading


def read_source(source: str | Path, progress: Progress | None = None) -> DataSet:
    """Read a file, a folder with all below it, a zip, a built-in corpus, a saved data set or one style of it.

    What is on disk comes before a corpus or data set of the same name; `library:NAME` is always the saved data set.
    Raises LibraryError where there is nothing of that name, or nothing in it can be read.
    """
    path = os.path.expanduser(source)
    if str(source).startswith(SAVED):
        data = load_data_set(str(source).removeprefix(SAVED))
    elif os.path.exists(path):  # unlike Path.exists, no error for a name too long or a folder closed to us
        check_mine(path)
        limits = limits_here.current()
        data = _read_files(_files_under(Path(path), limits), Path(path).resolve().name, progress, limits)
    elif str(source) in CORPORA:
        data = DataSet(str(source), load_corpus_entries(str(source), progress))
    elif str(source).partition("/")[0] in list_data_sets():
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
    short = stem if suffix.lower() in SUFFIXES or is_zip(name) else name
    return " ".join(re.sub("[,:>|]", " ", short).split()) or "music"


def source_of(name: str) -> str:
    """What `read_source` takes for the data set or corpus of that name, whatever lies in the folder one stands in."""
    return SAVED + name if name in list_data_sets() else name


def read_uploads(files: Iterable[tuple[str, bytes]], name: str = "upload", progress: Progress | None = None) -> DataSet:
    """Read uploaded (name, content) files; zips are opened. A broken file becomes a refused entry, no exception."""
    limits = limits_here.current()
    found: list[File] = []
    for label, content in files:
        if is_hidden(label):
            continue
        if is_zip(label):
            found += _files_in_zip(label, BytesIO(content), limits)
        else:
            found.append((label, partial(bytes, content)))
    return _read_files(found, name, progress, limits)


def read_paths(paths: Iterable[str | Path], progress: Progress | None = None) -> DataSet:
    """Read files, folders and zips that lie on disk. What cannot be read, or found, becomes a refused entry."""
    limits = limits_here.current()
    found: list[File] = []
    for path in paths:
        place = os.path.expanduser(path)
        try:
            found += _files_under(Path(place), limits) if os.path.exists(place) else _no_file(path)
        except LibraryError as error:
            found.append((str(path), _refusing(str(error))))
    return _read_files(found, "files", progress, limits)


def _read_files(files: Sequence[File], name: str, progress: Progress | None, limits: Limits) -> DataSet:
    files = [(printable(label), get) for label, get in files]
    entries: list[Entry] = []
    answers = read_many(files, limits, ahead=len(files) >= MANY)
    for done, ((label, _), songs) in enumerate(zip(files, answers, strict=True), 1):
        entries += [Entry.refused(label, songs)] if isinstance(songs, str) else _entries(label, songs)
        if progress:
            progress(done, len(files))
    return DataSet(name, tuple(_apart(entries)))


def _entries(label: str, songs: list[Song]) -> list[Entry]:
    if len(songs) == 1:
        return [Entry.of(label, songs[0])]
    return [Entry.of(printable(f"{label} {i} {song.title}".rstrip()), song) for i, song in enumerate(songs, 1)]


def _apart(entries: Iterable[Entry]) -> list[Entry]:
    """Number entries of the same name: a.mid, a.mid (2)."""
    seen: dict[str, int] = {}
    result = []
    for entry in entries:
        count = seen[entry.name] = seen.get(entry.name, 0) + 1
        label = entry.name if count == 1 else f"{entry.name} ({count})"
        result.append(Entry(label, entry.song, entry.status, entry.reason))
    return result


def printable(label: str) -> str:
    """A name that is safe on one line and in UTF-8, whatever bytes a file system or archive held."""
    if label.isprintable():
        return label
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in label)


# ---- finding


def _files_under(path: Path, limits: Limits) -> list[File]:
    if path.is_file():
        return _files_in_zip(path.name, path, limits) if is_zip(path.name) else [(path.name, _on_disk(path))]
    found: list[File] = []
    for file in sorted(_walk(path)):
        label = file.relative_to(path).as_posix()
        found += _files_in_zip(label, file, limits) if is_zip(label) else [(label, _on_disk(file))]
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
        folders[:] = [name for name in folders if not is_hidden(name) and fresh(os.path.join(parent, name))]
        found += [Path(parent, name) for name in names if not is_hidden(name)]
    return found


def _on_disk(path: Path) -> Callable[[], Path]:
    def get() -> Path:
        if not path.is_file():
            raise LibraryError("it is a folder that cannot be opened" if path.is_dir() else "it is not a file")
        return path

    return get


def _no_file(path: str | Path) -> list[File]:
    return [(str(path), _refusing("there is no such file"))]


def _refusing(reason: str) -> Callable[[], bytes]:
    def get() -> bytes:
        raise LibraryError(reason)

    return get


def _files_in_zip(label: str, source: Path | BytesIO, limits: Limits) -> list[File]:
    """The files in an archive, or the archive itself as one file that is refused."""
    try:
        archive = Archive(source, limits)
    except LibraryError as error:
        return [(label, _refusing(str(error)))]
    return [(info.filename or "a file without a name", partial(archive.read, info)) for info in archive.members]


# ---- what to say


def _nothing_read(data: DataSet, source: str | Path) -> str:
    reasons = [f"{entry.name}: {entry.reason}" for entry in data.entries[:3]]
    more = f" … and {len(data.entries) - 3} more" if len(data.entries) > 3 else ""
    said = f"({'; '.join(reasons)}{more})"
    if any(entry.status == "left out" for entry in data.entries):
        return f"nothing of {data.name} is taken in {said}; take something in, in the Library"
    return f"nothing in {source} can be read as music {said}"
