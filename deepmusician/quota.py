"""How much each person may keep where a studio is open to several; one who is alone may fill their own disk.

Asked before anything new is saved, so that what is there stays: nothing is ever deleted to make room.
"""

from __future__ import annotations

import os
from pathlib import Path

from deepmusician import limits
from deepmusician.errors import QuotaError
from deepmusician.workspace import alone, workspace


def check_room() -> None:
    """Raises QuotaError where the person whose workspace this is has as much as one may have."""
    if alone():
        return
    most, used = limits.current().person_mb, used_mb()
    if used >= most:
        raise QuotaError(
            f"you keep {used:,.0f} MB here, and each person may keep {most:,.0f}; delete runs or data sets and empty "
            "the bin (Runs, Room on disk), or ask who opened the studio. Nothing of yours is lost"
        )


def used_mb() -> float:
    """What the workspace takes on disk, in megabytes; a file under two names counts once."""
    seen: dict[tuple[int, int], int] = {}
    for top, _, names in os.walk(workspace()):
        for name in names:
            try:
                about = Path(top, name).lstat()
            except OSError:  # deleted meanwhile
                continue
            seen[about.st_dev, about.st_ino] = about.st_size
    return sum(seen.values()) / 1e6
