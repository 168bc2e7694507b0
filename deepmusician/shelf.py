"""The shelf: saved data sets under workspace()/library/NAME, the decisions about them, and the bin for deleted ones.

A data set is stored as it was read; what was decided of its pieces lies beside it, in `decisions.json`, and is carried
out on loading. Knows nothing of where files come from.
"""

from __future__ import annotations

import difflib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path

from filelock import FileLock, Timeout

from deepmusician.atomic import put_back, replace_file
from deepmusician.collected import is_collected, open_collection
from deepmusician.corpora import CORPORA, load_corpus_entries
from deepmusician.decisions import Choice, Decisions, treated
from deepmusician.errors import LibraryError
from deepmusician.quota import check_room
from deepmusician.store import DataSet, read_entries, write_entries
from deepmusician.workspace import workspace

DECISIONS_FILE, BIN = "decisions.json", ".bin"
BIN_DAYS = 30  # how long a deleted data set can be brought back
_NAME = re.compile(r"[^\W_][\w .-]{0,79}", re.UNICODE)  # a letter or digit first: no hidden folders, no options

# ---- keeping


def save_data_set(data: DataSet, name: str) -> Path:
    """Keep a data set under a name of letters, digits, spaces and . _ -, replacing one of that name.

    Returns its folder. Raises LibraryError for another kind of name, a corpus's name, or a data set with no songs.
    """
    folder = _folder(name)
    if name in CORPORA:
        raise LibraryError(f"{name} is the name of a built-in corpus; choose another")
    if not data.songs:
        raise LibraryError(f"{data.name} holds no songs to keep; add a file that can be read")
    check_room()
    write_entries(folder, data.entries)
    return folder


