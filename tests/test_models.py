"""Arrangements: composing computes what training did, states, styles, attention, and cards old and new."""

import dataclasses
import json

import pytest
import torch

from deepmusician import checkpoint
from deepmusician.errors import CheckpointError, OptionError
from deepmusician.models.backbones import BACKBONES
from deepmusician.models.config import ModelConfig
from deepmusician.models.contract import Batch, Sampling
from deepmusician.models.inputs import clock
from deepmusician.models.registry import build, make, new_model
from deepmusician.options import TrainOptions

SMALL = ModelConfig(seq_len=6, hidden_size=16, classifier_size=12, loss="bce", memory=8)
DECODER = dataclasses.replace(SMALL, arrangement="decoder")
BIAXIAL = dataclasses.replace(
    DECODER, backbone="biaxial", head="intervals", hidden_size=8, classifier_dropout=0.0, dropout=0.0, clock=True
)
KINDS = {
    "original": SMALL,
    "decoder": DECODER,
    "attention": dataclasses.replace(SMALL, attention="additive"),
    "dot": dataclasses.replace(SMALL, attention="dot", backbone="lstm"),
    "tcn": dataclasses.replace(DECODER, backbone="tcn", head="chord"),
    "transformer": dataclasses.replace(DECODER, backbone="transformer", head="chord", clock=True),
    "encoding transformer": dataclasses.replace(SMALL, backbone="transformer"),
    "encoding tcn": dataclasses.replace(SMALL, backbone="tcn", decoder_n_layers=1),
    "studio": BIAXIAL,
    "deepj": dataclasses.replace(
        BIAXIAL, backbone="biaxial-lstm", head="axis", planes="velocity", skip=True, n_styles=3
    ),
    "melody": dataclasses.replace(DECODER, head="melody", planes="onset", skip=True),
    "styles": dataclasses.replace(SMALL, n_styles=2, planes="velocity", skip=True),
    "committee": dataclasses.replace(BIAXIAL, members=3),
    "committee of encoders": dataclasses.replace(SMALL, members=2, n_styles=2, planes="velocity", skip=True),
}


def model_of(config: ModelConfig):
    torch.manual_seed(0)
    return make(config).eval()


@pytest.fixture
def model():
    return model_of(SMALL)


def music(config: ModelConfig, songs: int = 2, frames: int = 6, seed: int = 1) -> torch.Tensor:
    """Frames [B, T, W] that the planes allow: what sounds anew is struck, what is held keeps its velocity."""
    generator = torch.Generator().manual_seed(seed)
    sounding = torch.rand(songs, frames, 88, generator=generator) < 0.1
    if config.head == "melody":
        sounding = torch.nn.functional.one_hot(torch.randint(20, 60, (songs, frames), generator=generator), 88) > 0
    struck = sounding & ((torch.rand(sounding.shape, generator=generator) < 0.5) | ~torch.roll(sounding, 1, 1))
    struck[:, 0] = sounding[:, 0]
    loud = torch.zeros(sounding.shape)
    for t in range(frames):
        drawn = torch.randint(1, 128, loud[:, t].shape, generator=generator) / 127
        loud[:, t] = torch.where(struck[:, t], drawn, loud[:, t - 1] if t else 0.0) * sounding[:, t]
    return torch.cat([sounding.float(), struck.float(), loud][: config.n_planes], -1)


def batch_of(config: ModelConfig, model, seed: int = 1) -> Batch:
    window = music(config, 3, model.source_frames + config.seq_len, seed)
    source, target = window[:, : model.source_frames], window[:, model.source_frames :]
    style = torch.eye(config.n_styles)[torch.arange(3) % config.n_styles] if config.n_styles > 1 else None
    begin = torch.full((3,), model.source_frames)
    return Batch(source, target, torch.ones(target.shape[:2], dtype=torch.bool), style, begin)


def test_the_default_is_the_original():
    model = new_model(TrainOptions())
    for gru in (model.encoder.rnn, model.decoder.rnn):
        assert (gru.input_size, gru.hidden_size, gru.num_layers, gru.dropout) == (88, 512, 2, 0.2)
    net = model.head.part.net
    assert [str(layer).split("(")[0] for layer in net] == ["Linear", "ReLU", "Dropout", "Linear"]
    assert net[0].weight.shape == (256, 512) and net[3].weight.shape == (88, 256) and net[2].p == 0.5


