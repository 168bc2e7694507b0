"""How likely a model found each note of a piece, note by note: any model, any piece, uploaded ones too.

A note's probability is that of its key sounding, and being struck where the model knows strokes, in the frame in which
it begins, given all true frames before and, for heads that decide key after key, the keys below in the same frame. Of a
model that only gives velocities it is that of the note's velocity. A note the model never expected may be a mistake, a
modulation or the best moment of the piece: surprise is not a fault.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from deepmusician import checkpoint
from deepmusician.errors import OptionError
from deepmusician.models.frames import to_model
from deepmusician.notes import Song
from deepmusician.roll import KEYS, LOWEST, parse_division, to_roll
from deepmusician.rolls import song_frames
from deepmusician.styles import THEN, style_weights

if TYPE_CHECKING:
    from deepmusician.models.base import Model


@dataclass(frozen=True)
class Surprise:
    """What a model thought of a piece.

    `probability` [n] of each note of the song, 0..1, NaN where the model does not see it: off the keyboard, a drum, or
    under the melody of a model of melodies. `bars` [bars] are nats a frame, a mean over each bar of the song, NaN where
    a bar has no frame; `nats` a frame over the whole piece. `velocities` says that loudness was judged, not notes.
    """

    probability: np.ndarray
    bars: np.ndarray
    nats: float
    velocities: bool

    def least_expected(self, most: int = 5) -> np.ndarray:
        """The places of the least likely notes in the song, the least likely first."""
        order = np.argsort(self.probability)  # NaN comes last
        return order[: min(most, int(np.isfinite(self.probability).sum()))]


def surprise(source: str | Path | tuple[Model, dict[str, Any]], song: Song, style: str | None = None) -> Surprise:
    """Ask a checkpoint, a run, or a loaded (model, card) what it thinks of `song`.

    A model of several styles is told `style`, as `styles` reads it; a mix of all alike where it is None. Raises
    OptionError where no note lies on the keyboard, and for a style that the model does not know.
    """
    model, card = source if isinstance(source, tuple) else checkpoint.load(source)
    options = card["options"]
    division, no_rests = parse_division(options.get("division", "1/16")), options.get("remove_zeros", False)
    frames = song_frames(song, division, options.get("voices", "all"), no_rests, model.config.planes)
    if not frames.any():
        raise OptionError("the piece has no note on the piano's 88 keys; choose another one")
    keys, nats = _ask(model, frames, _told(card, style))
    silent = to_roll(song, division).sounding.any(1) if no_rests else np.ones(len(frames), bool)
    per_beat = float(1 / (4 * division))
    times = np.flatnonzero(silent)[: len(frames)] / per_beat  # beats at which each frame the model saw begins
    return Surprise(
        _by_note(song, frames, times, keys, per_beat), _by_bar(song, times, nats), float(nats.mean()),
        not model.composes,
    )  # fmt: skip


def _told(card: dict[str, Any], style: str | None) -> torch.Tensor | None:
    """The weights of the styles [1, S]; None where they are all alike."""
    if not style:
        return None
    names = tuple(card.get("data", {}).get("styles", ()))
    if len(names) < 2:
        raise OptionError(f"this model learnt one style only, got {style!r}; leave the style out")
    if THEN in style:
        raise OptionError(f"a piece is looked at in one style or one mix, got {style!r}")
    return torch.from_numpy(style_weights(style, names, 1)).float()


@torch.inference_mode()
def _ask(model: Model, frames: np.ndarray, style: torch.Tensor | None) -> tuple[np.ndarray, np.ndarray]:
    """Nats of each key [T, 88] and of each frame [T]."""
    model.eval()
    target = to_model(frames)[None]
    keys, nats = [], []
    for place, contexts in model.walk(target, style):
        notes, velocities = model.head.key_nats(contexts, target[:, place])
        keys.append((notes if model.composes else velocities)[0])
        nats.append((notes + velocities)[0].sum(-1))
    return torch.cat(keys).numpy(), torch.cat(nats).numpy()


def _by_note(song: Song, frames: np.ndarray, times: np.ndarray, nats: np.ndarray, per_beat: float) -> np.ndarray:
    """The probability of each note [n], NaN where the model saw none in its place."""
    notes = song.notes
    frame = np.rint(times * per_beat).astype(np.int64)  # of the grid, for each that the model saw
    grid = np.floor(notes["onset"] * per_beat + 0.5 + 1e-9).astype(np.int64)  # as roll.to_roll rounds
    at = np.clip(np.searchsorted(frame, grid), 0, len(frame) - 1)
    key = notes["pitch"].astype(np.int64) - LOWEST
    known = ~notes["drum"] & (key >= 0) & (key < KEYS) & (frame[at] == grid)
    key = np.where(known, key, 0)
    known &= frames[at, key] > 0
    return np.where(known, np.exp(-nats[at, key]), np.nan)


def _by_bar(song: Song, times: np.ndarray, nats: np.ndarray) -> np.ndarray:
    """Mean nats a frame of each bar [bars]."""
    bars = song.bar_starts()
    bar = np.clip(np.searchsorted(bars, times + 1e-9, side="right") - 1, 0, None)
    frames = np.bincount(bar, minlength=len(bars))[: len(bars)]
    with np.errstate(invalid="ignore"):
        return np.bincount(bar, nats, len(bars))[: len(bars)] / frames
