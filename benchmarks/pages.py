"""How long a person waits: every page, a composed piece, and a page change while a training runs.

    python benchmarks/pages.py [--times 3]

A server of its own on this machine, warm (each page was opened once), and a browser that has nothing in its cache, for
each opening. Interactive means: the page's script has ended, nothing is a placeholder any more, and a heading stands
there. Sound counts when an audio element or the player's clock moves on.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests"))
from studio import ARGS, CHROMIUM, studio  # noqa: E402  how tests drive the studio

BARS = "32"
TRAINING = ["train", "-p", "bach-chorales", "--run", "busy", "-e", "500", "-div", "1/8", "-s", "32"]
INTERACTIVE = """() => {
  const app = document.querySelector('[data-testid=stApp]'), title = document.querySelector('h1');
  const ready = app?.dataset.testScriptState === 'notRunning' && title?.offsetParent
    && !document.querySelector('[data-testid=stSkeleton]');
  return ready ? performance.now() : 0;
}"""
# whatever plays: the sound element of the player, or one that is not in the page
SOUNDING = "() => (window.__played ?? []).some((a) => !a.paused && a.currentTime > 0.02)"
WATCH_SOUND = """const play = HTMLMediaElement.prototype.play; window.__played = [];
HTMLMediaElement.prototype.play = function () { window.__played.push(this); return play.call(this); };"""


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=3, help="how often each is measured; the median is printed")
    parser.add_argument("--no-training", action="store_true", help="leave out what happens while a training runs")
    args = parser.parse_args()
    paths = ["", *sorted(p.stem for p in (ROOT / "pages").glob("*.py") if p.stem != "home")]
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as p:
        home = Path(folder) / "home"
        home.mkdir()
        browser = p.chromium.launch(
            executable_path=CHROMIUM, args=[*ARGS, "--autoplay-policy=no-user-gesture-required"]
        )
        with studio(home) as url:
            for path in paths:
                opened(browser, f"{url}/{path}")
            for path in paths:
                row(f"open {path or 'home'}", [opened(browser, f"{url}/{path}") for _ in range(args.times)])
            row("first piece on Home, click to sound", [sound_on_home(browser, url, i) for i in range(args.times)])
            row(f"compose {BARS} bars, click to sound", [composed(browser, url, i) for i in range(args.times)])
            changes(browser, url)  # the corpus that Train offers is converted when the Library first shows it
            row("change of page", changes(browser, url))
            if not args.no_training:
                training = start_training(home)
                try:
                    row("change of page while a training runs", changes(browser, url))
                finally:
                    training.terminate()
                    training.wait()
        browser.close()


def row(name: str, seconds: list[float]) -> None:
    """Print the median and the worst."""
    print(f"{name:42}{statistics.median(seconds):6.2f} s   worst {max(seconds):6.2f} s", flush=True)


def fresh(browser: Browser) -> Page:
    """A page without a cache that keeps in mind what plays."""
    page = browser.new_context(viewport={"width": 1400, "height": 900}).new_page()
    page.set_default_timeout(90_000)
    page.add_init_script(WATCH_SOUND)
    return page


def opened(browser: Browser, address: str) -> float:
    """Seconds from asking for the address until the page can be used."""
    page = fresh(browser)
    page.goto(address, wait_until="commit")
    milliseconds = page.wait_for_function(INTERACTIVE, polling="raf").json_value()
    page.context.close()
    return milliseconds / 1000


def until_sound(page: Page, button: str) -> float:
    """Seconds from the click until sound runs; where music waits to be started, its start is clicked as it comes."""
    begin = time.perf_counter()
    page.get_by_role("button", name=button).first.click()
    play = page.get_by_role("button", name="Play", exact=True).first
    while not page.evaluate(SOUNDING):
        with suppress(Exception):
            if play.is_visible() and play.is_enabled():
                play.click(timeout=200)
        time.sleep(0.03)
        if time.perf_counter() - begin > 90:
            raise TimeoutError(f"no sound after {button}")
    took = time.perf_counter() - begin
    page.context.close()
    return took


def sound_on_home(browser: Browser, url: str, seed: int) -> float:
    """A piece that nobody has heard yet."""
    page = fresh(browser)
    page.goto(f"{url}/?piece=bach-chorales&seed={100 + seed}")
    page.wait_for_function(INTERACTIVE, polling="raf")
    return until_sound(page, "Play a piece")


def composed(browser: Browser, url: str, seed: int) -> float:
    """A piece of 32 bars with a bundled model, a new one each time."""
    page = fresh(browser)
    page.goto(f"{url}/compose?model=bach-chorales")
    page.wait_for_function(INTERACTIVE, polling="raf")
    slider = page.get_by_role("slider", name="Length").first
    slider.focus()
    while slider.get_attribute("aria-valuetext") != BARS and slider.input_value() != BARS:
        slider.press("ArrowRight")
    page.get_by_role("spinbutton", name="Seed").first.fill(str(100 + seed))
    page.keyboard.press("Tab")
    page.wait_for_timeout(1500)
    page.wait_for_function(INTERACTIVE, polling="raf")
    return until_sound(page, "Compose")


def changes(browser: Browser, url: str) -> list[float]:
    """Seconds for each change of page by the menu, there and back."""
    page = fresh(browser)
    page.goto(url)
    page.wait_for_function(INTERACTIVE, polling="raf")
    took = []
    for name, title in [("Train", "Train"), ("Compose", "Compose"), ("How it works", "How it works"),
                        ("Library", "Library"), ("Home", "Deep Musician")]:  # fmt: skip
        begin = time.perf_counter()
        page.get_by_test_id("stTopNavLink").filter(has_text=name).first.click()
        page.get_by_role("heading", name=title, exact=True, level=1).wait_for()
        page.wait_for_function(INTERACTIVE, polling="raf")
        took.append(time.perf_counter() - begin)
    page.context.close()
    return took


def start_training(home: Path) -> subprocess.Popen:
    """A training as the studio starts one; back when its first epoch is done or it has run for a while."""
    command = [sys.executable, "-m", "deepmusician", *TRAINING]
    training = subprocess.Popen(
        command, cwd=ROOT, env=os.environ | {"DEEPMUSICIAN_HOME": str(home)}, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    metrics, end = home / "runs" / "busy" / "metrics.jsonl", time.monotonic() + 300
    while time.monotonic() < end and training.poll() is None and not (metrics.exists() and metrics.read_text()):
        time.sleep(0.5)
    return training


if __name__ == "__main__":
    main()
