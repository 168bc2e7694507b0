"""The player in a real Chromium: sound advances, seeks and loops; a region reaches Python; two pieces play in turn."""

from itertools import pairwise
from pathlib import Path

import pytest
from studio import ARGS, CHROMIUM, studio, wait_until, watched

from deepmusician.render import sound_problem

playwright = pytest.importorskip(
    "playwright.sync_api", reason="the browser test needs playwright: pip install playwright"
)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here: apt-get install chromium"),
    pytest.mark.skipif(sound_problem() is not None, reason=f"no sound: {sound_problem()}"),
]
PAGE = Path(__file__).with_name("player_page.py")


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    home = tmp_path_factory.mktemp("player") / "home"
    home.mkdir()
    with studio(home, PAGE) as url:
        yield url


@pytest.fixture
def page(url):
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        outside, errors = watched(page)
        yield page
        assert (outside, errors) == ([], [])
        browser.close()


def beat(page):
    return float(page.get_by_role("slider", name="Position").input_value())


def begin(page, address):
    page.goto(address)
    page.locator('.dm[data-ready="true"], .dm[data-state="paused"]').first.wait_for()
    page.locator(".roll").first.focus()
    page.keyboard.press(" ")
    page.locator('.dm[data-state="playing"]').wait_for()
    wait_until(lambda: beat(page) > 0.2)


def test_sound_advances_seeks_loops_a_region_that_python_hears_of_and_a_rerun_does_not_stop_it(page, url):
    begin(page, url)
    box = page.locator(".roll").bounding_box()
    left, right = box["x"] + 40, box["x"] + box["width"]  # the keys stand at the left
    at = lambda b: left + (right - left) * b / 32  # noqa: E731
    page.mouse.click(at(16), box["y"] + 60)
    wait_until(lambda: 16 <= beat(page) < 18)
    page.mouse.move(at(4.2), box["y"] + box["height"] - 8)
    page.mouse.down()
    page.mouse.move(at(5.6), box["y"] + box["height"] - 8, steps=3)
    page.mouse.up()
    page.get_by_text("Selected: (4.0, 6.0)").wait_for()
    seen = []
    wait_until(lambda: seen.append(beat(page)) or any(b < a for a, b in pairwise(seen)))  # it looped
    assert all(4 <= b <= 6.2 for b in seen)
    page.get_by_role("button", name="Run again").click()
    page.wait_for_timeout(300)
    assert page.locator('.dm[data-state="playing"]').count() == 1
    page.locator(".roll").focus()
    page.keyboard.press("Escape")
    page.get_by_text("Selected: None").wait_for()


def test_names_out_of_files_stay_text_and_the_score_lights_what_sounds(page, url):
    begin(page, url)
    page.locator(".legend button").first.click()  # mute it by its name
    assert page.locator(".legend button").first.inner_text() == '<img src=x onerror="console.error(1)">'
    page.get_by_role("button", name="Score").click()
    page.locator(".score svg").first.wait_for()
    page.locator(".score .sounding").first.wait_for(state="attached")
    assert "<img" in page.locator(".score svg").first.text_content()
    assert page.locator(".dm img, .score script").count() == 0


def test_two_players_go_on_from_the_same_place_in_turn(page, url):
    begin(page, f"{url}/?show=two")
    before = beat(page)
    page.get_by_role("button", name="B second").click()
    page.locator(".piece").nth(1).locator("xpath=self::*[contains(@class, 'active')]").wait_for()
    page.locator('.dm[data-state="playing"]').wait_for()
    wait_until(lambda: beat(page) > before + 0.3)
    assert beat(page) < before + 12


def test_the_player_is_used_by_keyboard_alone_on_a_narrow_screen(page, url):
    page.set_viewport_size({"width": 400, "height": 900})
    begin(page, url)
    page.keyboard.press(" ")
    page.locator('.dm[data-state="paused"]').wait_for()
    page.keyboard.press("Home")
    page.keyboard.press("Shift+ArrowRight")
    wait_until(lambda: beat(page) == 4)
    page.keyboard.press("[")
    page.keyboard.press("End")
    page.keyboard.press("]")
    page.get_by_text("Selected: (4.0, 28.0)").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
