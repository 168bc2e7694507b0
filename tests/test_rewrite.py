"""Rewriting: all outside the part is kept, what is new leads into what follows, and the same seed gives the same."""

import dataclasses

import numpy as np
import pytest
import torch
from conftest import scale_song

from deepmusician import checkpoint
from deepmusician.errors import OptionError
from deepmusician.generation import sampling
from deepmusician.midi import write_midi
from deepmusician.models.config import ModelConfig
from deepmusician.models.contract import Sampling
from deepmusician.models.registry import make
from deepmusician.models.rows import pick
from deepmusician.options import RewriteOptions
from deepmusician.rewrite import Gap, draw_anew, fill, rewrite
from deepmusician.scales import allowed_keys, parse_scale

SONG = scale_song(60, 16)
CARD = {"options": {"division": "1/8"}, "threshold": 0.5, "title": "t", "data": {}}
OPTIONS = RewriteOptions(candidates=4, seed=3, temperature=1.0, top_p=1.0)


def untrained(**parts):
    torch.manual_seed(0)
    model = make(ModelConfig(**{"seq_len": 8, "hidden_size": 16, "classifier_size": 16, "loss": "bce"} | parts))
    model.head.start_at(torch.full((88,), 0.07))
    model.head.part.net[-1].weight.data.mul_(80)  # far from the keys' frequencies, so that what was heard matters
    return model.eval()


def rows_outside(song, start, end):
    """Notes that do not sound between `start` and `end`."""
    stop = song.notes["onset"] + song.notes["duration"]
    return song.notes[(stop <= start) | (song.notes["onset"] >= end)].tolist()


@pytest.mark.parametrize("planes", ["sounding", "onset", "velocity"])
def test_all_outside_the_part_stays_as_it_was(planes):
    model = untrained(planes=planes, skip=True)
    card = {**CARD, "options": {"division": "1/8", "planes": planes}}
    written = rewrite((model, card), SONG, 4, 8, OPTIONS).song
    assert rows_outside(SONG, 4, 8) == [r for r in rows_outside(written, 4, 8) if r in rows_outside(SONG, 4, 8)]
    assert write_midi(written) != write_midi(SONG)
    for moment in np.arange(0.25, 16, 0.5):  # what sounds at each moment outside is what sounded there
        if not 4 <= moment < 8:
            assert sounding(written, moment) == sounding(SONG, moment), moment


def sounding(song, moment):
    notes = song.notes
    at = (notes["onset"] <= moment) & (moment < notes["onset"] + notes["duration"])
    return sorted(notes["pitch"][at].tolist())


def test_the_same_seed_writes_the_same_and_another_one_other_music():
    source = (untrained(), CARD)
    first, again = (rewrite(source, SONG, 4, 8, OPTIONS).song for _ in range(2))
    assert write_midi(first) == write_midi(again)
    assert write_midi(rewrite(source, SONG, 4, 8, dataclasses.replace(OPTIONS, seed=4)).song) != write_midi(first)


@pytest.mark.parametrize(
    "change", [{"temperature": 0.3}, {"top_p": 0.5}, {"fullness": 2.0}, {"scale": "C major"}, {"candidates": 1}]
)
def test_each_option_of_rewriting_gives_other_music(change):
    source = (untrained(), CARD)
    plain = write_midi(rewrite(source, SONG, 4, 8, OPTIONS).song)
    assert write_midi(rewrite(source, SONG, 4, 8, dataclasses.replace(OPTIONS, **change)).song) != plain


def test_a_style_is_asked_of_a_model_that_learnt_several():
    card = {**CARD, "data": {"styles": ["a", "b"]}}
    source = (untrained(n_styles=2), card)
    source[0].inputs.styles.weight.data.mul_(50)
    a, b = (rewrite(source, SONG, 4, 8, dataclasses.replace(OPTIONS, style=s)).roll.sounding for s in "ab")
    assert not (a == b).all()
    with pytest.raises(OptionError, match="learnt one style only"):
        rewrite((untrained(), CARD), SONG, 4, 8, dataclasses.replace(OPTIONS, style="a"))


def test_new_notes_keep_to_the_scale():
    roll = rewrite((untrained(), CARD), SONG, 4, 12, dataclasses.replace(OPTIONS, scale="E♭ minor")).roll
    assert roll.sounding.any() and not roll.sounding[:, ~allowed_keys("E♭ minor")].any()
    assert parse_scale("E♭ minor") != parse_scale("C major")


@pytest.mark.parametrize(("start", "end"), [(4, 4), (8, 4), (40, 44), (-1, 2)])
def test_a_part_that_is_not_in_the_song_is_refused(start, end):
    with pytest.raises(OptionError, match="must lie in the song's 16 beats"):
        rewrite((untrained(), CARD), SONG, start, end, OPTIONS)


