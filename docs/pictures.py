"""Take the README's pictures: `python docs/pictures.py` drives the studio in Chromium and fills docs/pictures/.

    python docs/pictures.py [--only NAME …] [--home FOLDER]

It works in a workspace of its own, which is thrown away unless `--home` names one: three networks are trained on Bach's
chorales there, so it takes some minutes. With `--home` it goes on where it was broken off. What the pictures say of
times is true of a machine with nothing else to do. Needs the packages of the tests.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests"))
from studio import ARGS, CHROMIUM, studio  # noqa: E402  how tests drive the studio

PICTURES = ROOT / "docs" / "pictures"
WIDTH, HEIGHT, TALLEST = 1280, 800, 1900  # pixels
PATIENCE = 180_000  # milliseconds
ALIKE = ["-p", "bach-chorales", "-div", "1/8", "-s", "32"]
TRAININGS = {  # run: how it is trained; the last one is shown in full, all three are compared
    "plain": ["-e", "4", "--hidden-size", "96", "-c", "bce"],
    "small": ["-e", "4", "--hidden-size", "96"],
    "chorales": ["-e", "6", "--hidden-size", "256"],
}
AT_REST = """() => document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'notRunning'
  && document.querySelector('h1') && !document.querySelector('[data-testid=stSkeleton], [data-testid=stSpinner]')"""


def main() -> None:
    """Train, visit each page, and save its picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=list(SCENES), default=list(SCENES), help="all where none is named")
    parser.add_argument("--home", type=Path, help="a workspace to work in, and to keep")
    args = parser.parse_args()
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as p:
        home = args.home or Path(folder) / "home"
        home.mkdir(parents=True, exist_ok=True)
        if {"training", "runs"} & {*args.only}:
            train_all(home)
        browser = p.chromium.launch(
            executable_path=CHROMIUM, args=[*ARGS, "--autoplay-policy=no-user-gesture-required"]
        )
        with studio(home) as url:
            for name in args.only:
                page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
                page.set_default_timeout(PATIENCE)
                SCENES[name](page, url)
                take(page, name)
                page.close()
        browser.close()


def train_all(home: Path) -> None:
    """Train what is not there; a training that was broken off goes on, so that the script can be run again."""
    for run, options in TRAININGS.items():
        status = home / "runs" / run / "status.json"
        if status.exists() and json.loads(status.read_text())["state"] == "finished":
            continue
        words = ["--resume"] if status.exists() else [*ALIKE, *options]
        train = [sys.executable, "-m", "deepmusician", "train", "--run", run, *words]
        subprocess.run(train, check=True, cwd=ROOT, env=os.environ | {"DEEPMUSICIAN_HOME": str(home)})


def take(page: Page, name: str) -> None:
    """Wait until the page has come to rest, let the window grow to what is on it, and save the picture."""
    page.mouse.move(0, 0)  # a button under it would look pressed
    rest(page)
    body = page.locator('[data-testid="stMain"]')
    for _ in range(2):  # what is drawn to fit the window may change its height
        tall = body.evaluate("main => main.scrollHeight")
        page.set_viewport_size({"width": WIDTH, "height": min(max(tall, 400), TALLEST)})
        page.wait_for_timeout(700)
    body.evaluate("main => main.scrollTo(0, 0)")
    page.wait_for_timeout(300)
    path = PICTURES / f"{name}.png"
    page.screenshot(path=path)
    with Image.open(path) as picture:  # flat colours: a palette is enough, and a third of the size
        picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1000:.0f} kB", flush=True)


def rest(page: Page) -> None:
    """Until the page's script has ended and nothing is a placeholder any more."""
    page.wait_for_timeout(700)
    page.wait_for_function(AT_REST)
    page.wait_for_timeout(700)


def visit(page: Page, address: str) -> None:
    """Open an address and let it come to rest."""
    page.goto(address)
    rest(page)


def press(page: Page, name: str) -> None:
    """Click a button by its name and wait for what it does."""
    page.get_by_role("button", name=name, exact=True).first.click()
    rest(page)


def play(page: Page, seconds: float = 6) -> None:
    """Let the player run for a while and hold it there, so that the playhead stands in the music."""
    player = page.locator(".dm").first
    player.wait_for()
    page.wait_for_timeout(2000)  # it may be about to play by itself
    if player.get_attribute("data-state") != "playing":
        player.get_by_role("button", name="Play", exact=True).click()
    page.locator('.dm[data-state="playing"]').first.wait_for()
    page.wait_for_timeout(1000 * seconds)
    player.get_by_role("button", name="Pause", exact=True).click()


# ---- what is on each picture


def home(page: Page, url: str) -> None:
    """A piece is playing."""
    visit(page, url)
    page.get_by_role("button", name="Play a piece").first.click()
    play(page)


def library(page: Page, url: str) -> None:
    """What became of a corpus, file by file."""
    visit(page, f"{url}/library?data=mozart-quartets")
    page.locator(".dm").first.wait_for()


def train(page: Page, url: str) -> None:
    """Choosing how to train."""
    visit(page, f"{url}/train?run=new&data=bach-chorales")
    page.get_by_role("button", name="Start training").wait_for()


def training(page: Page, url: str) -> None:
    """A training that has ended: curves, advice, and how it learnt to play."""
    visit(page, f"{url}/train?run=chorales")
    page.get_by_role("heading", name="Hear it learn").wait_for()


def runs(page: Page, url: str) -> None:
    """Three runs, compared by what differs, by their curves and by ear."""
    visit(page, f"{url}/runs?" + "&".join(f"run={run}" for run in TRAININGS))
    page.locator(".dm").first.wait_for()


def compose(page: Page, url: str) -> None:
    """A composed piece, four bars of which are selected."""
    visit(page, f"{url}/compose?model=bach-chorales&seed=7&seq_len=128")
    play(page, 3)
    roll = page.locator(".dm canvas").first
    roll.scroll_into_view_if_needed()
    box = roll.bounding_box()
    x, y = box["x"] + box["width"] * 0.52, box["y"] + box["height"] - 8  # along the bars
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + box["width"] * 0.24, y, steps=8)
    page.mouse.up()
    page.get_by_role("button", name="Rewrite the selected part").wait_for()


def judge(page: Page, url: str) -> None:
    """The judges' report on a bundled model."""
    visit(page, f"{url}/judge?model=bach-chorales")


def listen(page: Page, url: str) -> None:
    """A blind test, and the address to send to friends."""
    visit(page, f"{url}/listen")
    press(page, "Make the test")
    page.get_by_role("button", name="Take it now").wait_for()


def how(page: Page, url: str) -> None:
    """The first lesson."""
    visit(page, f"{url}/how")


SCENES: dict[str, Callable[[Page, str], None]] = {
    f.__name__: f for f in (home, library, train, training, runs, compose, judge, listen, how)
}

if __name__ == "__main__":
    main()
