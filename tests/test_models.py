"""The GRU encoder-decoder: what it is made of, that it streams as it trains, and what its options do."""

import dataclasses

import pytest
import torch

from deepmusician.errors import CheckpointError, OptionError
from deepmusician.losses import Loss
from deepmusician.models.contract import Batch, Sampling
from deepmusician.models.heads import IndependentKeys, nucleus, sharpen
from deepmusician.models.registry import build, new_model
from deepmusician.models.seq2seq import Seq2Seq, Seq2SeqConfig
from deepmusician.options import TrainOptions

SMALL = Seq2SeqConfig(seq_len=6, hidden_size=16, classifier_size=12, loss="bce")


@pytest.fixture
def model() -> Seq2Seq:
    torch.manual_seed(0)
    return Seq2Seq(SMALL).eval()


def random_batch(n: int = 3, frames: int = 6) -> Batch:
    generator = torch.Generator().manual_seed(1)
    window = (torch.rand(n, 2 * frames, 88, generator=generator) < 0.1).float()
    return Batch(window[:, :frames], window[:, frames:], torch.ones(n, frames, dtype=torch.bool))


def test_the_default_is_the_original():
    model = new_model(TrainOptions())
    for gru in (model.encoder, model.decoder):
        assert (gru.input_size, gru.hidden_size, gru.num_layers, gru.dropout) == (88, 512, 2, 0.2)
    assert [str(layer).split("(")[0] for layer in model.head.net] == ["Linear", "ReLU", "Dropout", "Linear"]
    assert model.head.net[0].weight.shape == (256, 512) and model.head.net[3].weight.shape == (88, 256)
    assert model.head.net[2].p == 0.5


@pytest.mark.parametrize("option", ["hidden_size", "num_layers", "decoder_n_layers", "classifier_size"])
def test_each_size_changes_the_model(option):
    small = TrainOptions(hidden_size=16, classifier_size=16)
    larger = dataclasses.replace(small, **{option: getattr(small, option) + 8 if "size" in option else 3})
    count = [sum(p.numel() for p in new_model(o).parameters()) for o in (small, larger)]
    assert count[1] > count[0]


@pytest.mark.parametrize(("encoder", "decoder"), [(1, 3), (3, 1)])
def test_encoder_and_decoder_may_differ_in_depth(encoder, decoder):
    model = Seq2Seq(dataclasses.replace(SMALL, num_layers=encoder, decoder_n_layers=decoder))
    assert model.logits(random_batch()).shape == (3, 6, 88)


def test_streaming_gives_the_parallel_pass_over_several_windows(model):
    """What composing computes frame by frame is what scoring computes window by window."""
    piece = (torch.rand(1, 18, 88, generator=torch.Generator().manual_seed(2)) < 0.1).float()
    parallel = []
    for begin in (0, 6, 12):
        source = piece[:, begin - 6 : begin] if begin else torch.zeros(1, 6, 88)
        batch = Batch(source, piece[:, begin : begin + 6], torch.ones(1, 6, dtype=torch.bool))
        parallel.append(model.logits(batch))
    frame, state = model.start("zero")
    for t in range(18):
        context, state = model.step(frame, state)
        torch.testing.assert_close(model.head(context), torch.cat(parallel, 1)[:, t], atol=1e-5, rtol=0)
        frame = piece[:, t]


def test_guided_goes_on_from_the_end_of_the_prime(model):
    batch = random_batch(1)
    frame, state = model.start("guided", prime=torch.cat([torch.ones(1, 9, 88), batch.source], 1))
    context, _ = model.step(frame, state)
    torch.testing.assert_close(model.head(context), model.logits(batch)[:, 0], atol=1e-5, rtol=0)


def test_the_three_initial_states_differ(model):
    starts = {
        "zero": model.start("zero"),
        "random": model.start("random", generator=torch.Generator().manual_seed(0)),
        "guided": model.start("guided", prime=random_batch(1).source),
    }
    contexts = [model.step(*start)[0] for start in starts.values()]
    assert not torch.allclose(contexts[0], contexts[1]) and not torch.allclose(contexts[1], contexts[2])
    assert starts["zero"][1].hidden.abs().sum() == 0


def test_nll_is_the_cross_entropy_of_the_posterior_and_skips_the_mask(model):
    batch = random_batch()
    mask = batch.mask.clone()
    mask[:, 4:] = False
    nll = model.nll(Batch(batch.source, batch.target, mask))
    logits = model.logits(batch)
    by_hand = -(batch.target * logits.sigmoid().log() + (1 - batch.target) * (-logits).sigmoid().log()).sum(-1)
    torch.testing.assert_close(nll[:, :4], by_hand[:, :4])
    assert (nll[:, 4:] == 0).all()


