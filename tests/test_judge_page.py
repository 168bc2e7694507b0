"""The Judge page, run from app.py without a browser: a model's report, and one piece by its index and by a model."""

from pathlib import Path

import numpy as np
import pytest
from conftest import TINY, scale_song
from streamlit.runtime.pages_manager import PagesManager
from streamlit.testing.v1 import AppTest

from deepmusician.midi import write_midi
from deepmusician.options import TrainOptions
from deepmusician.runner import train_run
from deepmusician.runs import new_run
from ui import judge_piece
from ui.router import JUDGE

APP = str(Path(__file__).parents[1] / "app.py")


@pytest.fixture(autouse=True)
def own(home, monkeypatch):
    monkeypatch.setattr("deepmusician.checkpoint.BUNDLED", home / "bundled")
    begin = PagesManager.__init__

    def warm(self, *args, **kwargs):
        begin(self, *args, **kwargs)
        PagesManager.uses_pages_directory = False

    monkeypatch.setattr(PagesManager, "__init__", warm)


def open_judge():
    app = AppTest.from_file(APP, default_timeout=60)
    app.switch_page(JUDGE)
    app.run()
    assert not app.exception, [e.value for e in app.exception]
    return app


def texts(elements):
    return " ".join(e.value for e in elements)


def test_without_a_model_it_leads_to_training():
    assert "Train one first" in texts(open_judge().info)


def test_a_finished_run_is_reported_and_a_piece_of_it_seen_bar_by_bar_and_note_by_note(tiny, monkeypatch):
    train_run(new_run(tiny, "small"))
    shown = []
    monkeypatch.setattr(judge_piece, "player", lambda song, name, key, **k: shown.append((song, key, k)))
    app = open_judge()
    next(w for w in app.get("button_group") if w.key == "judge.piece").set_value("a piece it composes").run()
    assert not app.exception
    said = texts(app.markdown)
    assert "of its chords stand in training songs" in said and "nats a frame** over the whole piece" in said
    assert "Nobody has been asked yet" in said
    assert {"Judge it", "Judge it on more music"} <= {b.label for b in app.button}
    looked = {key: (song, k) for song, key, k in shown}
    song, kept = looked["judge.surprise"]
    assert kept["note_shade"].shape == (len(song),) and np.isfinite(kept["note_shade"]).all()
    song, kept = looked["judge.original"]
    assert kept["bar_shade"].shape == (len(song.bar_starts()),)


def test_a_training_song_uploaded_is_found_whole_and_its_source_is_heard_beside_it(midi_folder, monkeypatch):
    train_run(new_run(TrainOptions(path=str(midi_folder), n_epochs=1, **TINY), "small"))
    shown = {}
    monkeypatch.setattr(judge_piece, "player", lambda song, name, key, **k: shown.update({key: (song, k)}))
    heard = []
    monkeypatch.setattr(judge_piece, "players", lambda pieces, key: heard.append(pieces))
    app = open_judge()
    next(w for w in app.get("button_group") if w.key == "judge.piece").set_value("a piece of mine").run()
    files = app.file_uploader
    next(f for f in files if f.label == "The piece").set_value(("x.mid", write_midi(scale_song(51)), "audio/midi"))
    app.run()
    assert not app.exception
    assert shown["judge.original"][1]["bar_shade"].max() > 0
    (_, mine), (_, theirs) = heard[-1]
    apart = theirs.notes["pitch"].astype(int) - mine.notes["pitch"].astype(int)
    assert len(set(apart.tolist())) == 1  # the same passage, in the key of the training song
    assert mine.beats <= 12 < scale_song(51).beats  # the bar and its neighbours, not the song
