"""A model of expression learns how loud notes are struck from the notes alone, and changes nothing else of a piece."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from deepmusician import checkpoint
from deepmusician.cli import main
from deepmusician.errors import CheckpointError, OptionError
from deepmusician.evaluation import evaluate
from deepmusician.expression import humanise
from deepmusician.formats import read_song
from deepmusician.generation import compose
from deepmusician.midi import write_midi
from deepmusician.models.config import ModelConfig
from deepmusician.models.contract import Batch
from deepmusician.models.expression import Expression
from deepmusician.models.frames import to_model
from deepmusician.models.registry import make
from deepmusician.notes import NOTE, Song
from deepmusician.options import GenerateOptions
from deepmusician.recipes import recipe_options
from deepmusician.roll import parse_division
from deepmusician.rolls import make_rolls, song_frames
from deepmusician.runner import train_run
from deepmusician.runs import new_run
from deepmusician.scoring import level_counts, likelihoods, references, score, whole_songs
from deepmusician.training import Trainer

SOFT, LOUD, MIDDLE = 40, 100, 64  # melodies here are loud from the pitch MIDDLE on
SMALL = {
    "n_epochs": 12, "seq_len": 32, "hidden_size": 16, "num_layers": 1, "classifier_size": 32, "batch_size": 4,
    "dropout": 0.0, "classifier_dropout": 0.0, "learning_rate": 0.02, "transpose": 0, "averaging": 0.0,
    "valid_fraction": 0.2, "precision": "fp32", "threads": 1,
}  # fmt: skip
CONFIG = ModelConfig(
    arrangement="expression", backbone="lstm", planes="velocity", skip=True, hidden_size=12, classifier_size=12,
    num_layers=1, seq_len=16, clock=True, n_styles=2,
)  # fmt: skip


def melody(seed: int, beats: int = 16) -> Song:
    """Quavers at random, one held note below them, as the model should play them."""
    pitches = np.random.default_rng(seed).integers(MIDDLE - 12, MIDDLE + 12, 2 * beats)
    song = Song.from_notes([(i / 2, 0.5, int(p)) for i, p in enumerate(pitches)] + [(0, beats, 40)])
    return with_velocities(song, np.where(song.notes["pitch"] >= MIDDLE, LOUD, SOFT))


def with_velocities(song: Song, velocities) -> Song:
    notes = song.notes.copy()
    notes["velocity"] = velocities
    return dataclasses.replace(song, notes=notes)


@pytest.fixture(scope="module")
def learnt():
    """A model that learnt such melodies, with its trainer's last report."""
    options = recipe_options("expression", **SMALL)
    rolls = make_rolls([melody(i) for i in range(12)], planes="velocity")
    work = Trainer(options, rolls, np.arange(10), np.array([10, 11]))
    reports = list(work.epochs())
    return (work.model, {"options": {"division": options.division}}), reports, rolls


@pytest.fixture(scope="module")
def untrained():
    torch.manual_seed(0)
    return make(CONFIG).eval()


def batch_of(song: Song) -> Batch:
    frames = to_model(song_frames(song, parse_division("1/16"), planes="velocity"))[None]
    n = frames.shape[1]
    return Batch(torch.zeros_like(frames[:, :1]), frames, torch.ones(1, n, dtype=torch.bool))


def test_a_melody_whose_high_notes_are_loud_is_learnt(learnt):
    source, reports, rolls = learnt
    simple = references(source[0], rolls, np.arange(10), np.array([10, 11]))["velocity_frequencies"]["nll"]
    assert reports[-1]["valid"]["nll"] < 0.3 * simple
    flat = with_velocities(melody(99), 80)
    played = humanise(source, flat).notes
    assert np.abs(played["velocity"].astype(int) - melody(99).notes["velocity"]).max() <= 12


def test_only_loss_and_likelihood_are_reported(learnt):
    report = learnt[1][-1]
    assert set(report["valid"]) == set(report["train"]) == {"loss", "nll"}
    assert "composed" not in report and report["highest"] is None


def test_times_and_pitches_stay_and_so_does_all_else(learnt):
    song = dataclasses.replace(melody(5), title="a tune").with_tempo(77)
    notes = song.notes.copy()
    notes["onset"] += 0.037  # off the grid
    song = dataclasses.replace(song, notes=notes)
    played = humanise(learnt[0], song)
    for name in set(NOTE.names) - {"velocity"}:
        assert (played.notes[name] == song.notes[name]).all(), name
    assert (played.title, played.tempo_bpm, played.tracks) == ("a tune", 77, song.tracks)
    assert (played.notes["velocity"] > 0).all()


def test_strength_mixes_the_pieces_own_velocities_with_the_models(learnt):
    flat = with_velocities(melody(3), 20)
    own, half, model = (humanise(learnt[0], flat, s).notes["velocity"].astype(int) for s in (0, 0.5, 1))
    assert (own == 20).all() and (model > 30).all()
    assert np.abs(half - (20 + model) / 2).max() <= 1


