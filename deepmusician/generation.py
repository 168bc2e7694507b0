"""Compose: draw frame after frame from a trained model and write them down as a song.

The same checkpoint, options and seed give the same notes, so the same MIDI to the byte. Each of several variations is
drawn by itself, with its own seed: rounding in a matrix product depends on how many rows it has, so that in a batch a
piece would not be the one that its seed gives alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from deepmusician import checkpoint
from deepmusician.errors import OptionError
from deepmusician.metrics import find_collapse
from deepmusician.models.contract import Sampling
from deepmusician.models.frames import to_model
from deepmusician.models.writing import Opening, Written, write
from deepmusician.notes import Song
from deepmusician.options import TEMPO_BPM, DrawOptions, GenerateOptions
from deepmusician.roll import KEYS, Roll, from_roll, parse_division, roll_from_frames, unpack
from deepmusician.rolls import song_frames
from deepmusician.scales import allowed_keys
from deepmusician.splice import follow
from deepmusician.styles import style_weights

if TYPE_CHECKING:
    from deepmusician.models.base import Model

# a checkpoint or run, or a loaded one: (model, card), perhaps with its held-out openings
Source = str | Path | tuple[Any, ...]
SETTINGS = ("temperature", "top_p", "fullness", "threshold")


@dataclass(frozen=True)
class Composition:
    """A composed piece as notes, what is new of it as frames, and what is wrong with that in words (empty: nothing).

    What is new begins at beat `begin`: behind the piece it goes on from, where that is kept.
    """

    song: Song
    roll: Roll
    warnings: tuple[str, ...] = ()
    begin: float = 0.0


def compose(source: Source, options: GenerateOptions, prime: Song | None = None) -> Composition:
    """Compose with a checkpoint, a run, or a loaded one: the first of the variations.

    `guided` goes on from the end of `prime`, else from the opening of a held-out piece.
    """
    return compose_variations(source, variation(options, 0), prime)[0]


def compose_variations(source: Source, options: GenerateOptions, prime: Song | None = None) -> list[Composition]:
    """As many pieces as `options.variations` says; number i is what `compose` gives with seed + i, to the byte."""
    model, card = opened(source)
    how = sampling(options, card)
    each = [variation(options, i) for i in range(options.variations)]
    heard, styles = zip(*(told(source, card, own, prime) for own in each), strict=True)
    style = None if styles[0] is None else torch.from_numpy(styles[0]).float()  # the seed does not change it
    with one_thread():
        openings = [
            begin(model, own.init, known, torch.Generator().manual_seed(own.seed), 1, style)
            for own, known in zip(each, heard, strict=True)
        ]
        written = write(model, openings, options.seq_len, how, style)
    pieces = zip(written, heard, each, strict=True)
    return [_composition(some, known, prime, card, own, how.threshold) for some, known, own in pieces]


def _composition(
    written: Written, heard: np.ndarray | None, prime: Song | None, card: dict[str, Any], options: GenerateOptions,
    threshold: float,
) -> Composition:  # fmt: skip
    division = parse_division(options.division or division_of(card))
    roll = roll_from_frames(written.frames[0], division)
    held = card.get("data", {}).get("held_share")
    warnings = find_collapse(roll.sounding, held, written.highest, threshold)
    if options.keep:
        kept = prime or _opening_song(heard, options, card)
        frame = float(4 * parse_division(division_of(card)))  # in beats
        begins = round(kept.beats / frame) * frame
        song = follow(kept, from_roll(roll), begins, options.tempo_bpm, options.program)
        return Composition(song, roll, tuple(warnings), begins)
    return Composition(from_roll(roll, *suited(options, card)), roll, tuple(warnings))


def variation(options: GenerateOptions, i: int) -> GenerateOptions:
    """The options of variation `i`, 0 the first, as a piece of its own."""
    return replace(options, seed=options.seed + i, variations=1)


def opened(source: Source) -> tuple[Model, dict[str, Any]]:
    """The model, which must compose, and its card. Raises OptionError for a model of expression."""
    model, card = source[:2] if isinstance(source, tuple) else checkpoint.load(source)
    if not model.composes:
        raise OptionError("this model composes nothing, it gives a piece its velocities; use deepmusician humanise")
    return model, card


def suited(options: GenerateOptions, card: dict[str, Any]) -> tuple[float, int]:
    """Tempo and program: the options', else those that suit the model, else 100 beats a minute on a piano."""
    own = {"tempo_bpm": TEMPO_BPM, "program": 0, **card.get("composing", {})}
    return tuple(own[k] if (v := getattr(options, k)) is None else v for k in ("tempo_bpm", "program"))


