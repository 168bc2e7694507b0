"""The numbers behind "How it works": what a grid keeps of music, what silence costs, and what a network really answers.

Everything is computed from the song or the model at hand; nothing is made up. Knows nothing of pages or pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from deepmusician.losses import loss_curve
from deepmusician.notes import Song
from deepmusician.roll import KEYS, Roll, from_roll, to_roll

if TYPE_CHECKING:
    from deepmusician.models.base import Model
    from deepmusician.models.contract import Sampling


# ---- the piano roll


@dataclass(frozen=True)
class Gridded:
    """A song on a grid: its roll, what the roll sounds like, and how many of its notes came back as they were."""

    roll: Roll
    song: Song
    kept: int


def put_on_grid(song: Song, division: str) -> Gridded:
    """Put a song into frames of `division` of a whole note and read it back, at its tempo."""
    roll = to_roll(song, division)
    back = from_roll(roll, song.tempo_bpm)
    return Gridded(roll, back, len(_marks(song) & _marks(back)))


def _marks(song: Song) -> set[tuple[float, float, int]]:
    """Notes by onset, duration and pitch; times that differ by less than a thousandth of a beat are one."""
    notes = song.notes
    return set(zip(notes["onset"].round(3), notes["duration"].round(3), notes["pitch"].tolist(), strict=True))


# ---- imbalance, and what the focal loss does about it


def constant_loss(p: np.ndarray | float, share: float) -> np.ndarray:
    """Mean cross-entropy, in nats a cell, of saying `p` of every cell where `share` of them sound; least at share."""
    sounding, silent = loss_curve("bce", np.asarray(p), 0.5, 0.0)
    return share * sounding + (1 - share) * silent


def weight_of_notes(kind: str, alpha: float, gamma: float, share: float, note: float, silence: float) -> float:
    """The part (0..1) of the whole loss that sounding cells make up, where `share` of the cells sound.

    The model gives the truth the probability `note` where a key sounds, and `silence` where it does not.
    """
    sounding, _ = loss_curve(kind, np.array(note), alpha, gamma)
    _, silent = loss_curve(kind, np.array(1 - silence), alpha, gamma)
    notes, rest = share * float(sounding), (1 - share) * float(silent)
    return notes / (notes + rest)


# ---- teacher forcing


def predictions(
    model: Model, truth: np.ndarray, how: Sampling, told: int | None = None, draws: int = 1, seed: int = 0
) -> np.ndarray:
    """What a model plays along a piece `truth`, uint8 [T, W]: bool [draws, T, 88].

    The first `told` frames (all, where None) are predicted each from the true ones before it: teacher forcing. From
    there on the model is alone: each frame follows from its own.
    """
    import torch

    from deepmusician.models.frames import to_model

    total = len(truth)
    told = total if told is None else min(told, total)
    generator = torch.Generator().manual_seed(seed)
    true = to_model(truth)[None].expand(draws, -1, -1)
    style = _styles(model, draws)
    played = np.zeros((draws, total, KEYS), bool)
    model.eval()
    with torch.inference_mode():
        last, state = model.start("zero", style=style, batch_size=draws)
        for t in range(total):
            context, state = model.step(last, state, style)
            frame = model.head.sample(context, how, generator)
            played[:, t] = frame[:, :KEYS].numpy() > 0
            last = true[:, t] if t < told else frame
    return played


def _styles(model: Model, rows: int):  # noqa: ANN202  a tensor [rows, n], or None where there is one style
    """All of a model's styles alike."""
    import torch

    n = model.config.n_styles
    return torch.full((rows, n), 1 / n) if n > 1 else None


def agreement(played: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """F1 of each frame [T], over the draws of `played` [draws, T, 88], against `truth` [T, 88]; 1 where both rest."""
    hits = (played & truth).sum((0, 2))
    both = played.sum((0, 2)) + len(played) * truth.sum(1)
    return np.where(both == 0, 1.0, 2 * hits / np.maximum(both, 1))


# ---- temperature


@dataclass(frozen=True)
class Draws:
    """What a model would play next: the share of draws in which each key sounds [88], and chords with their shares."""

    keys: np.ndarray
    chords: list[tuple[tuple[int, ...], float]]


def next_frame(model: Model, heard: np.ndarray, how: Sampling, draws: int = 400, seed: int = 0) -> Draws:
    """Draw the frame after `heard`, uint8 [n, W], again and again; chords are MIDI pitches, the commonest first.

    Works for every head: those that put whole chords together have no probability for a key alone.
    """
    import torch

    from deepmusician.models.frames import to_model
    from deepmusician.roll import LOWEST

    model.eval()
    style = _styles(model, 1)
    with torch.inference_mode():
        last, state = model.start("guided", prime=to_model(heard)[None], style=style)
        context, _ = model.step(last, state, style)
        generator = torch.Generator().manual_seed(seed)
        frames = model.head.sample(context.expand(draws, *context.shape[1:]), how, generator)[:, :KEYS].numpy() > 0
    chords, counts = np.unique(frames, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    named = [(tuple((np.flatnonzero(chords[i]) + LOWEST).tolist()), counts[i] / draws) for i in order]
    return Draws(frames.mean(0), named)
