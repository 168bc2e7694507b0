"""Capsules: what comes back is the same to the byte, and nothing else of a stranger's file comes in."""

import hashlib
import io
import json
import stat
import struct
import zipfile

import pytest

from deepmusician import capsule, capsule_schema, runs
from deepmusician.capsule import export_run, import_run
from deepmusician.errors import CapsuleError, RunError
from deepmusician.generation import compose
from deepmusician.keeping import annotate, delete
from deepmusician.midi import write_midi
from deepmusician.milestones import choose, timeline
from deepmusician.options import GenerateOptions
from deepmusician.runs import Run

CARD, WEIGHTS, INDEX = "model/card.json", "model/model.safetensors", "capsule.json"


@pytest.fixture(scope="module")
def good(trained_once):
    """The capsule of a run."""
    return export_run(Run(trained_once))


pytestmark = pytest.mark.usefixtures("home")


def unpacked(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(files, told=True):
    """A zip of `files`, its index telling their true sizes and hashes, if `told`."""
    if told:
        index = json.loads(files[INDEX])
        index["files"] = {
            n: {"bytes": len(c), "sha256": hashlib.sha256(c).hexdigest()} for n, c in files.items() if n != INDEX
        }
        files = files | {INDEX: json.dumps(index).encode()}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def changed(content, name, change):
    """The capsule with one of its JSON files changed."""
    files = unpacked(content)
    values = json.loads(files[name])
    change(values)
    return packed(files | {name: json.dumps(values).encode()})


def refused(content, match):
    with pytest.raises(CapsuleError, match=match) as error:
        import_run(content)
    assert "\n" not in str(error.value) and len(str(error.value)) < 700
    assert list(runs.runs_dir().glob("*")) == [] and list(runs.runs_dir().glob(".*.tmp")) == []


def midi(name, **options):
    return write_midi(compose(name, GenerateOptions(seq_len=64, **options)).song)


@pytest.mark.parametrize("chosen", [None, 1])
def test_a_run_exported_deleted_and_imported_elsewhere_composes_the_same_bytes(
    small_run, tmp_path, monkeypatch, chosen
):
    run = Run(small_run)
    annotate(run, "the good one")
    if chosen is not None:
        choose(run, chosen)
    asked = [{"seed": 3}, {"seed": 4, "init": "random"}, {"seed": 5, "init": "guided"}, {"sampler": "threshold"}]
    before = [midi("small", **a) for a in asked]
    samples = [p.read_bytes() for p in run.samples()]
    options, songs, simple = run.options(), run.songs(), run.baselines()
    content = export_run(run)
    delete(run)
    monkeypatch.setenv("DEEPMUSICIAN_HOME", str(tmp_path / "elsewhere"))
    again = import_run(content)
    assert again.name == "small" and again.path.is_relative_to(tmp_path / "elsewhere")
    assert [midi("small", **a) for a in asked] == before
    assert [p.read_bytes() for p in again.samples()] == samples
    assert (again.options(), again.songs(), again.about().note) == (options, songs, "the good one")
    assert len(again.metrics()) == 5 and again.baselines() == simple
    assert [m.epoch for m in timeline(again) if m.chosen] == ([] if chosen is None else [chosen])
    assert export_run(again) is not None


def test_the_same_run_gives_the_same_capsule(trained_once, good):
    assert export_run(Run(trained_once)) == good


def test_each_song_is_told_by_a_hash_of_what_was_learnt(good):
    songs = json.loads(unpacked(good)[INDEX])["songs"]
    assert [s["name"] for s in songs] == [f"tune-{i}.mid" for i in range(6)]
    assert len({s["sha256"] for s in songs}) == 6 and sum(s["held_out"] for s in songs) == 1
    assert all(s["frames"] == 128 for s in songs)  # 32 beats of semiquavers


def test_an_imported_run_takes_a_free_name_and_cannot_be_resumed(good):
    assert [import_run(good).name, import_run(good).name, import_run(good, "mine").name] == ["small", "small-1", "mine"]
    with pytest.raises(CapsuleError, match="cannot be called 'mine'"):
        import_run(good, "mine")
    with pytest.raises(RunError, match="imported without its optimiser, so it cannot go on; branch from it"):
        runs.open_run("mine").resume()
    assert runs.open_run("mine").status().state == "finished"


def test_a_run_without_a_model_is_not_exported(tiny):
    with pytest.raises(CapsuleError, match="has no model yet"):
        export_run(runs.new_run(tiny, "young"))


# ---- strangers


@pytest.mark.parametrize("name", [
    "../../evil.txt", "/etc/passwd", "model/../../x", "C:\\x", "samples/epoch-0001.mid.exe", "model/trainer.pt",
    "samples/sub/epoch-0001.mid", "pickle.pkl", "samples/epoch-1.mid",
])  # fmt: skip
def test_a_file_of_another_name_is_refused(good, name):
    refused(packed(unpacked(good) | {name: b"x"}), "a capsule holds no file called")


def test_a_link_is_refused(good):
    files, out = unpacked(good), io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            if name == CARD:
                info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, content)
    refused(out.getvalue(), "it is a link")


