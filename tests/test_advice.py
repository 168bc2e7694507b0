"""Advice in words, from made-up histories whose truth is known."""

import dataclasses

import numpy as np
import pytest
from test_metrics import frames

from deepmusician.advice import doubts, findings, pulse, stop_advice
from deepmusician.options import TrainOptions
from deepmusician.runs import Status


def history(valid, train=None, speed=1000.0):
    train = train or valid
    return [
        {"epoch": i, "train": {"nll": t}, "valid": v and {"nll": v}, "frames_per_second": speed, "highest": 0.9}
        for i, (v, t) in enumerate(zip(valid, train, strict=True), 1)
    ]


FALLING = [10 - i for i in range(8)]


def test_before_the_first_epoch_there_is_nothing_to_say():
    assert stop_advice([]) is None


def test_two_epochs_are_only_a_beginning():
    assert stop_advice(history([9, 8])).kind == "begun"


def test_a_falling_surprise_is_still_improving():
    advice = stop_advice(history(FALLING), 40)
    assert advice.kind == "improving"
    assert "held-out songs 8.00 → 3.00 nats a frame in 5 epochs): let it go on" in advice.text
    assert "more epochs would make it better" in stop_advice(history(FALLING), 8).text
    assert "more epochs would make it better" in stop_advice(history(FALLING), 40, live=False).text


def test_a_flat_surprise_no_longer_improves_since_its_last_step_down():
    advice = stop_advice(history([9, 7, 5, 4.0, 4.0, 3.999, 4.001, 4.0]), 40)
    assert (advice.kind, advice.since) == ("stalled", 4)
    assert "since epoch 4: stop it, nothing is lost; the best of its models (epoch 6) is kept" in advice.text
    assert "Steps grow smaller" in advice.text
    ended = stop_advice(history([9, 7, 5, 4.0, 4.0, 3.999, 4.001, 4.0]), 8).text
    assert "stop it" in advice.text and "Steps grow smaller" not in ended
    assert "stop it" not in ended and "more epochs would change little" in ended
    assert stop_advice(history([9, 7, 5, 4.0, 4.0, 3.999, 4.001, 4.0]), 40, live=False).text == ended


def test_held_out_rising_while_training_falls_is_memorising():
    advice = stop_advice(history([9, 7, 5, 5.2, 5.5, 6, 6.5], [9, 7, 5, 4, 3, 2, 1.0]))
    assert (advice.kind, advice.since) == ("memorising", 3)
    assert "(5.00 → 1.00 nats a frame), songs it has not heard more (5.00 → 6.50)" in advice.text
    assert "Stop it" in advice.text and "More music" in advice.text
    ended = stop_advice(history([9, 7, 5, 5.2, 5.5, 6, 6.5], [9, 7, 5, 4, 3, 2, 1.0]), 7)
    assert "Stop it" not in ended.text and "The model of epoch 3 is kept" in ended.text


def test_both_rising_is_not_called_memorising():
    assert stop_advice(history([9, 7, 5, 5.2, 5.5, 6, 6.5], [9, 7, 5, 5.5, 5.7, 6, 6.5])).kind == "stalled"


def test_one_song_alone_is_never_called_memorised():
    rows = history([None] * 7, [9, 7, 5, 5.2, 5.5, 6, 6.5])
    assert stop_advice(rows).kind == "stalled"


def test_a_late_small_gain_keeps_a_long_training_going():
    nll = [10.0] * 20 + [9.0] * 3
    assert stop_advice(history(nll)).kind == "improving"  # three of 23 epochs are not enough to give up
    assert stop_advice(history([10.0] * 5 + [9.0] * 5)).kind == "stalled"  # five of ten are


@pytest.mark.parametrize(
    ("status", "level", "text"),
    [
        ({"state": "queued", "message": "Waiting until a has finished.", "time": 90}, "ok", "until a has finished. It"),
        ({"frames_per_second": 900.0, "time": 99.5}, "ok", "Last sign of life just now"),
        ({"frames_per_second": 900.0, "time": 95}, "ok", "Last sign of life 5 s ago"),
        ({"frames_per_second": 250.0, "time": 99}, "slow", "takes 4.0 times as long"),
        ({"frames_per_second": 250.0, "time": 99, "batch": 1}, "ok", "sign of life"),  # too early to say
        ({"message": "Judging epoch 3.", "time": 40}, "quiet", "said nothing for 60 s (Judging epoch 3)"),
    ],
)
def test_is_it_stuck_is_answered(status, level, text):
    status = Status(**{"state": "training", "batch": 9} | status)
    answer = pulse(status, history([9, 8, 7]), now=100.0)
    assert answer.level == level and text in answer.text


def test_the_simplest_model_that_predicts_better_is_named():
    (report,) = history([8.0])
    better = {"repeat_last": {"nll": 7.0}, "markov": {"nll": 6.0}}
    (doubt,) = doubts(report, better)
    assert doubt.startswith("Copying the last frame still predicts better (7.00 nats a frame against 8.00)")
    (doubt,) = doubts(report, {"repeat_last": {"nll": 9.0}, "markov": {"nll": 6.0}})
    assert doubt.startswith("A Markov chain, which only counts what followed what, still predicts better (6.00")
    assert doubts(report, {"repeat_last": {"nll": 9.0}}) == []


def test_nothing_held_out_is_said():
    (report,) = history([None], [8.0])
    assert "only one song" in doubts(report, {})[0]


MOVING = frames(*[f"{30 + i % 12} {44 + i % 7}" for i in range(64)])
DATA = {"held_share": 0.2, "density": 2.0}


def test_music_like_its_own_has_no_findings():
    assert findings(MOVING, history([5.0])[0], TrainOptions(), DATA) == []


def test_thin_and_crowded_music_is_found_with_a_remedy_of_its_loss():
    report = history([5.0])[0]
    (thin,) = findings(MOVING, report, TrainOptions(), DATA | {"density": 6.0})
    assert "thin (2.0 notes a frame, its music has 6.0)" in thin and "raise alpha" in thin
    (thin,) = findings(MOVING, report, TrainOptions(loss="bce"), DATA | {"density": 6.0})
    assert "use the focal loss" in thin
    (crowded,) = findings(MOVING, report, TrainOptions(), DATA | {"density": 0.9})
    assert "crowded" in crowded and "lower alpha" in crowded


def test_collapse_comes_before_density():
    (finding,) = findings(np.zeros((64, 88), bool), history([5.0])[0], TrainOptions(), DATA)
    assert "learnt silence" in finding


def test_a_threshold_that_nothing_reaches_is_said():
    options = dataclasses.replace(TrainOptions(), threshold=0.95)
    assert "will be silent" in findings(MOVING, history([5.0])[0], options, DATA)[0]
