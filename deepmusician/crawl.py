"""Going through a site that has no bulk file, page by page, as a guest: one request at a time with a pause after each,
only what its robots.txt allows, with an address in every request to which its owner can write.

What was seen and kept is written into a list on disk before the next request, so a call that ends goes on where it was.
It leaves no site, and downloads what ends in .mid or .midi alone.

Sources: RFC 9309, Robots Exclusion Protocol; RFC 9110, 10.2.3 (Retry-After).
"""

from __future__ import annotations

import json
import math
import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urldefrag, urljoin, urlsplit
from urllib.robotparser import RobotFileParser

from deepmusician.atomic import replace_file
from deepmusician.download import AGENT, TIMEOUT
from deepmusician.errors import LibraryError, OptionError

if TYPE_CHECKING:
    import requests

LEAST_PAUSE, PAUSE = 1.0, 2.0  # seconds between two requests
LONGEST = 600.0  # seconds that a site may ask to wait
PAGE_BYTES = 8_000_000
PAGES = 50_000
TRIES, TROUBLE = 3, 5  # of one address; addresses in a row that answer with errors of the server's
_ENDS = (".mid", ".midi")
_BUSY = (429, 500, 502, 503, 504)
_PAGES = ("", "htm", "html", "php", "asp", "aspx")
_DELAY = re.compile(r"(?im)^(\s*crawl-delay\s*:\s*)(\d+\.\d+)")
_BAD = re.compile(r'[\x00-\x1f<>:"|?*\\/]')

Watch = Callable[[int, int, int], None]  # pages seen, files kept, files known of


@dataclass(frozen=True)
class Manners:
    """How a site is asked. Raises OptionError for a pause below a second, or where nobody can be written to."""

    contact: str
    pause: float = PAUSE

    def __post_init__(self) -> None:
        if not self.pause >= LEAST_PAUSE:
            raise OptionError(f"the pause must be at least {LEAST_PAUSE:g} second, got {self.pause:g}")
        if not re.fullmatch(r"[^\s()]+@[^\s()]+\.[^\s()]+|https?://[^\s()]+", self.contact):
            raise OptionError(
                f"--contact must be an address to which the site's owner can write, got {self.contact!r}; "
                "give --contact you@example.org"
            )

    @property
    def agent(self) -> str:
        """What the site reads of who asks."""
        return f"{AGENT} (+{self.contact})"


@dataclass(frozen=True)
class Crawled:
    """How far it came: `done` where nothing is left."""

    pages: int
    files: int
    missing: int
    done: bool


def crawl(
    start: str, folder: Path, record: Path, manners: Manners, most_bytes: int, most_files: int = 0,
    watch: Watch = lambda pages, kept, known: None, sleep: Callable[[float], None] | None = None,
) -> Crawled:  # fmt: skip
    """Keep every MIDI file that pages at and below `start` lead to in `folder`, going on from `record`.

    `most_files` ends it after so many new ones, 0 never. Raises LibraryError where robots.txt forbids it, or the site
    is out of reach.
    """
    import requests

    with requests.Session() as session:
        session.headers["User-Agent"] = manners.agent
        site = _Site(session, start, manners, sleep or time.sleep)
        return _Walk(site, folder, record, most_bytes, most_files, watch).go()


