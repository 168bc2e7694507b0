"""A committee of networks: the mean of its members' distributions, exactly; drawn from one of them at a time."""

import dataclasses

import pytest
import torch
from test_models import BIAXIAL, SMALL, batch_of, model_of

from deepmusician import checkpoint
from deepmusician.errors import OptionError
from deepmusician.models.committee import CommitteeHead
from deepmusician.models.contract import Sampling
from deepmusician.models.mirror import mirrored
from deepmusician.models.registry import build, make
from deepmusician.options import TrainOptions

THREE = dataclasses.replace(BIAXIAL, members=3)


def test_likelihood_is_that_of_the_mean_of_the_members():
    model = model_of(THREE)
    batch = batch_of(THREE, model)
    apart = torch.stack([member.nll(batch) for member in model.members])
    assert apart.std(0).max() > 1e-3  # they differ
    torch.testing.assert_close(model.nll(batch), -torch.exp(-apart).mean(0).log(), rtol=1e-5, atol=1e-5)


def test_each_member_learns_as_it_would_alone():
    model = model_of(dataclasses.replace(SMALL, members=2))
    batch = batch_of(SMALL, model)
    model(batch).backward()
    grads = [p.grad.clone() for p in model.members[0].parameters()]
    alone = model.members[0]
    alone.zero_grad()
    alone(batch).backward()
    for together, p in zip(grads, alone.parameters(), strict=True):
        torch.testing.assert_close(2 * together, p.grad, rtol=1e-4, atol=1e-6)


class Always:
    """A head that knows one frame only."""

    draws = False

    def __init__(self, value):
        self.value = value

    def sample(self, context, how, generator=None):
        return torch.full((*context.shape[:-1], 88), float(self.value))


def test_a_frame_is_drawn_from_one_member_picked_by_lot():
    head = CommitteeHead([Always(0), Always(1)])
    generator = torch.Generator().manual_seed(0)
    drawn = head.sample(torch.zeros(20, 100, 4), Sampling(), generator)
    assert drawn.shape == (20, 100, 88)
    assert (drawn.amin(-1) == drawn.amax(-1)).all()  # no frame is half one's and half the other's
    assert 0.46 < drawn.mean() < 0.54  # 2000 draws: four standard deviations are 0.045


def test_by_threshold_sounds_what_most_members_play():
    head = CommitteeHead([Always(0), Always(1), Always(1)])
    assert head.sample(torch.zeros(2, 6), Sampling("threshold")).eq(1).all()
    head = CommitteeHead([Always(0), Always(1), Always(0)])
    assert head.sample(torch.zeros(2, 6), Sampling("threshold")).eq(0).all()


def test_random_states_are_as_wide_as_was_measured_for_the_committee():
    model = model_of(dataclasses.replace(SMALL, members=2, hidden_size=64))
    model.state_std.fill_(2.0)
    _, state = model.start("random", batch_size=64, generator=torch.Generator().manual_seed(0))
    for own in state:
        layers = torch.cat([part.flatten() for layer in own.hidden for part in layer])
        assert 1.8 < layers.std() < 2.2


def test_a_checkpoint_brings_all_members_back(tmp_path):
    model = model_of(THREE)
    checkpoint.save(tmp_path / "three", model, {"options": {}, "data": {}})
    again, _ = checkpoint.load(tmp_path / "three")
    batch = batch_of(THREE, model)
    assert len(again.members) == 3
    assert torch.equal(again.nll(batch), model.nll(batch))


def test_cards_from_before_there_were_committees_are_read():
    card = make(SMALL).card()
    del card["members"]
    assert build(card).config == SMALL


@pytest.mark.parametrize(
    "parts", [{"attention": "dot"}, {"arrangement": "expression", "planes": "velocity", "skip": True}]
)
def test_what_a_committee_cannot_have_is_refused_in_a_sentence(parts):
    with pytest.raises(OptionError, match="set members to 1"):
        TrainOptions(members=2, **parts)
    with pytest.raises(OptionError, match="set members to 1"):
        dataclasses.replace(SMALL, members=2, **parts)


def test_every_second_member_reads_the_keyboard_from_the_top_down():
    model = model_of(dataclasses.replace(BIAXIAL, members=2))
    batch = batch_of(BIAXIAL, model)
    upside_down = dataclasses.replace(batch, source=mirrored(batch.source), target=mirrored(batch.target))
    straight, mirror = model.members
    torch.testing.assert_close(mirror.nll(batch), mirror.model.nll(upside_down))
    mirror.model.load_state_dict(straight.state_dict())
    assert not torch.allclose(mirror.nll(batch), straight.nll(batch), atol=1e-3)  # the other order, another view
    torch.testing.assert_close(mirror.nll(upside_down), straight.nll(batch))


def test_a_mirror_keeps_each_plane_in_its_place():
    frame = torch.zeros(2 * 88)
    frame[[0, 88 + 3]] = 1.0  # the lowest key sounds, another is struck
    assert mirrored(frame).nonzero()[:, 0].tolist() == [87, 88 + 84]
    assert torch.equal(mirrored(mirrored(frame)), frame)


def test_forbidden_keys_sound_behind_no_mirror():
    model = model_of(dataclasses.replace(SMALL, members=2))
    allowed = torch.arange(88) < 30
    context = torch.randn(50, 2 * 16, generator=torch.Generator().manual_seed(1))
    how = Sampling(fullness=20.0, allowed=allowed)
    drawn = model.head.sample(context, how, torch.Generator().manual_seed(0))
    assert drawn[:, :30].any(0).sum() > 20 and not drawn[:, 30:].any()


def test_the_nats_of_the_keys_add_up_to_the_frames():
    model = model_of(THREE)
    batch = batch_of(THREE, model)
    context = model.contexts(batch)
    keys, velocities = model.head.key_nats(context, batch.target)
    torch.testing.assert_close((keys + velocities).sum(-1), model.head.nll(context, batch.target), rtol=1e-4, atol=1e-4)