@pytest.mark.parametrize("option", ["hidden_size", "num_layers", "decoder_n_layers", "classifier_size"])
def test_each_size_changes_the_model(option):
    small = TrainOptions(hidden_size=16, classifier_size=16)
    larger = dataclasses.replace(small, **{option: getattr(small, option) + 8 if "size" in option else 3})
    count = [sum(p.numel() for p in new_model(o).parameters()) for o in (small, larger)]
    assert count[1] > count[0]


@pytest.mark.parametrize("kind", KINDS)
def test_composing_frame_by_frame_computes_what_reading_a_song_does(kind):
    """Across several windows of the encoder, in uneven pieces, in every arrangement."""
    config = KINDS[kind]
    model, piece = model_of(config), music(config, 2, 20)
    style = torch.eye(config.n_styles)[:2] if config.n_styles > 1 else None
    last, state = model.start("zero", style=style, batch_size=2)
    pieces = []
    for some in piece.split([5, 8, 7], 1):
        contexts, last, state = model.read(some, last, state, style)
        pieces.append(contexts)
    frame, state = model.start("zero", style=style, batch_size=2)
    for t in range(20):
        context, state = model.step(frame, state, style)
        torch.testing.assert_close(context, torch.cat(pieces, 1)[:, t], atol=1e-5, rtol=0)
        frame = piece[:, t]
    [(_, whole)] = model.walk(piece, style)
    torch.testing.assert_close(whole, torch.cat(pieces, 1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_no_context_knows_its_own_frame_or_a_later_one(kind):
    config = KINDS[kind]
    model, piece, other = model_of(config), music(config, 2, 20), music(config, 2, 20, seed=2)
    mixed = torch.cat([piece[:, :9], other[:, 9:]], 1)
    ([(_, a)], [(_, b)]) = (list(model.walk(songs)) for songs in (piece, mixed))
    torch.testing.assert_close(a[:, :10], b[:, :10], atol=1e-6, rtol=0)
    assert not torch.allclose(a[:, 10], b[:, 10])


@pytest.mark.parametrize("kind", KINDS)
def test_training_windows_are_scored_as_songs_are(kind):
    """A window whose source is the song's beginning gives the loss of those frames in the song."""
    config = KINDS[kind]
    model, piece = model_of(config), music(config, 2, config.seq_len)
    style = torch.eye(config.n_styles)[:2] if config.n_styles > 1 else None
    source = torch.zeros(2, model.source_frames, config.frame_size)
    mask = torch.ones(piece.shape[:2], dtype=torch.bool)
    batch = Batch(source, piece, mask, style, torch.zeros(2, dtype=torch.long))
    [(_, contexts)] = model.walk(piece, style)
    torch.testing.assert_close(model.nll(batch), model.head.nll(contexts, piece), atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_learns_composes_and_is_rebuilt_from_its_card(kind):
    config = KINDS[kind]
    model = model_of(config)
    batch = batch_of(config, model)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        loss = model(batch)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    idle = [name for name, p in model.named_parameters() if p.grad is None]
    # what its top layer would give is not asked for where only its memory is handed on
    assert [name for name in idle if not name.startswith("encoder") or config.backbone == "gru"] == []
    with torch.no_grad():
        frame, state = model.start("random", batch_size=2, generator=torch.Generator().manual_seed(0))
        for _ in range(3):
            context, state = model.step(frame, state)
            frame = model.head.sample(context, Sampling(), torch.Generator().manual_seed(0))
            assert frame.shape == (2, config.frame_size)
    again = build(json.loads(json.dumps(model.card())))
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(again.eval().nll(batch), model.eval().nll(batch))


def test_guided_goes_on_from_the_end_of_the_prime(model):
    batch = batch_of(SMALL, model)
    frame, state = model.start("guided", prime=batch.source)
    context, _ = model.step(frame, state)
    torch.testing.assert_close(context, model.contexts(batch)[:, 0], atol=1e-5, rtol=0)


def test_the_three_initial_states_differ(model):
    starts = {
        "zero": model.start("zero"),
        "random": model.start("random", generator=torch.Generator().manual_seed(0)),
        "guided": model.start("guided", prime=music(SMALL, 1)),
    }
    contexts = [model.step(*start)[0] for start in starts.values()]
    assert not torch.allclose(contexts[0], contexts[1]) and not torch.allclose(contexts[1], contexts[2])
    assert all((tensor == 0).all() for layer in starts["zero"][1].hidden for tensor in layer)


def test_a_silent_source_is_the_empty_state(model):
    age = torch.zeros(1, dtype=torch.long)
    state = model.open(torch.zeros(1, 6, 88), age, None)
    assert all((tensor == 0).all() for layer in state.hidden for tensor in layer)


def test_nll_skips_the_mask_and_no_frame_is_lost(model):
    batch = batch_of(SMALL, model)
    mask = batch.mask.clone()
    mask[:, 4:] = False
    nll = model.nll(dataclasses.replace(batch, mask=mask))
    torch.testing.assert_close(nll[:, :4], model.nll(batch)[:, :4])
    assert (nll[:, 4:] == 0).all()


def test_full_teacher_forcing_never_asks_the_model_for_its_guess(model):
    batch = batch_of(SMALL, model)
    first, second = (model.contexts(batch, 1.0, torch.Generator().manual_seed(seed)) for seed in (1, 2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("kind", ["original", "decoder", "studio"])
def test_without_teacher_forcing_the_true_target_is_never_seen(kind, monkeypatch):
    """At ratio 0 the second pass sees only guesses: with the same guesses, the target's later frames change nothing."""
    model = model_of(KINDS[kind])
    monkeypatch.setattr(model.head, "sample", lambda contexts, *_: contexts.new_zeros(*contexts.shape[:-1], 88))
    batch = batch_of(KINDS[kind], model)
    other = dataclasses.replace(batch, target=1 - batch.target)
    torch.testing.assert_close(model.contexts(batch, 0.0), model.contexts(other, 0.0))
    assert not torch.allclose(model.contexts(batch), model.contexts(other))


def test_a_ratio_between_mixes_both(model):
    batch = batch_of(SMALL, model)
    told, half, alone = (model.contexts(batch, r, torch.Generator().manual_seed(3)) for r in (1.0, 0.5, 0.0))
    assert not torch.allclose(told, half) and not torch.allclose(half, alone)
    torch.testing.assert_close(told[:, 0], alone[:, 0])  # the last source frame is always true


@pytest.mark.parametrize("kind", ["original", "decoder", "attention", "dot", "tcn", "transformer"])
@pytest.mark.parametrize("ratio", [0.0, 0.5])
def test_sequential_guesses_follow_what_was_fed_and_parallel_ones_do_not(kind, ratio, monkeypatch):
    """Read again, the mixture makes the model guess the very frames that it holds wherever it was not told."""
    model = model_of(KINDS[kind])
    batch, fed, advance = batch_of(KINDS[kind], model), [], model.advance
    view = torch.randn(16, 88, generator=torch.Generator().manual_seed(1))  # a frame that hangs on the context alone
    monkeypatch.setattr(model.head, "sample", lambda contexts, *_: (contexts @ view > 0).float())
    monkeypatch.setattr(model, "advance", lambda frames, *rest: (fed.append(frames), advance(frames, *rest))[1])
    follows = {}
    for guesses in ("parallel", "sequential"):
        contexts = model.contexts(batch, ratio, torch.Generator().manual_seed(5), guesses)
        later = fed[-1][:, 1:]  # of the last pass
        told = (later == batch.target[:, :-1]).all(-1)
        assert told.any() == (ratio > 0) and not told.all()
        follows[guesses] = bool(((model.head.sample(contexts[:, :-1]) == later).all(-1) | told).all())
    assert follows == {"parallel": False, "sequential": True}


@pytest.mark.parametrize("kind", ["additive", "dot"])
def test_attention_weighs_the_frames_of_the_source(kind):
    config = dataclasses.replace(SMALL, attention=kind)
    model = model_of(config)
    batch = batch_of(config, model)
    weights = model.attention_weights(batch.source, batch.target)
    assert weights.shape == (3, 6, 6)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 6))
    moved = dataclasses.replace(batch, source=batch.source.roll(2, 1))
    assert not torch.allclose(model.contexts(batch)[:, 1:], model.contexts(moved)[:, 1:])


def test_without_attention_there_are_no_weights(model):
    assert model.attention_weights(music(SMALL), music(SMALL)) is None


@pytest.mark.parametrize("kind", ["styles", "deepj"])
def test_a_style_changes_what_comes_and_a_mix_lies_in_between(kind):
    model = model_of(KINDS[kind])
    n = KINDS[kind].n_styles
    piece = music(KINDS[kind], 1)
    styles = [torch.eye(n)[:1], torch.eye(n)[1:2], torch.full((1, n), 1 / n)]
    contexts = [next(model.walk(piece, style))[1] for style in styles]
    assert not torch.allclose(contexts[0], contexts[1]) and not torch.allclose(contexts[1], contexts[2])
    unsaid = next(model.walk(piece))[1]
    torch.testing.assert_close(unsaid, contexts[2])


def test_the_clock_tells_bars_apart_and_the_age_goes_on_in_composing():
    assert torch.allclose(clock(torch.tensor([3])), clock(torch.tensor([3 + 192])), atol=1e-4)
    assert not torch.allclose(clock(torch.tensor([3])), clock(torch.tensor([4])))
    model = model_of(BIAXIAL)
    silence = torch.zeros(1, 3, 88)
    [(_, contexts)] = model.walk(silence)
    with_none = model_of(dataclasses.replace(BIAXIAL, clock=False))
    assert contexts.shape == next(with_none.walk(silence))[1].shape
    assert sum(p.numel() for p in model.parameters()) > sum(p.numel() for p in with_none.parameters())


def test_the_biaxial_network_hears_a_chord_alike_in_every_key():
    """Moved by three semitones, the middle of the keyboard knows the same, three keys further."""
    model = model_of(dataclasses.replace(BIAXIAL, clock=False))
    model.backbone.rnn.weight_ih_l0.data[:, 61] = 0  # the place on the keyboard, the one thing that is not relative
    piece = torch.zeros(1, 4, 88)
    piece[:, :, [40, 44, 47]] = 1
    before, after = (next(model.walk(p))[1].view(4, 88, -1) for p in (piece, piece.roll(3, -1)))
    torch.testing.assert_close(before[:, 30:60], after[:, 33:63])


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


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"arrangement": "ring"}, "arrangement must be one of"),
        ({"planes": "colour"}, "planes must be one of"),
        ({"attention": "dot", "arrangement": "decoder"}, "attention looks from the decoder at the encoder"),
        ({"backbone": "transformer", "hidden_size": 18, "attention_heads": 4}, "multiple of twice attention_heads"),
    ],
)
def test_parts_that_do_not_go_together_are_refused(values, message):
    with pytest.raises(OptionError, match=message):
        ModelConfig(**values)


