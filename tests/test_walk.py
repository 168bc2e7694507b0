"""A walk through every page in a real Chromium, as wide as a desk and as a telephone, and bars played on the keyboard.

A page fails on an error in the console, a request to another host, anything wider than the screen, or a traceback.
"""

from pathlib import Path

import pytest
from studio import CHROMIUM, ROOT, studio

playwright = pytest.importorskip("playwright.sync_api", reason="the browser test needs playwright")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here: apt-get install chromium"),
]
PATHS = ["", *sorted(page.stem for page in Path(ROOT / "pages").glob("*.py") if page.stem != "home")]
LESSONS = ["how?lesson=Silence", "how?lesson=Focal%20loss", "how?lesson=Teacher%20forcing", "how?lesson=Temperature"]
RESTING = """() => document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'notRunning'
  && !document.querySelector('[data-testid=stSkeleton], [data-testid=stSpinner]')"""
FITS = """() => {
  const main = document.querySelector('[data-testid=stMain]');
  return Math.max(main.scrollWidth - main.clientWidth, document.body.scrollWidth - window.innerWidth) <= 0;
}"""


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    home = tmp_path_factory.mktemp("walk") / "home"
    home.mkdir()
    with studio(home) as address:
        yield address


def visit(page, url, path):
    page.goto(f"{url}/{path}")
    page.locator("h1").wait_for()
    page.wait_for_timeout(300)  # a fragment may begin after the page has come to rest
    page.wait_for_function(RESTING, timeout=60_000)


def test_every_page_fits_the_screen_and_nothing_goes_wrong(page, url):
    for path in [*PATHS, *LESSONS]:
        page.set_viewport_size({"width": 1400, "height": 900})
        visit(page, url, path)
        for width in (1400, 420):
            page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_timeout(100)  # what is on the page begins to take its new place
            try:
                page.wait_for_function(FITS, timeout=10_000)  # tables measure themselves anew, one after the other
            except playwright.TimeoutError:
                pytest.fail(f"/{path} is wider than a screen of {width} px")
        assert page.get_by_test_id("stException").count() == 0, path
        assert page.get_by_text("Traceback").count() == 0, path


def test_what_was_played_on_the_keyboard_is_shown_as_the_network_reads_it(page, url):
    visit(page, url, "how?music=what%20I%20play")
    page.get_by_label("Tempo in beats").fill("80")
    page.get_by_label("Bars to record").select_option("1")
    page.set_viewport_size({"width": 1400, "height": 1300})  # the piano's keys are on the screen
    page.get_by_role("button", name="Record").click()
    page.get_by_text("Recording: bar 1 of 1").wait_for()
    for letter in "asd":
        page.keyboard.down(letter)
        page.wait_for_timeout(90)
        page.keyboard.up(letter)
    key = page.get_by_role("button", name="G4", exact=True).bounding_box()
    page.mouse.move(key["x"] + 10, key["y"] + key["height"] - 10)
    page.mouse.down()
    page.wait_for_timeout(90)
    page.mouse.up()
    page.get_by_text("4 notes at 80 beats a minute.").wait_for()
    page.get_by_text("Of 4 notes").wait_for()  # said by Python: the notes have arrived there
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("Until you have played something").wait_for()
