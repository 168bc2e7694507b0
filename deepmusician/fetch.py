"""Fetch: the collections that are known, what is said of each, and how its files get here.

Nothing is fetched by itself. A bulk file comes through pooch: gone on with where it broke off, held against its
checksum where one is published, refused where its length is a lie or the disk too small. It is never unpacked to disk
(see bulk), but for zips within a zip, which lie flat beside it. The table is `collections.toml`.
"""

from __future__ import annotations

import csv
import io
import shutil
import time
import tomllib
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

from deepmusician import __version__, bulk
from deepmusician.errors import LibraryError
from deepmusician.workspace import cache_dir

AGENT = f"deepmusician/{__version__}"
CHUNK = 1 << 20
TRIES, PAUSE, PATIENCE = 5, 2.0, 60.0  # times it goes on after a break; seconds between them, and of silence
MOST_MB = 20_000  # of a file whose size nobody tells
SPARE = 2.5  # times the size of a file that must be free: it, and the notes that are read from it
SIDES = {"train": "training", "validation": "held out", "test": "held out"}
Progress = Callable[[int, int], None]  # megabytes so far, megabytes in all
Label = Callable[[str], tuple[str, str]]


@dataclass(frozen=True)
class Known:
    """One collection: what it is, and how it is got: `kind` is bulk, own (a copy of the user's), or site."""

    name: str
    title: str
    about: str
    pieces: int
    licence: str
    cite: str
    home: str
    kind: str
    style: str
    mb: float = 0
    url: str = ""
    sha256: str = ""
    start: str = ""

    def lines(self) -> list[str]:
        """All that is said of it."""
        size = f"{self.mb:,.0f} MB" if self.mb else "of a size that is told when it is fetched"
        got = {"bulk": f"one file, {size}, from {self.url}", "own": "your own copy, with --from PATH"}
        got["site"] = f"page by page from {self.start}, slowly, only with --site"
        return [
            f"{self.name}: {self.title}, {self.pieces:,} pieces: {self.about}", f"  got:     {got[self.kind]}",
            f"  licence: {self.licence}", f"  cite:    {self.cite}", f"  home:    {self.home}",
        ]  # fmt: skip


@cache
def known() -> dict[str, Known]:
    """The collections by name."""
    table = tomllib.loads(Path(__file__).with_name("collections.toml").read_text("utf-8"))
    return {name: Known(name, **about) for name, about in table.items()}


def find(name: str) -> Known:
    """One collection. Raises LibraryError for a name that is not known."""
    if name not in known():
        raise LibraryError(f"no collection is called {name}; there are {', '.join(known())}")
    return known()[name]


def downloads(collection: Known) -> Path:
    """Where a collection's files lie while they are fetched and read; deleted, they are fetched again."""
    folder = cache_dir() / "downloads" / collection.name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


# ---- a bulk file


def download(collection: Known, progress: Progress = lambda done, total: None) -> Path:
    """Fetch a collection's file, or go on with it; where it is here and true, nothing is fetched.

    Raises LibraryError where it cannot be got whole, is not what was published, or does not fit on the disk.
    """
    import pooch

    folder = downloads(collection)
    name = PurePosixPath(collection.url.partition("?")[0]).name
    whole = f"sha256:{collection.sha256}" if collection.sha256 else None
    pooch.get_logger().setLevel("ERROR")

    def fetch(url: str, place: str, _: object) -> None:
        part = folder / f"{name}.part"
        _resumed(url, part, collection.mb, progress)
        shutil.move(part, place)

    try:
        return Path(pooch.retrieve(collection.url, whole, name, folder, downloader=fetch))
    except ValueError as error:  # pooch: of another hash
        for file in folder.glob(f"{name}*"):
            file.unlink()
        raise LibraryError(
            f"what {collection.url} sends is not what was published (another sha256); it was removed, try again later"
        ) from error


def _resumed(url: str, part: Path, mb: float, progress: Progress) -> None:
    """Fetch into `part`, from where it ends on, again after each break."""
    broke = ""
    for attempt in range(TRIES):
        if attempt:
            time.sleep(PAUSE)
        try:
            if _fetched(url, part, mb, progress):
                return
            broke = "it breaks off before its end"
        except (urllib.error.URLError, OSError, ValueError) as error:
            if isinstance(error, urllib.error.HTTPError) and error.code in (401, 403, 404, 410):
                words = f"{url} answers {error.code} {error.reason}; see whether the site has moved"
                raise LibraryError(words) from error
            broke = str(getattr(error, "reason", error))
    here = part.stat().st_size / 1e6 if part.exists() else 0
    raise LibraryError(
        f"{url} could not be fetched whole ({broke}); {here:,.1f} MB are kept, and the same call goes on from there"
    )


