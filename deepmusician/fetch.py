"""The collections of music that can be fetched: what each is, and the way from the web, or from a person's own copy,
to a folder that `ingest` reads.

Nothing is fetched by itself. A folder appears whole or not at all; until then what has come lies beside it, in
`.NAME.getting`, and a later call goes on from there. Two sites are gone through page by page: see `crawl`.

Sources: collections.toml; the Internet Archive's metadata API for what its items hold, with sizes and hashes.
"""

from __future__ import annotations

import fnmatch
import shutil
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from deepmusician import bulk
from deepmusician.download import AGENT, TIMEOUT, Remote, check_room, download
from deepmusician.errors import LibraryError, OptionError
from deepmusician.layouts import LAYOUTS, write_styles
from deepmusician.limits import Limits, current
from deepmusician.unpacking import Watch, take_in
from deepmusician.workspace import workspace

TABLE = Path(__file__).with_name("collections.toml")
ARCHIVE_ORG = "https://archive.org"
TABLE_BYTES = 128_000_000  # of the listing of an item of the Internet Archive


@dataclass(frozen=True)
class Collection:
    """A collection, as collections.toml describes it."""

    name: str
    title: str
    what: str
    files: int
    licence: str
    cite: str
    site: str
    how: str
    layout: str
    style: str
    note: str = ""
    mb: float = 0
    item: str = ""
    start: str = ""
    pick: tuple[str, ...] = ()
    tops: tuple[str, ...] = ()
    sources: tuple[Remote, ...] = ()

    def __post_init__(self) -> None:
        if self.how not in ("bulk", "archive.org", "crawl", "own"):
            raise OptionError(f"{self.name}: how must be bulk, archive.org, crawl or own, got {self.how!r}")
        if self.layout not in LAYOUTS:
            raise OptionError(f"{self.name}: layout must be one of {', '.join(LAYOUTS)}, got {self.layout!r}")

    @property
    def size(self) -> str:
        """How much is downloaded, in words."""
        if self.how in ("crawl", "own"):
            return "file by file" if self.how == "crawl" else "your own copy"
        if self.how == "archive.org":
            return "as the archive lists it; said before it begins"
        return f"{self.mb:,.0f} MB" if self.mb else "not stated; said as it begins"

    def about(self) -> list[str]:
        """What a person should know before it is fetched."""
        files = f"{self.files:,} files" if self.files else "files: not stated"
        files += f" ({self.note})" if self.note else ""
        return [
            f"{self.name}: {self.title}", f"  {self.what}", f"  {files}", f"  download: {self.size}",
            f"  licence: {self.licence}", f"  cite: {self.cite}", f"  site: {self.site}", f"  style: {self.style}",
        ]  # fmt: skip


def list_collections() -> list[Collection]:
    """All that can be fetched."""
    return list(_read(TABLE))


@cache
def _read(table: Path) -> tuple[Collection, ...]:
    return tuple(_collection(name, values) for name, values in tomllib.loads(table.read_text("utf-8")).items())


def _collection(name: str, values: dict[str, Any]) -> Collection:
    remotes = tuple(Remote(**source) for source in values.get("sources", ()))
    lists = {each: tuple(values.get(each, ())) for each in ("pick", "tops")}
    return Collection(name=name, **{**values, **lists, "sources": remotes})


def collection(name: str) -> Collection:
    """The collection of that name. Raises OptionError where there is none."""
    for each in list_collections():
        if each.name == name:
            return each
    known = ", ".join(each.name for each in list_collections())
    raise OptionError(f"no collection is called {name}; there are {known}")


def place_of(name: str) -> Path:
    """Where a collection goes if no other folder is named."""
    return workspace() / "collections" / name


def getting(folder: Path) -> Path:
    """What is on its way into `folder`."""
    return folder.with_name(f".{folder.name}.getting")


@dataclass(frozen=True)
class Fetched:
    """A folder of music, what of it is there, and what could not be had, with reasons."""

    folder: Path
    files: int
    styles: int
    refused: tuple[tuple[str, str], ...] = ()


def fetch(
    what: Collection, remotes: Sequence[Remote], folder: Path, watch: Watch = lambda what, done, total: None
) -> Fetched:
    """Download the files of a collection (`remotes_of`) and unpack them into `folder`, which must not be there yet."""
    check_free(folder)
    way = getting(folder)
    way.mkdir(parents=True, exist_ok=True)
    limits, here = current(), sum(file.stat().st_size for file in way.iterdir() if file.is_file())
    check_room(way, sum(remote.bytes for remote in remotes) or round(what.mb * 1e6), here)
    archives, refused = [], []
    for remote in remotes:
        try:
            archives.append(download(remote, way, limits.fetch_bytes, _named(watch, remote.name)))
        except LibraryError as error:
            if remote.needed:
                raise
            refused.append((remote.name, str(error)))
    return _settle(what, archives, folder, limits, watch, refused)


