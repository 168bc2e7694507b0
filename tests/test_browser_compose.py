"""Composing in a real Chromium: a piece, some of its bars selected on the roll and written anew, and the history.

Skipped where there is no Chromium; `$CHROMIUM` may name one.
"""

import re

import pytest
from studio import CHROMIUM, studio

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here: apt-get install chromium"),
]
SECONDS = 60_000

RESTING = "() => document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'notRunning'"


def test_bars_selected_on_the_roll_are_written_anew_and_both_pieces_are_in_the_history(page, tmp_path):
    (tmp_path / "home").mkdir()
    with studio(tmp_path / "home") as url:
        page.goto(f"{url}/compose?model=bach-chorales&seed=3&seq_len=64")
        page.get_by_role("img", name="Piano roll of bach-chorales-3").first.wait_for(timeout=SECONDS)
        select(page, 0.5, 0.7)
        page.get_by_role("button", name="Rewrite the selected part").wait_for()
        page.get_by_role("link", name="Library").first.click()
        page.get_by_role("heading", name="Library", exact=True, level=1).wait_for()
        page.get_by_role("link", name="Compose").first.click()  # what was selected still is, after another page
        page.get_by_role("button", name="Rewrite the selected part").click()
        page.get_by_role("heading", name="Bach's chorales, seed 3, written anew").wait_for(timeout=SECONDS)
        page.wait_for_url(re.compile("rewrite="), timeout=SECONDS)
        page.wait_for_timeout(1000)
        page.wait_for_function(RESTING, timeout=SECONDS)  # under a fragment at work Streamlit may lose its place
        page.get_by_role("radio", name="History").click()
        page.get_by_text("2 pieces, kept in the workspace").wait_for(timeout=SECONDS)
        page.get_by_role("button", name="Delete").first.click()
        page.get_by_text("1 piece, kept in the workspace").wait_for(timeout=SECONDS)
        page.get_by_role("button", name="Undo", exact=True).click()
        page.get_by_text("2 pieces, kept in the workspace").wait_for(timeout=SECONDS)


def select(page, begin, end):
    """Drag along the bars below the notes, between two parts of the roll's width."""
    roll = page.locator(".dm canvas").first
    roll.scroll_into_view_if_needed()
    box = roll.bounding_box()
    y = box["y"] + box["height"] - 8
    page.mouse.move(box["x"] + begin * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + end * box["width"], y, steps=6)
    page.mouse.up()
