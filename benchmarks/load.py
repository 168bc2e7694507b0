"""How the studio bears a class: many people look at pages and compose while one trains.

    python benchmarks/load.py [--sessions 1 5 10 20] [--actions 15] [--no-training] [--json FILE]

A server of its own on this machine, warm (each page was opened once). A person is a session of Streamlit's own protocol
over a web socket: opens a page, reads (a pause of 2 to 14 s, 8 on average), opens the next; one action in six composes
8 bars with a bundled model and fetches the sound. What pages ask to be repeated (a running training's numbers) is asked
for as a browser does. A time is from the request to the end of the page's script, or, composing, to the last byte of
sound; what a browser takes to draw is not in it (see pages.py). The number of requests is bounded: sessions times
actions.

The limit: two cores. Every session's work is CPU time of one Python process, which runs one thread at a time, so the
table also says what share of a core it took.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import websockets
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from pages import start_training

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests"))
from studio import studio  # noqa: E402  how tests drive the studio

LOOKED_AT = ("", "library", "train", "compose", "runs", "judge", "how", "listen")
COMPOSING = 6  # one action in so many
PAUSE = (2.0, 14.0)  # seconds between two actions
PATIENCE = 60.0  # seconds after which an action has failed
GOAL = 1.0  # seconds, of 95 of 100 pages
PENDING = re.compile(rb'"pending": ?true')
ASKED_AGAIN = 0.25  # seconds after which the player asks again for sound that is being made, as in player.js
SOUND = re.compile(rb"/media/[0-9a-f]{16,}\.(?:wav|mp3|ogg)")


@dataclass
class Session:
    """A person: a web socket, the pages it was told of, what the page it is on holds."""

    url: str
    socket: Any = None
    pages: dict[str, str] = field(default_factory=dict)  # hash by address
    here: str = ""
    widgets: dict[str, str] = field(default_factory=dict)  # id by label
    repeated: list[asyncio.Task] = field(default_factory=list)
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    sounds: set[str] = field(default_factory=set)
    pending: str = ""  # the part of the page whose sound is still being made
    wrong: list[str] = field(default_factory=list)

    async def enter(self) -> None:
        """Connect and open the first page."""
        address = self.url.replace("http", "ws") + "/_stcore/stream"
        self.socket = await websockets.connect(address, subprotocols=["streamlit"], max_size=2**27)
        self.reader = asyncio.create_task(self._read())
        await self.run()

    async def leave(self) -> None:
        """Close the connection."""
        self._settle()
        self.reader.cancel()
        await self.socket.close()

    async def open(self, page: str) -> float:
        """Seconds until the page's script has ended."""
        self.here, self.widgets = self.pages[page], {}
        return await self.run()

    async def compose(self, seed: int) -> float:
        """Seconds from the click until the sound of a new piece is here whole; to be called on Compose."""
        known = set(self.sounds)
        begin = time.perf_counter()
        await self.run({"Seed": ("int_value", seed), "Compose": ("trigger_value", True)})
        asked = time.perf_counter()
        while not self.sounds - known:  # the sound comes after the notes
            await asyncio.sleep(0.02)
            if self.pending and time.perf_counter() - asked > ASKED_AGAIN:
                asked = time.perf_counter()
                await self.run(fragment=self.pending)
            if time.perf_counter() - begin > PATIENCE:
                raise TimeoutError("no sound")
        for name in self.sounds - known:
            await asyncio.to_thread(lambda name=name: urllib.request.urlopen(self.url + name, timeout=PATIENCE).read())
        return time.perf_counter() - begin

    async def run(self, values: dict[str, tuple[str, Any]] | None = None, fragment: str = "") -> float:
        """Ask for a run of the page, or of a part of it, with values of widgets by label; seconds until it ended."""
        ask = BackMsg()
        ask.rerun_script.page_script_hash = self.here
        ask.rerun_script.fragment_id = fragment
        ask.rerun_script.is_auto_rerun = bool(fragment)
        for label, (kind, value) in (values or {}).items():
            state = ask.rerun_script.widget_states.widgets.add(id=self.widgets[label])
            setattr(state, kind, value)
        begin = time.perf_counter()
        if fragment:
            await self.socket.send(ask.SerializeToString())
            return 0.0
        self._settle()
        self.finished.clear()
        await self.socket.send(ask.SerializeToString())
        await asyncio.wait_for(self.finished.wait(), PATIENCE)
        return time.perf_counter() - begin

    def _settle(self) -> None:
        """What the last page asked to be repeated is over."""
        for task in self.repeated:
            task.cancel()
        self.repeated.clear()

    async def _read(self) -> None:
        async for raw in self.socket:
            message = ForwardMsg.FromString(raw)
            kind = message.WhichOneof("type")
            if kind == "navigation":
                self.pages = {page.url_pathname: page.page_script_hash for page in message.navigation.app_pages}
                self.pages[""] = next(p.page_script_hash for p in message.navigation.app_pages if p.is_default)
            elif kind == "auto_rerun":
                self.repeated.append(asyncio.create_task(self._repeat(message.auto_rerun)))
            elif kind == "delta":
                self._note(message.delta.new_element)
                if b'"pending"' in raw:
                    self.pending = message.delta.fragment_id if PENDING.search(raw) else ""
                self.sounds |= {name.decode() for name in SOUND.findall(raw)}
            elif kind == "script_finished" and message.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY:
                self.finished.set()

    def _note(self, element: Any) -> None:
        kind = element.WhichOneof("type")
        if kind in ("button", "number_input"):
            widget = getattr(element, kind)
            self.widgets[widget.label.split(":material")[-1].split("/: ")[-1].strip("*")] = widget.id
        elif kind == "exception":
            self.wrong.append(element.exception.message)

    async def _repeat(self, wish: Any) -> None:
        while True:
            await asyncio.sleep(wish.interval)
            await self.run(fragment=wish.fragment_id)