def _draft(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.making")


def is_being_made(name: str) -> bool:
    """Whether a data set of that name was begun and not finished."""
    return _draft(_folder(name)).is_dir()


@contextmanager
def new_place(name: str, is_own: Callable[[Path], bool]) -> Iterator[Path]:
    """A folder in which the data set `name` is made, piece by piece, by one process at a time.

    It is its own where there is one already, of a kind that `is_own` tells; else one beside its place, which gets its
    name when the block ends well, and is gone on with where it did not. Errors as `save_data_set`.
    """
    folder = _folder(name)
    if name in CORPORA or (folder.exists() and not is_own(folder)):
        raise LibraryError(f"{name} is the name of music that is here already; choose another")
    draft = folder if folder.exists() else _draft(folder)
    lock = FileLock(folder.with_name(f".{name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise LibraryError(f"{name} is being made by another process; wait for it") from None
    with lock:
        draft.mkdir(exist_ok=True)
        yield draft
        if draft != folder:
            draft.rename(folder)


def load_data_set(name: str) -> DataSet:
    """A saved data set with what was decided of its pieces carried out; `NAME/STYLE` is one style of an ingested one.

    Raises LibraryError if there is none of that name, or it is damaged.
    """
    name, _, style = name.partition("/")
    decisions = load_decisions(name)
    if is_collected(folder := folder_of(name)):
        return open_collection(name, folder, decisions, style)
    if style:
        raise LibraryError(f"{name} has no styles; give {name} alone")
    data = load_as_read(name)
    return DataSet(name, tuple(treated(entry, decisions.of(entry.name)) for entry in data.entries))


def load_as_read(name: str) -> DataSet:
    """Inverse of `save_data_set`: everything as it was read, whatever was decided since. Errors as `load_data_set`."""
    folder = folder_of(name)
    return open_collection(name, folder) if is_collected(folder) else DataSet(name, read_entries(folder))


def load_decisions(name: str) -> Decisions:
    """What was decided of a saved data set's pieces. Errors as `load_data_set`."""
    file = folder_of(name) / DECISIONS_FILE
    try:
        return Decisions.from_json(file.read_text("utf-8")) if file.exists() else Decisions()
    except (OSError, ValueError, LibraryError) as error:
        raise LibraryError(f"data set {name}: {error}") from error


def save_decisions(name: str, decisions: Decisions) -> None:
    """Keep decisions beside the notes they are about, in one step."""
    file = folder_of(name) / DECISIONS_FILE
    replace_file(file, decisions.to_json())


def decide(name: str, what: str, changes: Mapping[str, Choice]) -> str:
    """Decide about pieces of a data set; `what` says so in words, for undoing. Returns the data set's name.

    A built-in corpus stays as it is: the decision is kept in a copy of it, "my NAME", which is made where it is not
    there yet.
    """
    if name in CORPORA and name not in list_data_sets():
        name = _own_copy(name)
    save_decisions(name, load_decisions(name).decide(what, changes))
    return name


def _own_copy(corpus: str) -> str:
    name = f"my {corpus}"
    if name not in list_data_sets():
        save_data_set(DataSet(name, load_corpus_entries(corpus)), name)
    return name


def list_data_sets() -> list[str]:
    """The names of the saved data sets, sorted."""
    home = _home()
    return sorted(path.name for path in home.iterdir() if path.is_dir() and _NAME.fullmatch(path.name))


# ---- renaming, deleting


def rename_data_set(name: str, new: str) -> None:
    """Call a saved data set by another name. Raises LibraryError where it is taken, or errors as `save_data_set`."""
    folder, place = folder_of(name), _folder(new)
    if new in CORPORA or place.exists():
        raise LibraryError(f"{new} is taken; choose another name")
    folder.rename(place)


def delete_data_set(name: str) -> None:
    """Put a saved data set into the bin, from which `restore_data_set` brings it back; what has lain there for
    BIN_DAYS is removed for good. Raises LibraryError if there is none of that name."""
    folder, bin_ = folder_of(name), _home() / BIN
    bin_.mkdir(exist_ok=True)
    shutil.rmtree(bin_ / name, ignore_errors=True)
    folder.rename(bin_ / name)
    os.utime(bin_ / name)  # when it was deleted
    for old in bin_.iterdir():
        if time.time() - old.stat().st_mtime > BIN_DAYS * 86_400:
            shutil.rmtree(old)


def list_deleted() -> list[str]:
    """The data sets in the bin, the one deleted last first."""
    bin_ = _home() / BIN
    found = [path for path in bin_.iterdir() if path.is_dir()] if bin_.is_dir() else []
    return [path.name for path in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)]


def restore_data_set(name: str) -> str:
    """Bring a data set back from the bin; returns its name, numbered where it has been taken meanwhile."""
    if name not in list_deleted():
        there = ", ".join(list_deleted()) or "none"
        raise LibraryError(f"no deleted data set is called {name}; in the bin are: {there}")
    free = next(n for n in chain([name], (f"{name[:70]} {i}" for i in count(2))) if not _folder(n).exists())
    (_home() / BIN / name).rename(_folder(free))
    return free


def _home() -> Path:
    home = workspace() / "library"
    home.mkdir(exist_ok=True)
    put_back(home)
    return home


def folder_of(name: str) -> Path:
    """Where a saved data set lies. Raises LibraryError if there is none of that name."""
    folder = _folder(name)
    if not folder.is_dir():
        raise LibraryError(not_found(name))
    return folder


def _folder(name: str) -> Path:
    if not _NAME.fullmatch(name) or name[-1] in " .":
        raise LibraryError(
            f"a data set's name must be 1 to 80 letters, digits, spaces or . _ -, beginning with a letter or digit, "
            f"got {name!r}"
        )
    return _home() / name


def not_found(source: str) -> str:
    """That nothing is called `source`, with what was perhaps meant."""
    known = [*CORPORA, *list_data_sets()]
    close = difflib.get_close_matches(source.lower(), known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else f"built-in corpora: {', '.join(CORPORA)}"
    return f"no file, folder, corpus or data set is called {source}; {hint}"
