"""Hear it learn in a real Chromium: scrub the epochs while they are trained, reload, choose by ear, be told of a kill.

Skipped where there is no Chromium; `$CHROMIUM` may name one.
"""

import dataclasses
import os
import signal

import pytest
from studio import CHROMIUM, studio, wait_until

from deepmusician.checkpoint import amend_card
from deepmusician.runs import start_run

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here: apt-get install chromium"),
]


def epoch(page):
    return page.locator('input[type="range"][aria-label="Epoch"]')


def scrub_to(page, wanted):
    """Move the timeline, by keyboard, to an epoch whose label begins so."""
    epoch(page).focus()
    epoch(page).press("Home")
    for _ in range(wanted):
        epoch(page).press("ArrowRight")
    page.locator(f".dm[aria-label='Player of busy-epoch-{wanted}']").wait_for()


def process_of(run):
    """The process that trains a run of this test's workspace."""
    home = f"DEEPMUSICIAN_HOME={run.path.parents[1]}".encode()
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as line, open(f"/proc/{name}/environ", "rb") as settings:
                words, mine = line.read().split(b"\0"), home in settings.read().split(b"\0")
        except OSError:  # it has ended meanwhile
            continue
        if mine and b"--resume" in words:
            return int(name)
    return None


@pytest.fixture
def busy(home, tiny):
    """A run that trains until the test ends."""
    run = start_run(dataclasses.replace(tiny, n_epochs=500), "busy")
    yield run
    run.stop()


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="the process is found in /proc")
def test_a_run_is_heard_while_it_learns_and_an_epoch_chosen_by_ear(page, home, busy):
    run = busy
    with studio(home) as url:
        page.goto(f"{url}/train?run=busy")
        page.get_by_role("heading", name="Hear it learn").wait_for(timeout=60_000)
        wait_until(lambda: len(run.samples()) > 2)
        page.reload()  # a training is not the page's: it is there again, and what was heard of it
        scrub_to(page, 1)
        assert run.status().live
        amend_card(run.path / "milestones" / "epoch-0001", fullness=1.1)  # its settings need no more be found
        page.get_by_role("button", name="Compose with epoch 1").click()
        page.get_by_role("button", name="Let validation choose again").wait_for()
        page.get_by_text("Epoch 1 (yours).").wait_for()
        assert epoch(page).get_attribute("aria-valuetext") == "1"  # and not the stop that the slider begins at
        assert run.model().resolve().name == "epoch-0001" and run.status().live
        os.kill(process_of(run), signal.SIGKILL)
        page.get_by_text("Its process ended unexpectedly").wait_for()
        page.get_by_role("button", name="Resume").click()
        page.get_by_role("main").get_by_role("button", name="Stop").click()  # another stands in Streamlit's own bar
        page.get_by_text("resume goes on from here").wait_for(timeout=60_000)
