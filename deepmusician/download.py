"""Large files from the web, whole or not at all: gone on with after a break, checked, never more than was agreed.

What has come lies in FILE.part with, beside it, what tells that the server still has the same file (its ETag or the
time of its last change). A server that has another one by now, or cannot begin in the middle, makes it begin anew.
pooch compares the whole with the published hash and gives it its name; it cannot go on after a break, so its downloader
is ours. Knows no music.

Sources: RFC 9110, HTTP Semantics, 13 (conditional requests) and 14 (ranges).
"""

from __future__ import annotations

import json
import math
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepmusician import __version__
from deepmusician.atomic import replace_file
from deepmusician.errors import DiskFullError, LibraryError

if TYPE_CHECKING:
    import requests

AGENT = f"deepmusician/{__version__}"
CHUNK = 1 << 18
TIMEOUT = (15, 60)  # seconds to connect, and between two bites
TRIES, PAUSE = 5, 2.0  # breaks without a byte in between; seconds after the first, then twice as many each time
UNPACKED = 2.5  # room that a download takes: itself, and what is unpacked of it
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_PASSING = (408, 429, 500, 502, 503, 504)

Watch = Callable[[int, int], None]  # bytes there, bytes in all (0 where it is not known)


@dataclass(frozen=True)
class Remote:
    """A file to download. `bytes` and `hash` ("sha256:…", "md5:…") are what was published of it, 0 and "" where nothing
    was; without a file that is not `needed` the rest is of use, too."""

    url: str
    file: str = ""
    bytes: int = 0
    hash: str = ""
    needed: bool = True

    @property
    def name(self) -> str:
        """What the file is called here."""
        return self.file or self.url.rsplit("/", 1)[-1]


