"""Crawl: the music files of a site that has no bulk file, politely.

What robots.txt forbids is left alone, one request is under way at a time, with a pause after each and a name and an
address to write to in it. Pages and files of the one site only. What was looked at is written down, so that a call that
was stopped goes on; a file lies here under its own path, cleaned.
"""

from __future__ import annotations

import re
import sqlite3
import time
import urllib.error
import urllib.request
import urllib.robotparser
from collections.abc import Callable, Iterator
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from deepmusician.errors import LibraryError
from deepmusician.finding import is_music

PAUSE, PATIENCE, TRIES = 2.0, 60.0, 3
PAGE_BYTES, FILE_BYTES = 5_000_000, 8_000_000
_SEEN = "seen.sqlite"
Watch = Callable[[int, int, str], None]  # files so far, pages and files still known of, what is got now


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name == "href" and value]


class Crawler:
    """One crawl into `folder`, under an agent's name that tells whom to write to."""

    def __init__(
        self, start: str, folder: Path, contact: str, pause: float | None = None, most: int | None = None
    ) -> None:
        if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+|https?://\S+", contact):
            raise LibraryError(f"--contact must be a mail or web address the site can write to, got {contact!r}")
        self.start, self.folder, self.most = start, folder, most
        self.agent = f"deepmusician-fetch/0.2 (+{contact})"
        self.site = urlsplit(start).netloc
        self.robots = urllib.robotparser.RobotFileParser()
        self.pause, self.last = PAUSE if pause is None else pause, 0.0
        folder.mkdir(parents=True, exist_ok=True)

    def run(self, watch: Watch = lambda files, left, url: None) -> int:
        """Go through the site, or on with it; returns the music files that are here then."""
        self._read_robots()
        with closing(sqlite3.connect(self.folder / _SEEN, isolation_level=None)) as db:
            db.execute("CREATE TABLE IF NOT EXISTS urls (url TEXT PRIMARY KEY, done INTEGER, note TEXT)")
            db.execute("INSERT OR IGNORE INTO urls VALUES (?, 0, '')", (self.start,))
            for url in self._waiting(db):
                files, left = self._counts(db)
                if self.most is not None and files >= self.most:
                    break
                watch(files, left, url)
                note, links = self._visit(url)
                db.execute("BEGIN")
                db.executemany("INSERT OR IGNORE INTO urls VALUES (?, 0, '')", [(link,) for link in links])
                db.execute("UPDATE urls SET done = 1, note = ? WHERE url = ?", (note, url))
                db.execute("COMMIT")
            return self._counts(db)[0]

    def _waiting(self, db: sqlite3.Connection) -> Iterator[str]:
        while row := db.execute("SELECT url FROM urls WHERE done = 0 ORDER BY rowid LIMIT 1").fetchone():
            yield row[0]

    def _counts(self, db: sqlite3.Connection) -> tuple[int, int]:
        return db.execute("SELECT SUM(note = 'file'), SUM(done = 0) FROM urls").fetchone()

    def _read_robots(self) -> None:
        """What the site allows; where it has no robots.txt everything, where it cannot be read nothing."""
        parts = urlsplit(self.start)
        try:
            text = self._get(f"{parts.scheme}://{parts.netloc}/robots.txt", 500_000).decode("utf-8", "replace")
        except urllib.error.HTTPError as error:
            if error.code != 404:
                words = f"{self.site} does not show its robots.txt ({error.code}); it is left alone"
                raise LibraryError(words) from error
            text = ""
        except (OSError, ValueError) as error:
            raise LibraryError(f"{self.site} does not answer ({error}); try again later") from error
        self.robots.parse(text.splitlines())
        self.pause = max(self.pause, float(self.robots.crawl_delay(self.agent) or 0))
        if not self.robots.can_fetch(self.agent, self.start):
            raise LibraryError(f"{self.site} asks programs in its robots.txt to stay away; it is left alone")

    def _visit(self, url: str) -> tuple[str, list[str]]:
        """What came of a page or file, and the links to follow."""
        if not self.robots.can_fetch(self.agent, url):
            return "forbidden", []
        try:
            if is_music(urlsplit(url).path):
                content = self._get(url, FILE_BYTES)
                place = self._place(url)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)
                return "file", []
            page = self._get(url, PAGE_BYTES, "text/html")
        except (OSError, ValueError) as error:
            return f"not got: {error}"[:200], []
        links = _Links()
        links.feed(page.decode("utf-8", "replace"))
        whole = (urldefrag(urljoin(url, link))[0] for link in links.found)
        return "page", [link for link in dict.fromkeys(whole) if self._is_wanted(link)]

    def _is_wanted(self, link: str) -> bool:
        """Music and pages of this site, below where it began."""
        parts = urlsplit(link)
        if parts.scheme not in ("http", "https") or parts.netloc != self.site:
            return False
        if is_music(parts.path):
            return True
        below = urlsplit(self.start).path.rpartition("/")[0]
        return parts.path.startswith(below) and not re.search(r"\.(?!html?$|php$)\w{2,5}$", parts.path)

    def _place(self, url: str) -> Path:
        """Where a file lies: its path, without anything that could lead elsewhere."""
        parts = [re.sub(r"[^\w .()'&+-]", "_", part).strip(". ") for part in unquote(urlsplit(url).path).split("/")]
        return self.folder.joinpath(*[part[:100] for part in parts if part])

    def _get(self, url: str, most: int, kind: str = "") -> bytes:
        """One request, after the pause. Raises OSError, or ValueError where it is of another kind or too large."""
        for attempt in range(TRIES):
            time.sleep(max(self.last + self.pause * (attempt + 1) - time.monotonic(), 0))
            request = urllib.request.Request(url, headers={"User-Agent": self.agent})
            try:
                with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                    if kind and not response.headers.get_content_type().startswith(kind):
                        raise ValueError(f"it is {response.headers.get_content_type()}")
                    content = response.read(most + 1)
                    if len(content) > most:
                        raise ValueError(f"it has more than {most:,} bytes")
                    return content
            except urllib.error.HTTPError as error:
                if error.code not in (429, 500, 502, 503, 504) or attempt == TRIES - 1:
                    raise
            finally:
                self.last = time.monotonic()
        raise AssertionError("unreachable")
