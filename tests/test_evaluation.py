"""The yardstick: nats a frame of any file of polyphonic rolls, counted exactly, and refusals in words."""

import json

import numpy as np
import pytest
import torch

from deepmusician import checkpoint
from deepmusician.cli import main
from deepmusician.errors import LibraryError, OptionError
from deepmusician.evaluation import as_trained, evaluate_rolls
from deepmusician.models.config import ModelConfig
from deepmusician.models.registry import make
from deepmusician.options import TrainOptions, to_dict
from deepmusician.roll_files import read_npz
from deepmusician.rolls import Rolls

LENGTHS = np.array([5, 23, 9])


@pytest.fixture
def file(tmp_path):
    """Three sequences as `valid` and one as `train`."""
    rng = np.random.default_rng(0)
    frames = rng.random((LENGTHS.sum() + 4, 88)) < 0.05
    packed = np.packbits(frames, axis=1)
    path = tmp_path / "rolls.npz"
    np.savez(path, valid=packed[:-4], valid_lengths=LENGTHS, train=packed[-4:], train_lengths=np.array([4]))
    return path


def saved(folder, **parts):
    torch.manual_seed(0)
    config = ModelConfig(seq_len=8, hidden_size=16, classifier_size=12, **parts)
    card = {"title": "t", "options": to_dict(TrainOptions()), "threshold": 0.5, "data": {}}
    return checkpoint.save(folder / "model", make(config), card)


@pytest.mark.parametrize(
    "parts",
    [
        {"loss": "focal"},
        {"arrangement": "decoder", "head": "chord", "loss": "bce"},
        {"arrangement": "decoder", "backbone": "biaxial", "head": "intervals", "loss": "bce", "clock": True},
    ],
    ids=["original", "chord", "studio"],
)
def test_nats_a_frame_are_the_sum_over_all_frames_the_first_included_over_their_number(parts, file, tmp_path):
    """Counted here one song and one frame at a time, as composing would go, with nothing but the frames before."""
    folder = saved(tmp_path, **parts)
    model, _ = checkpoint.load(folder)
    rolls, total = read_npz(file, "valid"), 0.0
    for song in range(3):
        frame, state = model.start("zero")
        for truth in torch.from_numpy(rolls.frames(song)).float():
            with torch.no_grad():
                context, state = model.step(frame, state)
                total += float(model.head.nll(context, truth[None]))
            frame = truth[None]
    report = evaluate_rolls(folder, file, "valid")
    assert report["nats_per_frame"] == pytest.approx(total / LENGTHS.sum(), rel=1e-5)
    assert (report["songs"], report["frames"], report["split"]) == (3, LENGTHS.sum(), "valid")
    assert {"silence", "repeat_last", "key_frequencies", "markov"} == set(report["baselines"])


def test_the_command_line_gives_the_same_figure(file, tmp_path, capsys):
    folder = saved(tmp_path)
    assert main(["evaluate", "-c", str(folder), "--rolls", str(file), "--split", "valid", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["nats_per_frame"] == evaluate_rolls(folder, file, "valid")["nats_per_frame"]
    assert main(["evaluate", "-c", str(folder), "--rolls", str(file), "--split", "valid"]) == 0
    table = capsys.readouterr().out
    assert f"{printed['nats_per_frame']:.3f}" in table and "37 frames" in table


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--rolls", "FILE"], "give both or neither"),
        (["--split", "valid"], "give both or neither"),
        (["--rolls", "FILE", "--split", "valid", "-p", "airds"], "give one of them"),
        (["--rolls", "FILE", "--split", "test"], "no split called test; it has valid, train"),
        (["--rolls", "missing.npz", "--split", "valid"], "missing.npz cannot be read"),
    ],
)
def test_a_wrong_call_is_refused_in_one_line(flags, message, file, tmp_path, capsys):
    flags = [str(file) if flag == "FILE" else flag for flag in flags]
    assert main(["evaluate", "-c", str(saved(tmp_path)), *flags]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_split_that_is_not_there_is_named_with_those_that_are(file):
    with pytest.raises(LibraryError, match="it has valid, train"):
        read_npz(file, "test")


@pytest.mark.parametrize("parts", [{"planes": "onset", "skip": True}, {"planes": "velocity", "skip": True}])
def test_a_model_that_predicts_more_than_the_file_holds_is_refused(parts, file, tmp_path):
    with pytest.raises(OptionError, match=r"predicts what .* does not hold"):
        evaluate_rolls(saved(tmp_path, **parts), file, "valid")


def test_styles_of_music_to_judge_on_are_found_in_the_card_by_name():
    rolls = Rolls(np.zeros((3, 11), np.uint8), np.array([1, 1, 1]), styles=np.array([0, 1, 0]), style_names=("b", "a"))
    known = as_trained(rolls, {"data": {"styles": ["a", "b", "c"]}})
    assert known.style_names == ("a", "b", "c") and known.styles.tolist() == [1, 0, 1]
    unknown = as_trained(rolls, {"data": {"styles": ["x", "y"]}})
    assert len(unknown.style_names) == 1
