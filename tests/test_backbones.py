"""Backbones: one frame at a time gives what all at once do, nothing hears the future, and each forgets when it says."""

import dataclasses
import inspect
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from deepmusician.errors import OptionError
from deepmusician.models import backbones
from deepmusician.models.backbones import BACKBONES, transformer
from deepmusician.models.backbones.base import Backbone, Shapes, State
from deepmusician.models.backbones.convolution import TCN
from deepmusician.models.backbones.recurrent import GRU
from deepmusician.models.backbones.transformer import CHUNK, Transformer
from deepmusician.models.config import ModelConfig

INPUTS = 88
SMALL = ModelConfig(hidden_size=16, dropout=0.0, memory=7)
FRAMES = 2 * CHUNK + 21  # beyond the TCN's reach, the Transformer's memory and its chunks


class Fading(Backbone):
    """Each unit averages what it hears, and learns how fast it forgets."""

    def __init__(self, inputs: int, layers: int, c: ModelConfig) -> None:
        super().__init__(inputs, layers, c)
        self.hear = nn.ModuleList(nn.Linear(self.size if i else inputs, self.size) for i in range(layers))
        self.keep = nn.Parameter(torch.linspace(-3, 5, self.size).repeat(layers, 1))

    def shapes(self) -> Shapes:
        return [((self.size,),)] * self.layers  # for each layer one tensor, [B, size]

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        after = []
        for hear, keep, (mean,) in zip(self.hear, self.keep.sigmoid(), state, strict=True):
            means = [mean := keep * mean + (1 - keep) * heard for heard in hear(x).tanh().unbind(1)]
            x, after = torch.stack(means, 1), [*after, (mean,)]
        return x, tuple(after)


KINDS = {**BACKBONES, "fading": Fading}


def built(kind: str, layers: int = 3, **sizes) -> Backbone:
    torch.manual_seed(0)
    return KINDS[kind](INPUTS, layers, dataclasses.replace(SMALL, **sizes)).eval()


def music(batch: int = 2, frames: int = FRAMES, seed: int = 1) -> Tensor:
    return (torch.rand(batch, frames, INPUTS, generator=torch.Generator().manual_seed(seed)) < 0.1).float()


def tensors(state: State) -> list[Tensor]:
    return [tensor for layer in state for tensor in layer]


def read(backbone: Backbone, x: Tensor, sizes: list[int], state: State | None = None):
    """What `backbone` gives for `x`, cut into pieces of `sizes` frames, and its last state."""
    outputs, state = [], backbone.start(len(x), x) if state is None else state
    for piece in x.split(sizes, 1):
        y, state = backbone(piece, state)
        outputs.append(y)
    return torch.cat(outputs, 1), state


def deviation(a: Tensor, b: Tensor) -> float:
    return float((a - b).detach().abs().max())


def changed_frames(backbone: Backbone, at: int, frames: int = FRAMES) -> list[int]:
    """Frames of the output that change when frame `at` of the input does."""
    x = music(1, frames).double()
    other = x.clone()
    other[:, at] = 1 - other[:, at]
    ys = [read(backbone.double(), songs, [frames])[0] for songs in (x, other)]
    return (ys[0] != ys[1]).any(-1)[0].nonzero().flatten().tolist()


every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
@torch.no_grad()
@pytest.mark.parametrize("sizes", [[1] * FRAMES, [3, 1, 70, 2, CHUNK, FRAMES - CHUNK - 76]], ids=["frames", "chunks"])
def test_streaming_gives_the_parallel_pass(kind, sizes):
    backbone, x = built(kind), music()
    began = backbone.noise(2, 0.5, torch.Generator().manual_seed(3), x)
    for state in (backbone.start(2, x), began):
        parallel, end = read(backbone, x, [FRAMES], state)
        streamed, last = read(backbone, x, sizes, state)
        assert parallel.shape == (2, FRAMES, backbone.size)
        assert deviation(parallel, streamed) < 1e-5
        assert all(deviation(a, b) < 1e-5 for a, b in zip(tensors(end), tensors(last), strict=True))


@every_kind
def test_training_through_a_cut_gives_the_same_gradients(kind):
    gradients = []
    for sizes in ([20], [9, 11]):
        backbone = built(kind)
        read(backbone, music(2, 20), sizes)[0].square().mean().backward()
        gradients.append([p.grad for p in backbone.parameters()])
    assert all(deviation(a, b) < 1e-5 for a, b in zip(*gradients, strict=True))


@every_kind
@torch.no_grad()
def test_a_frame_changes_itself_and_nothing_before_it(kind):
    changed = changed_frames(built(kind), at=11)
    assert changed[:2] == [11, 12]


@torch.no_grad()
@pytest.mark.parametrize("memory", [1, 7, CHUNK + 5])
@pytest.mark.parametrize("layers", [1, 2])
def test_the_transformer_knows_exactly_its_memory_in_each_layer(memory, layers):
    changed = changed_frames(built("transformer", layers, memory=memory), at=3, frames=3 * CHUNK)
    assert changed == list(range(3, 3 + layers * (memory - 1) + 1))


