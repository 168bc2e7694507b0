"""The clips of a listening test: human and composed music that can be told apart by nothing but the music.

All of a test's clips go through one grid (length of a frame, planes, voices), tempo, instrument and soundfont, begin in
the middle of a piece, last equally long to the sample and are equally loud. Catch clips are the notes of a clip thrown
onto random keys. Knows nothing of listeners and votes.

Source: ITU-R BS.1770-4, 2015 (loudness).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from deepmusician.errors import ListeningError
from deepmusician.library import read_sources, source_of, split_paths
from deepmusician.options import GenerateOptions, TrainOptions, from_dict
from deepmusician.roll import KEYS, PLANES, frames_of, from_roll, parse_division, roll_from_frames, to_roll
from deepmusician.rolls import Rolls, read_rolls

if TYPE_CHECKING:
    from deepmusician.generation import Composition

SAMPLE_RATE_HZ = 48_000  # for which the standard gives its filters
TARGET_LUFS = -20.0  # or below it, where the most jagged clip of a test would clip
PEAK = 10 ** (-1 / 20)  # -1 dBFS
FADE_SECONDS = 0.6
LEAD_BARS = 4  # of four beats, composed and left out: both kinds of clip begin in the middle
LEAST_SOUNDING = 0.5  # share of a clip's frames in which something must sound
TRIES = 4  # pieces composed for each clip that is wanted, at most

# the two filters of K-weighting at 48 kHz: a shelf for the head, and a high-pass
_SHELF = ((1.53512485958697, -2.69169618940638, 1.19839281085285), (1.0, -1.69065929318241, 0.73248077421585))
_HIGH_PASS = ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621))


@dataclass(frozen=True)
class Grid:
    """What music is put through before it is heard: the frame's length in whole notes, and what of a note is kept."""

    division: str
    planes: str = "sounding"
    voices: str = "all"
    remove_zeros: bool = False

    @classmethod
    def of(cls, card: dict[str, Any]) -> Grid:
        """The grid on which a model hears and writes music."""
        o = from_dict(TrainOptions, card["options"])
        return cls(o.division, o.planes, o.voices, o.remove_zeros)

    def coarsest(self, other: Grid) -> Grid:
        """What both can say: the longer frame, the fewer planes."""
        division = max(self.division, other.division, key=parse_division)
        return replace(self, division=division, planes=min(self.planes, other.planes, key=PLANES.index))

    @property
    def bar(self) -> int:
        """Frames in four beats, at least one."""
        return max(1, round(1 / parse_division(self.division)))

    def frames(self, seconds: float, tempo_bpm: float) -> int:
        """How many frames fill so many seconds."""
        beat = Fraction(1, 4) / parse_division(self.division)  # in frames
        return ceil(seconds * tempo_bpm / 60 * beat)


@dataclass(frozen=True)
class Excerpt:
    """Some bars of a piece: uint8 [n, 88 · P], and where they come from."""

    frames: np.ndarray
    source: str


@dataclass
class Passed:
    """How many excerpts were passed over because too little sounded in them."""

    count: int = 0


# ---- human music


def human_music(card: dict[str, Any], music: str | None) -> tuple[tuple[str, ...], Rolls]:
    """Songs by people on the model's grid, none of which it learnt from.

    Where `music` is what the model was trained on, or is None, these are the songs that were held out then. Raises
    ListeningError where there are none.
    """
    options = from_dict(TrainOptions, card["options"])
    trained = split_paths(options.path)
    if music is not None and music not in trained and source_of(music) not in trained:
        return read_rolls(options, read_sources(source_of(music)))
    names, rolls = read_rolls(options, read_sources(options.path))
    held_out = set(card["data"].get("held_out", ()))
    asked = trained if music is None else (music, source_of(music))
    styles = [i for i, source in enumerate(trained) if source in asked]
    kept = [i for i, name in enumerate(names) if name in held_out and rolls.styles[i] in styles]
    if not kept:
        raise ListeningError(
            "the model learnt from every song of this music, so there is none to set against it; choose other music"
        )
    return tuple(names[i] for i in kept), rolls.only(np.array(kept, np.int64))


def human_excerpts(
    names: tuple[str, ...], rolls: Rolls, grid: Grid, n_frames: int, count: int, rng: np.random.Generator,
    passed: Passed,
) -> list[Excerpt]:  # fmt: skip
    """`count` excerpts that do not overlap, from as many songs as there are. Raises ListeningError where there are
    fewer."""
    places = [
        (turn, song, start)
        for song in range(len(rolls))
        for turn, start in enumerate(_starts(int(rolls.lengths[song]), n_frames, grid.bar, rng))
    ]
    order = rng.permutation(len(places))
    found: list[Excerpt] = []
    each_song_once_first = sorted((places[i] for i in order), key=lambda place: place[0])
    for _, song, start in each_song_once_first:
        frames = rolls.frames(song)[start : start + n_frames]
        if not _sounds(frames):
            passed.count += 1
            continue
        found.append(Excerpt(frames, f"{names[song]}, from beat {start * 4 / grid.bar + 1:g}"))
        if len(found) == count:
            return found
    raise ListeningError(
        f"this music gives {len(found)} excerpts of that length, and {count} are needed; take shorter or fewer clips, "
        "or other music"
    )


