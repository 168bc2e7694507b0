"""The judges at work on models: human music beside human music, an untrained model, one that learnt by heart."""

import json
import shutil
import time

import numpy as np
import pytest
import torch
from conftest import TINY, scale_song

from deepmusician import checkpoint, verdicts
from deepmusician.cli import main
from deepmusician.errors import OptionError
from deepmusician.features import FEATURES
from deepmusician.judging import Cut, judge, silent, telltale_words
from deepmusician.midi import write_midi
from deepmusician.models.registry import new_model
from deepmusician.notes import Song
from deepmusician.options import TrainOptions, to_dict
from deepmusician.pieces import piece_words
from deepmusician.roll import parse_division
from deepmusician.rolls import make_rolls
from deepmusician.runner import train_run
from deepmusician.runs import new_run, open_run
from deepmusician.training import Trainer
from deepmusician.twosample import Telltale

OPTIONS = TrainOptions(arrangement="decoder", loss="bce", division="1/8", **{**TINY, "hidden_size": 64})


def human(seed, bars=8):
    """A tune over chords by a simple composer, whose taste differs a little from piece to piece."""
    rng = np.random.default_rng(seed)
    key, notes = int(rng.integers(-5, 6)), []
    degrees = np.array([0, 2, 4, 5, 7, 9, 11, 12, 14, 16])
    place = 4
    for beat in range(4 * bars):
        if beat % 4 == 0:
            root = int(rng.choice([0, 3, 4, 5]))
            notes += [(beat, 4, 48 + key + int(degrees[(root + k) % 7])) for k in (0, 2, 4)]
        for half in range(1 + (rng.random() < 0.4)):
            place = int(np.clip(place + rng.choice([-1, 1, 1, -1, 2, -2, 0]), 0, 9))
            notes.append((beat + half / 2, 0.5 if half else 1, 67 + key + int(degrees[place])))
    return Song.from_notes(notes)


@pytest.fixture(scope="module")
def rolls():
    return make_rolls([human(seed) for seed in range(36)], "1/8")


HELD_OUT = np.arange(16)
TRAIN = np.arange(16, 36)
CARD = {"options": to_dict(OPTIONS), "threshold": 0.5, "data": {}}


@pytest.fixture(scope="module")
def untrained(rolls):
    torch.manual_seed(1)
    model = new_model(OPTIONS).eval()
    model.head.start_at(torch.from_numpy(rolls.frequencies(TRAIN)).float())
    return judge(model, CARD, rolls, TRAIN, HELD_OUT, "quick")


def test_real_against_real_is_told_apart_half_of_the_time_and_an_untrained_model_nearly_always(untrained):
    found = untrained["two_sample"]
    assert found["real"]["low"] <= 0.5 <= found["real"]["high"]
    assert found["model"]["accuracy"] > 0.9 and found["model"]["low"] > 0.5
    assert found["model"]["telltales"] and not found["real"]["telltales"]


def test_a_model_always_stands_beside_real_against_real(untrained):
    assert set(untrained["features"]) == set(FEATURES)
    assert all({"model", "real"} <= set(row) for row in untrained["features"].values())
    assert untrained["overlap"]["model"] < untrained["overlap"]["real"]
    assert untrained["clips"] == {"composed": 16, "human": 16, "control": 16} and untrained["clip_bars"] == 8


def test_an_untrained_model_quotes_nothing(untrained):
    assert untrained["originality"]["warning"] is None
    assert untrained["originality"]["composed"]["share"] <= untrained["originality"]["human"]["limit"]


def test_the_report_is_plain_and_said_in_words(untrained):
    assert json.loads(json.dumps(untrained, allow_nan=False)) == untrained
    words = " ".join(untrained["words"])
    assert "A classifier tells its music from held-out human music" in words and "at 50% it only guesses" in words
    assert "overlaps human music by" in words and "of human pieces that were not learnt from" in words


