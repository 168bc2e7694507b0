"""The studio in a real Chromium: own MIDI in, a model trained, its music heard and downloaded, and nobody else told.

Skipped where there is no Chromium; `$CHROMIUM` may name one.
"""

from pathlib import Path

import pytest
from conftest import TINY, scale_song
from studio import CHROMIUM, studio, wait_until

from deepmusician.midi import read_midi, write_midi
from deepmusician.render import sound_problem

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here: apt-get install chromium"),
]


def heading(page, text):
    page.get_by_role("heading", name=text, exact=True, level=1).wait_for()


def menu(page):
    return page.locator('[data-testid="stTopNavLink"]').all_inner_texts()


def set_slider(page, label, value):
    """Move a slider to the stop that reads `value`, by keyboard."""
    slider = page.locator(f'input[type="range"][aria-label="{label}"]')
    wait_until(lambda: slider.count() == 1)  # on a busy machine the last run's stands beside it for a moment
    slider.focus()
    slider.press("Home")
    for _ in range(40):
        wait_until(lambda: slider.count() == 1)
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
        names = [name.split("\n")[-1] for name in menu(page)]
        assert names[:3] == ["Home", "Library", "Train"] and names[-1] == "How it works"
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
    page.get_by_text("Every option", exact=True).click()
    page.get_by_role("tab", name="Network").wait_for()
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
    player = page.locator(".dm")
    player.get_by_role("button", name="Play", exact=True).click()
    page.locator('.dm[data-state="playing"]').wait_for()
    position = player.get_by_role("slider", name="Position")
    wait_until(lambda: float(position.input_value()) > 0.5)
    player.get_by_role("button", name="Pause", exact=True).click()
    page.locator('.dm[data-state="paused"]').wait_for()


def download_midi(page):
    with page.expect_download() as arriving:
        page.get_by_role("button", name="MIDI", exact=True).click()
    assert arriving.value.suggested_filename == "run-my-tunes-1-0.mid"
    return read_midi(Path(arriving.value.path()).read_bytes())
