"""The studio in a real Chromium: own MIDI in, a model trained, its music heard and downloaded, and nobody else told.

Skipped where there is no Chromium; `$CHROMIUM` may name one.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import TINY, scale_song

from deepmusician.midi import read_midi, write_midi
from deepmusician.render import sound_problem

playwright = pytest.importorskip(
    "playwright.sync_api", reason="the browser test needs playwright: pip install playwright"
)

ROOT = Path(__file__).parents[1]
PLACES = [
    os.environ.get("CHROMIUM"),
    "/usr/bin/chromium",
    shutil.which("chromium"),
    shutil.which("google-chrome"),
]
CHROMIUM = next((place for place in PLACES if place and Path(place).exists()), None)
ARGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
]  # fmt: skip
# a page asks for these below its own path first, to find the root of the app; a 404 there is the answer
PROBES = ("/_stcore/health", "/_stcore/host-config")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here: apt-get install chromium"),
]


@contextmanager
def studio(home):
    """A server of its own on a free port; gives its address."""
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
    env = os.environ | {"DEEPMUSICIAN_HOME": str(home), "OMP_NUM_THREADS": "1"}
    with (home.parent / "server.log").open("wb") as log:
        server = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log)
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/_stcore/health"))
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(10)


def answers(url):
    try:
        return urllib.request.urlopen(url).status == 200
    except OSError:
        return False


def wait_until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium):
    """A page that tells of every request to another host and every error in its console."""
    page = chromium.new_page(viewport={"width": 1400, "height": 900})
    page.set_default_timeout(30_000)
    page.outside, page.errors = [], []
    page.on("request", lambda r: page.outside.append(r.url) if not at_home(r.url) else None)
    page.on("console", lambda m: page.errors.append(m.text) if m.type == "error" and not probe(m) else None)
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    yield page
    assert page.outside == []
    assert page.errors == []
    page.close()


def at_home(url):
    return url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:"))


def probe(message):
    return message.location.get("url", "").endswith(PROBES)


def heading(page, text):
    page.get_by_role("heading", name=text, exact=True, level=1).wait_for()


def menu(page):
    return page.locator('[data-testid="stTopNavLink"]').all_inner_texts()


def set_slider(page, label, value):
    """Move a slider to the stop that reads `value`, by keyboard."""
    slider = page.locator(f'input[type="range"][aria-label="{label}"]')
    slider.focus()
    slider.press("Home")
    for _ in range(40):
        if slider.get_attribute("aria-valuetext") == value:
            return
        slider.press("ArrowRight")
    raise AssertionError(f"{label} has no stop {value}")


@pytest.mark.parametrize("path", ["train", "compose", "library"])
def test_the_first_request_of_a_fresh_server_may_be_a_deep_link(path, page, tmp_path):
    (tmp_path / "home").mkdir()
    with studio(tmp_path / "home") as url:
        page.goto(f"{url}/{path}")
        heading(page, path.capitalize())
        page.locator('[data-testid="stTopNavLink"]').first.wait_for()
        assert [name.split("\n")[-1] for name in menu(page)] == ["Home", "Library", "Train", "Compose"]
        assert page.title() == "Deep Musician"
        assert page.locator('[data-testid="stSidebarNav"]').count() == 0  # the older mechanism's menu
        page.get_by_role("link", name="Home").click()
        heading(page, "Deep Musician")


def test_own_midi_becomes_a_model_whose_music_is_heard_and_downloaded(page, tmp_path):
    (tmp_path / "home").mkdir()
    files = []
    for i in range(4):
        files.append(tmp_path / f"tune-{i}.mid")
        write_midi(scale_song(48 + i), files[-1])
    with studio(tmp_path / "home") as url:
        page.goto(url)
        page.get_by_role("link", name="1. Upload").click()
        upload(page, files)
        train_tiny(page)
        page.reload()  # a training is not the page's: it is there again
        page.get_by_text("Finished 2 epochs").wait_for(timeout=90_000)
        compose(page)
        if sound_problem() is None:
            press_play(page)
        song = download_midi(page)
    assert len(song) and song.tempo_bpm == pytest.approx(100)


def upload(page, files):
    heading(page, "Library")
    page.locator('input[type="file"]').set_input_files(files)
    page.get_by_text("tune-3.mid").first.wait_for()
    page.get_by_label("Keep as").fill("my tunes")
    page.get_by_role("button", name="Add to the library").click()
    page.get_by_text("4 pieces kept as “my tunes”").wait_for()
    page.get_by_role("img", name="Piano roll of tune-0").first.wait_for()


def train_tiny(page):
    page.get_by_role("button", name="Train on my tunes").click()
    heading(page, "Train")
    set_slider(page, "Epochs", "2")
    page.get_by_text("More options").click()
    set_slider(page, "Frames in a window", str(TINY["seq_len"]))
    page.get_by_role("tab", name="Network").click()
    for label, value in (
        ("Units in a layer", 16),
        ("Units in the classifier", 16),
        ("Layers", 1),
    ):
        set_slider(page, label, str(value))
    page.get_by_role("button", name="Start training").click()
    page.get_by_role("heading", name="my-tunes-1").wait_for()


def compose(page):
    page.get_by_role("button", name="Compose with it").click()
    heading(page, "Compose")
    page.get_by_role("button", name="Compose", exact=True).click()
    page.get_by_role("img", name="Piano roll of run-my-tunes-1-0").first.wait_for(timeout=60_000)


def press_play(page):
    audio = page.locator("audio")
    audio.wait_for()
    wait_until(lambda: audio.evaluate("a => a.readyState") >= 3)
    assert audio.evaluate("a => a.paused")
    audio.scroll_into_view_if_needed()
    audio.click(position={"x": 25, "y": 20})  # the play button of the browser's own controls
    wait_until(lambda: audio.evaluate("a => a.currentTime") > 0.3)
    audio.evaluate("a => a.pause()")


def download_midi(page):
    with page.expect_download() as arriving:
        page.get_by_role("button", name="MIDI", exact=True).click()
    assert arriving.value.suggested_filename == "run-my-tunes-1-0.mid"
    return read_midi(Path(arriving.value.path()).read_bytes())
