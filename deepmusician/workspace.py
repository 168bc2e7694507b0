"""Where a user's things live on disk: the library, runs, votes and the cache.

One folder, named by $DEEPMUSICIAN_HOME, else ./workspace. Knows no more than the folder's place.
"""

from __future__ import annotations

import os
from pathlib import Path

from deepmusician.errors import LibraryError

HOME_VARIABLE = "DEEPMUSICIAN_HOME"


def workspace() -> Path:
    """The user's folder, absolute and made if it is not there. Raises LibraryError if it cannot be made."""
    named = os.environ.get(HOME_VARIABLE)
    return _made(Path(named).expanduser() if named else Path("workspace"))


def cache_dir() -> Path:
    """Where converted corpora are kept; what is deleted here is made again. Errors as `workspace`."""
    return _made(workspace() / "cache")


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LibraryError(
            f"the workspace must be a folder that can be written, got {folder} ({error.strerror}); "
            f"set {HOME_VARIABLE} to another one"
        ) from error
    return folder.absolute()
