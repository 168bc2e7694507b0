"""How smooth the player is with many notes: the time between the frames a browser shows, and the script's part of it.

    python benchmarks/player.py [--notes 10000] [--seconds 8] [--ratio 2]

A page with one player, in a browser that draws on the processor alone: what a graphics chip would do is done by the
same cores that run the script, so the figures are a lower bound. Measured while the music plays with a part of the
piece in view, with all of it in view, and while the wheel scrolls and zooms, which draws the notes anew at each frame.

The limit: 16.7 ms a frame at 60 frames a second. `script` is what the page's own JavaScript takes of a frame, in ms; a
frame is late where the next one comes after more than one and a half of the limit.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests"))
from studio import ARGS, CHROMIUM, studio  # noqa: E402  how tests drive the studio

FRAME_MS = 1000 / 60
PAGE = """
import numpy as np
from deepmusician.notes import NOTE, Song, Track
from ui.player import player

count, rng = {notes}, np.random.default_rng(1)
notes = np.zeros(count, NOTE)
notes["onset"] = np.sort(rng.integers(0, count, count)) / 16
notes["duration"] = rng.integers(1, 9, count) / 8
notes["pitch"], notes["velocity"] = rng.integers(28, 96, count), rng.integers(30, 120, count)
notes["track"] = rng.integers(0, 4, count)
player(Song(notes, tracks=tuple(Track(f"track {{i}}", program=8 * i) for i in range(4))), "many", "many")
"""
# the time between frames, and what the callbacks of one frame took
WATCH = """(() => {
  const ask = window.requestAnimationFrame.bind(window);
  const seen = window.__seen = { frames: [], script: [] };
  let last = 0, spent = 0;
  window.requestAnimationFrame = (call) => ask((now) => {
    const begin = performance.now();
    call(now);
    spent += performance.now() - begin;
  });
  const tick = (now) => {
    if (last) { seen.frames.push(now - last); seen.script.push(spent); }
    last = now;
    spent = 0;
    ask(tick);
  };
  ask(tick);
})()"""


def measured(page: Page, seconds: float, act: str = "") -> tuple[np.ndarray, np.ndarray]:
    """Milliseconds between frames and of script in each, while `act` is done over and over."""
    page.evaluate("() => { __seen.frames.length = __seen.script.length = 0; }")
    if act:
        page.locator(".roll").first.evaluate(
            f"""(roll, ms) => new Promise((done) => {{
              const until = performance.now() + ms;
              let i = 0;
              const go = () => {{
                if (performance.now() > until) return done();
                {act};
                i++;
                setTimeout(go, 16);
              }};
              go();
            }})""",
            seconds * 1000,
        )
    else:
        page.wait_for_timeout(seconds * 1000)
    told = page.evaluate("() => __seen")
    return np.array(told["frames"]), np.array(told["script"])


def row(what: str, frames: np.ndarray, script: np.ndarray) -> None:
    """Print one line of the table."""
    p50, p95, p99 = np.percentile(frames, (50, 95, 99))
    late = float((frames > 1.5 * FRAME_MS).mean())
    s50, s95 = np.percentile(script, (50, 95))
    print(
        f"{what:34}{1000 / frames.mean():6.1f}  {p50:6.1f} {p95:6.1f} {p99:6.1f}   {late:6.1%}   {s50:6.2f} {s95:6.2f}"
    )


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--notes", type=int, default=10_000, help="how many notes the piece has")
    parser.add_argument("--seconds", type=float, default=8.0, help="how long each is watched")
    parser.add_argument("--ratio", type=float, default=2.0, help="pixels of the screen for one of the page")
    args = parser.parse_args()
    print(
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {args.notes:,} notes; limit {FRAME_MS:.1f} ms a frame"
    )
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as p:
        home, script = Path(folder) / "home", Path(folder) / "many.py"
        home.mkdir()
        script.write_text(PAGE.format(notes=args.notes))
        with studio(home, script) as url:
            browser = p.chromium.launch(executable_path=CHROMIUM, args=ARGS)
            page = browser.new_page(viewport={"width": 1400, "height": 900}, device_scale_factor=args.ratio)
            page.set_default_timeout(120_000)
            page.add_init_script(WATCH)
            page.goto(url)
            page.locator('.dm[data-ready="true"], .dm[data-state="paused"]').first.wait_for()
            print(f"{'':34}{'a second':>6}  {'p50':>4} {'p95':>6} {'p99':>6}   {'late':>6}   {'script':>6} {'p95':>6}")
            row("at rest", *measured(page, min(3, args.seconds)))
            page.locator(".roll").first.focus()
            page.keyboard.press(" ")
            page.locator('.dm[data-state="playing"]').wait_for()
            row("playing, 16 bars in view", *measured(page, args.seconds))
            row("playing, the wheel scrolls", *measured(page, args.seconds, wheel("deltaX: i % 200 < 100 ? 12 : -12")))
            row(
                "playing, the wheel zooms",
                *measured(page, args.seconds, wheel("deltaY: i % 120 < 60 ? 20 : -20, ctrlKey: true")),
            )
            page.locator(".roll").first.focus()
            page.keyboard.press("0")  # all of it
            row("playing, all in view", *measured(page, args.seconds))
            row(
                "all in view, the wheel zooms",
                *measured(page, args.seconds, wheel("deltaY: i % 20 < 10 ? 3 : -3, ctrlKey: true")),
            )
            browser.close()


def wheel(what: str) -> str:
    """A turn of the wheel in the middle of the roll."""
    return (
        "const box = roll.getBoundingClientRect(); roll.dispatchEvent(new WheelEvent('wheel', {bubbles: true, "
        f"cancelable: true, clientX: box.left + box.width / 2, clientY: box.top + 60, {what}}}))"
    )


if __name__ == "__main__":
    main()