def test_full_teacher_forcing_never_asks_the_model_for_its_guess(model):
    batch = random_batch()
    first = model.logits(batch, 1.0, torch.Generator().manual_seed(1))
    second = model.logits(batch, 1.0, torch.Generator().manual_seed(2))
    assert torch.equal(first, second)


def test_without_teacher_forcing_the_true_target_is_never_seen(model):
    """At ratio 0 the second pass sees only guesses: with the same guesses, the target's later frames change nothing."""
    model.head.net[-1].bias.data.fill_(-1e4)  # every guess is silence, whatever it sees
    batch, other = random_batch(), random_batch()
    other = Batch(batch.source, 1 - other.target, batch.mask)
    torch.testing.assert_close(model.logits(batch, 0.0), model.logits(other, 0.0))
    assert not torch.allclose(model.decoder(batch.target)[0], model.decoder(other.target)[0])


def test_a_ratio_between_mixes_both(model):
    batch = random_batch()
    told, half, alone = (model.logits(batch, r, torch.Generator().manual_seed(3)) for r in (1.0, 0.5, 0.0))
    assert not torch.allclose(told, half) and not torch.allclose(half, alone)
    torch.testing.assert_close(told[:, 0], alone[:, 0])  # the last source frame is always true


def test_an_untrained_head_outputs_the_keys_own_frequencies():
    torch.manual_seed(0)
    for loss in (Loss("bce"), Loss("focal", 0.75, 2.0), Loss("focal+", 0.75, 2.0)):
        head = IndependentKeys(16, 12, 0.0, loss)
        frequencies = torch.linspace(0.01, 0.4, 88)
        head.start_at(frequencies)
        nll_now = head.nll(head(torch.zeros(1, 16)), frequencies[None])
        entropy = -(frequencies * frequencies.log() + (1 - frequencies) * (1 - frequencies).log()).sum()
        assert nll_now.item() == pytest.approx(entropy.item(), rel=0.02)


def test_threshold_plays_exactly_the_keys_above_it(model):
    logits = torch.logit(torch.tensor([0.1, 0.49, 0.5, 0.9]))
    drawn = model.head.draw(logits, Sampling("threshold", threshold=0.5))
    assert drawn.tolist() == [0, 0, 1, 1]


def test_sampling_follows_the_probabilities(model):
    logits = torch.logit(torch.tensor([0.05, 0.5, 0.95])).expand(20_000, 3)
    drawn = model.head.draw(logits, Sampling(), torch.Generator().manual_seed(0)).mean(0)
    torch.testing.assert_close(drawn, torch.tensor([0.05, 0.5, 0.95]), atol=0.01, rtol=0)


@pytest.mark.parametrize(("temperature", "top_p"), [(0.2, 1.0), (2.0, 1.0), (1.0, 0.6), (0.5, 0.8)])
def test_neither_temperature_nor_top_p_changes_how_many_notes_are_expected(temperature, top_p):
    logits = torch.randn(50, 88, generator=torch.Generator().manual_seed(0)) * 2 - 5
    expected = torch.sigmoid(logits).sum(-1)
    torch.testing.assert_close(sharpen(logits, temperature, top_p).sum(-1), expected, atol=1e-3, rtol=0)


def test_low_temperature_plays_the_likeliest_keys_and_a_high_one_levels_them():
    logits = torch.logit(torch.tensor([0.3, 0.5, 0.2]))
    assert sharpen(logits, 0.05, 1.0)[1] > 0.95
    assert sharpen(logits, 3.0, 1.0).max() - sharpen(logits, 3.0, 1.0).min() < 0.15
    assert sharpen(logits, 1.0, 1.0).tolist() == pytest.approx([0.3, 0.5, 0.2])


def test_fullness_multiplies_the_expected_notes():
    logits = torch.randn(50, 88, generator=torch.Generator().manual_seed(0)) - 4
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


def test_a_model_is_rebuilt_from_its_card(model):
    assert build(model.card()).card() == model.card()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "magic"}, "unknown model kind 'magic'"),
        ({"hidden_size": 10**9}, r"hidden_size must be 1\.\.4096, got 1000000000"),
        ({"num_layers": 99}, r"num_layers must be 1\.\.16"),
        ({"hidden_size": "512"}, "hidden_size .* must be like 512"),
        ({"dropout": float("nan")}, r"dropout must be 0\.\.10"),
        ({"surprise": 1}, "lacks or misspells 'surprise'"),
    ],
)
def test_a_damaged_description_is_refused_before_anything_is_built(model, change, message):
    with pytest.raises(CheckpointError, match=message):
        build({**model.card(), **change})
