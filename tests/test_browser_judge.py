"""The Judge page in a real Chromium: a bar clicked on the roll is set beside the training song it stands in."""

import pytest
from conftest import scale_song
from studio import CHROMIUM, studio

from deepmusician.midi import write_midi

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here: apt-get install chromium"),
]


def test_a_bar_clicked_is_heard_beside_its_source_and_nothing_scrolls_sideways_on_a_phone(page, home, small_run):
    with studio(home) as url:
        page.set_viewport_size({"width": 420, "height": 900})
        page.goto(f"{url}/judge?model=run-small")
        page.get_by_text("a piece of mine").click()
        music = write_midi(scale_song(51))
        page.locator("input[type=file]").set_input_files({"name": "x.mid", "mimeType": "audio/midi", "buffer": music})
        page.get_by_text("with the bars around it").wait_for()
        roll = page.locator(".roll").first
        roll.scroll_into_view_if_needed()
        box = roll.bounding_box()
        page.mouse.click(box["x"] + 40 + (box["width"] - 40) * 5.5 / 8, box["y"] + 60)  # the sixth of eight bars
        page.get_by_text("Bar 6 with the bars around it").wait_for()
        wide = "() => [...document.querySelectorAll('[data-testid=stMain], [data-testid=stTable]')]"
        assert page.evaluate(f"({wide})().every((e) => e.scrollWidth <= e.clientWidth)")