def test_a_model_that_learnt_four_songs_by_heart_is_caught(rolls):
    """Trained until it knows four songs note by note, it composes them, and is warned of."""
    options = TrainOptions(
        arrangement="decoder", loss="bce", head="chord", division="1/8", clock=True, transpose=0, dropout=0.0,
        classifier_dropout=0.0, hidden_size=96, num_layers=1, classifier_size=64, seq_len=64, batch_size=4,
        n_epochs=120, learning_rate=0.008,
    )  # fmt: skip
    few = np.arange(16, 20)
    trainer = Trainer(options, rolls, few, np.zeros(0, np.int64))
    trainer._report = lambda: {}  # scores after each of so many epochs would take longer than the training
    for _ in trainer.epochs():
        pass
    card = {**CARD, "options": to_dict(options), "temperature": 0.5, "top_p": 0.7}
    found = judge(trainer.model.eval(), card, rolls, few, HELD_OUT, "run")["originality"]
    assert found["composed"]["share"] > 0.5 > found["human"]["share"]
    assert found["warning"].startswith("It has learnt its music by heart")


def test_other_music_is_halved_and_says_nothing_of_what_is_new(rolls):
    model = new_model(OPTIONS).eval()
    found = judge(model, CARD, rolls, HELD_OUT, HELD_OUT, "run")
    assert found["clips"]["human"] == found["clips"]["control"] == 8
    assert "leave -p out" in found["originality"]["problem"]


def test_with_too_few_songs_a_judge_says_so_instead_of_guessing(rolls):
    model = new_model(OPTIONS).eval()
    found = judge(model, CARD, rolls, TRAIN, HELD_OUT[:1], "run")
    assert "at least 2 pieces of each, got 4 and 1" in found["two_sample"]["problem"]
    assert found["originality"]["human"]["held_out"] == 1
    nothing = judge(model, CARD, rolls, TRAIN, HELD_OUT[:0], "run")
    assert "problem" in nothing["overlap"] and nothing["originality"]["composed"]["pieces"] == 4


def test_clips_are_as_long_as_half_of_the_songs_are_and_cut_alike(rolls):
    division = parse_division("1/8")
    cut = Cut.of(rolls, HELD_OUT, division, 32)
    assert (cut.bars, cut.frames, cut.each) == (8, 64, 2)
    clips = cut.clips(rolls, HELD_OUT)
    assert {len(clip) for clip in clips.rolls} == {64} and len(clips) == 16
    short = make_rolls([human(seed, bars=3) for seed in range(4)], "1/8")
    assert Cut.of(short, np.arange(4), division, 32).bars == 2


def test_sizes_are_named_and_others_refused(rolls):
    with pytest.raises(OptionError, match="size must be one of run, quick, full"):
        judge(new_model(OPTIONS), CARD, rolls, TRAIN, HELD_OUT, "huge")


def test_what_gives_music_away_is_named_in_words():
    names = list(FEATURES)
    rest = sum(max(1, len(FEATURES[name].classes)) for name in names[: names.index("rest_share")])
    assert telltale_words(Telltale(rest, False, 0.1)) == "too few rests"
    lengths = sum(max(1, len(FEATURES[name].classes)) for name in names[: names.index("note_lengths")])
    assert telltale_words(Telltale(lengths + 1, True, 0.9)) == "too many notes of half a beat"