@pytest.mark.parametrize("strength", [-0.1, 1.5])
def test_a_strength_beyond_0_to_1_is_refused(learnt, strength):
    with pytest.raises(OptionError, match="strength must be from 0 to 1"):
        humanise(learnt[0], melody(0), strength)


def test_a_seed_plays_the_same_each_time_and_another_plays_otherwise(untrained):
    source = (untrained, {"options": {}})
    first, again, other = (humanise(source, melody(0), seed=s).notes["velocity"] for s in (1, 1, 2))
    assert (first == again).all() and (first != other).any()


def test_the_pieces_own_velocities_are_not_heard(untrained):
    source = (untrained, {"options": {}})
    quiet, wild = (with_velocities(melody(0), v) for v in (1, np.random.default_rng(0).integers(1, 128, 33)))
    assert (humanise(source, quiet).notes == humanise(source, wild).notes).all()
    with torch.no_grad():
        assert torch.equal(untrained.contexts(batch_of(quiet)), untrained.contexts(batch_of(wild)))


def test_drums_are_untouched_and_unheard(learnt):
    song = with_velocities(melody(2), 80)
    drums = song.notes[:8].copy()
    drums["drum"], drums["velocity"], drums["pitch"] = True, 33, 90
    both = humanise(learnt[0], dataclasses.replace(song, notes=np.concatenate([song.notes, drums]))).notes
    assert (both["velocity"][both["drum"]] == 33).all()
    assert (both[~both["drum"]] == humanise(learnt[0], song).notes).all()
    only = dataclasses.replace(song, notes=drums)
    assert (humanise(learnt[0], only).notes == only.notes).all()
    assert len(humanise(learnt[0], Song.from_notes([]))) == 0


def test_what_the_model_cannot_hear_is_as_loud_as_its_nearest_neighbour(learnt):
    """A note above the keyboard, one below it, and one struck twice within a frame."""
    high, low = (1.0, 0.5, MIDDLE + 8), (3.0, 0.5, MIDDLE - 8)
    song = Song.from_notes([high, low, (1.0, 0.5, 125), (3.0, 0.5, 5), (3.02, 0.4, MIDDLE - 8), (7.0, 1, 126)])
    notes = humanise(learnt[0], song).notes
    loud = {(n["onset"], n["pitch"]): int(n["velocity"]) for n in notes}
    assert loud[1.0, 125] == loud[high[0], high[2]] > 80
    assert loud[3.0, 5] == loud[3.02, MIDDLE - 8] == loud[low[0], low[2]] < 60
    assert loud[7.0, 126] == loud[low[0], low[2]]
    assert (humanise(learnt[0], Song.from_notes([(0, 1, 125)])).notes["velocity"] == 80).all()  # none is near


@pytest.mark.parametrize("change", [{"voices": "melody"}, {"remove_zeros": True}], ids=str)
def test_a_model_that_reads_less_of_a_piece_still_plays_all_of_it(learnt, change):
    song = Song.from_notes([(0, 1, 50), (9, 1, MIDDLE + 6), (9, 1, MIDDLE + 1), (20, 1, 50)], velocity=3)
    notes = humanise((learnt[0][0], {"options": change}), song).notes
    assert (notes["velocity"] > 20).all()
    assert notes["velocity"][1:3].min() > notes["velocity"][[0, 3]].max()


def test_held_keys_cost_nothing_and_struck_ones_the_nats_of_their_velocity(untrained):
    nll = untrained.nll(batch_of(Song.from_notes([(0, 2, 60), (1, 0.5, 70)])))[0]
    assert (nll > 0).nonzero()[:, 0].tolist() == [0, 4]
    struck_again = untrained.nll(batch_of(Song.from_notes([(0, 1, 60), (1, 1, 60)])))[0]
    assert (struck_again > 0).nonzero()[:, 0].tolist() == [0, 4]


def test_a_window_knows_from_the_frame_before_what_is_held(untrained):
    whole = batch_of(Song.from_notes([(0, 2, 60)]))
    cut = Batch(whole.target[:, 2:3], whole.target[:, 3:], whole.mask[:, 3:])
    assert untrained.nll(cut).sum() == 0


def test_the_levels_of_a_note_are_a_distribution_that_leans_to_common_ones(untrained):
    counts = torch.zeros(32)
    counts[[8, 24]] = 500.0
    model = make(CONFIG).eval()
    model.load_state_dict(untrained.state_dict())
    model.head.start_at(counts)
    whole, by = 0.0, []
    for level in range(32):
        nll = float(model.nll(batch_of(Song.from_notes([(0, 1, 60)], velocity=max(1, 4 * level + 2)))).detach().sum())
        by.append(nll)
        whole += np.exp(-nll)
    assert whole == pytest.approx(1, abs=1e-4)
    assert set(np.argsort(by)[:2]) == {8, 24}


def test_future_and_past_are_both_heard(untrained):
    """Another note at either end changes what is expected in the middle."""
    with torch.no_grad():
        base, later, sooner = (
            untrained.contexts(batch_of(Song.from_notes([(0, 0.25, a), (2, 0.25, 60), (4, 0.25, b)])))[0, 8, :24]
            for a, b in ((50, 50), (50, 80), (80, 50))
        )
    assert (base != later).any() and (base != sooner).any()
    assert torch.equal(base[:12], later[:12]) and torch.equal(base[12:], sooner[12:])


