"""Where a user's things live on disk: the library, runs, the bin, votes and the cache.

One folder, named by $DEEPMUSICIAN_HOME, else ./workspace. Knows no more than the folder's place, and which run is
meant by a name it had before.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from deepmusician.errors import LibraryError

HOME_VARIABLE = "DEEPMUSICIAN_HOME"
RENAMED = ".renamed.json"  # beside the runs: what each former name is called now


def workspace() -> Path:
    """The user's folder, absolute and made if it is not there. Raises LibraryError if it cannot be made."""
    named = os.environ.get(HOME_VARIABLE)
    return _made(Path(named).expanduser() if named else Path("workspace"))


def cache_dir() -> Path:
    """Where converted corpora are kept; what is deleted here is made again. Errors as `workspace`."""
    return _made(workspace() / "cache")


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
