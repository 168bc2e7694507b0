"""The numbers of "How it works", by hand, and its pictures."""

import numpy as np
import pytest
import torch

from deepmusician.lesson_plots import (
    plot_agreement,
    plot_all_keys,
    plot_beside_truth,
    plot_choice,
    plot_constant,
    plot_focal_at,
    plot_frames,
)
from deepmusician.lessons import agreement, constant_loss, next_frame, predictions, put_on_grid, weight_of_notes
from deepmusician.models.config import ModelConfig
from deepmusician.models.contract import Sampling
from deepmusician.models.registry import make
from deepmusician.notes import Song
from deepmusician.plots import new_figure

TUNE = Song.from_notes([(0, 1, 60), (1, 0.5, 62), (1.5, 0.25, 64), (1.75, 0.25, 65)])


def test_a_coarser_grid_gives_fewer_notes_back():
    fine, coarse = put_on_grid(TUNE, "1/16"), put_on_grid(TUNE, "1/8")
    assert (len(fine.roll), fine.kept) == (8, 4)
    assert (len(coarse.roll), coarse.kept) == (5, 2)  # the last semiquaver is moved to the next quaver, and lasts one
    assert put_on_grid(TUNE.with_tempo(90), "1/8").song.tempo_bpm == 90


def test_the_cheapest_constant_is_the_share_that_sounds():
    grid = np.linspace(0.01, 0.99, 99)
    assert grid[constant_loss(grid, 0.05).argmin()] == pytest.approx(0.05)
    assert constant_loss(0.5, 0.05) == pytest.approx(np.log(2))
    assert constant_loss(0.05, 0.05) == pytest.approx(-0.05 * np.log(0.05) - 0.95 * np.log(0.95))


def test_the_focal_loss_gives_the_notes_their_weight():
    bce = weight_of_notes("bce", 0.75, 2.0, 0.05, 0.3, 0.97)
    notes, rest = -0.05 * np.log(0.3), -0.95 * np.log(0.97)
    assert bce == pytest.approx(notes / (notes + rest))
    notes, rest = notes * 0.75 * 0.7**2, rest * 0.25 * 0.03**2
    assert weight_of_notes("focal", 0.75, 2.0, 0.05, 0.3, 0.97) == pytest.approx(notes / (notes + rest))


def test_agreement_counts_wrong_and_missed_notes_alike():
    truth = np.zeros((3, 88), bool)
    truth[0, [40, 44]] = True
    played = np.zeros((2, 3, 88), bool)
    played[0, 0, [40, 50]] = True  # one right, one wrong, one missed
    played[1, 0, [40, 44]] = True  # all right
    played[:, 1, 40] = True  # wrong: silence was written
    assert agreement(played, truth).tolist() == pytest.approx([2 * 3 / (4 + 4), 0, 1])


class Echo:
    """Plays the key above each one it was told of; what it plays can be worked out by hand."""

    def __init__(self):
        self.config, self.head = ModelConfig(), self

    def eval(self):
        return self

    def start(self, init="zero", *, prime=None, style=None, batch_size=1, generator=None):
        frame = torch.zeros(batch_size, 88)
        frame[:, 0] = 1
        return frame, None

    def step(self, frame, state, style=None):
        return frame, state

    def sample(self, context, how, generator=None):
        return context.roll(1, -1)


def test_with_a_teacher_each_frame_follows_from_the_truth_and_alone_from_its_own():
    truth = np.zeros((4, 88), np.uint8)
    truth[:, 50] = 1
    told = predictions(Echo(), truth, Sampling())
    alone = predictions(Echo(), truth, Sampling(), told=2, draws=3)
    assert told.shape == (1, 4, 88) and alone.shape == (3, 4, 88)
    assert told[0].argmax(1).tolist() == [1, 51, 51, 51]
    assert alone[2].argmax(1).tolist() == [1, 51, 51, 52]


@pytest.mark.parametrize("head", ["keys", "chord", "melody"])
@pytest.mark.parametrize("styles", [1, 2])
def test_every_head_says_what_comes_next(head, styles):
    torch.manual_seed(0)
    config = ModelConfig(
        hidden_size=16, classifier_size=16, num_layers=1, decoder_n_layers=1, seq_len=4, head=head, n_styles=styles
    )
    model, heard = make(config), np.zeros((4, 88), np.uint8)
    heard[:, 40] = 1
    drawn = next_frame(model, heard, Sampling(), draws=50, seed=1)
    assert sum(share for _, share in drawn.chords) == pytest.approx(1)
    shares = [share for _, share in drawn.chords]
    assert shares == sorted(shares, reverse=True)
    for key in range(88):  # the two ways to count agree
        inside = sum(share for chord, share in drawn.chords if key + 21 in chord)
        assert drawn.keys[key] == pytest.approx(inside)
    assert predictions(model, heard, Sampling(), told=2, draws=2).shape == (2, 4, 88)


def test_a_lower_temperature_leaves_fewer_chords():
    torch.manual_seed(0)
    config = ModelConfig(hidden_size=16, classifier_size=16, num_layers=1, decoder_n_layers=1, seq_len=4, head="chord")
    model, heard = make(config), np.zeros((4, 88), np.uint8)
    model.head.start_at(torch.full((88,), 0.01))  # mostly silent, as music is
    bold, safe = (len(next_frame(model, heard, Sampling(temperature=t), draws=60).chords) for t in (1.0, 0.1))
    assert safe < bold


def test_the_pictures_have_units_on_their_axes():
    roll, (_, axes) = put_on_grid(TUNE, "1/8").roll, new_figure(6, 6, 7, 1)
    sounding, half = roll.sounding, np.full(len(roll), 0.5)
    plot_frames(TUNE, roll, 2, axes[0])
    plot_all_keys(roll, 2, axes[1])
    plot_constant(0.05, 0.2, axes[2])
    plot_focal_at("focal", 0.75, 2, 0.9, axes[3])
    plot_beside_truth(sounding, np.roll(sounding, 1, 1), 0.5, axes[4], "alone", 2)
    plot_agreement({"with": half, "without": half}, 0.5, axes[5], 2)
    plot_choice(sounding.mean(0), sounding.mean(0), axes[6])
    assert [ax.get_xlabel() for ax in axes] == [
        "time (beats)", "time (beats)", "said of every key", "probability the model gives to the truth",
        "time (beats)", "time (beats)", "key",
    ]  # fmt: skip
    outlines = [patch for patch in axes[0].patches if not patch.get_fill()]
    assert len(outlines) == 4  # the notes as they are written
    assert axes[2].get_legend_handles_labels()[1] == ["the best: 5.0%", "yours: 20.0%"]