def test_the_same_name_twice_is_refused(good):
    out = io.BytesIO(good)
    with pytest.warns(UserWarning), zipfile.ZipFile(out, "a") as archive:
        archive.writestr(CARD, b"{}")
    refused(out.getvalue(), "each once")


def test_too_many_entries_are_refused(good):
    extra = {f"samples/epoch-{i:05d}.mid": b"" for i in range(1100)}
    refused(packed(unpacked(good) | extra), "at most 1,020 are read")


def test_a_bomb_is_refused_while_it_inflates(good, monkeypatch):
    small = capsule.WITHIN.__class__(file_mb=1, zip_mb=1.5, zip_files=100)
    monkeypatch.setattr(capsule, "WITHIN", small)
    refused(packed(unpacked(good) | {WEIGHTS: bytes(1_200_000)}), "inflates to more than 1,000,000 bytes")
    big = {f"samples/epoch-{i:04d}.mid": bytes(900_000) for i in range(2)}
    refused(packed(unpacked(good) | big), "inflates to more than 1.5 MB")


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x05\x06" + bytes(18), b"MThd" * 100, b"<html>" * 50])
def test_what_is_no_zip_is_refused(content):
    refused(content, "the capsule cannot be imported")


def test_a_capsule_cut_short_anywhere_is_refused(good):
    for size in range(0, len(good), max(1, len(good) // 40)):
        refused(good[:size], "capsule")


def test_changed_bytes_are_refused_by_their_hash(good):
    files = unpacked(good)
    for name in (CARD, WEIGHTS, "samples/epoch-0000.mid"):
        content = bytearray(files[name])
        content[-1] ^= 1
        refused(packed(files | {name: bytes(content)}, told=False), "is not what the capsule's SHA-256 says")
    refused(packed({n: c for n, c in files.items() if "0002" not in n}, told=False), "list of files is not that of")


def test_weights_of_another_shape_or_type_are_refused_before_they_are_read(good, monkeypatch):
    from safetensors.torch import load, save

    files = unpacked(good)
    tensors = load(files[WEIGHTS])
    monkeypatch.setattr("safetensors.torch.load", lambda *a: pytest.fail("they were read"))
    name = next(iter(n for n in tensors if tensors[n].dim() == 2))
    for change, match in (
        ({name: tensors[name][:-1].contiguous()}, "should be"),
        ({name: tensors[name].double()}, "must be 32-bit numbers"),
        ({"extra": tensors[name].clone()}, "is on one side only"),
    ):
        refused(packed(files | {WEIGHTS: save(tensors | change)}), match)


def test_weights_that_are_no_numbers_are_refused(good):
    from safetensors.torch import load, save

    files = unpacked(good)
    tensors = load(files[WEIGHTS])
    tensors[next(n for n in tensors if tensors[n].is_floating_point())].fill_(float("inf"))
    refused(packed(files | {WEIGHTS: save(tensors)}), "no numbers")


def test_a_header_that_lies_is_refused(good):
    files = unpacked(good)
    for weights in (
        b"", b"\x80\x04\x95pickle", struct.pack("<Q", 2**63), struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 99) + b"{", struct.pack("<Q", 40_000) + b"[" * 40_000,
        struct.pack("<Q", 15) + b'{"a":{"dtype":1' ,
    ):  # fmt: skip
        refused(packed(files | {WEIGHTS: weights}), "cannot be read as safetensors")


@pytest.mark.parametrize(
    ("field", "value", "match"),
    [
        ("hidden_size", 10**9, "hidden_size must be 1..4096"),
        ("hidden_size", 4096, "should be"),  # under the cap, so compared: nothing of that size is ever made
        ("num_layers", 65, "num_layers must be 1..8"),
        ("backbone", "os.system", "backbone must be one of"),
        ("dropout", "much", "dropout in the model's description must be like"),
        ("n_styles", True, "n_styles in the model's description"),
        ("unheard_of", 1, "lacks or misspells 'unheard_of'"),
    ],
)
def test_a_model_beyond_its_caps_is_refused_before_anything_is_built(good, field, value, match):
    refused(changed(good, CARD, lambda card: card["model"].update({field: value})), match)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda i: i.update(form=2), "has form 2"),
        (lambda i: i.pop("options") and i.update(options=3), "options in the capsule must be an object"),
        (lambda i: i["options"].update(hidden_size=10**9), "hidden_size must be from 8 to 4096"),
        (lambda i: i["options"].update(evil=1), "unknown option 'evil'"),
        (lambda i: i["options"].update(division="1/0"), "division"),
        (lambda i: i.update(note="x" * 20_000), "note in the capsule must be a text of at most 10,000"),
        (lambda i: i["metrics"][0].update(epoch=7), "must follow one another"),
        (lambda i: i["metrics"][0]["train"].update(nll="<b>"), "train in the capsule must hold numbers"),
        (lambda i: i["metrics"][0]["train"].pop("nll"), "nll in the capsule must be a number"),
        (lambda i: i["metrics"][0].update(warnings="all"), "list of at most 20 sentences"),
        (lambda i: i["songs"][0].update(sha256="x"), "64 hexadecimal digits"),
        (lambda i: i["baselines"].update(silence=[1]), "silence in the capsule must be an object"),
        (lambda i: i.update(metrics={}), "metrics in the capsule must be a list"),
    ],
)  # fmt: skip
def test_an_index_that_says_what_ours_never_does_is_refused(good, change, match):
    refused(changed(good, INDEX, change), match)


