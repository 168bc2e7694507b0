"""Rewrite: new notes in the place of some bars, which lead into what follows, while all else stays as it is.

A model knows what came before, not what comes after. So several candidates go through the gap side by side. At the end
of each bar, and at last before what follows, each is weighed by how likely the frames that follow are after it, and the
candidates are drawn anew in proportion: those that lead nowhere die out, the others are continued. What lies between is
a particle filter whose target is the music that the model would write there *given* both sides. On the way the weight
is tempered by the part of the gap that has been crossed, as a bar in its middle has time yet to find its way home.

Sources: Gordon, Salmond & Smith, IEE Proceedings F 1993 (the filter); Whiteley & Lee, Annals of Statistics 2014
(twisting it by what is to come); Del Moral, Doucet & Jasra, JRSS B 2006 (tempering).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepmusician.errors import OptionError
from deepmusician.generation import Composition, Source, division_of, no_style, one_thread, opened, sampling
from deepmusician.metrics import find_collapse
from deepmusician.models.contract import Sampling
from deepmusician.models.frames import from_model, to_model
from deepmusician.models.rows import pick
from deepmusician.notes import Song
from deepmusician.options import RewriteOptions
from deepmusician.roll import KEYS, LOWEST, from_roll, parse_division, roll_from_frames
from deepmusician.rolls import song_frames
from deepmusician.splice import replace_part
from deepmusician.styles import style_weights

AHEAD_BEATS = 16.0  # of what follows, so much is asked to be likely
CHECK_BEATS = 4.0  # candidates are weighed that often


@dataclass(frozen=True)
class Gap:
    """What a model is given: the frames `before` and `after` uint8 [n, W], how many lie between, how often to weigh."""

    before: np.ndarray
    after: np.ndarray
    length: int
    check: int


def rewrite(source: Source, song: Song, start: float, end: float, options: RewriteOptions) -> Composition:
    """`song` with the music from `start` to `end`, in beats, written anew by a checkpoint, a run, or a loaded one.

    The part is widened to whole frames. Drums stay. The same song, part, options and seed give the same notes.
    Raises OptionError for a part that is empty or begins behind the song's end.
    """
    model, card = opened(source)
    division = parse_division(division_of(card))
    frame = float(4 * division)  # in beats
    first, last = int(np.floor(start / frame + 1e-6)), int(np.ceil(end / frame - 1e-6))
    if not 0 <= first < last or first * frame > song.beats:
        raise OptionError(
            f"the part to rewrite must lie in the song's {song.beats:g} beats, got {start:g} to {end:g}; choose another"
        )
    gap = gap_in(song, card, first, last)
    names = tuple(card.get("data", {}).get("styles", ()))
    style = style_weights(options.style, names, gap.length) if names else no_style(options.style)
    generator = torch.Generator().manual_seed(options.seed)
    frames, _ = fill(model, gap, sampling(options, card), options.candidates, generator, style)
    new = roll_from_frames(frames, division)
    held = np.zeros(128, bool)
    begins = frames[0, :KEYS].astype(bool)
    if frames.shape[1] > KEYS:  # the model says itself what it strikes
        begins &= frames[0, KEYS : 2 * KEYS] == 0
    held[LOWEST : LOWEST + KEYS] = begins
    loud = frames.shape[1] > 2 * KEYS
    written = replace_part(song, from_roll(new), first * frame, last * frame, held, loud)
    warnings = find_collapse(new.sounding, card.get("data", {}).get("held_share"))
    return Composition(written, new, tuple(warnings), first * frame)


def gap_in(song: Song, card: dict[str, Any], first: int, last: int) -> Gap:
    """The gap from frame `first` to `last` of a song as the model sees it."""
    options, division = card["options"], parse_division(division_of(card))
    frame = float(4 * division)
    frames = song_frames(song, division, options.get("voices", "all"), planes=options.get("planes", "sounding"))
    before, after = frames[:first], frames[last : last + max(1, round(AHEAD_BEATS / frame))]
    before = np.pad(before, ((0, first - len(before)), (0, 0)))
    if options.get("remove_zeros", False):
        before, after = (part[part[:, :KEYS].any(1)] for part in (before, after))
    return Gap(before, after, last - first, max(1, round(CHECK_BEATS / frame)))


@torch.inference_mode()
def fill(
    model: Any, gap: Gap, how: Sampling, candidates: int, generator: torch.Generator, style: np.ndarray | None = None
) -> tuple[np.ndarray, float]:
    """Frames through the gap, uint8 [length, W], and the nats a frame of what follows after them.

    `style` [length, n] are the styles' weights. With one candidate, or nothing that follows, it is simply composed.
    """
    model.eval()
    styles = None if style is None else torch.from_numpy(style).float()[:, None]
    rows = torch.zeros(candidates, dtype=torch.long)
    with one_thread():
        last, state = model.start("zero", style=None if styles is None else styles[0])
        if len(gap.before):
            prime = to_model(gap.before)[None]
            last, state = model.start("guided", prime=prime, style=None if styles is None else styles[0])
        last, state = pick(last, rows), pick(state, rows)
        after = to_model(gap.after)[None].expand(candidates, -1, -1)
        written = torch.zeros(candidates, gap.length, last.shape[-1])
        counted = torch.zeros(candidates)  # log-weight by which these candidates were drawn already
        for t in range(gap.length):
            now = None if styles is None else styles[t].expand(candidates, -1)
            context, state = model.step(last, state, now)
            last = written[:, t] = model.head.sample(context, how, generator)
            crossed = t + 1
            if candidates > 1 and len(gap.after) and (crossed % gap.check == 0 or crossed == gap.length):
                weight = -_nats(model, after, last, state, now).sum(1) * (crossed / gap.length)
                kept = draw_anew(weight - counted, generator)
                last, state, written, counted = pick((last, state, written, weight), kept)
        if not len(gap.after):
            return from_model(written[0]), 0.0
        now = None if styles is None else styles[-1]
        one = torch.zeros(1, dtype=torch.long)
        nats = _nats(model, after[:1], *pick((last, state), one), now)
    return from_model(written[0]), float(nats.mean())


def _nats(model: Any, frames: Tensor, last: Tensor, state: Any, style: Tensor | None) -> Tensor:
    """Nats [N, T] of true `frames` [N, T, W] that follow the `last` ones in each of N candidates."""
    contexts, _, _ = model.read(frames, last, state, style)
    return model.head.nll(contexts, frames)


def draw_anew(log_weights: Tensor, generator: torch.Generator) -> Tensor:
    """Which candidates go on: int64 [N], each about as often as its weight's share says; systematic resampling."""
    share = torch.softmax(log_weights.double(), 0)
    places = (torch.rand(1, generator=generator, dtype=torch.float64) + torch.arange(len(share))) / len(share)
    drawn = torch.searchsorted(share.cumsum(0), places).clamp(max=len(share) - 1)
    return drawn[torch.randperm(len(drawn), generator=generator)]