class _Site:
    """One site, asked with manners."""

    def __init__(self, session: requests.Session, start: str, manners: Manners, sleep: Callable[[float], None]) -> None:
        self.session, self.start, self.manners, self.sleep = session, start, manners, sleep
        self.below = start[: start.rindex("/") + 1]
        self.asked, self.failed = False, 0
        self.pause = manners.pause
        self.robots = self._robots()
        wanted = self.robots.crawl_delay(AGENT)
        self.pause = max(self.pause, float(wanted or 0))
        if self.pause > LONGEST:
            raise LibraryError(f"{start} asks for {self.pause:g} seconds between requests: it does not want this")

    def _robots(self) -> RobotFileParser:
        address = urljoin(self.start, "/robots.txt")
        status, text, _, _ = self.get(address, PAGE_BYTES)
        robots = RobotFileParser(address)
        if status >= 500:
            raise LibraryError(
                f"{address} cannot be read (it answers {status}), so nothing else may be asked; try later"
            )
        if status in (401, 403):
            robots.disallow_all = True
        elif status >= 400:  # RFC 9309: where there is none, all is allowed
            robots.allow_all = True
        rules = text.decode("utf-8", "replace") if status == 200 else ""
        rules = _DELAY.sub(lambda found: f"{found[1]}{math.ceil(float(found[2]))}", rules)  # the parser knows no 2.5
        robots.parse(rules.splitlines())
        return robots

    def allows(self, url: str) -> bool:
        """Whether robots.txt lets us ask for it."""
        return self.robots.can_fetch(AGENT, url)

    def is_here(self, url: str) -> bool:
        """Whether an address belongs to the site."""
        here, there = urlsplit(self.start), urlsplit(url)
        return (here.scheme, here.netloc) == (there.scheme, there.netloc)

    def get(self, url: str, most: int) -> tuple[int, bytes, str, str]:
        """Status, content, kind and final form of an address; what redirects out of the site answers 404."""
        for _ in range(5):
            status, content, kind, leads = self._once(url, most)
            if not leads:
                return status, content, kind, url
            url = urljoin(url, leads)
            if not self.is_here(url) or (hasattr(self, "robots") and not self.allows(url)):
                break
        return 404, b"", "", url

    def _once(self, url: str, most: int) -> tuple[int, bytes, str, str]:
        import requests

        status, problem, wait = 0, None, 0.0
        for attempt in range(TRIES):
            if self.asked:
                self.sleep(self.pause)
            self.asked = True
            try:
                with self.session.get(url, stream=True, timeout=TIMEOUT, allow_redirects=False) as answer:
                    if answer.status_code not in _BUSY:
                        content = b"".join(_bounded(answer, most, url)) if answer.status_code == 200 else b""
                        self.failed = 0
                        leads = answer.headers.get("Location", "") if answer.is_redirect else ""
                        return answer.status_code, content, answer.headers.get("Content-Type", ""), leads
                    status, problem = answer.status_code, f"it answers {answer.status_code} {answer.reason}"
                    wait = _retry_after(answer.headers.get("Retry-After", ""), self.pause * 10 * (attempt + 1))
            except requests.RequestException as error:
                status, problem, wait = 0, error, self.pause * 10 * (attempt + 1)
            if attempt + 1 < TRIES:
                self.sleep(min(wait, LONGEST))
        self.failed += 1
        if status in (500, 502, 504) and self.failed < TROUBLE:
            return status, b"", "", ""  # this address may be broken, not the site
        raise LibraryError(f"{url} is out of reach ({problem}); call the same again later to go on")


def _bounded(answer: requests.Response, most: int, url: str) -> Iterator[bytes]:
    size = 0
    for chunk in answer.iter_content(1 << 16):
        size += len(chunk)
        if size > most:
            raise _TooLargeError(f"{url} has more than {most:,} bytes")
        yield chunk


class _TooLargeError(Exception):
    pass


def _retry_after(said: str, otherwise: float) -> float:
    return float(said) if said.isdecimal() else otherwise