@torch.no_grad()
@pytest.mark.parametrize(("kernel_size", "layers"), [(1, 2), (2, 3), (3, 3)])
def test_the_tcn_knows_exactly_its_receptive_field(kernel_size, layers):
    wide = built("tcn", layers, kernel_size=kernel_size, hidden_size=64)  # so wide that no path is silent
    assert changed_frames(wide, at=3) == list(range(3, 4 + 2 * (kernel_size - 1) * (2**layers - 1)))


@every_kind
@torch.no_grad()
def test_a_state_is_never_changed(kind):
    backbone, x = built(kind), music(2, 9)
    for state in (backbone.start(2, x), read(backbone, x, [9])[1]):
        before = [t.clone() for t in tensors(state)]
        backbone(x, state)
        backbone.times(state, torch.zeros(2))
        backbone.adopt(state)
        assert all(torch.equal(a, b) for a, b in zip(before, tensors(state), strict=True))


@every_kind
@torch.no_grad()
def test_a_song_that_was_silent_goes_on_as_from_the_start(kind):
    backbone, x = built(kind), music(2, 30)
    _, state = read(backbone, music(2, 5, seed=2), [5])
    y, _ = backbone(x, backbone.times(state, torch.tensor([True, False])))
    assert deviation(y[0], backbone(x, state)[0][0]) < 1e-5
    assert deviation(y[1], backbone(x, backbone.start(2, x))[0][1]) < 1e-5
    assert deviation(y[1], backbone(x, state)[0][1]) > 1e-3  # the state does matter


@every_kind
@torch.no_grad()
@pytest.mark.parametrize(("theirs", "ours"), [(1, 3), (3, 1), (2, 2)])
def test_a_backbone_goes_on_from_the_state_of_a_deeper_or_shallower_one(kind, theirs, ours):
    encoder, decoder, x = built(kind, theirs), built(kind, ours), music(2, 12)
    states = [decoder.adopt(read(encoder, music(2, 12, seed), [12])[1]) for seed in (5, 6)]
    outputs = [read(decoder, x, [12], state)[0] for state in states]
    assert deviation(*outputs) > 1e-3  # what the encoder heard is heard
    assert deviation(outputs[0], read(decoder, x, [1, 4, 7], states[0])[0]) < 1e-5
    if kind != "transformer":  # whose memory grows
        assert [t.shape for t in tensors(states[0])] == [t.shape for t in tensors(decoder.start(2, x))]


@every_kind
@torch.no_grad()
def test_a_backbone_of_the_same_depth_takes_a_state_as_it_is(kind):
    backbone, x = built(kind), music(2, 12)
    _, state = read(backbone, x, [12])
    adopted = backbone.adopt(state)
    assert all(torch.equal(a, b) for a, b in zip(tensors(state), tensors(adopted), strict=True))


def test_of_an_encoders_layers_the_top_ones_are_taken_and_the_topmost_again():
    heard = tuple((torch.full((1, 16), float(i)),) for i in range(3))
    assert [float(h[0, 0]) for (h,) in built("gru", 2).adopt(heard)] == [1, 2]
    assert [float(h[0, 0]) for (h,) in built("gru", 5).adopt(heard)] == [0, 1, 2, 2, 2]


def test_convolutions_that_look_back_less_far_keep_the_newest_frames():
    cache = torch.arange(8.0).view(1, 1, 8).expand(1, 16, 8)
    ((_, low), (newest, _)) = built("tcn", 2).adopt(((cache, cache), (cache, cache)))
    assert low[0, 0].tolist() == [6, 7] and newest[0, 0].tolist() == [4, 5, 6, 7]
    ((_, _), (_, padded)) = built("tcn", 2).adopt(((cache[..., :1],) * 2, (cache[..., 6:],) * 2))
    assert padded[0, 0].tolist() == [0, 0, 6, 7]
    ((frames, _), _) = built("tcn", 2).adopt(((cache, cache), (cache, cache)))
    assert frames.shape == (1, INPUTS, 2) and not frames.any()  # 16 channels are not 88: nothing was heard


@every_kind
@torch.no_grad()
def test_random_states_are_of_the_size_asked_for_and_repeat_with_their_seed(kind):
    backbone, x = built(kind, hidden_size=64, memory=33), music(8, 20)
    drawn = [backbone.noise(8, 0.7, torch.Generator().manual_seed(seed), x) for seed in (1, 1, 2)]
    assert float(tensors(drawn[0])[0].std()) == pytest.approx(0.7, rel=0.1)
    first, again, other = (read(backbone, x, [20], state)[0] for state in drawn)
    assert torch.equal(first, again)
    assert deviation(first, other) > 1e-3 and deviation(first, read(backbone, x, [20])[0]) > 1e-3


@every_kind
def test_each_size_changes_the_number_of_weights(kind):
    def weights(layers: int = 2, **sizes) -> int:
        return sum(p.numel() for p in built(kind, layers, **sizes).parameters())

    assert weights() < weights(3)
    assert weights() < weights(hidden_size=24)
    assert (weights() < weights(kernel_size=4)) == (kind == "tcn")


