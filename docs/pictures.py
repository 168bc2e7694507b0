"""Take the README's pictures: `python docs/pictures.py` drives the studio in Chromium and fills docs/pictures/.

It works in a workspace of its own: a network is trained on Bach's chorales, so it takes some minutes.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"
WIDTH, TALLEST = 1280, 1500  # pixels
TRAINING = [
    "train", "-p", "bach-chorales", "--run", "chorales", "-e", "6", "--hidden-size", "256", "-div", "1/8", "-s", "32",
]  # fmt: skip


@contextmanager
def studio(home: str) -> Iterator[str]:
    """A server on a free port; gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        "app.py",
        f"--server.port={port}",
        "--server.headless=true",
    ]
    server = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"DEEPMUSICIAN_HOME": home})
    try:
        url = f"http://127.0.0.1:{port}"
        while not answers(url):
            time.sleep(0.2)
        yield url
    finally:
        server.terminate()
        server.wait()


def answers(url: str) -> bool:
    """Whether the server is up."""
    try:
        return urllib.request.urlopen(url + "/_stcore/health").status == 200
    except OSError:
        return False


def take(page: Page, name: str, show: str = "") -> None:
    """Wait until the page has come to rest, let the window grow to what is on it, and save the picture."""
    if show:
        page.locator(show).first.wait_for(timeout=120_000)
    page.mouse.move(0, 0)  # a button under it would look pressed
    page.wait_for_timeout(2500)
    tall = page.locator('[data-testid="stMain"]').evaluate("main => main.scrollHeight")
    page.set_viewport_size({"width": WIDTH, "height": min(tall, TALLEST)})
    page.wait_for_timeout(700)
    page.evaluate("document.querySelector('[data-testid=stMain]').scrollTo(0, 0)")
    page.screenshot(path=PICTURES / f"{name}.png")
    page.set_viewport_size({"width": WIDTH, "height": 800})
    print(PICTURES / f"{name}.png")


def main() -> None:
    """Train, visit each page, and save its picture."""
    PICTURES.mkdir(exist_ok=True)
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with tempfile.TemporaryDirectory() as home, sync_playwright() as p:
        train = [sys.executable, "-m", "deepmusician", *TRAINING]
        subprocess.run(train, check=True, cwd=ROOT, env=os.environ | {"DEEPMUSICIAN_HOME": home})
        browser = p.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        with studio(home) as url:
            page = browser.new_page(viewport={"width": WIDTH, "height": 800}, color_scheme="light")
            page.goto(url)
            page.get_by_role("button", name="Play a piece").first.click()
            take(page, "home", "audio")
            page.goto(f"{url}/library?data=mozart-quartets")
            take(page, "library", 'img[alt^="Piano roll"]')
            page.goto(f"{url}/train?run=new&data=bach-chorales")
            take(page, "train", 'img[alt^="Loss of a key"]')
            page.goto(f"{url}/train?run=chorales")
            take(page, "training", 'img[alt^="Loss, surprise"]')
            page.goto(f"{url}/compose")
            page.get_by_role("button", name="Compose", exact=True).click()
            take(page, "compose", "audio")
        browser.close()


if __name__ == "__main__":
    main()