@pytest.mark.parametrize("text", ['{"form": NaN}', '{"form": ' + "[" * 5000, "[]", "\xff", '{"a": 1e999, "form": 1}'])
def test_an_index_that_is_no_json_object_is_refused(good, text):
    refused(packed(unpacked(good) | {INDEX: text.encode("latin-1")}, told=False), "capsule")


def test_a_sample_that_is_no_music_is_refused(good):
    content = packed(unpacked(good) | {"samples/epoch-0003.mid": b"<script>"})
    refused(content, "epoch-0003.mid in the capsule is no music")


def test_a_strangers_words_cannot_become_pictures_links_or_tags(good):
    evil = "![x](http://example.org/x.png)<img src=x>\x00\x1b"

    def write(index):
        index.update(note=evil, name="../../" + "x" * 60)
        index["options"]["path"] = evil
        index["metrics"][0]["warnings"] = [evil]
        index["songs"][0]["name"] = evil

    content = changed(good, INDEX, write)

    def describe(card):
        card.update(description=evil, title=evil, composing={"program": 9999})
        card["data"]["styles"] = [evil, "b"]

    run = import_run(changed(content, CARD, describe))
    assert run.path.parent == runs.runs_dir() and run.name.startswith("x")
    said = json.dumps([run.about().note, run.options().path, run.metrics(), run.songs()])
    card = json.loads((run.model() / "card.json").read_text())
    assert not {"[x", "<", "\\u001b", "\\u0000"} & {s for s in ("[x", "<", "\\u001b", "\\u0000") if s in said}
    assert "description" not in card and "composing" not in card
    assert card["data"]["styles"][0] == card["title"] == "!(x)(http://example.org/x.png)‹img src=x›"


def test_text_is_made_plain_and_lines_stay():
    assert capsule_schema.plain("a[b]<c>`d`\x07\nç 音") == "a(b)‹c›'d'\nç 音"