def _named(watch: Watch, name: str) -> Callable[[int, int], None]:
    return lambda done, total: watch(name, done, total)


def bring(what: Collection, own: Path, folder: Path, watch: Watch = lambda what, done, total: None) -> Fetched:
    """Take a person's own copy in: an archive, a folder, or a folder of archives. It stays as it is."""
    check_free(folder)
    if not own.exists():
        raise LibraryError(f"no file or folder is called {own}; give your copy of {what.title}")
    getting(folder).mkdir(parents=True, exist_ok=True)
    return _settle(what, [own], folder, current(), watch, [])


def check_free(folder: Path) -> None:
    """Raises LibraryError where something is in the place of `folder`."""
    if folder.exists():
        raise LibraryError(
            f"{folder} is there already; ingest it, delete it to fetch it again, or choose another folder with -o"
        )


def _settle(
    what: Collection, sources: Sequence[Path], folder: Path, limits: Limits, watch: Watch,
    refused: list[tuple[str, str]],
) -> Fetched:  # fmt: skip
    """Unpack beside, say the styles, then give the folder its name and let go of the archives."""
    draft = getting(folder) / "unpacked"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    several = sum(bulk.is_archive(source.name) for source in sources) > 1
    try:
        for source in sources:
            refused += take_in(source, draft, several, limits, watch)
        files, styles = label(what, draft)
        if not files:
            raise LibraryError(f"there is no music in what came of {what.title}; give your own copy: --from PATH")
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    draft.rename(folder)
    shutil.rmtree(getting(folder), ignore_errors=True)
    return Fetched(folder, files, styles, tuple(refused))


def label(what: Collection, folder: Path) -> tuple[int, int]:
    """Write `styles.csv` as the collection's layout says; how many files and styles there are."""
    return write_styles(folder, LAYOUTS[what.layout](folder, what.tops))


# ---- what there is to download


def remotes_of(what: Collection) -> tuple[Remote, ...]:
    """The files to download; of an item of the Internet Archive, those that it lists, with their sizes and hashes.

    Raises LibraryError for a collection without bulk files, or where the listing cannot be had.
    """
    if what.how == "own":
        raise LibraryError(f"{what.title} has no file for everybody ({what.note})")
    if what.how == "crawl":
        raise LibraryError(f"{what.title} has no bulk file; go through it with --crawl --contact you@example.org")
    return what.sources if what.how == "bulk" else _listed(what)


def _listed(what: Collection) -> tuple[Remote, ...]:
    listing = _ask(f"{ARCHIVE_ORG}/metadata/{what.item}")
    files = [file for file in listing.get("files", ()) if isinstance(file, dict) and isinstance(file.get("name"), str)]
    for pattern in what.pick:
        chosen = [file for file in files if fnmatch.fnmatch(file["name"], pattern)]
        if chosen:
            return tuple(_remote(what.item, file) for file in chosen)
    there = ", ".join(sorted({PurePosixPath(file["name"]).suffix for file in files})) or "nothing"
    raise LibraryError(
        f"{what.site} lists no {' or '.join(what.pick)} (it has {there}); download and unpack it, then --from FOLDER"
    )


def _remote(item: str, file: dict[str, Any]) -> Remote:
    from urllib.parse import quote

    size = str(file.get("size", ""))
    hashes = (f"{kind}:{file[kind]}" for kind in ("sha1", "md5") if isinstance(file.get(kind), str))
    url = f"{ARCHIVE_ORG}/download/{quote(item)}/{quote(file['name'])}"
    flat = file["name"].replace("\\", "/").replace("/", " ").lstrip(".")  # a name, not a path
    return Remote(url, flat, int(size) if size.isdecimal() else 0, next(hashes, ""))


def _ask(url: str) -> dict[str, Any]:
    """The JSON object at an address. Raises LibraryError."""
    import json

    import requests

    try:
        with requests.get(url, headers={"User-Agent": AGENT}, timeout=TIMEOUT, stream=True) as answer:
            answer.raise_for_status()
            content = b"".join(_bounded(answer.iter_content(1 << 16)))
        found = json.loads(content)
    except (requests.RequestException, ValueError) as error:
        raise LibraryError(f"{url} cannot be read ({error}); try again later") from error
    return found if isinstance(found, dict) else {}


def _bounded(chunks: Iterable[bytes]) -> Iterable[bytes]:
    left = TABLE_BYTES
    for chunk in chunks:
        left -= len(chunk)
        if left < 0:
            raise ValueError(f"a listing has at most {TABLE_BYTES:,} bytes")
        yield chunk
