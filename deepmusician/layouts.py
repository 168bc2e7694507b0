"""Which style and which side of the split each file of a folder is in: told by the folder's own layout, kept in
`styles.csv` beside the music, and read by `ingest`.

`styles.csv` has the columns path, style and side ("training", "held out" or nothing); anybody may write one for files
of their own. The layouts are those of the collections that `fetch` knows.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from deepmusician.atomic import replace_file
from deepmusician.decisions import HELD_OUT, SIDES, TRAINING
from deepmusician.errors import LibraryError
from deepmusician.finding import is_music

FILE = "styles.csv"
TRACKS = "unique_tracks.txt"  # the Million Song Dataset's list: track<SEP>song<SEP>artist<SEP>title
SPLITS = {
    "train": TRAINING, "training": TRAINING, "valid": HELD_OUT, "validation": HELD_OUT, "test": HELD_OUT,
    "testing": HELD_OUT,
}  # fmt: skip
_COLUMNS = ("path", "style", "side")
_TRACK = re.compile(r"TR[A-Z0-9]{16}")

Label = Callable[[str], tuple[str, str]]  # a path below the folder -> style, side


def first_folder(folder: Path, tops: Sequence[str]) -> Label:
    """The first folder that says something: composer/…, set/…"""
    return lambda path: (next(iter(_folders(path, tops)), ""), "")


def last_folder(folder: Path, tops: Sequence[str]) -> Label:
    """The folder a file lies in: console/nintendo/nes/…, game/…"""
    return lambda path: (next(iter(_folders(path, tops)[::-1]), ""), "")


def split_sets(folder: Path, tops: Sequence[str]) -> Label:
    """set/train/…, set/test/…: the first folder, and the side that a folder of such a name says."""

    def label(path: str) -> tuple[str, str]:
        folders = _folders(path, tops)
        sides = (SPLITS[part.lower()] for part in folders if part.lower() in SPLITS)
        named = (part for part in folders if part.lower() not in SPLITS)
        return next(named, ""), next(sides, "")

    return label


def artist(folder: Path, tops: Sequence[str]) -> Label:
    """ARTIST - TITLE.mid"""

    def label(path: str) -> tuple[str, str]:
        name, dash, _ = PurePosixPath(path).stem.partition(" - ")
        return (name.strip() if dash else ""), ""

    return label


def maestro(folder: Path, tops: Sequence[str]) -> Label:
    """Composer and side out of MAESTRO's own table, which lies above its years. Raises LibraryError without it."""
    table = next(iter(sorted(folder.glob("**/maestro-*.csv"))), None)
    if table is None:
        raise LibraryError(f"{folder} has no table maestro-….csv, which tells composers and split; take it in whole")
    above = table.parent.relative_to(folder)
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    try:
        found = {
            (above / row["midi_filename"]).as_posix(): (row["canonical_composer"], SPLITS[row["split"]]) for row in rows
        }
    except KeyError as error:
        raise LibraryError(f"{table} has no {error} as MAESTRO's own has; get it again") from error
    return lambda path: found.get(path, ("", ""))


def track(folder: Path, tops: Sequence[str]) -> Label:
    """Artist of the track a file was matched to, …/TRAAAGR128F425B14B/….mid, where the list of tracks is at hand."""
    listed = next(iter(sorted(folder.glob(f"**/{TRACKS}"))), None)
    artists: dict[str, str] = {}
    if listed:
        with listed.open(encoding="utf-8", errors="replace") as file:
            rows = (line.rstrip("\n").split("<SEP>") for line in file)
            artists = {row[0]: row[2] for row in rows if len(row) == 4}

    def label(path: str) -> tuple[str, str]:
        tracks = (part for part in reversed(PurePosixPath(path).parts) if _TRACK.fullmatch(part))
        return artists.get(next(tracks, ""), ""), ""

    return label


LAYOUTS: dict[str, Callable[[Path, Sequence[str]], Label]] = {
    "first folder": first_folder,
    "last folder": last_folder,
    "split sets": split_sets,
    "artist": artist,
    "maestro": maestro,
    "track": track,
}


def _folders(path: str, tops: Sequence[str]) -> tuple[str, ...]:
    return tuple(part for part in PurePosixPath(path).parts[:-1] if part not in tops)


def _plain(style: str) -> str:
    """A style as it can be named: `NAME/STYLE`, several joined by |."""
    return " ".join(style.replace("/", " and ").replace("|", " ").split())


def music_in(folder: Path) -> Iterator[str]:
    """The paths of the music below a folder, in order."""
    for top, folders, names in os.walk(folder):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        for name in sorted(names):
            if is_music(name) and not name.startswith("."):
                yield Path(top, name).relative_to(folder).as_posix()


def write_styles(folder: Path, label: Label) -> tuple[int, int]:
    """Keep what `label` says of each file; returns how many files there are, and how many styles."""
    text, files, styles = io.StringIO(), 0, set()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(_COLUMNS)
    for path in music_in(folder):
        files += 1
        style, side = label(path)
        style = _plain(style)
        if style or side:
            styles.add(style)
            table.writerow((path, style, side))
    replace_file(folder / FILE, text.getvalue())
    return files, len(styles - {""})


def read_styles(folder: Path) -> Label:
    """What `write_styles`, or anybody, kept. Raises LibraryError with the line that is wrong."""
    found: dict[str, tuple[str, str]] = {}
    try:
        with (folder / FILE).open(encoding="utf-8", newline="") as file:
            table = csv.DictReader(file)
            missing = set(_COLUMNS[:2]) - set(table.fieldnames or ())
            if missing:
                raise LibraryError(f"{folder / FILE} must have the columns path, style and, if you like, side")
            for row in table:
                side = row.get("side") or ""
                if side not in SIDES:
                    where = f"line {table.line_num} of {folder / FILE}"
                    raise LibraryError(f"{where}: side must be {TRAINING}, {HELD_OUT} or nothing, got {side!r}")
                found[row["path"]] = (_plain(row["style"] or ""), side)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LibraryError(f"{folder / FILE} cannot be read ({error}); mend it, or delete it") from error
    return lambda path: found.get(path, ("", ""))


def told(folder: Path) -> Label | None:
    """What a folder says of its files, None where it has no `styles.csv`. Errors as `read_styles`."""
    return read_styles(folder) if (folder / FILE).is_file() else None