def test_a_song_scores_the_same_in_pieces_alone_or_beside_a_longer_one(untrained, monkeypatch):
    rolls = make_rolls([melody(0, 20), melody(1, 7)], planes="velocity")
    (both,) = whole_songs(rolls, np.array([0, 1]))
    with torch.no_grad():
        windows = untrained.nll(both)
    torch.testing.assert_close(likelihoods(untrained, both), windows)
    (alone,) = whole_songs(rolls, np.array([1]))
    torch.testing.assert_close(likelihoods(untrained, alone)[0], windows[1, : alone.mask.shape[1]])
    monkeypatch.setattr("deepmusician.models.expression.CHUNK", 7)
    torch.testing.assert_close(likelihoods(untrained, both), windows)
    total = score(untrained, rolls, np.array([0, 1]))
    assert total.nll == pytest.approx(float(windows.sum()) / both.mask.sum().item(), rel=1e-5)


@pytest.mark.parametrize("backbone", ["rnn", "gru", "tcn", "transformer", "biaxial"])
def test_any_backbone_reads_both_ways(backbone):
    model = make(dataclasses.replace(CONFIG, backbone=backbone, hidden_size=8, attention_heads=2))
    model(batch_of(melody(0, 4))).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


def test_velocities_as_often_as_in_training_are_what_is_to_beat(untrained):
    songs = [Song.from_notes([(0, 4, 60), (0, 4, 64)], velocity=40), Song.from_notes([(0, 4, 60)], velocity=90)]
    rolls = make_rolls(songs, planes="velocity")
    assert level_counts(rolls, [0, 1])[[10, 22]].tolist() == [2, 1]
    found = references(untrained, rolls, np.array([0]), np.array([1]))
    assert found == {"velocity_frequencies": {"nll": pytest.approx(-np.log(0.5 / 18) / 16)}}


def test_a_model_without_velocities_is_refused():
    with pytest.raises(OptionError, match="expression gives velocities, got planes onset"):
        Expression(dataclasses.replace(CONFIG, planes="onset"))


@pytest.fixture
def trained(home, tmp_path):
    """A short run of the recipe, through the whole of a run's process."""
    folder = tmp_path / "played"
    folder.mkdir()
    for i in range(5):
        write_midi(melody(i, 4), folder / f"tune-{i}.mid")
    run = new_run(recipe_options("expression", path=str(folder), **{**SMALL, "n_epochs": 2}), "loudness")
    assert train_run(run).state == "finished"
    return run


def test_a_run_composes_nothing_and_reports_what_is_to_beat(trained, tmp_path, capsys):
    assert trained.samples() == [] and checkpoint.load_primes(trained.path) is None
    card = checkpoint.read_card(trained.path)
    assert "fullness" not in card and set(card["scores"]["valid"]) == {"loss", "nll"}
    assert set(trained.baselines()) == {"velocity_frequencies"}
    report = evaluate(trained.path)
    assert report["baselines"] == trained.baselines() and set(report["model"]) == {"loss", "nll"}
    assert main(["evaluate", "-c", "loudness"]) == 0
    table = capsys.readouterr().out
    assert "velocity frequencies" in table and "only their velocities count" in table
    assert main(["train", "--resume", "--run", "loudness", "-e", "3"]) == 0
    printed = capsys.readouterr().out
    assert "epoch   3" in printed and "F1" not in printed and "deepmusician humanise FILE -c loudness" in printed
    assert len(trained.metrics()) == 3 and json.dumps(trained.metrics())


def test_the_command_line_humanises_a_file(trained, tmp_path, capsys):
    source, saved = tmp_path / "flat.mid", tmp_path / "out.mid"
    write_midi(with_velocities(melody(7), 80), source)
    words = ["humanise", str(source), "-c", "loudness", "-o", str(saved)]
    assert main([*words, "--seed", "3"]) == 0
    assert f"{saved}: 33 notes, velocities" in capsys.readouterr().out
    expected = humanise(trained.path, read_song(source), seed=3)
    assert (read_song(saved).notes["velocity"] == expected.notes["velocity"]).all()
    assert main([*words, "--strength", "0"]) == 0
    assert (read_song(saved).notes["velocity"] == 80).all()


def test_what_is_asked_of_the_wrong_model_is_refused_in_one_sentence(trained, tmp_path, capsys):
    with pytest.raises(OptionError, match=r"composes nothing.*use deepmusician humanise"):
        compose(trained.path, GenerateOptions(seq_len=4))
    assert main(["generate", "-c", "loudness", "-s", str(tmp_path / "x.mid")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    composer = make(ModelConfig(seq_len=8, hidden_size=8, classifier_size=8))
    with pytest.raises(OptionError, match="composes and cannot give a piece its velocities"):
        humanise((composer, {"options": {}}), melody(0))
    with pytest.raises(CheckpointError, match="no checkpoint or run called nobody"):
        humanise("nobody", melody(0))
