"""What a person can choose, in one declarative table each for training, composing and rewriting.

A field's name is the long flag, the TOML key and the session key alike; its metadata holds the short flag, the help
text, the allowed range and the group a page shows it under. Flags and sliders are both built from these tables,
and every value is checked when the object is made, so that an impossible option is refused in one sentence.
"""

from __future__ import annotations

import dataclasses
import shlex
from dataclasses import dataclass, field
from typing import Any

from deepmusician.clashes import check_parts
from deepmusician.errors import OptionError
from deepmusician.losses import KINDS as LOSSES
from deepmusician.roll import PLANES, parse_division
from deepmusician.scales import parse_scale

# what can be chosen, and what a page calls it; files, flags and code know the first alone
ARRANGEMENTS = {
    "encoder-decoder": "encoder and decoder", "decoder": "decoder alone", "expression": "expression: how loud",
}  # fmt: skip
BACKBONES = {
    "rnn": "plain RNN", "lstm": "LSTM", "gru": "GRU", "tcn": "convolutions (TCN)", "transformer": "Transformer",
    "biaxial": "a GRU for each key", "biaxial-lstm": "an LSTM for each key",
}  # fmt: skip
ATTENTION = {"none": "none", "additive": "learnt comparison (additive)", "dot": "scalar product (dot)"}
HEADS = {
    "keys": "each key apart", "chord": "whole chords, key after key", "melody": "one melody note",
    "axis": "an LSTM along the keys", "intervals": "chords by their intervals",
}  # fmt: skip
INITIAL_STATES = {"zero": "from silence", "random": "from anywhere", "guided": "on from a piece"}
SAMPLERS = {"sample": "by chance", "threshold": "all above a limit"}
VOICES = {"all": "all notes", "melody": "only the melody on top"}
GUESSES = {"parallel": "true frames, all at once", "sequential": "guesses too, one by one"}
ACCELERATORS = {"cpu": "processor (CPU)", "gpu": "graphics card (GPU)", "tpu": "TPU"}
PRECISIONS = {"auto": "automatic", "fp32": "32 bits", "bf16": "16 bits (bf16)"}
LOSS_WORDS = dict(zip(LOSSES, ("all keys alike (bce)", "focal", "focal for notes only (focal+)"), strict=True))
PLANES_WORDS = dict(zip(PLANES, ("that it sounds", "also when it is struck", "also how loud"), strict=True))
TEMPO_BPM = 100.0  # of what is composed, where neither the person nor the model names another


def option(
    default: Any,
    help: str,
    *flags: str,
    low: float | None = None,
    high: float | None = None,
    choices: dict[str, str] | None = None,
    group: str = "basic",
    log: bool = False,
) -> Any:
    """Declare one option: default, help, short flags, closed range or choices in words, page group, log scale."""
    table = {
        "help": help,
        "flags": flags,
        "low": low,
        "high": high,
        "choices": tuple(choices) if choices else None,
        "words": choices or {},
        "group": group,
        "log": log,
    }
    return field(default=default, metadata=table)


def _check(options: Any) -> None:
    """Refuse a value outside the table: rule, value, remedy."""
    for f in dataclasses.fields(options):
        value, m = getattr(options, f.name), f.metadata
        if value is None:
            continue
        if m["choices"] and value not in m["choices"]:
            raise OptionError(f"{f.name} must be one of {', '.join(m['choices'])}, got {value!r}")
        if m["low"] is not None or m["high"] is not None:
            _check_range(f.name, value, m["low"], m["high"])