# ---- kept on disk


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A workspace with a run that has finished, and the folder of its music."""
    folder = tmp_path_factory.mktemp("judged")
    music = folder / "my-midi"
    music.mkdir()
    for seed in range(6):
        write_midi(scale_song(48 + seed), music / f"tune-{seed}.mid")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEEPMUSICIAN_HOME", str(folder / "home"))
        train_run(new_run(TrainOptions(path=str(music), n_epochs=2, **TINY), "first"))
    return folder


@pytest.fixture
def run(trained, home):
    """That run, in a workspace that this test may change."""
    shutil.copytree(trained / "home", home, symlinks=True)
    return open_run("first")


def test_a_finished_run_has_been_judged_in_short(run):
    judges = checkpoint.read_card(run.checkpoint("best"))["judges"]
    assert judges["size"] == "run" and judges["words"]


def test_a_report_carries_the_judges_and_is_kept_until_the_model_changes(run, capsys):
    assert verdicts.read("first") is None
    assert main(["evaluate", "-c", "first", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report.pop("listening") == []
    assert report["judges"]["size"] == "quick" and set(report["judges"]["features"]) == set(FEATURES)
    assert {"silence", "repeat_last", "key_frequencies", "markov"} == set(report["baselines"])
    assert verdicts.read("first") == report
    checkpoint.amend_card(run.checkpoint("best").resolve(), title="another title")
    assert verdicts.read("first") == report
    checkpoint.amend_card(run.checkpoint("best").resolve(), temperature=0.123)
    assert verdicts.read("first") is None


def test_a_piece_is_judged_bar_by_bar_and_note_by_note_beside_its_model(run, trained, capsys):
    file = str(next(f for f in sorted((trained / "my-midi").glob("*.mid")) if f.stem not in _held_out(run)))
    assert main(["evaluate", "-c", "first", "--piece", file, "--json"]) == 0
    piece = json.loads(capsys.readouterr().out)["piece"]
    assert piece["file"] == file and len(piece["originality"]["bars"]) == len(piece["surprise"]["bars"]) == 8
    assert {bar["song"] for bar in piece["originality"]["bars"] if bar["chords"]}
    assert piece["originality"]["longest"] > 8
    assert len(piece["surprise"]["notes"]) == len(scale_song(48))
    assert all(0 < note["probability"] <= 1 for note in piece["surprise"]["notes"])
    assert "piece" not in verdicts.read("first")
    assert "chords of tune-" in " ".join(piece_words(piece))
    assert main(["evaluate", "-c", "first", "--style", "bach"]) == 2
    assert "name it with --piece" in capsys.readouterr().err


def _held_out(run):
    return {name.removesuffix(".mid") for name in checkpoint.read_card(run.checkpoint("best"))["data"]["held_out"]}


def test_a_report_is_stale_when_the_music_changed_though_the_model_did_not(run, trained, tmp_path, monkeypatch):
    monkeypatch.setattr("deepmusician.evaluation.judge", lambda *a: {"problem": "not asked"})
    music = shutil.copytree(trained / "my-midi", tmp_path / "moving")
    checkpoint.amend_card(run.checkpoint("best").resolve(), options={**to_dict(run.options()), "path": str(music)})
    assert verdicts.judged("first", None, "quick", silent)["music_changed"] is False
    assert verdicts.read("first") is not None
    learnt = next(f for f in sorted(music.glob("*.mid")) if f.stem not in _held_out(run))
    learnt.write_bytes(write_midi(scale_song(40)))
    assert verdicts.read("first") is None
    assert verdicts.judged("first", None, "quick", silent)["music_changed"] is True


def test_full_hears_more_and_is_preferred(run, capsys):
    main(["evaluate", "-c", "first", "--full"])
    assert "songs of" in capsys.readouterr().out
    assert verdicts.read("first")["judges"]["size"] == "full"
    main(["evaluate", "-c", "first"])
    assert verdicts.read("first")["judges"]["size"] == "full"


def test_a_process_of_its_own_judges_and_says_how_far_it_is(run):
    verdicts.start("first", "quick")
    assert verdicts.under_way("first", "quick") is not None
    end = time.monotonic() + 90
    while verdicts.read("first") is None:
        assert time.monotonic() < end and verdicts.problem("first", "quick") is None
        time.sleep(0.2)
    while verdicts.under_way("first", "quick"):
        time.sleep(0.1)
    assert verdicts.problem("first", "quick") is None


def test_music_that_is_gone_is_told_by_the_process_that_missed_it(run):
    checkpoint.amend_card(run.checkpoint("best").resolve(), options={**to_dict(run.options()), "path": "gone-for-good"})
    verdicts.start("first", "quick")
    end = time.monotonic() + 90
    while verdicts.under_way("first", "quick"):
        assert time.monotonic() < end
        time.sleep(0.2)
    assert "no file, folder, corpus or data set" in verdicts.problem("first", "quick")


def test_full_is_refused_beside_rolls(capsys):
    assert main(["evaluate", "-c", "x", "--rolls", "f.npz", "--split", "valid", "--full"]) == 2
    assert "--full is for the judges" in capsys.readouterr().err