def told(
    source: Any, card: dict[str, Any], options: GenerateOptions, prime: Song | None = None
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """What a model is told beyond its own frames: those to go on from, uint8 [n, W], and the styles' weights [T, n]."""
    heard = None
    if options.init == "guided":
        heard = prime_frames(prime, card, options.keep) if prime is not None else _held_out_frames(source, options)
    names = tuple(card.get("data", {}).get("styles", ()))
    return heard, style_weights(options.style, names, options.seq_len) if names else no_style(options.style)


def sampling(options: DrawOptions, card: dict[str, Any]) -> Sampling:
    """How to draw frames: the options', else the checkpoint's own settings, else what suits most."""
    own = {"temperature": 0.7, "top_p": 0.8, "fullness": 1.0, "threshold": 0.5, **card}
    values = {k: own[k] if (v := getattr(options, k, None)) is None else v for k in SETTINGS}
    allowed = None if options.scale is None else torch.from_numpy(allowed_keys(options.scale))
    return Sampling(getattr(options, "sampler", "sample"), **values, allowed=allowed)


def no_style(asked: str | None) -> None:
    """Refuse a style asked of a model that learnt only one."""
    if asked:
        raise OptionError(f"this model learnt one style only, so {asked!r} cannot be chosen; leave the style out")


def compose_frames(
    model: Model, n_frames: int, how: Sampling, init: str = "zero", prime: np.ndarray | None = None,
    generator: torch.Generator | None = None, batch_size: int = 1, style: np.ndarray | None = None,
) -> tuple[np.ndarray, float | None]:  # fmt: skip
    """Draw `n_frames` frames: uint8 [B, T, W] as a roll's, and the highest output seen where a threshold decides.

    `prime` is uint8 [n, W]; `style` [T, n] the styles' weights in each frame. Costs the same for each frame however
    long the piece.
    """
    styles = None if style is None else torch.from_numpy(style).float()
    with one_thread():
        opening = begin(model, init, prime, generator, batch_size, styles)
        written = write(model, [opening], n_frames, how, styles)[0]
    return written.frames, written.highest


@torch.inference_mode()
def begin(
    model: Model, init: str, prime: np.ndarray | None, generator: torch.Generator | None, batch_size: int,
    styles: torch.Tensor | None,
) -> Opening:  # fmt: skip
    """Where pieces begin that are drawn with one generator; see `compose_frames`."""
    model.eval()
    heard = None if prime is None else to_model(prime)[None].expand(batch_size, -1, -1)
    first = None if styles is None else styles[:1].expand(batch_size, -1)
    frame, state = model.start(init, prime=heard, style=first, batch_size=batch_size, generator=generator)
    return Opening(frame, state, generator)


def division_of(card: dict[str, Any]) -> str:
    """How long a frame of the model is, as a part of a whole note."""
    return card["options"].get("division", "1/16")


def prime_frames(prime: Song, card: dict[str, Any], to_the_end: bool = False) -> np.ndarray:
    """The piece to go on from as the model sees it, uint8 [n, W]. Raises OptionError if none of it can be heard.

    Silent frames `to_the_end` stand for what only people hear there: a drum, or a key that no piano has.
    """
    options = card["options"]
    silence = options.get("remove_zeros", False)
    division, choices = parse_division(division_of(card)), (silence, options.get("planes", "sounding"))
    frames = song_frames(prime, division, options.get("voices", "all"), *choices)
    if to_the_end and not silence:
        frames = np.pad(frames, ((0, max(0, round(prime.beats / float(4 * division)) - len(frames))), (0, 0)))
    if not frames.any():
        raise OptionError("the piece to go on from has no note on the piano's 88 keys; choose another one")
    return frames


def _held_out_frames(source: Source, options: GenerateOptions) -> np.ndarray:
    """The opening of one of the held-out pieces kept with the checkpoint, uint8 [n, W]."""
    primes = (*source, None)[2] if isinstance(source, tuple) else checkpoint.load_primes(source)
    if primes is None:
        raise OptionError("guided needs a piece to go on from, and this checkpoint holds none; give one with --prime")
    if options.opening is not None and options.opening > len(primes):
        raise OptionError(f"this checkpoint keeps openings 1 to {len(primes)}, got {options.opening}; choose another")
    place = options.seed % len(primes) if options.opening is None else options.opening - 1
    opening = primes[place].numpy()
    return opening if opening.shape[-1] >= KEYS else unpack(opening).view(np.uint8)  # version 0.1 packed them


def _opening_song(heard: np.ndarray, options: GenerateOptions, card: dict[str, Any]) -> Song:
    """A held-out opening as notes, so that it can be kept."""
    return from_roll(roll_from_frames(heard, division_of(card)), *suited(options, card))


@contextmanager
def one_thread() -> Iterator[None]:
    """One frame is too little work to share between cores; the number of threads is put back afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
