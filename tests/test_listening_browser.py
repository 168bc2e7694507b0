"""A blind test on a phone, in a real Chromium: from the address to the truth, with a reload on the way."""

import pytest
from studio import CHROMIUM, studio, wait_until

from deepmusician import listening
from deepmusician import listening_store as store
from deepmusician.listening import ListeningOptions
from deepmusician.render import sound_problem

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here: apt-get install chromium"),
    pytest.mark.skipif(sound_problem() is not None, reason=f"no sound: {sound_problem()}"),
]
QUESTION = '[class*="st-key-listen-"][class$="-human"], [class*="st-key-listen-"][class*="-human "]'


def asked(page):
    """The trial on the page, once the one before it is gone; None between two."""
    shown = page.locator(QUESTION).evaluate_all(
        "all => all.map(e => e.className.match(/st-key-listen-(\\w+)-human/)[1])"
    )
    return shown[0] if len(shown) == 1 else None


def test_a_test_is_taken_on_a_phone_to_its_end_and_its_maker_sees_the_votes(page, home, small_run):
    engine = store.open_store()
    test = listening.new_test(engine, ListeningOptions("small", clips=4, seconds=3, catches=1))
    truth = {t.id: t.truth for t in store.trials_of(engine, test.id)}
    page.set_viewport_size({"width": 420, "height": 860})
    with studio(home) as url:
        page.goto(f"{url}/listen")
        page.get_by_role("button", name="Take it now").click()
        page.get_by_label("Your name").fill("<b>Ann</b>")
        page.get_by_role("button", name="Begin").click()
        before = None
        for done in range(5):
            wait_until(lambda: asked(page) not in (None, before))  # noqa: B023
            page.get_by_text(f"Clip {done + 1} of 5").wait_for()
            assert f"test={test.id}" in page.url
            if done == 2:
                page.reload()
                page.get_by_text("Clip 3 of 5").wait_for()
                wait_until(lambda: asked(page))
            before = asked(page)
            if done == 0:
                seconds = (
                    "a => new Promise(go => a.duration ? go(a.duration) : a.onloadedmetadata = () => go(a.duration))"
                )
                assert page.locator("audio").evaluate(seconds) == 3
            name = "A person" if truth[before] == "human" else "A machine"
            page.get_by_role("button", name=name).click()
        page.get_by_text("You were right on 4 of 4 clips").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        page.goto(f"{url}/listen?results={test.id}")
        page.get_by_text("1 listener counts.").wait_for()
        page.get_by_text("Called what they are: 100 % (4 of 4").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert {v.trial: v.answer for v in store.votes_of(engine, test.id)} == truth
    engine.dispose()
