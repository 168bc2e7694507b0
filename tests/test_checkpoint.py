"""Checkpoints: what is saved is what is loaded; anything else is refused in a sentence."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from deepmusician import checkpoint
from deepmusician.errors import CheckpointError
from deepmusician.generation import compose
from deepmusician.metrics import scale_consistency
from deepmusician.midi import read_midi
from deepmusician.models import registry
from deepmusician.models.backbones import BACKBONES
from deepmusician.models.config import ModelConfig
from deepmusician.models.registry import make
from deepmusician.options import GenerateOptions

SMALL = ModelConfig(seq_len=6, hidden_size=16, classifier_size=12)


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    model = make(SMALL)
    primes = torch.arange(2 * 6 * 11, dtype=torch.uint8).reshape(2, 6, 11)
    return model, checkpoint.save(tmp_path / "piece", model, {"title": "Test", "threshold": 0.4}, primes)


def test_weights_card_and_primes_come_back(saved):
    model, folder = saved
    loaded, card = checkpoint.load(folder)
    assert card["title"] == "Test" and card["threshold"] == 0.4
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name])
    assert checkpoint.load_primes(folder).shape == (2, 6, 11)
    assert not loaded.training


def test_nothing_is_left_beside_a_saved_checkpoint(saved):
    _, folder = saved
    assert [p.name for p in folder.parent.iterdir()] == ["piece"]
    assert sorted(p.name for p in folder.iterdir()) == ["card.json", "model.safetensors"]


def test_a_save_that_fails_leaves_the_old_checkpoint(saved):
    model, folder = saved
    with pytest.raises(TypeError):
        checkpoint.save(folder, model, {"title": object()})
    assert checkpoint.load(folder)[1]["title"] == "Test"
    assert [p.name for p in folder.parent.iterdir()] == ["piece"]


def rewrite(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def test_weights_of_another_shape_are_refused(saved):
    rewrite(saved[1], lambda t: t.update({"head.part.net.3.bias": torch.zeros(7)}))
    with pytest.raises(CheckpointError, match=r"head.part.net.3.bias is \[7\], should be \[88\]"):
        checkpoint.load(saved[1])


def test_missing_weights_are_refused(saved):
    rewrite(saved[1], lambda t: t.pop("head.part.net.3.bias"))
    with pytest.raises(CheckpointError, match=r"'head.part.net.3.bias' is on one side only"):
        checkpoint.load(saved[1])


def test_weights_that_are_no_numbers_are_refused(saved):
    rewrite(saved[1], lambda t: t["head.part.net.3.bias"].fill_(float("nan")))
    with pytest.raises(CheckpointError, match="values that are no numbers"):
        checkpoint.load(saved[1])


@pytest.mark.parametrize("garbage", [b"", b"not safetensors", b"\x80\x04\x95pickle", b"\xff" * 100])
def test_a_file_that_is_no_safetensors_is_refused(saved, garbage):
    (saved[1] / "model.safetensors").write_bytes(garbage)
    with pytest.raises(CheckpointError, match="cannot be read as safetensors"):
        checkpoint.load(saved[1])


@pytest.mark.parametrize(("text", "message"), [("{", "not a readable card"), ("[]", "does not describe a model")])
def test_a_broken_card_is_refused(saved, text, message):
    (saved[1] / "card.json").write_text(text)
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(saved[1])


def test_an_unknown_name_lists_what_there_is(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPMUSICIAN_HOME", str(tmp_path))
    with pytest.raises(CheckpointError, match="no checkpoint or run called nowhere"):
        checkpoint.find("nowhere")


def test_a_run_without_a_checkpoint_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPMUSICIAN_HOME", str(tmp_path))
    (tmp_path / "runs" / "young").mkdir(parents=True)
    with pytest.raises(CheckpointError, match="young holds no checkpoint yet"):
        checkpoint.find("young")


def test_every_bundled_checkpoint_loads_and_is_small_enough():
    for folder in checkpoint.bundled():
        model, card = checkpoint.load(folder)
        assert card["command"].startswith("deepmusician train")
        assert sum(p.stat().st_size for p in folder.rglob("*")) <= 25 * 2**20
        assert json.dumps(model.card())


@pytest.mark.parametrize("folder", checkpoint.bundled(), ids=lambda p: p.name)
def test_what_a_bundled_model_composes_is_music(folder):
    """Not empty, not one chord held, about as full as what it learnt from, in a key, and it moves."""
    card = checkpoint.read_card(folder)
    rolls = [compose(folder, GenerateOptions(seq_len=128, seed=seed)) for seed in range(3)]
    assert not [w for r in rolls for w in r.warnings]
    sounding = [r.roll.sounding for r in rolls]
    assert np.mean([s.sum(1).mean() for s in sounding]) == pytest.approx(card["data"]["density"], rel=0.3)
    assert np.mean([scale_consistency(s) for s in sounding]) > 0.85
    assert all(len(np.unique(s, axis=0)) > 10 for s in sounding)
    assert not (sounding[0] == sounding[1]).all()


@pytest.mark.parametrize("folder", checkpoint.bundled(), ids=lambda p: p.name)
def test_a_bundled_models_samples_are_what_it_composes(folder):
    card = checkpoint.read_card(folder)
    for sample in sorted((folder / "samples").glob("*.mid")):
        song = read_midi(sample)
        assert song.tempo_bpm == pytest.approx(card["composing"]["tempo_bpm"], rel=1e-3)
        assert len(song) > 30 and 48 <= song.beats <= 64


def test_no_code_of_the_package_can_unpickle():
    import ast
    from pathlib import Path

    for path in Path(checkpoint.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, (ast.Import, ast.ImportFrom)) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {n.split(".")[0] for n in names} & {"pickle", "dill", "joblib", "cloudpickle", "shelve"}
            if isinstance(node, ast.Call):
                said = ast.unparse(node)
                assert ast.unparse(node.func) not in ("torch.load", "eval", "exec", "pickle.loads"), f"{path}: {said}"
                assert "allow_pickle=True" not in said, f"{path}: {said}"


class Trap:
    def __reduce__(self):
        return (open, (self.place, "w"))


def test_a_pickle_under_a_name_of_ours_runs_nothing(saved, tmp_path):
    import io
    import pickle

    from deepmusician.errors import LibraryError
    from deepmusician.store import read_entries

    trap = Trap()
    trap.place = str(tmp_path / "sprung")
    torn = io.BytesIO()
    np.save(torn, np.array([trap], object), allow_pickle=True)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "catalogue.json").write_text('{"form": 1, "entries": []}')
    (tmp_path / "set" / "notes.npy").write_bytes(torn.getvalue())
    with pytest.raises(LibraryError):
        read_entries(tmp_path / "set")
    torch.save({"a": trap}, tmp_path / "model.pt")
    for content in (pickle.dumps(trap), (tmp_path / "model.pt").read_bytes()):
        (saved[1] / "model.safetensors").write_bytes(content)
        with pytest.raises(CheckpointError):
            checkpoint.load(saved[1])
    assert not (tmp_path / "sprung").exists()
    pickle.loads(pickle.dumps(trap))  # it would have been sprung
    assert (tmp_path / "sprung").exists()


# ---- cards that ask for more than there is


def describe(folder, **values):
    card = json.loads((folder / "card.json").read_text())
    card["model"] |= values
    (folder / "card.json").write_text(json.dumps(card))


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"hidden_size": 4097}, r"hidden_size must be 1\.\.4096"),
        ({"classifier_size": 10**300}, r"classifier_size must be 1\.\.4096"),
        ({"num_layers": 40, "backbone": "tcn"}, r"num_layers must be 1\.\.8"),  # it would keep 2^40 frames
        ({"decoder_n_layers": 9}, r"decoder_n_layers must be 1\.\.8"),
        ({"kernel_size": 16}, r"kernel_size must be 1\.\.15"),
        ({"attention_heads": 17}, r"attention_heads must be 1\.\.16"),
        ({"memory": 10**6}, r"memory must be 1\.\.2048"),
        ({"seq_len": 10**9}, r"seq_len must be 1\.\.2048"),
        ({"members": 9}, r"members must be 1\.\.8"),
        ({"n_styles": 1025}, r"n_styles must be 1\.\.1024"),
        ({"num_layers": 0}, r"num_layers must be 1\.\.8"),
        ({"hidden_size": -5}, r"hidden_size must be 1\.\.4096"),
        ({"gamma": 1e308}, r"gamma must be 0\.\.5"),
        ({"dropout": 5.0}, r"dropout must be 0\.\.0\.9"),
        ({"loss": "x" * 1000}, "loss must be one of .* got 'x{40}'"),
        ({"planes": ["velocity"]}, "planes in the model's description must be like"),
        ({"x" * 1000: 1}, "lacks or misspells 'x{40}';"),
    ],
    ids=lambda value: None if isinstance(value, str) else "-".join(name[:20] for name in value),
)  # fmt: skip
def test_a_card_that_asks_for_more_than_a_training_can_is_refused(saved, values, match, monkeypatch):
    monkeypatch.setattr(registry, "make", None)  # nothing is built
    describe(saved[1], **values)
    with pytest.raises(CheckpointError, match=match) as caught:
        checkpoint.load(saved[1])
    assert len(str(caught.value)) < 600


def test_a_card_within_the_caps_is_compared_before_it_is_given_memory(saved, monkeypatch):
    made, make = [], registry.make
    monkeypatch.setattr(registry, "make", lambda config: made.append(make(config)) or made[-1])
    most = {name: int(registry.HIGHEST[name]) for name in ("hidden_size", "num_layers", "classifier_size", "members")}
    describe(saved[1], **most, backbone="transformer")
    with pytest.raises(CheckpointError, match="the weights do not fit the card"):
        checkpoint.load(saved[1])
    assert made and all(tensor.is_meta for model in made for tensor in (*model.parameters(), *model.buffers()))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_what_a_backbone_keeps_in_mind_stays_small_where_its_weights_are(backbone):
    """Beside a file of a few megabytes a card at its caps cannot have a state of gigabytes made."""
    caps = {name: int(registry.HIGHEST[name]) for name in ("num_layers", "kernel_size", "memory", "seq_len")}
    model = make(ModelConfig(arrangement="decoder", backbone=backbone, hidden_size=8, attention_heads=1, **caps))
    _, state = model.start("random", generator=torch.Generator().manual_seed(0))
    sizes = [t.numel() for t in torch.utils._pytree.tree_leaves(state) if isinstance(t, torch.Tensor)]
    assert 4 * sum(sizes) < 20_000_000


@pytest.mark.parametrize("text", [b"[" * 100_000, b'{"model": ' + b"[" * 100_000, b"\xff", b"3", b'{"model": 3}'])
def test_a_card_that_is_none_is_refused(saved, text):
    (saved[1] / "card.json").write_bytes(text)
    with pytest.raises(CheckpointError, match="card"):
        checkpoint.read_card(saved[1])


def test_a_card_without_end_is_not_read_to_its_end(saved, monkeypatch):
    monkeypatch.setattr(checkpoint, "LONGEST_CARD", 1_000)
    (saved[1] / "card.json").write_bytes(b" " * 2_000 + b"{}")
    with pytest.raises(CheckpointError, match="more than 1,000 bytes"):
        checkpoint.read_card(saved[1])


def test_the_openings_alone_are_taken_into_memory_where_they_are_asked_for(saved, monkeypatch):
    monkeypatch.setattr(checkpoint, "read_tensors", None)
    assert checkpoint.load_primes(saved[1]).shape == (2, 6, 11)
    (saved[1] / "model.safetensors").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="cannot be read as safetensors"):
        checkpoint.load_primes(saved[1])
