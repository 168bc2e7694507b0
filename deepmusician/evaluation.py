"""Reports: how well a model predicts music it was not trained on, beside what needs no learning at all, and what the
judges say of the music it composes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepmusician import checkpoint
from deepmusician.baselines import baselines
from deepmusician.errors import CheckpointError, LibraryError, OptionError
from deepmusician.features import FEATURES
from deepmusician.judging import Progress, judge, silent
from deepmusician.library import read_sources
from deepmusician.music_card import fingerprint
from deepmusician.options import TrainOptions, from_dict
from deepmusician.roll_files import read_npz
from deepmusician.rolls import Rolls, read_rolls
from deepmusician.scoring import references, score

CHANGED = "The music has changed since this model learnt it: what it is judged by may not be what was held out then."


def evaluate(
    source: str | Path, music: str | Path | None = None, size: str = "quick", progress: Progress = silent
) -> dict[str, Any]:
    """Score a checkpoint on `music`, or on the songs held out when it was trained, and let it be judged.

    Returns {"checkpoint", "music", "music_changed" since the model learnt it, "songs", "frames", "threshold", "model":
    {loss, nll, precision, recall, f1, density, data_density}, "baselines": {...}, "judges": see `judging.judge`};
    likelihoods in nats a frame, every frame counted, the first included. The baselines' constants come from the
    training songs. Of a model that gives velocities there are only loss and nll. `size` is that of `judging.SIZES`.
    Raises CheckpointError where the held-out songs are gone.
    """
    model, card = checkpoint.load(source)
    options = from_dict(TrainOptions, card["options"])
    names, rolls = read_rolls(options, read_sources(options.path if music is None else str(music)))
    rolls = as_trained(rolls, card)
    train, judged = _split(card, names, rolls, same=music is None)
    progress("Scoring held-out songs", 0, 1)
    scored = score(model, rolls, judged)
    learnt = card["data"].get("fingerprint")
    return {
        "checkpoint": str(source),
        "music": str(music) if music else f"songs of {options.path} held out in training",
        "music_changed": music is None and learnt is not None and learnt != fingerprint(rolls),
        "songs": len(judged),
        "frames": scored.frames,
        "threshold": card["threshold"],
        "model": scored.table(card["threshold"]),
        "baselines": references(model, rolls, train, judged),
        "judges": judge(model, card, rolls, train, judged, size, progress)
        if model.composes
        else {"problem": "this model composes nothing, so there is no music of its own to judge"},
    }


def evaluate_rolls(source: str | Path, file: str | Path, split: str) -> dict[str, Any]:
    """The honest likelihood of a checkpoint on one split of a polyphonic .npz file, as the field compares it.

    The total negative log-likelihood of all frames, each given all true frames before it and the first included,
    divided by their number. The report is `evaluate`'s, with "split" and "nats_per_frame"; the baselines' constants
    come from the file's `train` split where there is one, else from the judged one.
    Source: Boulanger-Lewandowski et al., ICML 2012.
    """
    model, card = checkpoint.load(source)
    if model.config.planes != "sounding" or model.config.head == "melody":
        raise OptionError(
            f"{source} also predicts what {file} does not hold (planes {model.config.planes}, head "
            f"{model.config.head}); judge a model of planes sounding, or give music with -p"
        )
    judged = as_trained(read_npz(file, split), card)
    scored = score(model, judged, np.arange(len(judged)))
    try:
        train = read_npz(file, "train")
    except LibraryError:
        train = judged
    return {
        "checkpoint": str(source),
        "music": str(file),
        "split": split,
        "songs": len(judged),
        "frames": scored.frames,
        "nats_per_frame": scored.nll,
        "threshold": card["threshold"],
        "model": scored.table(card["threshold"]),
        "baselines": baselines(map(train.sounding, range(len(train))), list(map(judged.sounding, range(len(judged))))),
    }


def as_trained(rolls: Rolls, card: dict[str, Any]) -> Rolls:
    """The rolls with their styles counted as the model knows them; unknown ones count as a mix of all."""
    known = tuple(card["data"].get("styles", ()))
    if len(known) < 2 or not set(rolls.style_names) <= set(known):
        return dataclasses.replace(rolls, style_names=rolls.style_names[:1], styles=np.zeros(len(rolls), np.int64))
    index = np.array([known.index(name) for name in rolls.style_names])
    return dataclasses.replace(rolls, style_names=known, styles=index[rolls.styles])


def training_music(source: str | Path) -> tuple[dict[str, Any], tuple[str, ...], Rolls, np.ndarray, np.ndarray]:
    """A checkpoint's card, the names of its songs, the songs on its grid, and which were learnt and which held out.

    Raises CheckpointError where none was held out, or held-out songs are gone.
    """
    card = checkpoint.read_card(source)
    options = from_dict(TrainOptions, card["options"])
    names, rolls = read_rolls(options, read_sources(options.path))
    return card, names, rolls, *_split(card, names, rolls, same=True)


def _split(card: dict[str, Any], names: Sequence[str], rolls: Rolls, same: bool) -> tuple[np.ndarray, np.ndarray]:
    """Songs for the baselines' constants, and songs to judge on."""
    everything = np.arange(len(rolls))
    if not same:
        return everything, everything
    held_out = set(card["data"]["held_out"])
    judged = np.array([i for i, name in enumerate(names) if name in held_out], np.int64)
    if not held_out:
        raise CheckpointError("no song was held out when this model was trained; name music to judge it on with -p")
    if len(judged) != len(held_out):
        raise CheckpointError(f"{len(held_out) - len(judged)} of the held-out songs are gone; name other music with -p")
    return np.setdiff1d(everything, judged), judged


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    model = report["model"]
    part = f" ({report['split']})" if "split" in report else ""
    lines = [
        f"{report['checkpoint']} on {report['songs']} {'songs of ' if part else ''}{report['music']}{part}",
        f"{'':18}{'nats/frame':>11}{'F1':>8}{'precision':>11}{'recall':>8}{'notes/frame':>13}",
        _row("model", model),
        *[_row(name.replace("_", " "), values) for name, values in report["baselines"].items()],
    ]
    if "data_density" in model:
        lines += [
            f"{'data':18}{'':11}{'':8}{'':11}{'':8}{model['data_density']:13.2f}",
            f"{report['frames']} frames; keys count as played from a probability of {report['threshold']:.3f}",
        ]
    else:
        lines.append(f"{report['frames']} frames; the notes are given, only their velocities count")
    if report.get("music_changed"):
        lines.append(CHANGED)
    judged = report.get("judges", {})
    lines += judged.get("words") or [judged[key] for key in judged.keys() & {"problem"}]
    return "\n".join([*lines, *_feature_lines(judged)])


def _feature_lines(judged: dict[str, Any]) -> list[str]:
    """A line a feature: the means of composed and human music, and how both overlap with what was held out."""
    rows = {FEATURES[name]: row for name, row in judged.get("features", {}).items() if "real" in row}
    if not rows:
        return []
    lines = [f"{'':20}{'composed':>10}{'human':>10}{'overlap':>9}{'ceiling':>9}  (ceiling: real against real)"]
    for feature, row in rows.items():
        means = [f"{'–':>10}" if feature.classes else f"{row[who]:10.2f}" for who in ("composed", "human")]
        areas = [f"{row[who]['area']:9.2f}" for who in ("model", "real")]
        lines.append(f"{feature.title:20}{''.join(means + areas)}  {feature.unit}")
    return lines


def _row(name: str, values: dict[str, float]) -> str:
    cells = [("nll", 11), ("f1", 8), ("precision", 11), ("recall", 8), ("density", 13)]
    text = "".join(
        f"{values[k]:{w}.{2 if k == 'density' else 3}f}" if k in values else " " * (w - 1) + "–" for k, w in cells
    )
    return f"{name:18}{text}"
