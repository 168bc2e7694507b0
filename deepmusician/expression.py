"""Humanise: give the notes of a piece that is there, composed or not, the velocities a model expects of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from deepmusician import checkpoint
from deepmusician.errors import OptionError
from deepmusician.models.frames import to_model
from deepmusician.notes import Song
from deepmusician.roll import KEYS, LOWEST, parse_division
from deepmusician.rolls import song_frames

if TYPE_CHECKING:
    from deepmusician.models.base import Model

PHRASE_BEATS = 8.0  # how long the playing leans to one side: two bars
LEANING = 0.5  # how far it does, in standard deviations of what the model deems possible


def humanise(
    source: str | Path | tuple[Model, dict[str, Any]], song: Song, strength: float = 1.0, seed: int = 0
) -> Song:
    """`song` with the velocities that a checkpoint, a run or a loaded (model, card) expects; drums keep theirs.

    `strength` 0 keeps the song's own velocities, 1 takes the model's, between them lies a mixture. Where the model
    would allow of louder and softer, `seed` chooses, phrase by phrase. Nothing else of the song changes. A note that
    the model cannot hear, being off the keyboard or not in the melody it reads, is as loud as its nearest neighbour.
    """
    if not 0 <= strength <= 1:
        raise OptionError(f"strength must be from 0 to 1, got {strength:g}")
    model, card = source if isinstance(source, tuple) else checkpoint.load(source)
    if model.composes:
        raise OptionError("this model composes and cannot give a piece its velocities; train one by recipe expression")
    heard = _hear(song, card["options"])
    notes = song.notes.copy()
    mine = ~notes["drum"]
    if not len(heard.frames) or not mine.any():
        return song
    struck, loud = _play(model, heard, seed)
    frame, key = _nearest(struck, heard.place(notes["onset"][mine]), notes["pitch"][mine].astype(int) - LOWEST)
    mixed = (1 - strength) * notes["velocity"][mine] + strength * loud[frame, key]
    notes["velocity"][mine] = np.clip(np.rint(mixed), 1, 127)
    return replace(song, notes=notes)


@dataclass(frozen=True)
class _Heard:
    """A song as a model reads it: `frames` uint8 [T, W], and `kept` bool [N], which frames of the song those are."""

    frames: np.ndarray
    kept: np.ndarray
    per_beat: float

    def place(self, beats: np.ndarray) -> np.ndarray:
        """The frame in which a note of `beats` begins."""
        at = np.floor(beats * self.per_beat + 0.5).astype(np.int64)
        return (np.cumsum(self.kept) - 1)[np.clip(at, 0, len(self.kept) - 1)]


def _hear(song: Song, options: dict[str, Any]) -> _Heard:
    division = parse_division(options.get("division", "1/16"))
    frames = song_frames(song, division, options.get("voices", "all"), planes="velocity")
    sounds = frames[:, :KEYS].any(1)
    kept = sounds if options.get("remove_zeros", False) else np.ones_like(sounds)
    return _Heard(frames[kept], kept, float(1 / (4 * division)))


@torch.inference_mode()
def _play(model: Model, heard: _Heard, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Which keys are struck, bool [T, 88], and how loud, float [T, 88]."""
    model.eval()
    frames = to_model(heard.frames)[None]
    parts = [model.head.expected(contexts[0], frames[0, place]) for place, contexts in model.walk(frames)]
    struck, mean, spread = (torch.cat(part).numpy() for part in zip(*parts, strict=True))
    # one curve for all voices: notes side by side are loud or soft together
    beats = np.arange(len(mean)) / heard.per_beat
    phrases = np.arange(0, beats[-1] + 2 * PHRASE_BEATS, PHRASE_BEATS)
    leaning = np.interp(beats, phrases, np.random.default_rng(seed).standard_normal(len(phrases)))
    return struck, mean + LEANING * leaning[:, None] * spread


def _nearest(struck: np.ndarray, frame: np.ndarray, key: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each note the struck key nearest to its `frame` and `key` [N]: that of the nearest frame, then of it."""
    striking = np.flatnonzero(struck.any(1))
    after = np.searchsorted(striking, frame).clip(max=len(striking) - 1)
    before = np.maximum(after - 1, 0)
    nearer = np.abs(striking[before] - frame) < np.abs(striking[after] - frame)
    frame = striking[np.where(nearer, before, after)]
    distance = np.where(struck[frame], np.abs(np.arange(KEYS) - key[:, None]), KEYS + 128)
    return frame, distance.argmin(1)
