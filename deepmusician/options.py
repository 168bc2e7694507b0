"""What a person can choose, in one declarative table each for training and composing.

A field's name is the long flag, the TOML key and the session key alike; its metadata holds the short flag, the help
text, the allowed range and the group a page shows it under. Flags and sliders are both built from these tables,
and every value is checked when the object is made, so that an impossible option is refused in one sentence.
"""

from __future__ import annotations

import dataclasses
import shlex
from dataclasses import dataclass, field
from typing import Any

from deepmusician.errors import OptionError
from deepmusician.losses import KINDS as LOSSES
from deepmusician.roll import parse_division

INITIAL_STATES = ("zero", "random", "guided")
SAMPLERS = ("sample", "threshold")
VOICES = ("all", "melody")
ACCELERATORS = ("cpu", "gpu", "tpu")
PRECISIONS = ("auto", "fp32", "bf16")


def option(
    default: Any,
    help: str,
    *flags: str,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
    group: str = "basic",
    log: bool = False,
) -> Any:
    """Declare one option: default, help text, short flags, closed range or choices, page group, log scale."""
    table = {
        "help": help,
        "flags": flags,
        "low": low,
        "high": high,
        "choices": choices,
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

    path: str = option("bach-chorales", "a MIDI file, a folder, a zip, a saved data set or a corpus", "-p")
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
    hidden_size: int = option(512, "units in each GRU layer", low=8, high=4096, group="model")
    num_layers: int = option(2, "GRU layers in the encoder", "-l", low=1, high=8, group="model")
    decoder_n_layers: int = option(2, "GRU layers in the decoder", "-d", low=1, high=8, group="model")
    dropout: float = option(
        0.2, "share of units silenced between GRU layers while training", low=0.0, high=0.9, group="model"
    )
    classifier_size: int = option(256, "units in the classifier's hidden layer", low=8, high=4096, group="model")
    classifier_dropout: float = option(
        0.5, "share of the classifier's units silenced while training", low=0.0, high=0.9, group="model"
    )
    loss: str = option(
        "focal", "bce treats every key alike; focal looks hardest at what it gets wrong; focal+ does so for notes only",
        "-c", choices=LOSSES, group="loss",
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
    teacher_forcing_ratio: float = option(
        1.0, "share of frames where the decoder sees the true last frame rather than its own guess", "-tf",
        low=0.0, high=1.0, group="training",
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
    valid_fraction: float = option(
        0.1, "share of the songs held out to judge the model", low=0.01, high=0.5, group="training"
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

    @property
    def step(self) -> int:
        """Frames between window starts."""
        return self.stride or self.seq_len


@dataclass(frozen=True)
class GenerateOptions:
    """How to compose with a trained model."""

    seq_len: int = option(256, "frames to compose", "-l", low=1, high=20_000)
    init: str = option(
        "zero",
        "zero begins a piece, random starts anywhere, guided goes on from a piece",
        "-i",
        choices=INITIAL_STATES,
    )
    sampler: str = option(
        "sample",
        "sample draws each key by its probability; threshold plays every key above a limit",
        choices=SAMPLERS,
    )
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
    threshold: float | None = option(
        None,
        "probability at which a key sounds; without it the checkpoint's own",
        "-t",
        low=0.001,
        high=0.999,
    )
    division: str | None = option(None, "length of a frame; without it the one the model was trained on", "-d")
    tempo_bpm: float = option(100.0, "quarter notes a minute", low=20.0, high=400.0)
    program: int = option(0, "General MIDI instrument, 0..127 (0 is a piano)", low=0, high=127)
    seed: int = option(0, "the same seed gives the same piece, to the byte", low=0, high=2**31 - 1)

    def __post_init__(self) -> None:
        _check(self)
        if self.division is not None:
            parse_division(self.division)


def to_dict(options: TrainOptions | GenerateOptions) -> dict[str, Any]:
    """The options as plain values; None, which TOML cannot hold, is left out."""
    return {k: v for k, v in dataclasses.asdict(options).items() if v is not None}


def from_dict(kind: type, values: dict[str, Any]) -> Any:
    """Inverse of `to_dict`; an unknown name is refused. Raises OptionError."""
    known = {f.name for f in dataclasses.fields(kind)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise OptionError(f"unknown option {unknown[0]!r}; known are {', '.join(sorted(known))}")
    return kind(**values)


def command_line(options: TrainOptions | GenerateOptions) -> str:
    """The flags that differ from the defaults, as they are typed; the path always."""
    words = []
    for f in dataclasses.fields(options):
        value = getattr(options, f.name)
        if value == f.default and f.name != "path":
            continue
        flag = f.metadata["flags"][0] if f.metadata["flags"] else f"--{f.name.replace('_', '-')}"
        words += [flag] if value is True else [flag, shlex.quote(str(value))]
    return " ".join(words)
