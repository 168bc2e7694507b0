"""Compose: draw frame after frame from a trained model and write them down as a song.

The same checkpoint, options and seed give the same notes, so the same MIDI to the byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from deepmusician import checkpoint
from deepmusician.errors import OptionError
from deepmusician.metrics import find_collapse, held_share
from deepmusician.models.contract import Sampling
from deepmusician.notes import Song
from deepmusician.options import GenerateOptions
from deepmusician.roll import Roll, from_roll, parse_division, roll_from_sounding, unpack
from deepmusician.windows import song_frames

if TYPE_CHECKING:
    from torch import nn

SETTINGS = ("temperature", "top_p", "fullness", "threshold")
# temperature and top-p from bold to careful; the more careful, the longer chords are held
CAUTION = (
    (1.0, 1.0), (0.95, 0.97), (0.9, 0.94), (0.85, 0.9), (0.8, 0.87), (0.75, 0.83), (0.7, 0.8), (0.6, 0.75), (0.5, 0.7),
)  # fmt: skip
FULLNESS = (0.7, 1.6)  # beyond it the model is too far from its data to be mended by drawing more or fewer notes


@dataclass(frozen=True)
class Composition:
    """A composed piece, as notes and as frames, and what is wrong with it in words (nothing, where empty)."""

    song: Song
    roll: Roll
    warnings: tuple[str, ...] = ()


def compose(
    source: str | Path | tuple[nn.Module, dict[str, Any]], options: GenerateOptions, prime: Song | None = None
) -> Composition:
    """Compose with a checkpoint, a run, or a loaded (model, card).

    `guided` goes on from the end of `prime`, else from the opening of a held-out piece that the seed picks.
    """
    model, card = source if isinstance(source, tuple) else checkpoint.load(source)
    how = sampling(options, card)
    generator = torch.Generator().manual_seed(options.seed)
    heard = None
    if options.init == "guided":
        heard = _prime_frames(prime, card) if prime is not None else _held_out_frames(source, options.seed)
    frames, highest = compose_frames(model, options.seq_len, how, options.init, heard, generator)
    division = parse_division(options.division or card["options"].get("division", "1/16"))
    roll = roll_from_sounding(frames[0], division)
    song = from_roll(roll, tempo_bpm=options.tempo_bpm, program=options.program)
    warnings = find_collapse(frames[0], card.get("data", {}).get("held_share"), highest, how.threshold)
    return Composition(song, roll, tuple(warnings))


def sampling(options: GenerateOptions, card: dict[str, Any]) -> Sampling:
    """How to draw frames: the options', else the checkpoint's own settings, else what suits most."""
    own = {"temperature": 0.7, "top_p": 0.8, "fullness": 1.0, "threshold": 0.5, **card}
    values = {k: own[k] if getattr(options, k) is None else getattr(options, k) for k in SETTINGS}
    return Sampling(options.sampler, **values)


@torch.inference_mode()
def compose_frames(
    model: nn.Module, n_frames: int, how: Sampling, init: str = "zero", prime: np.ndarray | None = None,
    generator: torch.Generator | None = None, batch_size: int = 1,
) -> tuple[np.ndarray, float | None]:  # fmt: skip
    """Draw `n_frames` frames: bool [B, T, 88], and the highest output seen where a threshold decides.

    `prime` is bool [n, 88]. Costs the same for each frame however long the piece.
    """
    model.eval()
    heard = None if prime is None else torch.from_numpy(prime)[None].float().expand(batch_size, -1, -1)
    highest = None
    written = np.zeros((batch_size, n_frames, model.config.n_keys), bool)
    with one_thread():
        frame, state = model.start(init, prime=heard, batch_size=batch_size, generator=generator)
        for t in range(n_frames):
            context, state = model.step(frame, state)
            frame = model.head.sample(context, how, generator)
            written[:, t] = frame.numpy() > 0
            if how.sampler == "threshold":
                highest = max(highest or 0.0, float(model.head.probability(context).max()))
    return written, highest


def calibrate(model: nn.Module, density: float, held: float, n_frames: int = 128, pieces: int = 16) -> dict[str, float]:
    """Temperature, top-p and fullness by which the model composes music as full and as restless as it learnt.

    Left to itself a model hears its own slips: a voice once lost is less expected in the next frame, and a stray note
    calls for more. So pieces are composed freely, all from the same seed, at growing CAUTION, each with the fullness
    that gives `density` notes a frame, until as large a share of frames equals the one before as in the music (`held`).
    """
    found: dict[int, tuple[float, float]] = {}

    def held_at(level: int) -> float:
        if level not in found:
            found[level] = _calibrate_fullness(model, CAUTION[level], density, n_frames, pieces)
        return found[level][1]

    low, high = 0, len(CAUTION) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if held_at(middle) < held else (low, middle)
    nearest = min((low, max(low - 1, 0)), key=lambda level: abs(held_at(level) - held))
    temperature, top_p = CAUTION[nearest]
    return {"temperature": temperature, "top_p": top_p, "fullness": found[nearest][0]}


def _calibrate_fullness(
    model: nn.Module, caution: tuple[float, float], density: float, n_frames: int, pieces: int
) -> tuple[float, float]:
    """The fullness that composes `density` notes a frame, by bisection, and the held share of what it composed."""
    low, high = FULLNESS
    for _ in range(5):
        middle = (low * high) ** 0.5
        how = Sampling("sample", *caution, fullness=middle)
        generator = torch.Generator().manual_seed(0)
        frames, _ = compose_frames(model, n_frames, how, generator=generator, batch_size=pieces)
        low, high = (middle, high) if frames.sum(2).mean() < density else (low, middle)
    return round((low * high) ** 0.5, 3), float(np.mean([held_share(f) for f in frames]))


def _prime_frames(prime: Song, card: dict[str, Any]) -> np.ndarray:
    """The piece to go on from as the model sees it, bool [n, 88]. Raises OptionError if none of it can be heard."""
    options = card["options"]
    grid = parse_division(options.get("division", "1/16"))
    frames = song_frames(prime, grid, options.get("voices", "all"), options.get("remove_zeros", False))
    if not frames.any():
        raise OptionError("the piece to go on from has no note on the piano's 88 keys; choose another one")
    return frames


def _held_out_frames(source: Any, seed: int) -> np.ndarray:
    """The opening of one of the held-out pieces kept with the checkpoint, bool [n, 88]."""
    primes = None if isinstance(source, tuple) else checkpoint.load_primes(source)
    if primes is None:
        raise OptionError("guided needs a piece to go on from, and this checkpoint holds none; give one with --prime")
    return unpack(primes[seed % len(primes)].numpy())


@contextmanager
def one_thread() -> Iterator[None]:
    """One frame is too little work to share between cores; the number of threads is put back afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