class _Walk:
    """The pages and files of a site, and the list of them."""

    def __init__(self, site: _Site, folder: Path, record: Path, most_bytes: int, most_files: int, watch: Watch) -> None:
        self.site, self.folder, self.record, self.watch = site, folder, record, watch
        self.most_bytes, self.most_files = most_bytes, most_files
        self.seen: dict[str, str] = {}  # address -> name it is to have, "" of a page
        self.done: dict[str, str] = {}  # address -> where it lies; "" of a page, and of a file that is not to be had
        self.names: set[str] = set()
        self.pages = self.files = self.missing = self.left = 0
        self.known = 0  # files that pages lead to

    def go(self) -> Crawled:
        """Walk until nothing is left, or enough."""
        if not self.site.allows(self.site.start):
            raise LibraryError(f"robots.txt forbids {self.site.start} to programs such as this; it is not fetched")
        self._recall()
        self._note([(self.site.start, "")])
        waiting, new = deque(self._ordered()), 0
        while waiting:
            if self.most_files and new >= self.most_files:
                break
            url = waiting.popleft()
            if _is_file(url):
                new += self._keep(url)
            elif self.pages < PAGES:
                fresh = self._look(url)
                waiting.extend(each for each in fresh if not _is_file(each))
                waiting.extendleft(reversed([each for each in fresh if _is_file(each)]))
            self.watch(self.pages, self.files, self.known)
        return Crawled(self.pages, self.files, self.missing, not waiting and not self.left)

    def _ordered(self) -> list[str]:
        left = [url for url in self.seen if url not in self.done]
        return [url for url in left if _is_file(url)] + [url for url in left if not _is_file(url)]

    def _look(self, url: str) -> list[str]:
        """Ask for a page; the addresses on it that are new."""
        try:
            status, content, kind, final = self.site.get(url, PAGE_BYTES)
        except _TooLargeError:
            status, content, kind, final = 404, b"", "", url
        links: list[tuple[str, str]] = []
        if status == 200 and "html" in kind:
            page = _Links()
            page.feed(content.decode("utf-8", "replace"))
            links = [(urldefrag(urljoin(final, link))[0], name) for link, name in page.found]
        fresh = self._note([(link, name) for link, name in links if self._follows(link)])
        self._did(url, "", status)
        return fresh

    def _follows(self, link: str) -> bool:
        if not self.site.is_here(link) or not self.site.allows(link):
            return False
        _, _, end = urlsplit(link).path.rpartition("/")[2].partition(".")
        return _is_file(link) or (link.startswith(self.site.below) and end.lower() in _PAGES)

    def _note(self, links: list[tuple[str, str]]) -> list[str]:
        fresh = [(link, name) for link, name in dict(links).items() if link not in self.seen]
        for link, name in fresh:
            self._saw(link, name)
        self._write([{"seen": link, "name": name} for link, name in fresh])
        return [link for link, _ in fresh]

    def _keep(self, url: str) -> bool:
        """Download one file; whether it is there now."""
        try:
            status, content, _, _ = self.site.get(url, self.most_bytes)
        except _TooLargeError:
            status, content = 413, b""
        place = ""
        if status == 200 and content:
            place = self._free(_path(url, self.seen[url], self.site.below))
            (self.folder / place).parent.mkdir(parents=True, exist_ok=True)
            replace_file(self.folder / place, content)
        self._did(url, place, status)
        return bool(place)

    def _free(self, path: str) -> str:
        stem, dot, end = path.rpartition(".")
        number, free = 1, path
        while free.lower() in self.names:
            number += 1
            free = f"{stem} ({number}){dot}{end}"
        self.names.add(free.lower())
        return free

    def _saw(self, url: str, name: str) -> None:
        self.seen[url] = name
        self.known += _is_file(url)

    def _did(self, url: str, place: str, status: int) -> None:
        if status >= 500:  # asked for again by the next call
            self.left += 1
            return
        self._count(url, place)
        self._write([{"done": url, "place": place}])

    def _count(self, url: str, place: str) -> None:
        self.done[url] = place
        self.files += bool(place)
        self.missing += _is_file(url) and not place
        self.pages += not _is_file(url)

    def _write(self, rows: list[dict[str, str]]) -> None:
        if rows:
            with self.record.open("a", encoding="utf-8") as file:
                file.write("".join(json.dumps(row) + "\n" for row in rows))

    def _recall(self) -> None:
        """Take up the list where it ends; a last line that a kill cut off is dropped, and its request made again."""
        if not self.record.exists():
            return
        lines = self.record.read_text("utf-8").splitlines(keepends=True)
        if lines and not lines[-1].endswith("\n"):
            replace_file(self.record, "".join(lines[:-1]))
            lines.pop()
        for row in map(json.loads, lines):
            if "seen" in row:
                self._saw(row["seen"], row["name"])
            else:
                self._count(row["done"], row["place"])
        self.names = {place.lower() for place in self.done.values() if place}


class _Links(HTMLParser):
    """The addresses on a page, each with the name under which a browser would save it, if it says one."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Of links only."""
        said = dict(attrs)
        if tag == "a" and said.get("href") and "nofollow" not in (said.get("rel") or ""):
            self.found.append((said["href"] or "", said.get("download") or ""))


def _is_file(url: str) -> bool:
    return urlsplit(url).path.lower().endswith(_ENDS)


def _path(url: str, name: str, below: str) -> str:
    """Where a file goes: as it lies on the site, below where the walk began; by its own name if its link says one."""
    parts = unquote(urlsplit(url).path).split("/")
    above = unquote(urlsplit(below).path).strip("/").split("/")
    parts = [part for part in parts if part not in ("", ".", "..")]
    while above and above[0] and parts[:1] == above[:1]:
        parts, above = parts[1:], above[1:]
    if name:
        parts[-1] = name if name.lower().endswith(_ENDS) else f"{name}.mid"
    return "/".join(_BAD.sub("_", part).lstrip(".").strip()[:200] or "_" for part in parts)