async def person(number: int, url: str, actions: int, took: dict[str, list[float]]) -> list[str]:
    """One session from its first page to its last; what went wrong is told."""
    chance = random.Random(number)
    session = Session(url)
    try:
        await asyncio.sleep(chance.uniform(0, PAUSE[1]))
        await session.enter()
        for action in range(actions):
            if action % COMPOSING == number % COMPOSING:
                took["look"].append(await session.open("compose"))
                await asyncio.sleep(chance.uniform(*PAUSE))
                took["compose"].append(await session.compose(1000 * number + action))
            else:
                took["look"].append(await session.open(chance.choice(LOOKED_AT)))
            await asyncio.sleep(chance.uniform(*PAUSE))
    except (TimeoutError, OSError, websockets.WebSocketException) as error:
        return [*session.wrong, f"{type(error).__name__}: {error}"]
    finally:
        if session.socket:
            await session.leave()
    return session.wrong


async def crowd(url: str, n: int, actions: int) -> tuple[dict[str, list[float]], list[str]]:
    """Everybody at once."""
    took: dict[str, list[float]] = defaultdict(list)
    wrong = await asyncio.gather(*(person(i, url, actions, took) for i in range(n)))
    return took, [word for words in wrong for word in words]


async def warm(url: str) -> None:
    """Open every page once, and compose."""
    session = Session(url)
    await session.enter()
    for page in LOOKED_AT:
        await session.open(page)
    await session.open("compose")
    await session.compose(1)
    await session.leave()


def processor_seconds(home: Path) -> float:
    """CPU seconds of the server whose workspace this is, without its children."""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            mine = (
                b"streamlit\0run" in (place / "cmdline").read_bytes()
                and f"DEEPMUSICIAN_HOME={home}\0".encode() in (place / "environ").read_bytes()
            )
            if mine:
                fields = (place / "stat").read_text().rsplit(")", 1)[1].split()
                return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        except OSError:
            continue
    return float("nan")


def main() -> int:
    """Measure and print a table; 1 where the goal is missed or anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 5, 10, 20], help="how many people at once")
    parser.add_argument("--actions", type=int, default=15, help="what each of them does")
    parser.add_argument("--json", metavar="FILE", help="also write the figures there, for docs/growth.py")
    parser.add_argument("--no-training", action="store_true", help="nobody trains beside them")
    args = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before; training: {not args.no_training}")
    print("sessions  pages     p50     p95   worst   pieces     p50     p95   worst   server   failed")
    missed, rows = False, []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        home.mkdir()
        with studio(home) as url:
            asyncio.run(warm(url))
            training = None if args.no_training else start_training(home)
            try:
                for n in args.sessions:
                    spent, begin = processor_seconds(home), time.monotonic()
                    took, wrong = asyncio.run(crowd(url, n, args.actions))
                    share = (processor_seconds(home) - spent) / (time.monotonic() - begin)
                    cells = [f"{len(took[k]):>6} {_spread(took[k])}" for k in ("look", "compose")]
                    print(f"{n:>8} {cells[0]}   {cells[1]}   {share:5.0%}   {len(wrong):>6}", flush=True)
                    print("\n".join(f"    {word}" for word in dict.fromkeys(wrong)), end="\n" if wrong else "")
                    rows.append({"sessions": n, "server": share, "actions": sum(map(len, took.values()))})
                    rows[-1] |= {k: {q: float(np.percentile(took[k], q)) for q in (50, 95)} for k in took}
                    missed |= bool(wrong) or np.percentile(took["look"], 95) > GOAL
                if training and training.poll() is not None:
                    print("the training ended before the crowd did: these figures are those without one")
                    missed = True
            finally:
                if training:
                    training.kill()
                    training.wait()
    if args.json:
        Path(args.json).write_text(json.dumps(rows))
    print(f"goal: 95 of 100 pages within {GOAL:g} s: {'missed' if missed else 'met'}")
    return int(missed)


def _spread(seconds: list[float]) -> str:
    if not seconds:
        return f"{'–':>7} {'–':>7} {'–':>7}"
    return " ".join(f"{np.percentile(seconds, q):6.2f}s" for q in (50, 95, 100))


if __name__ == "__main__":
    sys.exit(main())