def _check_range(name: str, value: Any, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise OptionError(f"{name} must be a number from {low:g} to {high:g}, got {value!r}")
    if not low <= value <= high:
        raise OptionError(f"{name} must be from {low:g} to {high:g}, got {value:g}")


@dataclass(frozen=True)
class TrainOptions:
    """Everything needed to repeat a training; written to a run's `config.toml`."""

    path: str = option(
        "bach-chorales", "a MIDI file, a folder, a zip, a saved data set or a corpus; several are as many styles", "-p"
    )
    recipe: str = option("deep-musician", "the recipe whose values hold where no others are given")
    n_epochs: int = option(40, "how many times the training songs are gone through", "-e", low=1, high=10_000)
    batch_size: int = option(16, "windows a training step sees at once", "-b", low=1, high=4096, group="training")
    seq_len: int = option(
        64,
        "frames in a source window and in the target that follows it",
        "-s",
        low=2,
        high=2048,
        group="music",
    )
    stride: int | None = option(
        None, "frames between window starts; without it seq_len, so each frame is a target once an epoch",
        low=1, high=4096, group="training",
    )  # fmt: skip
    balance: float = option(
        0.0, "how far songs count alike, however long: 0 learns each frame once an epoch, 1 from each song as often",
        low=0.0, high=1.0, group="training",
    )  # fmt: skip
    arrangement: str = option(
        "encoder-decoder",
        "a decoder that goes on from an encoder, a decoder alone, or expression: velocities for a piece that is there",
        choices=ARRANGEMENTS, group="model",
    )  # fmt: skip
    backbone: str = option(
        "gru",
        "what carries time: rnn, lstm, gru; convolutions (tcn); a transformer; a gru or lstm for each key (biaxial)",
        choices=BACKBONES, group="model",
    )  # fmt: skip
    attention: str = option(
        "none", "how the decoder looks back at the frames the encoder read", choices=ATTENTION, group="model"
    )
    head: str = option(
        "keys",
        "how a frame is drawn: each key apart, a chord key after key, one melody note, or along the keys (of biaxial)",
        choices=HEADS, group="model",
    )  # fmt: skip
    hidden_size: int = option(512, "units in each layer of the backbone", low=8, high=4096, group="model")
    num_layers: int = option(
        2, "layers in the encoder, or in the decoder where it is alone", "-l", low=1, high=8, group="model"
    )
    decoder_n_layers: int = option(
        2, "layers in the decoder that follows an encoder", "-d", low=1, high=8, group="model"
    )
    dropout: float = option(
        0.2, "share of units silenced between layers while training", low=0.0, high=0.9, group="model"
    )
    classifier_size: int = option(256, "units in the classifier's hidden layer", low=8, high=4096, group="model")
    classifier_dropout: float = option(
        0.5, "share of the classifier's units silenced while training", low=0.0, high=0.9, group="model"
    )
    clock: bool = option(
        False, "tell the model how many frames old the piece is, so that it can count the bars", group="model"
    )
    skip: bool = option(False, "show the last frame to the head as well as to the backbone", group="model")
    kernel_size: int = option(3, "frames that a convolution of tcn sees at once", low=2, high=15, group="model")
    attention_heads: int = option(4, "heads in each layer of a Transformer", low=1, high=16, group="model")
    memory: int = option(128, "frames that a Transformer looks back at most", low=8, high=2048, group="model")
    members: int = option(
        1, "networks of different beginnings that learn side by side and answer together; each takes its time",
        low=1, high=8, group="model",
    )  # fmt: skip
    loss: str = option(
        "focal", "bce treats every key alike; focal looks hardest at what it gets wrong; focal+ does so for notes only",
        "-c", choices=LOSS_WORDS, group="loss",
    )  # fmt: skip
    gamma: float = option(
        2.0, "focus: 0 weighs easy and hard keys alike, higher ignores the easy ones", "-g",
        low=0.0, high=5.0, group="loss",
    )  # fmt: skip
    alpha: float = option(
        0.75, "weight of sounding keys against silent ones (silent ones weigh 1 - alpha)", "-a",
        low=0.05, high=0.99, group="loss",
    )  # fmt: skip
    learning_rate: float = option(
        2e-3, "how far a step moves the weights", "-lr", low=1e-6, high=0.1, group="training", log=True
    )
    weight_decay: float = option(0.01, "pull of the weights towards zero (AdamW)", low=0.0, high=1.0, group="training")
    averaging: float = option(
        0.0, "judge and keep a running average of the weights: its decay a step, 0 for the weights themselves",
        low=0.0, high=0.9999, group="training",
    )  # fmt: skip
    teacher_forcing_ratio: float = option(
        1.0, "share of frames where the decoder sees the true last frame rather than its own guess", "-tf",
        low=0.0, high=1.0, group="training",
    )  # fmt: skip
    guesses: str = option(
        "parallel", "what the decoder's own guesses follow: true frames (parallel, the cheaper), or guesses too, as in "
        "composing (sequential)", choices=GUESSES, group="training",
    )  # fmt: skip
    threshold: float | None = option(
        None, "probability at which a key sounds; without it calibrated on held-out songs so that density matches",
        "-t", low=0.001, high=0.999, group="music",
    )  # fmt: skip
    transpose: int = option(
        5,
        "each epoch moves every song by a random step of at most this many semitones",
        low=0,
        high=12,
        group="music",
    )
    remove_zeros: bool = option(False, "leave out the frames in which nothing sounds", "-rz", group="music")
    division: str = option("1/16", "length of a frame as a part of a whole note", "-div", group="music")
    voices: str = option("all", "all notes, or only the melody on top", choices=VOICES, group="music")
    planes: str = option(
        "sounding", "what is learnt of a note: that it sounds; when it is struck anew, too; how loud, too",
        choices=PLANES_WORDS, group="music",
    )  # fmt: skip
    valid_fraction: float = option(
        0.1, "share of the songs held out to judge the model", low=0.01, high=0.5, group="training"
    )
    milestones: str = option(
        "doubling",
        "epochs whose model is kept to be heard and chosen: doubling (0, 1, 2, 4 …), all, none, or a list: 0,5,20",
        group="training",
    )
    start_from: str | None = option(
        None,
        "the model whose weights it begins with: a run, RUN@EPOCH, a bundled one; without it they are random",
        group="training",
    )
    accelerator: str = option("cpu", "what computes", "-ac", choices=ACCELERATORS, group="machine")
    precision: str = option(
        "auto", "number format of the matrix products; auto takes bf16 where the processor is faster at it",
        choices=PRECISIONS, group="machine",
    )  # fmt: skip
    threads: int = option(0, "processor threads; 0 leaves one core to the studio", low=0, high=256, group="machine")
    seed: int = option(0, "the same seed gives the same training", low=0, high=2**31 - 1, group="machine")

    def __post_init__(self) -> None:
        _check(self)
        parse_division(self.division)
        if not self.path:
            raise OptionError("path is empty; give a file, a folder or a corpus such as bach-chorales")
        milestone_epochs(self.milestones, 0)
        check_parts(self)

    @property
    def step(self) -> int:
        """Frames between window starts."""
        return self.stride or self.seq_len


@dataclass(frozen=True)
class DrawOptions:
    """How notes are drawn, whether a piece is composed or a part of one is written anew."""

    temperature: float | None = option(
        None, "below 1 plays safe, above 1 takes risks; without it the checkpoint's own", low=0.05, high=3.0
    )
    top_p: float | None = option(
        None,
        "draw only from the likeliest keys that hold this share of the expected notes; without it the checkpoint's own",
        low=0.05,
        high=1.0,
    )
    fullness: float | None = option(
        None,
        "times as many notes as the model expects; without it the checkpoint's own, as full as its music",
        low=0.25,
        high=4.0,
    )
    scale: str | None = option(
        None, "keep to a scale, such as 'C major', 'F# minor', 'D dorian' or 'A blues': no other key ever sounds"
    )
    style: str | None = option(
        None,
        "of a model that learnt several: one style, a mix such as a:0.7,b:0.3, or a change along the piece, a>b",
    )
    seed: int = option(0, "the same seed gives the same notes, to the byte", low=0, high=2**31 - 1)

    def __post_init__(self) -> None:
        _check(self)
        if self.scale is not None:
            parse_scale(self.scale)


@dataclass(frozen=True)
class GenerateOptions(DrawOptions):
    """How to compose with a trained model."""

    seq_len: int = option(256, "frames to compose", "-l", low=1, high=20_000)
    init: str = option(
        "zero",
        "zero begins a piece, random starts anywhere, guided goes on from a piece",
        "-i",
        choices=INITIAL_STATES,
    )
    opening: int | None = option(
        None, "which of the held-out openings kept with the checkpoint guided goes on from; without it the seed picks",
        low=1, high=64,
    )  # fmt: skip
    keep: bool = option(False, "keep the piece that guided goes on from, and let the new music follow it")
    sampler: str = option(
        "sample",
        "sample draws each key by its probability; threshold plays every key above a limit",
        choices=SAMPLERS,
    )
    threshold: float | None = option(
        None,
        "probability at which a key sounds; without it the checkpoint's own",
        "-t",
        low=0.001,
        high=0.999,
    )
    division: str | None = option(None, "length of a frame; without it the one the model was trained on", "-d")
    tempo_bpm: float | None = option(
        None, "quarter notes a minute; without it the kept piece's, else what suits the model", low=20.0, high=400.0
    )
    program: int | None = option(
        None, "General MIDI instrument, 0..127 (0 is a piano); without it the kept piece's, else what suits the model",
        low=0, high=127,
    )  # fmt: skip
    variations: int = option(1, "how many pieces, the next ones with the next seeds", low=1, high=16)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.division is not None:
            parse_division(self.division)
        if self.keep and self.init != "guided":
            raise OptionError(f"keep keeps the piece that guided goes on from, got init {self.init}; set it to guided")
        if self.seed + self.variations > 2**31:
            raise OptionError(f"the variations take the seeds from {self.seed} on, beyond {2**31 - 1}; lower seed")


def milestone_epochs(milestones: str, n_epochs: int) -> tuple[int, ...]:
    """The epochs up to `n_epochs` whose model is kept; 0 is the untrained one. Raises OptionError."""
    if milestones == "none":
        return ()
    if milestones == "all":
        return tuple(range(n_epochs + 1))
    if milestones == "doubling":
        return (0, *(2**i for i in range(n_epochs.bit_length()) if 2**i <= n_epochs))
    parts = [part.strip() for part in str(milestones).split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) <= 5 for part in parts):
        raise OptionError(
            f"milestones must be doubling, all, none, or epochs parted by commas such as 0,5,20, got {milestones!r}"
        )
    return tuple(sorted({epoch for part in parts if (epoch := int(part)) <= n_epochs}))