@every_kind
def test_dropout_silences_units_while_training(kind):
    backbone, x = built(kind, dropout=0.5).train(), music(2, 20)
    outputs = [read(backbone, x, [20])[0] for _ in range(2)]
    assert (deviation(*outputs) > 1e-3) == (kind != "fading")
    outputs = [read(backbone.eval(), x, [20])[0] for _ in range(2)]
    assert deviation(*outputs) == 0


@torch.no_grad()
def test_heads_of_attention_and_memory_change_what_a_transformer_gives():
    x = music()
    few = read(built("transformer"), x, [FRAMES])[0]
    assert deviation(few, read(built("transformer", attention_heads=2), x, [FRAMES])[0]) > 1e-3
    assert deviation(few, read(built("transformer", memory=8), x, [FRAMES])[0]) > 1e-3


def test_a_transformer_says_which_width_its_heads_need():
    with pytest.raises(OptionError, match="hidden_size must be a multiple of 8 with attention_heads 4, got 20"):
        built("transformer", hidden_size=20)


@torch.no_grad()
def test_a_transformers_place_in_the_piece_does_not_matter():
    """Positions are relative: the same frames after silence long forgotten give the same."""
    backbone, tune = built("transformer", memory=CHUNK + 7), music(1, 3 * (CHUNK + 7))
    late = torch.cat([music(1, 501, seed=9), tune], 1)
    last = [read(backbone, x, [x.shape[1]])[0][:, -1] for x in (tune, late)]
    assert deviation(*last) < 1e-5


@torch.no_grad()
def test_a_long_song_is_looked_at_in_bands_whose_width_does_not_grow(monkeypatch):
    attention, widths = transformer.scaled_dot_product_attention, []

    def noted(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor) -> Tensor:
        widths.append((q.shape[2], k.shape[2], *attn_mask.shape[2:]))
        return attention(q, k, v, attn_mask=attn_mask)

    monkeypatch.setattr(transformer, "scaled_dot_product_attention", noted)
    read(built("transformer", 1), music(1, 1000), [1000])
    assert len(widths) == -(-1000 // CHUNK)
    band = CHUNK + SMALL.memory - 1
    assert set(widths) == {(CHUNK, CHUNK) * 2, (CHUNK, band) * 2, (1000 % CHUNK, 1000 % CHUNK + SMALL.memory - 1) * 2}


@torch.no_grad()
def test_the_order_of_frames_matters_to_a_transformer():
    x = music(1, 6)
    swapped = x[:, [1, 0, 2, 3, 4, 5]]
    last = [read(built("transformer", 1), songs, [6])[0][:, -1] for songs in (x, swapped)]
    assert deviation(*last) > 1e-3


@torch.no_grad()
@every_kind
def test_a_state_does_not_grow_with_the_piece(kind):
    backbone = built(kind)
    states = [read(backbone, music(1, frames), [frames])[1] for frames in (40, 400)]
    assert [t.shape for t in tensors(states[0])] == [t.shape for t in tensors(states[1])]


@pytest.mark.parametrize("kind", BACKBONES)
def test_half_precision_carries_its_own_states(kind):
    backbone, x = built(kind), music(2, 20)
    exact = read(backbone, x, [20])[0]
    with torch.autocast("cpu", torch.bfloat16):
        y = read(backbone, x, [7, 13])[0]
    y.float().square().mean().backward()
    assert deviation(y.float(), exact) < 0.2
    assert all(p.grad.isfinite().all() for p in backbone.parameters())


def test_recurrent_weights_are_called_as_in_torch():
    assert "rnn.weight_ih_l0" in GRU(INPUTS, 1, SMALL).state_dict()


@pytest.mark.parametrize("kind", [kind for kind in BACKBONES if "biaxial" not in kind])  # 88 networks take 10 s
def test_a_backbone_learns_to_tell_what_it_heard_three_frames_ago(kind):
    torch.manual_seed(0)
    backbone = KINDS[kind](INPUTS, 2, dataclasses.replace(SMALL, hidden_size=32))
    out = nn.Linear(backbone.size, 4)
    optimizer = torch.optim.Adam([*backbone.parameters(), *out.parameters()], 0.01)
    for _ in range(150):
        keys = (torch.rand(16, 12, 4) < 0.5).float()
        y, _ = read(backbone, nn.functional.pad(keys, (40, INPUTS - 44)), [12])
        loss = nn.functional.binary_cross_entropy_with_logits(out(y[:, 3:]), keys[:, :-3])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss) < 0.35  # 0.69 knows nothing


def test_the_readme_shows_how_to_add_a_backbone_that_works():
    example = inspect.getsource(Fading)  # tested above like the others
    assert len(example.splitlines()) < 20
    assert example in (Path(__file__).parents[1] / "README.md").read_text()


def test_every_backbone_is_a_file_of_under_100_lines():
    folder = Path(backbones.__file__).parent
    lengths = {file.name: len(file.read_text().splitlines()) for file in folder.glob("*.py")}
    assert len(lengths) >= 5 and max(lengths.values()) < 100, lengths
    assert {TCN, Transformer} <= set(BACKBONES.values())