def _fetched(url: str, part: Path, mb: float, progress: Progress) -> bool:
    """One go at it; whether it is whole then."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": AGENT} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=PATIENCE)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing follows what is here; a checksum tells whether it is true
            return True
        raise
    with response:
        if response.status != 206:
            have = 0  # it does not go on, but begins anew
        told = response.headers.get("Content-Length")
        total = have + int(told) if told else 0
        _check_room(part.parent, total or mb * 1e6, have)
        most = total or int(MOST_MB * 1e6)
        with part.open("ab" if have else "wb") as file:
            while chunk := response.read(CHUNK):
                have += len(chunk)
                if have > most:
                    raise LibraryError(f"{url} sends more than the {most / 1e6:,.0f} MB it promised; it is not taken")
                file.write(chunk)
                progress(have // 1_000_000, max(total, have) // 1_000_000)
    return have == total if total else True


def _check_room(folder: Path, size: float, have: int) -> None:
    free, wanted = shutil.disk_usage(folder).free, max(SPARE * size - have, 0)
    if free < wanted:
        raise LibraryError(
            f"{wanted / 1e6:,.0f} MB of disk are needed for it, {free / 1e6:,.0f} are free; make room, or set "
            "DEEPMUSICIAN_HOME to a larger disk"
        )


def flattened(archive: Path) -> Path:
    """A folder of the zips that lie in a zip, each there whole, or the archive itself where none do."""
    if archive.suffix != ".zip":
        return archive
    try:
        with zipfile.ZipFile(archive) as outer:
            inner = [info for info in outer.infolist() if info.filename.lower().endswith(".zip")]
            if not inner:
                return archive
            folder, left = archive.with_name(f"{archive.stem}.zips"), bulk.TIMES * archive.stat().st_size
            folder.mkdir(exist_ok=True)
            for info in inner:
                place = folder / PurePosixPath(info.filename.replace("\\", "/")).name  # never where its path leads
                if place.exists():
                    continue
                draft = place.with_suffix(".part")
                with outer.open(info) as stream, draft.open("wb") as file:
                    while chunk := stream.read(CHUNK):
                        left -= len(chunk)
                        if left < 0:
                            raise LibraryError(f"{archive.name} inflates to more than any music does; it is not taken")
                        file.write(chunk)
                draft.rename(place)
            return folder
    except bulk.ERRORS as error:
        raise LibraryError(f"{archive.name} is damaged ({error}); delete it and fetch it again") from error


# ---- its layout


def label_of(collection: Known, place: Path) -> Label:
    """What names the style and the side of a file of the collection, by its path."""
    if collection.style == "maestro":
        return _maestro(place)
    return {"first": _first_folder, "last": _last_folder, "none": lambda label: ("", "")}[collection.style]


def _folders(label: str) -> list[str]:
    """The folders of a path, without archives and what is only the collection's own name."""
    return [part for part in PurePosixPath(label).parts[:-1] if not bulk.is_archive(part)]


def _first_folder(label: str) -> tuple[str, str]:
    parts = _folders(label)
    return (parts[0] if parts else ""), ""


def _last_folder(label: str) -> tuple[str, str]:
    parts = _folders(label) or [PurePosixPath(part).stem for part in PurePosixPath(label).parts[:-1]]
    return (parts[-1] if parts else ""), ""  # a zip of one game may hold no folder


def _maestro(place: Path) -> Label:
    """MAESTRO's own table: composer and published split of each file. Raises LibraryError where it is not there."""
    texts: list[bytes | str] = []
    is_table = lambda name: name.lower().endswith(".csv") and "maestro" in name.lower()  # noqa: E731
    if place.is_dir():
        texts = [file.read_bytes() for file in sorted(place.rglob("*.csv")) if is_table(file.name)]
    elif bulk.is_archive(place.name):
        texts = [content for _, content in bulk.members(place, is_table, 50_000_000)]
    table = next((text for text in texts if isinstance(text, bytes)), None)
    if table is None:
        raise LibraryError(f"{place.name} holds no table maestro-….csv, which names its composers and its split")
    rows = csv.DictReader(io.StringIO(table.decode("utf-8", "replace")))
    told = {
        row["midi_filename"]: (row["canonical_composer"].replace("/", "and"), SIDES.get(row["split"], ""))
        for row in rows
        if row.get("midi_filename") and row.get("canonical_composer")
    }

    def label(path: str) -> tuple[str, str]:
        return told.get("/".join(PurePosixPath(path).parts[-2:]), ("", ""))

    return label
