"""Metrics by hand-computed values; collapse named in words."""

import numpy as np
import pytest

from deepmusician.metrics import (
    CellCounts,
    find_collapse,
    held_share,
    precision_recall_f1,
    rare_keys,
    repeat_last,
    scale_consistency,
)


def frames(*rows: str) -> np.ndarray:
    """Frames written as the keys that sound, for example "0 4 7"."""
    roll = np.zeros((len(rows), 88), bool)
    for frame, row in zip(roll, rows, strict=True):
        frame[[int(key) for key in row.split()]] = True
    return roll


def test_precision_recall_f1_by_hand():
    assert precision_recall_f1(2, 1, 3) == {"precision": 2 / 3, "recall": 2 / 5, "f1": 0.5}
    assert precision_recall_f1(0, 0, 0) == {"precision": 0.0, "recall": 0.0, "f1": 0.0}


def test_counts_give_the_scores_of_any_threshold():
    counts = CellCounts()
    target = frames("0 1", "0")
    probability = np.zeros((2, 88))
    probability[:, 0], probability[0, 1], probability[1, 2] = 0.9, 0.4, 0.6
    counts.add(probability, target)
    assert counts.at(0.5) == {"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "density": 1.5}
    assert counts.at(0.3)["recall"] == 1.0
    assert counts.data_density == 1.5
    assert counts.highest == pytest.approx(0.9, abs=1e-3)


def test_the_calibrated_threshold_plays_as_many_notes_as_the_data_has():
    rng = np.random.default_rng(1)
    target = rng.random((500, 88)) < 0.05
    probability = np.clip(0.2 * target + rng.normal(0.15, 0.05, target.shape), 0, 1)  # all far below 0.5
    counts = CellCounts()
    counts.add(probability, target)
    assert counts.at(0.5)["density"] < 0.05
    assert counts.at(counts.threshold_for_density())["density"] == pytest.approx(counts.data_density, rel=0.05)


def test_repeating_the_last_frame_starts_with_silence():
    assert (repeat_last(frames("1", "2", "3")) == frames("", "1", "2")).all()


def test_the_third_of_the_keys_that_sounds_least_is_rare():
    counts = np.zeros(88)
    counts[[10, 20, 30, 40, 50, 60, 70]] = [5, 1, 9, 9, 2, 9, 9]
    assert np.nonzero(rare_keys(counts))[0].tolist() == [20, 50]  # two of seven
    counts[[10, 20, 30, 40, 50, 60]] = 0
    assert np.nonzero(rare_keys(counts))[0].tolist() == [70]
    assert not rare_keys(np.zeros(88)).any()


def test_held_share_counts_frames_equal_to_the_one_before():
    assert held_share(frames("1", "1", "2", "2")) == 2 / 3
    assert held_share(frames("1")) == 0


def test_scale_consistency_by_hand():
    # C major triad (A0 is column 0, so C is 3), then the same with one F sharp among six notes, then silence
    assert scale_consistency(frames("3 7 10")) == 1.0
    assert scale_consistency(frames("3 7 10", "5 8 4")) == 5 / 6
    assert scale_consistency(frames("", "")) == 0.0


def test_silence_is_explained_by_the_threshold_above_all_probabilities():
    (finding,) = find_collapse(frames(*[""] * 64), highest=0.31, threshold=0.5)
    assert "highest probability 0.31 is below the threshold 0.50" in finding
    (finding,) = find_collapse(frames(*[""] * 64))
    assert "learnt silence" in finding


def test_one_chord_for_ever_is_found():
    (finding,) = find_collapse(frames(*["30 34 37"] * 64), data_held=0.6)
    assert "One chord is held" in finding
    (finding,) = find_collapse(frames(*["30"] * 64))
    assert "One note is held" in finding


def test_everything_at_once_is_found():
    (finding,) = find_collapse(np.ones((64, 88), bool))
    assert "Everything sounds at once (88 of 88 keys a frame)" in finding


def test_music_that_moves_is_left_in_peace():
    moving = frames(*[f"{30 + (i // 4) % 12} {40 + (i // 8) % 7}" for i in range(64)])
    assert find_collapse(moving, data_held=0.75) == []


def test_slow_music_is_measured_by_its_own_data():
    slow = frames(*[str(30 + i // 32) for i in range(512)])  # 97 % held, as its data is
    assert find_collapse(slow, data_held=0.97) == []
    assert find_collapse(slow, data_held=0.5) != []