def test_a_model_is_rebuilt_from_its_card(model):
    assert build(model.card()).card() == model.card()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "magic"}, "unknown model kind 'magic'"),
        ({"hidden_size": 10**9}, r"hidden_size must be 1\.\.4096, got 1000000000"),
        ({"num_layers": 99}, r"num_layers must be 1\.\.8, got 99"),
        ({"hidden_size": "512"}, "hidden_size .* must be like 512"),
        ({"dropout": float("nan")}, r"dropout must be 0\.\.0\.9"),
        ({"surprise": 1}, "lacks or misspells 'surprise'"),
        ({"backbone": "hopfield"}, "backbone must be one of .*gru"),
        ({"attention": "dot", "arrangement": "decoder"}, "description is impossible"),
    ],
)
def test_a_damaged_description_is_refused_before_anything_is_built(model, change, message):
    with pytest.raises(CheckpointError, match=message):
        build({**model.card(), **change})


def test_a_checkpoint_of_version_0_1_is_still_read(tmp_path):
    """Its card knew one kind of model, and its weights had other names."""
    from safetensors.torch import save_file

    model = model_of(SMALL)
    names = {"encoder.rnn.": "encoder.", "decoder.rnn.": "decoder.", "head.part.net.": "head.net."}
    old = {}
    for name, tensor in model.state_dict().items():
        start = next((s for s in names if name.startswith(s)), "")
        old[names.get(start, "") + name.removeprefix(start)] = tensor
    kept = ("seq_len", "hidden_size", "num_layers", "decoder_n_layers", "dropout", "classifier_size")
    description = {k: getattr(SMALL, k) for k in (*kept, "classifier_dropout", "loss", "alpha", "gamma")}
    save_file(old, tmp_path / checkpoint.WEIGHTS)
    card = {"model": {"kind": "seq2seq", "n_keys": 88, **description}, "version": "0.1.0"}
    (tmp_path / checkpoint.CARD).write_text(json.dumps(card))
    loaded, _ = checkpoint.load(tmp_path)
    batch = batch_of(SMALL, model)
    torch.testing.assert_close(loaded.nll(batch), model.nll(batch))


def test_every_backbone_is_an_option_and_every_option_a_backbone():
    from deepmusician import options

    assert set(options.BACKBONES) == set(BACKBONES)
