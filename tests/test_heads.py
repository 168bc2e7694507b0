"""Heads: exact likelihood of whole frames, drawing that follows it, and what each of the options turns."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import one_hot

from deepmusician.errors import OptionError
from deepmusician.losses import KINDS
from deepmusician.models.config import ModelConfig
from deepmusician.models.contract import Sampling
from deepmusician.models.heads import HEADS, FrameHead, IndependentKeys, nucleus, sharpen
from deepmusician.models.heads.strokes import Strokes, level_nll, level_of, velocity_of
from deepmusician.models.streams import loops
from deepmusician.roll import PLANES

CHORDS = ("chord", "axis", "intervals")
WIDTH = 3  # numbers a backbone gives for each key
PLANES_MELODY = ("sounding", "onset")


def config(head="keys", planes="sounding", loss="bce", **options):
    given = {"classifier_size": 24, "classifier_dropout": 0.0, "dropout": 0.0, "skip": planes != "sounding"}
    options = given | {"backbone": "biaxial"} | options
    return ModelConfig(head=head, planes=planes, loss=loss, **options)


def size_of(c, n_keys):
    return n_keys * (WIDTH + c.n_planes * c.skip)


def head_of(c, n_keys=5):
    """A head far from its start, so that everything depends on everything."""
    torch.manual_seed(0)
    head = FrameHead(size_of(c, n_keys), c, n_keys).eval()
    for parameter in head.parameters():
        parameter.data.mul_(3)
    return head


def part_of(head, loss="bce", n_keys=5, **options):
    return head_of(config(head, loss=loss, **options), n_keys).part


def contexts(c, n_keys=5, *shape, last=None):
    """Random contexts; with `skip` the frame before, silence unless told, stands at their end."""
    context = torch.randn(*shape, size_of(c, n_keys), generator=torch.Generator().manual_seed(1))
    if c.skip:
        width = n_keys * c.n_planes
        context[..., -width:] = torch.zeros(width) if last is None else torch.as_tensor(last).float().flatten()
    return context


def all_chords(n_keys):
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=n_keys)))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def exact(part, context, frames):
    """The probability of each frame [F, W] after one context [size]."""
    return torch.exp(-part.nll(context.expand(len(frames), -1), frames)).detach()


def share(drawn, frames):
    """How often each of `frames` [F, W] was drawn."""
    return (drawn[:, None] == frames).all(-1).float().mean(0)


# whole chords


@pytest.mark.parametrize("loss", KINDS)
@pytest.mark.parametrize("head", ["keys", *CHORDS])
def test_the_likelihoods_of_all_chords_sum_to_one(head, loss):
    part, frames = part_of(head, loss, 6), all_chords(6)
    for context in contexts(config(), 6, 3):
        assert exact(part, context, frames).sum().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("head", CHORDS)
def test_a_key_depends_on_all_keys_below_it_and_on_no_other(head):
    part, frames = part_of(head), all_chords(5)
    for context in contexts(config(), 5, 4):
        for k in range(5):
            flipped = frames.clone()
            flipped[:, k] = 1 - flipped[:, k]
            rows = context.expand(len(frames), -1)
            change = (part.conditionals(rows, frames) - part.conditionals(rows, flipped)).abs().amax(0)
            assert (change[: k + 1] == 0).all() and (change[k + 1 :] > 1e-5).all()


def test_a_masked_unit_is_of_use_to_the_lowest_key_too():
    """The first units see the context alone, so even the lowest key is no linear function of it."""
    part = part_of("chord")
    a, b = contexts(config(), 5, 2)
    silence = torch.zeros(1, 5)
    low = [part.conditionals(x[None], silence)[0, 0] for x in (a, b, (a + b) / 2)]
    assert abs(low[2] - (low[0] + low[1]) / 2) > 1e-3


@pytest.mark.parametrize("loss", ["bce", "focal"])
@pytest.mark.parametrize("head", CHORDS)
@pytest.mark.parametrize("way", ["_walk", "_leap"])
def test_what_drawing_computes_key_by_key_is_what_training_computes_at_once(head, way, loss):
    part, context = part_of(head, loss, 9), contexts(config(), 9, 40)
    with torch.no_grad():
        middle = part.conditionals(context, torch.full((40, 9), 0.5)).mean()
        noise = middle + torch.randn(40, 9, generator=seeded(2))
        chords, logits = getattr(part, way)(context, lambda rows, keys, logits: logits > noise[rows][:, keys])
        torch.testing.assert_close(logits, part.conditionals(context, chords), atol=1e-5, rtol=0)
    assert torch.equal(chords.bool(), logits > noise)
    assert 0.1 < chords.mean() < 0.9


@pytest.mark.parametrize("head", CHORDS)
def test_drawing_follows_weights_that_have_changed_since(head):
    part, context = part_of(head, "bce", 9), contexts(config(), 9, 8)
    noise = torch.randn(8, 9, generator=seeded(2))
    with torch.no_grad():
        for _ in range(2):
            chords, logits = part._leap(context, lambda rows, keys, logits: logits > noise[rows][:, keys])
            torch.testing.assert_close(logits, part.conditionals(context, chords), atol=1e-5, rtol=0)
            for weight in part.parameters():
                weight.add_(0.1)


@pytest.mark.parametrize("loss", ["bce", "focal", "focal+"])
@pytest.mark.parametrize(
    "how",
    [Sampling(), Sampling("sample", 0.7, 0.8), Sampling("sample", 1.3, fullness=1.5)],
    ids=["as is", "safe", "bold"],
)
@pytest.mark.parametrize("scale", [False, True])
def test_compiled_intervals_draw_the_chords_that_modules_draw(loss, how, scale, monkeypatch):
    loops() or pytest.skip("numba is not installed")
    part = part_of("intervals", loss, 30, alpha=0.7).eval()
    how = replace(how, allowed=torch.arange(30) % 3 != 1) if scale else how
    asked = []
    monkeypatch.setattr(type(part), "draw_compiled", _counted(type(part).draw_compiled, asked))
    for seed, pieces in enumerate((1, 2, 3, 8)):
        context = contexts(config(), 30, pieces)
        part.compiled_rows = 128
        compiled, p = part.sample(context, how, seeded(seed)), part.probability(context, seeded(seed))
        part.compiled_rows = 0
        torch.testing.assert_close(p, part.probability(context, seeded(seed)), atol=1e-5, rtol=0)
        assert torch.equal(compiled, part.sample(context, how, seeded(seed))) and compiled.any()
    assert len(asked) == 8


def _counted(call, asked):
    return lambda *given: asked.append(given) or call(*given)


def test_a_compiled_chord_is_the_same_to_the_bit_however_many_are_drawn():
    loops() or pytest.skip("numba is not installed")
    part = part_of("intervals", n_keys=30).eval()
    heard = contexts(config(), 30, 1)
    noise = torch.randn(5, 30, generator=seeded(2))
    with torch.no_grad():
        drawn = [part.draw_compiled(loops(), heard, noise[:n].contiguous(), None) for n in (1, 2, 5)]
    assert all(torch.equal(part[0], alone[0]) for more in drawn[1:] for part, alone in zip(more, drawn[0], strict=True))


@pytest.mark.parametrize("rows", [0, 10**6], ids=["walk", "leap"])
@pytest.mark.parametrize("loss", ["bce", "focal+"])
@pytest.mark.parametrize("head", CHORDS)
def test_chords_are_drawn_as_often_as_they_are_likely(head, loss, rows):
    part, frames = part_of(head, loss, 4), all_chords(4)
    part.leap_rows = rows
    context = contexts(config(), 4)
    drawn = part.sample(context.expand(20_000, -1), Sampling(), seeded())
    torch.testing.assert_close(share(drawn, frames), exact(part, context, frames), atol=0.015, rtol=0)


def test_nothing_is_dropped_out_of_a_chord_that_is_drawn_in_training():
    """Scheduled sampling draws while the head trains; the chord must still fit its own likelihood."""
    part = part_of("chord", classifier_dropout=0.9)
    context = contexts(config(), 5, 8)
    calm = part.sample(context, Sampling(), seeded())
    part.train()
    assert torch.equal(part.sample(context, Sampling(), seeded()), calm)
    assert not torch.equal(part.conditionals(context, calm), part.conditionals(context, calm))


@pytest.mark.parametrize("head", CHORDS)
def test_probability_is_about_the_marginal_of_each_key(head):
    part, frames = part_of(head, n_keys=4), all_chords(4)
    context = contexts(config(), 4)
    marginals = exact(part, context, frames) @ frames
    few = part.probability(context.expand(2_000, -1), seeded())
    torch.testing.assert_close(few.mean(0), marginals, atol=0.01, rtol=0)
    assert few[:, 1:].std(0).max() > 1e-3  # each an estimate of its own


def learn(head, n_keys=4):
    """Train on frames in which keys 1 and 3 sound together in half of the frames; nats a frame afterwards."""
    torch.manual_seed(0)
    c = config(head, classifier_size=16)
    part = HEADS[head](size_of(c, n_keys), c, n_keys)
    part.start_at(torch.tensor([0.0, 0.5, 0.0, 0.5]))
    frames = torch.tensor([[0.0, 0, 0, 0], [0, 1, 0, 1]])
    context = contexts(c, n_keys).expand(2, -1)
    optimizer = torch.optim.Adam(part.parameters(), 0.02)
    for _ in range(200):
        optimizer.zero_grad()
        part.loss(context, frames).mean().backward()
        optimizer.step()
    return part, context, part.nll(context, frames).mean().item()


@pytest.mark.parametrize("head", CHORDS)
def test_a_chord_learns_that_two_keys_always_sound_together(head):
    part, context, nats = learn(head)
    assert nats == pytest.approx(math.log(2), abs=0.03)
    drawn = part.sample(context[0].expand(500, -1), Sampling(), seeded())
    assert (drawn[:, 1] == drawn[:, 3]).float().mean() > 0.97


def test_independent_keys_cannot_learn_that_two_keys_always_sound_together():
    part, context, nats = learn("keys")
    assert nats == pytest.approx(2 * math.log(2), abs=0.03)
    drawn = part.sample(context[0].expand(500, -1), Sampling(), seeded())
    assert 0.4 < (drawn[:, 1] == drawn[:, 3]).float().mean() < 0.6


@pytest.mark.parametrize("loss", KINDS)
@pytest.mark.parametrize("head", ["keys", *CHORDS])
def test_an_untrained_part_outputs_the_keys_own_frequencies(head, loss):
    torch.manual_seed(0)
    c = config(head, loss=loss)
    part = HEADS[head](88 * WIDTH, c)
    frequencies = torch.linspace(0.01, 0.4, 88)
    part.start_at(frequencies)
    frames = (torch.rand(300, 88, generator=seeded()) < frequencies).float()
    entropy = -(frequencies * frequencies.log() + (1 - frequencies) * (1 - frequencies).log()).sum()
    assert part.nll(torch.zeros(300, 88 * WIDTH), frames).mean().item() == pytest.approx(entropy.item(), rel=0.03)


def test_a_low_temperature_draws_the_likelier_chords_and_a_high_one_the_rarer():
    part, frames = part_of("chord", n_keys=4), all_chords(4)
    context = contexts(config(), 4)
    p = exact(part, context, frames)

    def mean_log_p(**how):
        return (share(part.sample(context.expand(3_000, -1), Sampling(**how), seeded()), frames) * p.log()).sum()

    safe, plain, bold = (mean_log_p(temperature=t) for t in (0.3, 1.0, 3.0))
    assert safe > plain + 0.2 and plain > bold + 0.2
    sharpest = share(part.sample(context.expand(3_000, -1), Sampling(temperature=0.02), seeded()), frames)
    assert sharpest.argmax() == p.argmax() and sharpest.max() > 0.95


@pytest.mark.parametrize("fullness", [1.0, 4.0])
def test_a_temperature_follows_the_power_of_the_likelihood(fullness):
    """With two keys 16 candidates hold every chord, so that p^(1/T) is reached nearly exactly."""
    part, frames = part_of("chord", n_keys=2), all_chords(2)
    context = contexts(config(), 2)
    how = Sampling(temperature=0.7, fullness=fullness)
    logits = part.conditionals(context.expand(4, -1), frames) + math.log(fullness)
    p = torch.where(frames > 0, torch.sigmoid(logits), torch.sigmoid(-logits)).prod(-1)
    wanted = torch.softmax(p.log() / 0.7, 0)
    drawn = part.sample(context.expand(10_000, -1), how, seeded())
    torch.testing.assert_close(share(drawn, frames), wanted, atol=0.03, rtol=0)


def test_a_small_top_p_leaves_only_the_likeliest_chords():
    part, frames = part_of("chord", n_keys=4), all_chords(4)
    context = contexts(config(), 4)
    drawn = {
        q: share(part.sample(context.expand(3_000, -1), Sampling(top_p=q), seeded()), frames) for q in (1, 0.5, 0.01)
    }
    p = exact(part, context, frames)
    assert (drawn[0.01] * p.log()).sum() > (drawn[0.5] * p.log()).sum() > (drawn[1] * p.log()).sum()
    assert drawn[0.01].argmax() == p.argmax()


@pytest.mark.parametrize("temperature", [1.0, 0.8])
@pytest.mark.parametrize("head", CHORDS)
def test_fullness_makes_chords_fuller_or_emptier(head, temperature):
    part = part_of(head)
    context = contexts(config(), 5, 400)
    empty, plain, full = (
        part.sample(context, Sampling(temperature=temperature, fullness=f), seeded()).mean() for f in (0.25, 1.0, 4.0)
    )
    assert empty + 0.1 < plain < full - 0.1


def test_fullness_multiplies_the_odds_of_each_key_given_those_below():
    part = part_of("chord", "focal", 4)
    context = contexts(config(), 4)
    low = exact(part, context, all_chords(4)) @ all_chords(4)[:, 0]
    drawn = part.sample(context.expand(20_000, -1), Sampling(fullness=3.0), seeded())[:, 0].mean()
    assert drawn.item() == pytest.approx((3 * low / (3 * low + 1 - low)).item(), abs=0.015)


@pytest.mark.parametrize("rows", [0, 10**6], ids=["walk", "leap"])
@pytest.mark.parametrize("head", CHORDS)
def test_by_threshold_a_key_sounds_where_its_output_reaches_it_given_the_keys_below(head, rows):
    part, context = part_of(head), contexts(config(), 5, 30)
    part.leap_rows = rows
    counts = []
    for threshold in (0.0, 0.2, 0.5, 0.8, 1.0):
        chord = part.sample(context, Sampling("threshold", threshold=threshold))
        outputs = torch.sigmoid(part.conditionals(context, chord))
        assert torch.equal(chord.bool(), outputs >= threshold)
        counts.append(chord.sum().item())
    assert counts[0] == 150 and counts[-1] == 0 and counts[1] > counts[3]


@pytest.mark.parametrize("head", CHORDS)
def test_hidden_units_and_dropout_are_options_of_a_chord(head):
    few, many = (part_of(head, classifier_size=n) for n in (8, 16))
    assert sum(p.numel() for p in many.parameters()) > sum(p.numel() for p in few.parameters())
    part = part_of(head, classifier_dropout=0.5).train()
    context, frames = contexts(config(), 5, 32), all_chords(5)
    assert not torch.equal(part.nll(context, frames), part.nll(context, frames))


def test_the_note_axis_sees_of_a_context_what_belongs_to_its_key_and_those_below():
    c = config("axis", "onset")
    part, context, silence = head_of(c).part, contexts(c, 5, 1), torch.zeros(1, 5)
    before = part.conditionals(context, silence)
    own, last = context.clone(), context.clone()
    own[:, 2 * WIDTH] += 1  # the backbone's first number for key 2
    last[:, 5 * WIDTH + 5 + 2] = 1  # key 2 was struck in the frame before
    for changed in (own, last):
        change = (part.conditionals(changed, silence) - before).abs()[0]
        assert (change[:2] == 0).all() and (change[2:] > 0).all()


@pytest.mark.parametrize(("backbone", "size"), [("gru", 88 * WIDTH), ("biaxial", 88 * WIDTH + 1)])
@pytest.mark.parametrize("head", ["axis", "intervals"])
def test_a_head_that_goes_from_key_to_key_wants_to_know_of_each(head, backbone, size):
    with pytest.raises(OptionError, match=f"head {head} wants .* each of the 88 keys.*choose backbone biaxial"):
        FrameHead(size, config(head, backbone=backbone))


# melodies


def melody_frames(n_keys, planes, held):
    """Every frame a melody can play after one in which key `held` sounded, or none: [classes, planes · K]."""
    strikes = torch.cat([torch.eye(n_keys)] * (1 + (planes == "onset")), 1)
    frames = [strikes, torch.zeros(1, strikes.shape[1])]
    if planes == "onset" and held is not None:
        frames.append(torch.cat([one_hot(torch.tensor([held]), n_keys).float(), torch.zeros(1, n_keys)], 1))
    return torch.cat(frames)


def after(c, held, n_keys=4, *shape):
    last = torch.zeros(c.n_planes, n_keys)
    if held is not None:
        last[:, held] = 1
    return contexts(c, n_keys, *shape, last=last)


@pytest.mark.parametrize("loss", KINDS)
@pytest.mark.parametrize("planes", PLANES_MELODY)
@pytest.mark.parametrize("held", [None, 2])
def test_the_likelihoods_of_strikes_hold_and_rest_sum_to_one(planes, held, loss):
    c = config("melody", planes, loss, gamma=1.5, alpha=0.8)
    total = exact(head_of(c, 4).part, after(c, held), melody_frames(4, planes, held)).sum()
    assert total.item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("kind", "strike", "rest"),
    [
        ("bce", -math.log(0.8), -math.log(0.2)),
        ("focal", -0.7 * 0.2**2 * math.log(0.8), -0.3 * 0.8**2 * math.log(0.2)),
        ("focal+", -0.7 * 0.2**2 * math.log(0.8), -0.3 * math.log(0.2)),
    ],
)
def test_loss_of_a_strike_predicted_at_80_percent_and_a_rest_at_20(kind, strike, rest):
    c = config("melody", loss=kind, alpha=0.7, gamma=2.0)
    part = head_of(c, 1).part
    part.net[-1].weight.data.zero_()
    part.net[-1].bias.data.copy_(torch.tensor([0.8, 0.2]).log())
    loss = part.loss(contexts(c, 1).expand(2, -1), torch.tensor([[1.0], [0.0]]))
    assert loss.tolist() == pytest.approx([strike, rest], rel=1e-5)


@pytest.mark.parametrize("alpha", [0.5, 0.8])
@pytest.mark.parametrize("gamma", [0.5, 2.0, 4.0])
@pytest.mark.parametrize("loss", KINDS)
def test_a_melody_trained_by_any_loss_is_read_as_the_truth(loss, gamma, alpha):
    """Minimise the expected loss over a known distribution; the honest likelihood must give it back."""
    c = config("melody", "onset", loss, alpha=alpha, gamma=gamma)
    part = head_of(c, 3).part
    context, frames = after(c, 1, 3), melody_frames(3, "onset", 1)
    truth = torch.tensor([0.3, 0.05, 0.1, 0.15, 0.4])
    part.net[-1].weight.data.zero_()
    part.net[-1].bias.data.zero_()
    optimizer = torch.optim.LBFGS([part.net[-1].bias], max_iter=200, line_search_fn="strong_wolfe")

    def expected():
        optimizer.zero_grad()
        loss = (truth * part.loss(context.expand(5, -1), frames)).sum()
        loss.backward()
        return loss

    optimizer.step(expected)
    torch.testing.assert_close(exact(part, context, frames), truth, atol=3e-3, rtol=0)


@pytest.mark.parametrize("loss", KINDS)
def test_loss_and_gradient_of_a_melody_stay_finite_for_any_logit(loss):
    c = config("melody", "onset", loss, gamma=0.5)
    part, frames = head_of(c, 3).part, melody_frames(3, "onset", None)
    part.net[-1].weight.data.zero_()
    for size in (1.0, 50.0, 1e4):
        part.net[-1].bias.data.copy_(size * torch.tensor([1.0, -1, 0, 0, 1]))
        part.zero_grad()
        both = part.losses(after(c, None, 3).expand(len(frames), -1), frames)
        sum(both).sum().backward()
        assert all(x.isfinite().all() for x in (*both, part.net[-1].bias.grad))


@pytest.mark.parametrize("loss", KINDS)
def test_after_silence_nothing_can_be_held(loss):
    c = config("melody", "onset", loss)
    part = head_of(c, 4).part
    part.net[-1].bias.data[part.hold] = 20.0
    held = part.sample(after(c, 2, 4, 200), Sampling(), seeded())
    silent = part.sample(after(c, None, 4, 200), Sampling(), seeded())
    assert (held[:, 2] == 1).all() and (held[:, 4:] == 0).all()
    assert torch.equal(silent[:, :4], silent[:, 4:])


def test_a_key_out_of_silence_is_a_strike_though_the_frame_forgot_it():
    c = config("melody", "onset")
    part, context = head_of(c, 4).part, after(c, 2)
    new, again, held = torch.zeros(3, 8)
    new[1], again[[2, 6]], held[2] = 1, 1, 1
    assert part.classes(context.expand(3, -1), torch.stack([new, again, held])).tolist() == [1, 2, part.hold]


def test_after_a_chord_its_highest_key_is_held():
    """A melody may go on from music of several voices."""
    c = config("melody", "onset")
    part = head_of(c, 4).part
    part.net[-1].bias.data[part.hold] = 50.0
    context = contexts(c, 4, last=[[1, 0, 1, 0], [0, 0, 0, 0]])
    assert part.sample(context, Sampling(), seeded()).tolist() == [0, 0, 1, 0, 0, 0, 0, 0]
    low, high = melody_frames(4, "onset", 0)[-1], melody_frames(4, "onset", 2)[-1]
    assert part.classes(context.expand(2, -1), torch.stack([low, high])).tolist() == [0, part.hold]


def test_a_melody_refuses_two_keys_at_once():
    c = config("melody")
    with pytest.raises(OptionError, match="plays one key at a time, got a frame with 2; use voices=melody"):
        head_of(c).losses(contexts(c, 5, 1), torch.tensor([[1.0, 0, 1, 0, 0]]))


@pytest.mark.parametrize("head", ["melody", "chord"])
def test_who_must_know_the_frame_before_asks_for_skip(head):
    with pytest.raises(OptionError, match="must know the frame before, but skip is off; turn skip on"):
        FrameHead(16, config(head, "onset", skip=False))


@pytest.mark.parametrize("loss", KINDS)
@pytest.mark.parametrize("planes", PLANES_MELODY)
def test_a_melody_is_drawn_as_often_as_it_is_likely(planes, loss):
    c = config("melody", planes, loss)
    part, context, frames = head_of(c, 4).part, after(c, 1), melody_frames(4, planes, 1)
    drawn = part.sample(context.expand(20_000, -1), Sampling(), seeded())
    torch.testing.assert_close(share(drawn, frames), exact(part, context, frames), atol=0.015, rtol=0)


def test_temperature_and_top_p_of_a_melody_are_those_of_any_categorical():
    c = config("melody", "onset", "focal")
    part, context, frames = head_of(c, 4).part, after(c, 1), melody_frames(4, "onset", 1)
    p = exact(part, context, frames)
    rows = context.expand(20_000, -1)
    warm = share(part.sample(rows, Sampling(temperature=2.0), seeded()), frames)
    torch.testing.assert_close(warm, torch.softmax(p.log() / 2, 0), atol=0.015, rtol=0)
    cut = share(part.sample(rows, Sampling(top_p=0.6), seeded()), frames)
    kept = p * nucleus(p, 0.6)
    assert 0 < (kept > 0).sum() < len(p)
    torch.testing.assert_close(cut, kept / kept.sum(), atol=0.015, rtol=0)


def test_fullness_multiplies_a_melodys_odds_of_sounding_against_rest():
    c = config("melody", "onset")
    part, context = head_of(c, 4).part, after(c, 1)
    part.net[-1].weight.data.zero_()
    rest = exact(part, context, torch.zeros(1, 8)).item()
    assert 0.1 < rest < 0.9
    drawn = part.sample(context.expand(20_000, -1), Sampling(fullness=3.0), seeded())
    assert (drawn.sum(-1) == 0).float().mean().item() == pytest.approx(rest / (rest + 3 * (1 - rest)), abs=0.015)


def test_by_threshold_a_melody_plays_its_likeliest_key_or_rests():
    c = config("melody", "onset")
    part, context = head_of(c, 4).part, after(c, 1)
    part.net[-1].weight.data.zero_()
    part.net[-1].bias.data.copy_(torch.tensor([0.1, 0.05, 0.3, 0.05, 0.2, 0.3]).log())  # ..., rest, hold
    assert part.probability(context).tolist() == pytest.approx([0.1, 0.35, 0.3, 0.05], abs=1e-5)
    held, silent = (part.sample(context, Sampling("threshold", threshold=t)) for t in (0.34, 0.36))
    assert held.tolist() == [0, 1, 0, 0, 0, 0, 0, 0] and silent.sum() == 0
    part.net[-1].bias.data[1] = 5.0
    assert part.sample(context, Sampling("threshold")).tolist() == [0, 1, 0, 0, 0, 1, 0, 0]


@pytest.mark.parametrize("loss", KINDS)
@pytest.mark.parametrize("gamma", [0.0, 2.0, 5.0])
def test_an_untrained_melody_outputs_the_keys_own_frequencies(loss, gamma):
    c = config("melody", loss=loss, gamma=gamma)
    torch.manual_seed(0)
    part = HEADS["melody"](20, c, 4)
    part.start_at(torch.tensor([0.05, 0.2, 0.1, 0.25]))
    p = exact(part, torch.zeros(20), melody_frames(4, "sounding", None))
    torch.testing.assert_close(p, torch.tensor([0.05, 0.2, 0.1, 0.25, 0.4]), atol=0.02, rtol=0.1)


# strokes


def frame_of(n_keys, planes, **keys):
    """A frame [planes · K]: each key as (onset, velocity)."""
    frame = torch.zeros(PLANES.index(planes) + 1, n_keys)
    for name, stroke in keys.items():
        frame[:, int(name[1:])] = torch.tensor([1.0, stroke[0], stroke[1] / 127][: len(frame)])
    return frame.flatten()


@pytest.mark.parametrize("head", ["keys", *CHORDS])
def test_the_likelihoods_of_all_frames_with_strokes_and_velocities_sum_to_one(head):
    """Two keys, the first of which sounded before at velocity 50."""
    c = config(head, "velocity")
    last = frame_of(2, "velocity", k0=(1, 50))
    struck = [(1, 4 * level) for level in range(32)]
    frames = [
        frame_of(2, "velocity", **{f"k{k}": s for k, s in enumerate(strokes) if s})
        for strokes in itertools.product([None, (0, 50), *struck], [None, *struck])
    ]
    total = exact(head_of(c, 2), contexts(c, 2, last=last), torch.stack(frames)).sum()
    assert len(frames) == 34 * 33 and total.item() == pytest.approx(1, abs=1e-4)


def test_the_likelihoods_of_all_frames_of_a_melody_with_velocities_sum_to_one():
    """The melody itself says what is struck; the velocities alone are left to the strokes."""
    c = config("melody", "velocity")
    struck = [frame_of(2, "velocity", **{f"k{k}": (1, 4 * level)}) for k in (0, 1) for level in range(32)]
    frames = [*struck, frame_of(2, "velocity", k0=(0, 50)), torch.zeros(6)]
    head, context = head_of(c, 2), contexts(c, 2, last=frame_of(2, "velocity", k0=(1, 50)))
    p = exact(head, context, torch.stack(frames))
    assert p.sum().item() == pytest.approx(1, abs=1e-5) and p[-2] > 0.01


def test_the_onset_of_a_key_out_of_silence_costs_nothing_and_that_of_a_sounding_key_does():
    c = config("keys", "onset")
    head = head_of(c)
    context = contexts(c, last=frame_of(5, "onset", k1=(1, 0)))
    new, held, again = (frame_of(5, "onset", **k) for k in ({"k3": (1, 0)}, {"k1": (0, 0)}, {"k1": (1, 0)}))
    assert head.strokes.nll(context, new) == 0
    costs = head.strokes.nll(context.expand(2, -1), torch.stack([held, again]))
    assert (costs > 0).all() and torch.exp(-costs).sum().item() == pytest.approx(1, abs=1e-6)


def test_a_key_out_of_silence_is_struck_though_onsets_are_unlikely_or_forgotten():
    c = config("keys", "velocity")
    head = head_of(c)
    context = contexts(c, last=frame_of(5, "velocity", k1=(1, 50)))
    head.strokes.onset[-1].bias.data.fill_(-50.0)
    sounding = torch.tensor([0.0, 1, 0, 1, 0])
    frame = head.strokes.sample(context, sounding, Sampling("threshold")).view(3, 5)
    assert frame[1].tolist() == [0, 0, 0, 1, 0] and frame[2, 3] > 0
    known, forgotten = (frame_of(5, "velocity", k3=(onset, 80)) for onset in (1, 0))
    assert head.strokes.nll(context, known) == head.strokes.nll(context, forgotten) > 0


def test_a_held_key_keeps_its_velocity_at_no_cost():
    c = config("keys", "velocity")
    head = head_of(c)
    context = contexts(c, last=frame_of(5, "velocity", k1=(1, 51), k2=(0, 99)))
    costs = {v: head.strokes.nll(context, frame_of(5, "velocity", k1=(0, v))) for v in (51, 99)}
    assert costs[51] == costs[99]
    head.strokes.onset[-1].bias.data.fill_(-50.0)  # no key is struck again
    sounding = torch.tensor([0.0, 1, 1, 0, 0])
    frame = head.strokes.sample(context, sounding, Sampling(), seeded()).view(3, 5)
    assert frame[1].sum() == 0 and (frame[2] * 127).tolist() == pytest.approx([0, 51, 99, 0, 0])


def test_onsets_and_velocities_are_drawn_as_often_as_they_are_likely():
    c = config("keys", "velocity")
    head = head_of(c, 2)
    context = contexts(c, 2, last=frame_of(2, "velocity", k0=(1, 50)))
    head.strokes.onset[-1].bias.data.zero_()
    sounding = torch.tensor([1.0, 0.0]).expand(20_000, -1)
    drawn = head.strokes.sample(context.expand(20_000, -1), sounding, Sampling(), seeded())
    frames = torch.stack([frame_of(2, "velocity", k0=s) for s in [(0, 50), *((1, 4 * i + 2) for i in range(32))]])
    p = torch.exp(-head.strokes.nll(context.expand(33, -1), frames)).detach()
    near = ((drawn[:, None] - frames).abs() < 1e-4).all(-1).float().mean(0)
    assert p.sum().item() == pytest.approx(1, abs=1e-5) and 0.1 < p[0] < 0.9
    torch.testing.assert_close(near, p, atol=0.015, rtol=0)


@pytest.mark.parametrize(("mean", "log_scale"), [(15.5, 1.0), (-3.0, 0.0), (31.4, 2.0), (20.2, -3.0)])
def test_the_32_levels_of_a_velocity_hold_the_whole_logistic(mean, log_scale):
    nats = level_nll(torch.full((32,), mean), torch.full((32,), log_scale), torch.arange(32.0))
    assert torch.exp(-nats).sum().item() == pytest.approx(1, abs=1e-5)
    edges = torch.sigmoid((torch.arange(31.0).double() + 0.5 - mean) / math.exp(log_scale))
    by_hand = torch.cat([edges, torch.ones(1)]) - torch.cat([torch.zeros(1), edges])
    torch.testing.assert_close(torch.exp(-nats).double(), by_hand, atol=1e-5, rtol=0)


def test_a_velocity_falls_into_its_level_and_a_level_plays_its_middle():
    velocity = torch.tensor([1.0, 3, 4, 80, 127])
    assert level_of(velocity / 127).tolist() == [0, 0, 1, 20, 31]
    levels = torch.arange(32.0)
    assert torch.equal(level_of(velocity_of(levels)), levels)
    assert velocity_of(torch.tensor(0.0)) * 127 == 2


def test_strokes_become_safer_with_temperature_top_p_and_threshold():
    c = config("keys", "velocity")
    head = head_of(c, 1)
    context = contexts(c, 1, last=frame_of(1, "velocity", k0=(1, 50))).expand(4_000, -1)
    for net in (head.strokes.onset, head.strokes.velocity):
        net[-1].weight.data.zero_()
    head.strokes.onset[-1].bias.data.fill_(math.log(0.7 / 0.3))
    head.strokes.velocity[-1].bias.data.zero_()

    def draw(**how):
        frame = head.strokes.sample(context, torch.ones(4_000, 1), Sampling(**how), seeded())
        return frame[:, 1].mean().item(), (frame[frame[:, 1] == 1][:, 2] * 127).std().item()

    onset, spread = draw()
    assert onset == pytest.approx(0.7, abs=0.03) and spread > 15
    safe, narrow = draw(temperature=0.3)
    assert safe == pytest.approx(0.7 ** (1 / 0.3) / (0.7 ** (1 / 0.3) + 0.3 ** (1 / 0.3)), abs=0.03)
    assert narrow < spread / 2
    certain, cut = draw(top_p=0.65)
    assert certain == 1 and cut < 0.75 * spread
    assert draw(top_p=0.75)[0] == pytest.approx(0.7, abs=0.03)
    assert draw(sampler="threshold") == (1, 0)


def test_strokes_learn_from_the_loss():
    """Accents on key 0, never struck again: the nats of what always happens go to zero."""
    torch.manual_seed(0)
    c = config("keys", "velocity")
    strokes = Strokes(size_of(c, 2), c, n_keys=2)
    frame = frame_of(2, "velocity", k0=(1, 110), k1=(0, 50))
    context = contexts(c, 2, last=frame_of(2, "velocity", k1=(1, 50)))
    optimizer = torch.optim.Adam(strokes.parameters(), 0.01)
    first = strokes.nll(context, frame).item()
    for _ in range(300):
        optimizer.zero_grad()
        strokes.nll(context, frame).backward()
        optimizer.step()
    assert first > 2 and strokes.nll(context, frame).item() < 0.05


# the head as a whole


@pytest.mark.parametrize("planes", PLANES)
@pytest.mark.parametrize("head", HEADS)
def test_every_head_goes_with_all_planes(head, planes):
    """What it draws is a frame of that shape which it can score, and its loss reaches every parameter."""
    c = config(head, planes, "focal", skip=True)
    torch.manual_seed(0)
    model = FrameHead(88 * (2 + c.n_planes), c)
    model.start_at(torch.full((88,), 0.01))
    context = torch.randn(3, 4, 88 * (2 + c.n_planes), generator=seeded())
    context[..., -88 * c.n_planes :] = frame_of(88, planes, k40=(1, 64))
    frame = model.sample(context, Sampling(), seeded(2))
    assert frame.shape == (3, 4, c.frame_size) and frame.dtype == torch.float32
    assert torch.equal(frame, model.sample(context, Sampling(), seeded(2)))
    assert not torch.equal(frame, model.sample(context, Sampling(), seeded(3)))
    sounding, *others = frame.split(88, -1)
    assert all((other <= sounding).all() for other in others)
    frame[..., :] = frame_of(88, planes, k40=(0, 64))
    frame[0] = frame_of(88, planes, k41=(1, 64))
    loss, nll = model.losses(context, frame)
    assert loss.shape == nll.shape == (3, 4) and loss.dtype == nll.dtype == torch.float32
    assert nll.isfinite().all()
    torch.testing.assert_close(loss, model.loss(context, frame))
    torch.testing.assert_close(nll, model.nll(context, frame))
    notes, velocities = model.key_nats(context, frame)
    assert notes.shape == velocities.shape == (3, 4, 88) and bool(velocities.any()) == (planes == "velocity")
    torch.testing.assert_close((notes + velocities).sum(-1), nll)
    p = model.probability(context, seeded())
    assert p.shape == (3, 4, 88) and (p >= 0).all() and (p <= 1).all()
    loss.sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("head", HEADS)
def test_likelihoods_are_never_in_half_precision(head):
    c = config(head)
    with torch.autocast("cpu", torch.bfloat16):
        both = head_of(c).losses(contexts(c, 5, 2), torch.eye(5)[:2])
        drawn = head_of(c).sample(contexts(c, 5, 2), Sampling(), seeded())
    assert {x.dtype for x in (*both, drawn)} == {torch.float32}


def test_an_unknown_head_is_refused_with_those_there_are():
    with pytest.raises(OptionError, match=r"head must be one of keys, chord, melody, axis.*, got 'magic'"):
        FrameHead(16, config("magic"))


# keys, each on its own


def keys_head(loss="bce"):
    return IndependentKeys(16, config(loss=loss), 4)


def test_the_default_head_is_the_originals_classifier():
    net = FrameHead(512, ModelConfig()).part.net
    assert [str(layer).split("(")[0] for layer in net] == ["Linear", "ReLU", "Dropout", "Linear"]
    assert net[0].weight.shape == (256, 512) and net[3].weight.shape == (88, 256) and net[2].p == 0.5


def test_threshold_plays_exactly_the_keys_above_it():
    logits = torch.logit(torch.tensor([0.1, 0.49, 0.5, 0.9]))
    assert keys_head("focal").draw(logits, Sampling("threshold", threshold=0.5)).tolist() == [0, 0, 1, 1]


def test_sampling_follows_the_probabilities():
    logits = torch.logit(torch.tensor([0.05, 0.5, 0.95])).expand(20_000, 3)
    drawn = keys_head().draw(logits, Sampling(), seeded()).mean(0)
    torch.testing.assert_close(drawn, torch.tensor([0.05, 0.5, 0.95]), atol=0.01, rtol=0)


@pytest.mark.parametrize(("temperature", "top_p"), [(0.2, 1.0), (2.0, 1.0), (1.0, 0.6), (0.5, 0.8)])
def test_neither_temperature_nor_top_p_changes_how_many_notes_are_expected(temperature, top_p):
    logits = torch.randn(50, 88, generator=seeded()) * 2 - 5
    expected = torch.sigmoid(logits).sum(-1)
    torch.testing.assert_close(sharpen(logits, temperature, top_p).sum(-1), expected, atol=1e-3, rtol=0)


def test_low_temperature_plays_the_likeliest_keys_and_a_high_one_levels_them():
    logits = torch.logit(torch.tensor([0.3, 0.5, 0.2]))
    assert sharpen(logits, 0.05, 1.0)[1] > 0.95
    assert sharpen(logits, 3.0, 1.0).max() - sharpen(logits, 3.0, 1.0).min() < 0.15
    assert sharpen(logits, 1.0, 1.0).tolist() == pytest.approx([0.3, 0.5, 0.2])


def test_fullness_multiplies_the_expected_notes():
    logits = torch.randn(50, 88, generator=seeded()) - 4
    expected = 1.5 * torch.sigmoid(logits).sum(-1)
    torch.testing.assert_close(sharpen(logits, fullness=1.5).sum(-1), expected, atol=1e-3, rtol=0)


def test_keys_outside_the_nucleus_never_sound():
    assert sharpen(torch.logit(torch.tensor([0.1, 0.5, 0.4])), 1.0, 0.6)[0] == 0


def test_top_p_keeps_the_fewest_keys_that_hold_the_share():
    assert nucleus(torch.tensor([0.1, 0.5, 0.4]), 0.6).tolist() == [False, True, True]
    assert nucleus(torch.tensor([0.1, 0.5, 0.4]), 0.45).tolist() == [False, True, False]
    assert nucleus(torch.tensor([0.1, 0.5, 0.4]), 1.0).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sampler": "beam"}, "sampler must be sample or threshold"),
        ({"temperature": 0}, "temperature must be above 0"),
        ({"top_p": 0}, "top_p must be above 0"),
        ({"fullness": 0}, "fullness must be above 0"),
    ],
)
def test_impossible_sampling_is_refused(values, message):
    with pytest.raises(OptionError, match=message):
        Sampling(**values)


# keys that may not sound


@pytest.mark.parametrize("how", [
    {}, {"temperature": 0.7, "top_p": 0.8, "fullness": 3.0}, {"sampler": "threshold", "threshold": 0.0},
], ids=["plain", "sharpened", "threshold"])  # fmt: skip
@pytest.mark.parametrize("rows", [0, 10**6], ids=["walk", "leap"])
@pytest.mark.parametrize("planes", PLANES)
@pytest.mark.parametrize("head", ["keys", *CHORDS])
def test_a_key_that_may_not_sound_never_does(head, planes, rows, how):
    c = config(head, planes)
    drawn = head_of(c)
    drawn.part.leap_rows = rows
    allowed = torch.tensor([True, False, True, False, True])
    context = contexts(c, 5, 200, last=torch.ones(5 * c.n_planes))  # it sounded before, too
    frames = drawn.sample(context, Sampling(**how, allowed=allowed), seeded()).unflatten(-1, (-1, 5))
    assert not frames[..., ~allowed].any()
    assert all(frames[:, 0, k].any() for k in (0, 2, 4))


@pytest.mark.parametrize("how", [{}, {"sampler": "threshold", "threshold": 0.0}], ids=["sample", "threshold"])
@pytest.mark.parametrize("planes", PLANES_MELODY)
def test_a_melody_neither_strikes_nor_holds_a_key_that_may_not_sound(planes, how):
    c = config("melody", planes, skip=True)
    head = head_of(c)
    allowed = torch.tensor([True, False, True, False, True])
    last = torch.zeros(c.n_planes, 5)
    last[0, 1] = 1
    frames = head.sample(contexts(c, 5, 300, last=last), Sampling(**how, allowed=allowed), seeded())
    assert not frames.unflatten(-1, (-1, 5))[..., ~allowed].any() and frames.any()


def test_among_the_keys_that_may_sound_all_stays_as_likely_as_it_was():
    logits = torch.tensor([[0.3, 2.0, -1.0, 0.5]])
    allowed = torch.tensor([True, False, True, True])
    p = sharpen(logits, allowed=allowed)
    torch.testing.assert_close(p, torch.sigmoid(logits) * allowed)
    sharper = sharpen(logits, 0.5, 1.0, 1.0, allowed)
    assert sharper.sum().item() == pytest.approx(p.sum().item(), abs=1e-4) and sharper[0, 1] == 0


def test_a_scale_without_any_key_is_refused():
    with pytest.raises(OptionError, match="at least one key"):
        Sampling(allowed=torch.zeros(5, dtype=torch.bool))
