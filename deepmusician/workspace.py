"""Where a person's things live on disk: the library, runs, the bin, votes and the cache.

One folder, named by $DEEPMUSICIAN_HOME, else ./workspace. Where the studio is open to several persons, each has a
folder of their own below it, and who is asking is said by whoever opened it (`set_whose`). Where that is not known,
nobody's things are found. Knows no more than the folders' places, which run is meant by a name it had before, and what
was opened to others.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from deepmusician.atomic import replace_file
from deepmusician.errors import LibraryError

HOME_VARIABLE = "DEEPMUSICIAN_HOME"
DOOR_VARIABLE = "DEEPMUSICIAN_DOOR"  # how persons come in: unset where there is one, at this machine
SERVER_VARIABLE = "DEEPMUSICIAN_SERVER"  # in a process at work for one of several persons: the folder of them all
CODE_VARIABLE = "DEEPMUSICIAN_CLASS_CODE"  # what a class is told; no business of such a process
RENAMED = ".renamed.json"  # beside the runs: what each former name is called now
PEOPLE, SHARED = "people", "shared"
_ALONE = "."  # in the place of a person's id
_TOKEN = re.compile(r"[0-9a-f]{16,64}")

_whose: Callable[[], Path] | None = None
_visited: ContextVar[Path | None] = ContextVar("visited", default=None)


def workspace() -> Path:
    """The person's folder, absolute and made if it is not there.

    Raises LibraryError if it cannot be made, or where there are several persons and it is not known who asks.
    """
    if visited := _visited.get():
        return _made(visited)
    if _whose is not None:
        return _made(_whose())
    if os.environ.get(DOOR_VARIABLE):
        raise LibraryError("nobody has signed in here, so there is nothing to be seen; sign in first")
    return _made(_named(HOME_VARIABLE))


def home() -> Path:
    """The folder of all persons, with what belongs to none of them; of a person alone, the workspace itself."""
    return _made(_named(SERVER_VARIABLE if os.environ.get(SERVER_VARIABLE) else HOME_VARIABLE))


def _named(variable: str) -> Path:
    named = os.environ.get(variable)
    return Path(named).expanduser() if named else Path("workspace")


def alone() -> bool:
    """Whether this is one person's studio, on whose machine everything is theirs."""
    return _whose is None and not os.environ.get(DOOR_VARIABLE) and not os.environ.get(SERVER_VARIABLE)


def set_whose(ask: Callable[[], Path] | None) -> None:
    """From now on `ask()` says whose folder is meant; it raises LibraryError where nobody has signed in."""
    global _whose
    _whose = ask


def person_folder(id: str) -> Path:
    """Where the things of one of several persons lie, by an id of hexadecimal digits."""
    if not _TOKEN.fullmatch(id):
        raise LibraryError(f"a person's id must be 16 to 64 hexadecimal digits, got {id[:80]!r}")
    return home() / PEOPLE / id


def check_mine(path: str | Path) -> None:
    """Raises LibraryError where several persons share a machine and `path` lies outside the workspace of this one."""
    if not alone() and not Path(path).resolve().is_relative_to(workspace().resolve()):
        raise LibraryError(f"there is nothing called {Path(path).name[:80]} in your workspace")


def own_environment() -> dict[str, str]:
    """What a process started for this person gets to know: their folder, and no secret of the server's."""
    known = {k: v for k, v in os.environ.items() if k not in (DOOR_VARIABLE, CODE_VARIABLE)}
    return known if alone() else known | {HOME_VARIABLE: str(workspace()), SERVER_VARIABLE: str(home())}


# ---- opened to others


def share(token: str) -> None:
    """Let whoever knows `token`, which cannot be guessed, reach what it names in this workspace: see `visiting`."""
    _check(token)
    replace_file(_made(home() / SHARED) / token, _owner())


def unshare(token: str) -> None:
    """Undo `share`. Raises LibraryError where it is another person's."""
    _check(token)
    file = home() / SHARED / token
    if not file.exists():
        return
    if file.read_text("utf-8") != _owner():
        raise LibraryError("only who opened this to others can close it")
    file.unlink()


@contextmanager
def visiting(token: str) -> Iterator[None]:
    """Within the block, `workspace` is the folder of the person who shared `token`.

    Look up nothing there but what the token names. Raises LibraryError where nobody shared it.
    """
    if alone():
        yield
        return
    _check(token)
    try:
        named = (home() / SHARED / token).read_text("utf-8")
        owner = home() if named == _ALONE else person_folder(named)
    except OSError:
        raise LibraryError("this link leads nowhere; ask who sent it to you for another one") from None
    with acting_in(owner):
        yield


@contextmanager
def acting_in(folder: Path) -> Iterator[None]:
    """Within the block, in this thread, `workspace` is `folder`."""
    before = _visited.set(folder)
    try:
        yield
    finally:
        _visited.reset(before)


def _owner() -> str:
    """Who shares: what one who was alone opened is reached, too, when a class is let in later."""
    return _ALONE if alone() else workspace().name


def _check(token: str) -> None:
    if not _TOKEN.fullmatch(token):
        raise LibraryError("this link is damaged; ask who sent it to you for another one")


# ---- the parts of a workspace


def cache_dir() -> Path:
    """What is deleted here is made again. Errors as `workspace`."""
    return _made(workspace() / "cache")


def shared_cache() -> Path:
    """As `cache_dir`, for what is the same to everybody, such as converted corpora."""
    return _made(home() / "cache")


def runs_dir() -> Path:
    """The folder of all runs. Errors as `workspace`."""
    return _made(workspace() / "runs")


def bin_dir() -> Path:
    """Where deleted runs wait to be restored or cleared out. Errors as `workspace`."""
    return _made(workspace() / "bin")


def run_folder(name: str) -> Path:
    """The folder of the run of that name, or of the one that bore it before it was renamed; it may not exist."""
    folder = runs_dir()
    names, seen = renamed(), set()
    while not (folder / name).is_dir() and name in names and name not in seen:
        seen.add(name)  # a was renamed b, and b a
        name = names[name]
    return folder / name


def renamed() -> dict[str, str]:
    """What each former name of a run is called now."""
    try:
        names = json.loads((runs_dir() / RENAMED).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return {k: v for k, v in names.items() if isinstance(v, str)} if isinstance(names, dict) else {}


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LibraryError(
            f"the workspace must be a folder that can be written, got {folder} ({error.strerror}); "
            f"set {HOME_VARIABLE} to another one"
        ) from error
    return folder.absolute()