def download(
    remote: Remote, folder: Path, most_bytes: int, watch: Watch = lambda done, total: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Path:  # fmt: skip
    """The file in `folder`, downloaded if it is not there yet.

    Raises LibraryError where it cannot be had, is not what was published, or is larger than `most_bytes`; DiskFullError
    where there is no room for it and what is in it.
    """
    import pooch

    pooch.get_logger().setLevel("WARNING")
    getting = _Getting(folder / f"{remote.name}.part", remote, most_bytes, watch, sleep)
    check_room(folder, remote.bytes, getting.have)
    known = remote.hash or None
    try:
        return Path(pooch.retrieve(remote.url, known, fname=remote.name, path=folder, downloader=getting))
    except ValueError as error:  # pooch's word for a wrong hash
        if "hash" not in str(error):
            raise
        raise LibraryError(
            f"{remote.name} is not the file that was published ({' '.join(str(error).split())}) and was deleted; "
            "fetch it again, and if that does not help, its publisher has changed it: get it by hand, then --from FILE"
        ) from error


def check_room(folder: Path, size: int, have: int = 0) -> None:
    """Raises DiskFullError where there is no room for `size` bytes, of which `have` are there, and what they hold."""
    free, wanted = shutil.disk_usage(folder).free, UNPACKED * size - have
    if free < wanted:
        raise DiskFullError(
            f"there is too little room in {folder}: it takes {wanted / 1e6:,.0f} MB, {free / 1e6:,.0f} MB are free; "
            f"free {math.ceil((wanted - free) / 1e6):,} MB or choose another folder with -o"
        )


@dataclass
class _State:
    """What the server said of the file of which a part is here."""

    url: str
    etag: str = ""
    modified: str = ""
    total: int = 0


def _is_out_of_reach(error: Exception) -> bool:
    """Whether nobody answered at all: no such name, or nothing listens there."""
    from urllib3.exceptions import NewConnectionError

    return isinstance(getattr(error.args[0] if error.args else None, "reason", None), NewConnectionError)


class _Break(Exception):
    """The connection ended before the file did, or the server asks for patience."""


class _Getting:
    """A downloader for pooch."""

    def __init__(
        self, part: Path, remote: Remote, most_bytes: int, watch: Watch, sleep: Callable[[float], None]
    ) -> None:
        self.part, self.remote, self.most, self.watch, self.sleep = part, remote, most_bytes, watch, sleep
        self.about = part.with_suffix(part.suffix + ".json")

    @property
    def have(self) -> int:
        """Bytes that are here."""
        return self.part.stat().st_size if self.part.exists() else 0

    def __call__(self, url: str, output_file: Any, pooch: Any) -> None:
        import requests
        import urllib3

        passing = (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError)
        broken, before = 0, self.have
        with requests.Session() as session:
            session.headers.update({"User-Agent": AGENT, "Accept-Encoding": "identity"})
            while True:
                try:
                    if self._go_on(session, url):
                        break
                except (_Break, *passing) as error:
                    broken = broken + 1 if self.have <= before else 1
                    self._patience(broken, url, error)
                except requests.RequestException as error:
                    raise LibraryError(f"{url} cannot be fetched ({error})") from error
                before = self.have
        self.part.replace(output_file)
        self.about.unlink(missing_ok=True)

    def _patience(self, broken: int, url: str, error: Exception) -> None:
        if broken < TRIES:
            self.sleep(PAUSE * 2 ** (broken - 1))
            return
        if _is_out_of_reach(error):
            raise LibraryError(
                f"{url} cannot be reached: look whether this computer is on the internet, and call the same again"
            )
        total = self._state().total
        what = f"{self.have:,} of {total:,} bytes" if total else f"{self.have:,} bytes"
        raise LibraryError(
            f"{url} broke off {broken} times in a row after {what} ({error}); "
            "call the same again to go on from there, or later if the server has trouble"
        )

    def _state(self) -> _State:
        try:
            return _State(**json.loads(self.about.read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return _State("")

    def _anew(self) -> None:
        self.part.unlink(missing_ok=True)
        self.about.unlink(missing_ok=True)

    def _go_on(self, session: requests.Session, url: str) -> bool:
        """One request; whether the file is whole then. Raises _Break, and what requests raises."""
        state = self._state()
        if state.url != url or not (state.etag or state.modified or self.remote.hash):
            self._anew()  # nothing would tell whether what follows belongs to what is here
            state = _State(url)
        headers, have = {}, self.have
        if have:
            headers["Range"] = f"bytes={have}-"
            strong = state.etag if not state.etag.startswith("W/") else ""
            if strong or state.modified:
                headers["If-Range"] = strong or state.modified
        with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
            if answer.status_code == 416:
                return self._beyond(answer, have)
            self._check_answer(answer, url)
            fresh = _State(url, answer.headers.get("ETag", ""), answer.headers.get("Last-Modified", ""))
            if answer.status_code == 206:
                found = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
                fresh.total = int(found[2]) if found and found[2] != "*" else state.total
                if not found or int(found[1]) != have or not _same(state, fresh):
                    self._anew()
                    return False
            else:
                have, fresh.total = 0, _length(answer)
            self._check_size(fresh.total, have)
            replace_file(self.about, json.dumps(asdict(fresh)))
            return self._write(answer, have, fresh.total)

    def _beyond(self, answer: requests.Response, have: int) -> bool:
        """The server has nothing after what is here: that is all, or of another file."""
        if answer.headers.get("Content-Range") == f"bytes */{have}":
            return True
        self._anew()
        return False

    def _check_answer(self, answer: requests.Response, url: str) -> None:
        status = answer.status_code
        if status in _PASSING:
            raise _Break(f"it answers {status} {answer.reason}")
        if status not in (200, 206):
            raise LibraryError(
                f"{url} answers {status} {answer.reason}; look at its site whether it has moved, get it by hand, "
                "then --from FILE"
            )
        if url.startswith("https:") and not answer.url.startswith("https:"):
            raise LibraryError(f"{url} leads to {answer.url}, which anybody on the way could change; get it by hand")
        if answer.headers.get("Content-Type", "").startswith("text/html"):
            raise LibraryError(
                f"{url} answers with a page rather than with {self.remote.name}; open it in a browser, download the "
                "file there, then --from FILE"
            )

    def _check_size(self, total: int, have: int) -> None:
        said = self.remote.bytes
        if said and total and total != said:
            raise LibraryError(
                f"{self.remote.name} has {said:,} bytes as published, the server says {total:,}; its publisher may "
                "have changed it: get it by hand, then --from FILE"
            )
        if total > self.most:
            raise self._too_large(total)
        check_room(self.part.parent, total, have)

    def _too_large(self, size: int) -> LibraryError:
        return LibraryError(
            f"a download may have at most {self.most / 1e6:,.0f} MB, {self.remote.name} has {size / 1e6:,.0f} or more; "
            "set the limit fetch_mb higher if you mean it"
        )

    def _write(self, answer: requests.Response, have: int, total: int) -> bool:
        with self.part.open("ab" if have else "wb") as file:
            while chunk := answer.raw.read1(CHUNK):  # iter_content would throw away what came before a break
                have += len(chunk)
                if have > self.most:
                    raise self._too_large(have)
                file.write(chunk)
                self.watch(have, total)
        if total and have < total:
            raise _Break(f"it said {total:,} bytes and ended")
        return True


def _same(before: _State, now: _State) -> bool:
    """Whether a server that begins in the middle speaks of the file of which the beginning is here."""
    tags = before.etag and now.etag and before.etag != now.etag
    times = before.modified and now.modified and before.modified != now.modified
    return not (tags or times or (before.total and before.total != now.total))


def _length(answer: requests.Response) -> int:
    """The bytes that the server says there are, 0 where it does not."""
    said = answer.headers.get("Content-Length", "")
    return int(said) if said.isdecimal() and "Content-Encoding" not in answer.headers else 0
