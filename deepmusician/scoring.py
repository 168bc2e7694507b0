"""How well a model predicts whole songs, from their first frame on: its loss, its honest likelihood, its hits.

A model that only gives velocities is judged by the nats of the velocities; it hits no keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deepmusician.baselines import baselines
from deepmusician.metrics import CellCounts
from deepmusician.models.base import Model
from deepmusician.models.contract import Batch
from deepmusician.models.heads.strokes import LEVELS, PER_LEVEL
from deepmusician.roll import KEYS
from deepmusician.rolls import Rolls
from deepmusician.windows import Windows

FRAMES = 4096  # of several songs, scored at once; changes speed only
COUNTED = 1024  # frames whose keys are judged one by one where that means drawing chords
SEED = 1  # heads that must draw chords to know how likely a key is draw the same ones each time


@dataclass(frozen=True)
class Score:
    """Means over the `frames` of the songs: `loss` and `nll` in their own units a frame, and the cells' counts.

    There are no counts of a model that composes nothing.
    """

    loss: float
    nll: float
    frames: int
    counts: CellCounts | None
    rare: CellCounts | None = None  # of the rare keys alone

    def table(self, threshold: float) -> dict[str, float]:
        """The numbers a report shows, with keys played at or above `threshold`."""
        scores = {"loss": self.loss, "nll": self.nll}
        if self.counts is None:
            return scores
        scores |= {**self.counts.at(threshold), "data_density": self.counts.data_density}
        if self.rare is not None and self.rare.data_density:
            scores["rare_recall"] = self.rare.at(threshold)["recall"]
        return scores


@torch.inference_mode()
def score(
    model: Model, rolls: Rolls, songs: np.ndarray, device: object = "cpu", most: int | None = None,
    rare: np.ndarray | None = None,
) -> Score | None:  # fmt: skip
    """Score `songs` of `rolls`, each frame given the true ones before it; None where there are none.

    With `most`, songs spread evenly over all of them that hold about that many frames. The keys `rare`, bool [88], are
    counted for themselves, too.
    """
    if most is not None:
        songs = spread(rolls, songs, most)
    if not len(songs):
        return None
    was_training = model.training
    model.eval()
    loss = nll = 0.0
    counts, rarely, frames = CellCounts(), CellCounts(), int(rolls.lengths[songs].sum())
    every = max(1, frames // COUNTED) if model.composes and model.head.draws else 1
    generator = torch.Generator(device).manual_seed(SEED)
    for batch in whole_songs(rolls, songs):
        batch = batch.to(device)
        for place, contexts in model.walk(batch.target, batch.style):
            inside, target = batch.mask[:, place], batch.target[:, place]
            here, target = contexts[inside], target[inside]
            losses, nlls = model.head.losses(here, target)
            loss, nll = loss + float(losses.sum()), nll + float(nlls.sum())
            if model.composes:
                some = slice(None, None, every)
                probability = model.head.probability(here[some], generator).cpu().numpy()
                truth = target[some, :KEYS].cpu().numpy()
                counts.add(probability, truth)
                if rare is not None:
                    rarely.add(probability[:, rare], truth[:, rare])
    model.train(was_training)
    if not model.composes:
        return Score(loss / frames, nll / frames, frames, None)
    return Score(loss / frames, nll / frames, frames, counts, None if rare is None else rarely)


def references(model: Model, rolls: Rolls, train: np.ndarray, judged: np.ndarray) -> dict[str, dict[str, float]]:
    """What needs no learning reaches on the songs `judged`, with constants from `train`; see `baselines`.

    Beside a model that gives velocities, `velocity_frequencies` knows how often each of their levels is struck.
    """
    if model.composes:
        sounding = [(rolls.sounding(i) for i in songs) for songs in (train, judged)]
        return baselines(*sounding, rolls.planes)
    constant = level_counts(rolls, train) + 0.5
    nats = -(level_counts(rolls, judged) * np.log(constant / constant.sum())).sum()
    return {"velocity_frequencies": {"nll": float(nats) / max(int(rolls.lengths[judged].sum()), 1)}}


def level_counts(rolls: Rolls, songs: np.ndarray) -> np.ndarray:
    """How many keys `songs` strike at each level of velocity, int [32]; the rolls must hold velocities."""
    counts = np.zeros(LEVELS, np.int64)
    for song in songs:
        _, onset, velocity = np.split(rolls.frames(song), 3, axis=1)
        counts += np.bincount(velocity[onset > 0] // PER_LEVEL, minlength=LEVELS)
    return counts


@torch.inference_mode()
def likelihoods(model: Model, batch: Batch) -> Tensor:
    """Nats of each frame [B, T] of whole songs, each given the true frames before it; 0 where masked out."""
    nll = torch.zeros(batch.mask.shape, device=batch.mask.device)
    for place, contexts in model.walk(batch.target, batch.style):
        nll[:, place] = model.head.nll(contexts, batch.target[:, place])
    return nll * batch.mask


def whole_songs(rolls: Rolls, songs: np.ndarray) -> Iterator[Batch]:
    """The songs as batches of one window each, those of like length together, about FRAMES frames at a time."""
    songs = songs[np.argsort(rolls.lengths[songs], kind="stable")[::-1]]
    begin = 0
    while begin < len(songs):
        longest = int(rolls.lengths[songs[begin]])
        some = songs[begin : begin + max(1, FRAMES // longest)]
        places = np.stack([some, np.zeros_like(some)], 1)
        yield Windows(rolls, some, longest, longest, 1).batch(places, np.zeros(len(some), np.int64))
        begin += len(some)


def spread(rolls: Rolls, songs: np.ndarray, most: int) -> np.ndarray:
    """About `most` frames' worth of the songs, evenly picked; at least one song where there is any."""
    frames = int(rolls.lengths[songs].sum())
    return songs[:: max(1, round(frames / max(most, 1)))]
