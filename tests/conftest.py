"""What several tests share: a workspace of their own, tiny options, and a folder of small MIDI files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from studio import ARGS, CHROMIUM, watched

from deepmusician.midi import write_midi
from deepmusician.notes import Song
from deepmusician.options import TrainOptions

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

os.environ.setdefault("OMP_NUM_THREADS", "1")  # several tests run at once; small networks gain nothing from more
settings.register_profile("any machine", deadline=None)  # a busy machine is no failure
settings.load_profile("any machine")

# the files that take longest, in the order in which they begin, so that the workers end together
FIRST = (
    "test_runs", "test_walk", "test_readme", "test_browser_doors", "test_app", "test_browser", "test_browser_learn",
    "test_library_browser", "test_browser_player", "test_recipes_train", "test_lab", "test_listening_browser",
    "test_browser_judge", "test_browser_compose", "test_processes",
)  # fmt: skip
TINY = {"hidden_size": 24, "classifier_size": 24, "num_layers": 1, "decoder_n_layers": 1, "seq_len": 8, "batch_size": 8}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the files of FIRST begin; all else stays in its order."""
    items.sort(key=lambda item: FIRST.index(item.path.stem) if item.path.stem in FIRST else len(FIRST))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty workspace, used by this test alone."""
    folder = tmp_path / "home"
    monkeypatch.setenv("DEEPMUSICIAN_HOME", str(folder))
    monkeypatch.delenv("DEEPMUSICIAN_MAX_RUNS", raising=False)
    return folder


def scale_song(start: int, beats: int = 32) -> Song:
    """A tune of quavers going up and down a major scale over held chords."""
    steps = [0, 2, 4, 5, 7, 9, 11, 12, 11, 9, 7, 5, 4, 2]
    tune = [(i / 2, 0.5, start + 12 + steps[i % len(steps)]) for i in range(2 * beats)]
    chords = [(b, 4, start + k) for b in range(0, beats, 4) for k in (0, 4, 7)]
    return Song.from_notes([*tune, *chords])


@pytest.fixture
def midi_folder(tmp_path: Path) -> Path:
    """A folder of six small songs."""
    folder = tmp_path / "my-midi"
    folder.mkdir()
    for i, start in enumerate((48, 50, 52, 53, 55, 57)):
        write_midi(scale_song(start), folder / f"tune-{i}.mid")
    return folder


@pytest.fixture
def tiny(midi_folder: Path) -> TrainOptions:
    """Options that train on `midi_folder` in a second."""
    return TrainOptions(path=str(midi_folder), n_epochs=2, **TINY)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A Chromium that asks nobody anything; skips the test where there is none."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="the browser test needs playwright: pip install playwright"
    )
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A page whose requests to other hosts and whose errors in the console fail the test."""
    page = chromium.new_page(viewport={"width": 1400, "height": 900})
    page.set_default_timeout(30_000)
    outside, errors = watched(page)
    yield page
    assert outside == []
    assert errors == []
    page.close()


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that has trained five epochs, of which 0, 1, 2 and 4 are kept; not to be changed."""
    from deepmusician.runner import train_run
    from deepmusician.runs import new_run

    place = tmp_path_factory.mktemp("trained")
    songs = place / "my-midi"
    songs.mkdir()
    for i, start in enumerate((48, 50, 52, 53, 55, 57)):
        write_midi(scale_song(start), songs / f"tune-{i}.mid")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEEPMUSICIAN_HOME", str(place / "home"))
        run = new_run(TrainOptions(path=str(songs), n_epochs=5, **TINY), "small")
        train_run(run)
    return run.path


@pytest.fixture
def small_run(home: Path, trained_once: Path) -> Path:
    """A copy of that run, called small, in this test's workspace."""
    return Path(shutil.copytree(trained_once, home / "runs" / "small", symlinks=True))


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is measured before a training, and composed during and after it, is short."""
    monkeypatch.setattr("deepmusician.estimate.TRIAL_SECONDS", 0.05)
    monkeypatch.setattr("deepmusician.estimate.SCORED", (128, 256))
    monkeypatch.setattr("deepmusician.audition.SAMPLE_FRAMES", 16)
    monkeypatch.setattr("deepmusician.calibration.FRAMES", 8)