@pytest.mark.parametrize(("start", "end"), [(0, 4), (12, 16), (0, 16), (14, 20)])
def test_the_beginning_the_end_and_the_whole_can_be_written_anew(start, end):
    written = rewrite((untrained(), CARD), SONG, start, end, OPTIONS)
    assert len(written.roll) == 2 * (end - start) and len(written.song)


def test_a_model_without_silences_rewrites_too():
    card = {**CARD, "options": {"division": "1/8", "remove_zeros": True}}
    assert len(rewrite((untrained(), card), SONG, 4, 8, OPTIONS).song)


class Coin:
    """In place of a model: each frame is key 0 or key 1 by the toss of a coin, and what follows costs WRONG nats more
    after key 1."""

    WRONG = 3.0

    class head:
        sample = staticmethod(lambda context, how, generator: one_hot_of(torch.rand(len(context), generator=generator)))
        nll = staticmethod(lambda contexts, frames: contexts[..., 0])

    def eval(self):
        return self

    def start(self, init, **_):
        return torch.zeros(1, 88), torch.zeros(1)

    def step(self, last, state, style):
        return last, state

    def read(self, frames, last, state, style):
        costs = torch.zeros(*frames.shape[:2], 1)
        costs[:, 0, 0] = self.WRONG * last[:, 1]
        return costs, frames[:, -1], state


def one_hot_of(toss):
    return torch.nn.functional.one_hot((toss < 0.5).long(), 88).float()


@pytest.mark.parametrize("check", [1, 4, 100])
def test_music_in_the_gap_is_as_likely_as_both_sides_make_it(check):
    """Half of all draws end well by themselves; of those weighed by what follows, 1 / (1 + e^-3) do, or 95 %."""
    gap = Gap(np.zeros((0, 88), np.uint8), np.zeros((2, 88), np.uint8), 4, check)

    def ends_well(candidates):
        fills = [fill(Coin(), gap, Sampling(), candidates, torch.Generator().manual_seed(s)) for s in range(300)]
        return np.mean([frames[-1, 0] for frames, _ in fills]), np.mean([nats for _, nats in fills])

    alone, weighed = ends_well(1), ends_well(24)
    assert alone == pytest.approx((0.5, Coin.WRONG / 4), abs=0.08)
    assert weighed == pytest.approx((1 / (1 + np.exp(-3)), Coin.WRONG / 2 * (1 - 1 / (1 + np.exp(-3)))), abs=0.03)


def test_what_follows_in_real_music_is_likelier_after_many_candidates_than_after_one():
    from deepmusician.midi import read_midi
    from deepmusician.rewrite import gap_in

    folder = next(path for path in checkpoint.bundled() if path.name == "bach-chorales")
    model, card = checkpoint.load(folder)
    songs = [read_midi(path) for path in sorted(folder.glob("samples/*.mid"))[:2]]
    gaps = [gap_in(song, card, 32, 40) for song in songs]  # a bar of quavers

    def nats(gap, candidates, seeds):
        return np.mean([fill(model, gap, sampling(RewriteOptions(), card), candidates, seeded(s))[1] for s in seeds])

    one, many = (np.mean([nats(gap, n, seeds) for gap in gaps]) for n, seeds in ((1, range(4)), (12, [0])))
    assert many < one - 0.1


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def test_candidates_are_drawn_anew_as_often_as_their_weight_says():
    weights = torch.tensor([0.5, 0.25, 0.125, 0.125]).log()
    drawn = draw_anew(weights.repeat_interleave(4) - np.log(4), torch.Generator().manual_seed(0))
    shares = torch.bincount(drawn // 4, minlength=4)
    assert shares.tolist() == [8, 4, 2, 2]  # systematic: exact where the numbers allow it


def test_with_nothing_that_follows_no_candidate_is_preferred():
    model = untrained()
    silence = np.zeros((0, 88), np.uint8)
    frames, nats = fill(model, Gap(silence, silence, 6, 2), Sampling(), 4, torch.Generator().manual_seed(0))
    assert frames.shape == (6, 88) and nats == 0


@pytest.mark.parametrize("parts", [
    {"backbone": "lstm", "arrangement": "decoder"}, {"backbone": "transformer", "arrangement": "decoder"},
    {"backbone": "tcn", "arrangement": "decoder"}, {"backbone": "biaxial", "arrangement": "decoder", "clock": True},
    {"attention": "dot"},
], ids=lambda p: "-".join(map(str, p.values())))  # fmt: skip
def test_the_rows_of_any_state_can_be_picked(parts):
    """Going on from picked rows is what those rows alone would have done."""
    model = untrained(**parts)
    frames = (torch.rand(3, 12, 88, generator=torch.Generator().manual_seed(1)) < 0.1).float()
    rows = torch.tensor([2, 0])
    with torch.inference_mode():
        last, state = model.start("guided", prime=frames)
        alone = model.step(*model.start("guided", prime=frames[rows]))[0]
        torch.testing.assert_close(model.step(last[rows], pick(state, rows))[0], alone, atol=1e-5, rtol=1e-4)
