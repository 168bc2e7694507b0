"""How much of anything is taken in: what stands between a hostile file and the memory and time of this machine.

Each limit has a default, and a person may set another: in `limits.toml` in the workspace (`notes = 500_000`), or,
before that, in the environment (`DEEPMUSICIAN_MAX_NOTES=500000`). It knows no format; those who read ask it.
"""

from __future__ import annotations

import dataclasses
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepmusician.errors import OptionError
from deepmusician.workspace import home

FILE = "limits.toml"
VARIABLE = "DEEPMUSICIAN_MAX_"  # followed by the limit's name in capitals


def _limit(default: float, low: float, high: float, help: str) -> Any:
    return dataclasses.field(default=default, metadata={"low": low, "high": high, "help": help})


@dataclass(frozen=True)
class Limits:
    """What a file, an archive and a rendering may ask for at most. Raises OptionError outside a limit's range."""

    file_mb: float = _limit(8, 0.001, 500, "megabytes a music file may have")
    notes: int = _limit(200_000, 1, 5_000_000, "notes a song may have")
    tracks: int = _limit(256, 1, 65_535, "tracks a file may have")
    beats: int = _limit(20_000, 1, 20_000, "beats a song may last")
    hours: float = _limit(2, 0.001, 24, "hours a song may last")
    zip_files: int = _limit(1_000, 1, 100_000, "files a zip may hold")
    zip_mb: float = _limit(100, 0.001, 10_000, "megabytes a zip may inflate to, and have itself")
    fetch_mb: float = _limit(20_000, 0.001, 1_000_000, "megabytes a file of a collection may have, to be downloaded")
    read_seconds: float = _limit(6, 0.1, 600, "seconds that reading one piece may take")
    read_mb: int = _limit(512, 256, 65_536, "megabytes of memory that the process that reads may take")
    render_minutes: float = _limit(10, 0.01, 120, "minutes of music that are turned into sound")
    render_seconds: float = _limit(120, 1, 3600, "seconds that turning a piece into sound may take")

    person_mb: float = _limit(2_000, 1, 1e6, "megabytes that each person may keep where the studio is open to several")
    person_runs: int = _limit(1, 1, 64, "trainings of one person that are at work at once where it is open to several")

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, low, high = getattr(self, field.name), field.metadata["low"], field.metadata["high"]
            if not low <= value <= high:
                raise OptionError(f"the limit {field.name} must be {low:g} to {high:g}, got {value:g}")

    @property
    def file_bytes(self) -> int:
        """`file_mb` in bytes."""
        return round(self.file_mb * 1e6)

    @property
    def zip_bytes(self) -> int:
        """`zip_mb` in bytes."""
        return round(self.zip_mb * 1e6)

    @property
    def fetch_bytes(self) -> int:
        """`fetch_mb` in bytes."""
        return round(self.fetch_mb * 1e6)


DEFAULTS = Limits()


def current() -> Limits:
    """The limits in force here: from the environment, else from limits.toml in the workspace, else the defaults.

    Raises OptionError for a limit that does not exist or a value that is none.
    """
    path = home() / FILE
    given = {name: _number(name, value, f"in {path}") for name, value in _in_file(path).items()}
    for field in dataclasses.fields(Limits):
        if value := os.environ.get(VARIABLE + field.name.upper()):
            given[field.name] = _number(field.name, value, f"in {VARIABLE}{field.name.upper()}")
    return Limits(**given)


def _in_file(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise OptionError(f"{path} cannot be read ({error}); mend it, or delete it for the defaults") from error


def _number(name: str, value: object, where: str) -> float:
    field = next((f for f in dataclasses.fields(Limits) if f.name == name), None)
    if field is None:
        known = ", ".join(f.name for f in dataclasses.fields(Limits))
        raise OptionError(f"there is no limit called {name} ({where}); there are {known}")
    kind = int if field.type == "int" else float
    try:
        if isinstance(value, bool):
            raise ValueError
        return kind(value)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        what = "a whole number" if kind is int else "a number"
        raise OptionError(f"the limit {name} must be {what}, got {value!r} {where}") from error