def _starts(length: int, n_frames: int, bar: int, rng: np.random.Generator) -> list[int]:
    """Where excerpts of a song may begin, on bars and without overlap, in random order."""
    step = ceil(n_frames / bar) * bar
    last = (length - n_frames) // bar * bar
    if last < 0:
        return []
    first = int(rng.integers(min(step, last + bar) // bar)) * bar
    return rng.permutation(np.arange(first, last + 1, step)).tolist()


def _sounds(frames: np.ndarray) -> bool:
    return bool((frames[:, :KEYS] > 0).any(1).mean() >= LEAST_SOUNDING)


# ---- composed music


def composed_excerpts(
    source: str, grid: Grid, n_frames: int, tempo_bpm: float, count: int, seed: int, passed: Passed,
    progress: Callable[[], None] = lambda: None,
) -> list[Excerpt]:  # fmt: skip
    """`count` excerpts of as many pieces, composed with seeds from `seed` on with the model's own settings.

    Raises ListeningError for a model that writes hardly anything.
    """
    from deepmusician.checkpoint import load_whole
    from deepmusician.generation import compose, division_of

    loaded = load_whole(source)
    own = Grid(division_of(loaded[1]))
    lead = LEAD_BARS * own.bar
    found: list[Excerpt] = []
    for attempt in range(seed, seed + TRIES * count):
        # a little more than is needed: another grid may round the end away
        options = GenerateOptions(
            seq_len=lead + own.frames(n_frames * float(4 * parse_division(grid.division)), 60) + own.bar, seed=attempt
        )
        frames = _on_grid(compose(loaded, options), lead, grid, n_frames)
        if not _sounds(frames):
            passed.count += 1
            continue
        found.append(Excerpt(frames, f"seed {attempt}"))
        progress()
        if len(found) == count:
            return found
    raise ListeningError(
        f"the model fell silent: of {TRIES * count} pieces, {len(found)} sound for at least {LEAST_SOUNDING:.0%} of "
        f"their frames, and {count} are needed; train it longer, or choose another model"
    )


def _on_grid(piece: Composition, lead: int, grid: Grid, n_frames: int) -> np.ndarray:
    """What was composed after the first `lead` frames, put on the test's grid."""
    own = roll_from_frames(frames_of(piece.roll, "velocity")[lead:], piece.roll.division)
    if own.division != parse_division(grid.division):
        own = to_roll(from_roll(own), grid.division)
    frames = frames_of(own, grid.planes)[:n_frames]
    return np.pad(frames, ((0, n_frames - len(frames)), (0, 0)))


# ---- catch trials


def shuffled(excerpt: Excerpt, rng: np.random.Generator) -> Excerpt:
    """The notes of an excerpt on random keys, other ones in every frame: nobody who listens takes it for music."""
    counts = (excerpt.frames[:, :KEYS] > 0).sum(1)
    frames = np.zeros_like(excerpt.frames)
    for t, n in enumerate(np.maximum(counts, 2)):
        keys = rng.choice(np.arange(15, 75), min(int(n), 12), replace=False)
        for plane, value in enumerate((1, 1, 80)[: frames.shape[1] // KEYS]):
            frames[t, plane * KEYS + keys] = value
    return Excerpt(frames, "shuffled notes")


# ---- sound


def sound(excerpt: Excerpt, grid: Grid, tempo_bpm: float, program: int, seconds: float) -> np.ndarray:
    """float32 [seconds · 48,000, 2], faded out, not yet brought to a loudness."""
    from deepmusician.render import render

    song = from_roll(roll_from_frames(excerpt.frames, grid.division), tempo_bpm, program)
    samples = render(song, SAMPLE_RATE_HZ).samples[: round(seconds * SAMPLE_RATE_HZ)]
    samples = np.pad(samples, ((0, round(seconds * SAMPLE_RATE_HZ) - len(samples)), (0, 0)))
    fade = round(FADE_SECONDS * SAMPLE_RATE_HZ)
    samples[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)[:, None]
    return samples


def loudness(samples: np.ndarray) -> float:
    """Integrated loudness of a stereo recording [N, 2] at 48 kHz, in LUFS; -inf for silence.

    Mean squares of K-weighted blocks of 400 ms that overlap by three quarters, gated at -70 LUFS and then 10 LU below
    the mean of what is left.
    """
    from scipy.signal import lfilter

    weighted = lfilter(*_HIGH_PASS, lfilter(*_SHELF, samples.astype(np.float64), axis=0), axis=0)
    block, step = round(0.4 * SAMPLE_RATE_HZ), round(0.1 * SAMPLE_RATE_HZ)
    total = np.concatenate([[0.0], np.cumsum((weighted**2).sum(1))])
    starts = np.arange(0, max(len(samples) - block, 0) + 1, step)
    power = (total[np.minimum(starts + block, len(samples))] - total[starts]) / block
    power = power[power > 10 ** ((-70 + 0.691) / 10)]
    if len(power):
        power = power[power > power.mean() / 10]
    return float(-0.691 + 10 * np.log10(power.mean())) if len(power) else float("-inf")


def equally_loud(clips: list[np.ndarray]) -> Iterator[np.ndarray]:
    """The clips at one loudness: TARGET_LUFS, or as much less as keeps each of them below -1 dBFS."""
    levels = [loudness(samples) for samples in clips]
    room = [level + 20 * np.log10(PEAK / np.abs(s).max()) for level, s in zip(levels, clips, strict=True)]
    target = min(TARGET_LUFS, *room)
    for samples, level in zip(clips, levels, strict=True):
        yield (samples * 10 ** ((target - level) / 20)).astype(np.float32)