@dataclass(frozen=True)
class RewriteOptions(DrawOptions):
    """How a part of a piece is written anew."""

    candidates: int = option(
        16, "how many ways through the gap are tried, and weighed by how well they lead into what follows",
        low=1, high=128,
    )  # fmt: skip


Options = TrainOptions | GenerateOptions | RewriteOptions


def to_dict(options: Options) -> dict[str, Any]:
    """The options as plain values; None, which TOML cannot hold, is left out."""
    return {k: v for k, v in dataclasses.asdict(options).items() if v is not None}


def from_dict(kind: type, values: dict[str, Any]) -> Any:
    """Inverse of `to_dict`; an unknown name is refused. Raises OptionError."""
    known = {f.name for f in dataclasses.fields(kind)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise OptionError(f"unknown option {unknown[0]!r}; known are {', '.join(sorted(known))}")
    return kind(**values)


def command_line(options: Options, start: Options | None = None) -> str:
    """The flags that differ from `start`, else from the defaults, as they are typed; the path always."""
    start = start or type(options)()
    words = []
    for f in dataclasses.fields(options):
        value = getattr(options, f.name)
        if f.name == "path":
            words += ["-p", *_sources(value)]
        elif value != getattr(start, f.name):
            words += _flag(f, value)
    return " ".join(words)


def _flag(f: dataclasses.Field, value: Any) -> list[str]:
    long = f"--{f.name.replace('_', '-')}"
    if value is False:
        return [long.replace("--", "--no-", 1)]
    flag = next(iter(f.metadata["flags"]), long)
    return [flag] if value is True else [flag, shlex.quote(str(value))]


def _sources(path: str) -> list[str]:
    """The sources as words of their own, where each can be one."""
    parts = path.split("|")
    apart = all(part and not part.startswith("-") for part in parts)
    return [shlex.quote(part) for part in (parts if apart else [path])]
