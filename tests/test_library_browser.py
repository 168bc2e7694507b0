"""The Library in a real Chromium, on a telephone's screen: files ticked in the table, decided about, that undone."""

import pytest
from conftest import scale_song
from studio import ARGS, CHROMIUM, studio, wait_until, watched

from deepmusician.decisions import Choice
from deepmusician.library import save_data_set
from deepmusician.notes import Song
from deepmusician.shelf import load_decisions
from deepmusician.store import DataSet, Entry

playwright = pytest.importorskip("playwright.sync_api", reason="the browser test needs playwright")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here: apt-get install chromium"),
]
ROW = 35  # pixels of a row of the table; the first is its head


def test_files_are_ticked_decided_about_and_taken_back(home):
    songs = [Song.from_notes([(i, 1, 50 + i * k % 13) for i in range(40)]) for k in (3, 5, 7)]
    entries = [Entry.of(f"{i}.mid", song) for i, song in enumerate((*songs, scale_song(50), scale_song(52)))]
    save_data_set(DataSet("mine", (*entries, Entry.refused("bad.mid", "it is not MIDI"))), "mine")
    with playwright.sync_playwright() as driver, studio(home) as url:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        page = browser.new_page(viewport={"width": 420, "height": 900})
        outside, errors = watched(page)
        page.goto(f"{url}/library?data=mine")
        page.get_by_text("1 file could not be read.").wait_for(timeout=60_000)
        page.get_by_role("button", name="Leave out the copy").click()
        wait_until(lambda: load_decisions("mine").of("4.mid") == Choice(out=True))
        page.get_by_role("button", name="Undo: left out 4.mid").click()
        wait_until(lambda: not load_decisions("mine").choices)
        tick(page, 2, "1.mid"), tick(page, 1, "0.mid")  # the first row is the file that could not be read
        page.get_by_text("2 files ticked:").wait_for()
        page.get_by_role("button", name="Hold out", exact=True).click()
        wait_until(lambda: {n for n, c in load_decisions("mine").choices.items() if c.side} == {"0.mid", "1.mid"})
        page.reload()  # the address holds what was looked at
        page.get_by_role("heading", name="0.mid").wait_for()
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 420  # nothing but the table's own columns is scrolled sideways
        assert outside == [] and errors == []
        browser.close()


def tick(page, row, name):
    """Tick a row of the table, which is drawn on a canvas, and wait until its file is shown."""
    table = page.get_by_test_id("stDataFrame").first
    table.scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    table.click(position={"x": 15, "y": ROW * (row + 1) + ROW // 2})
    page.get_by_role("heading", name=name).wait_for()
