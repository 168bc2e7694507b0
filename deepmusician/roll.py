"""Roll: the piano roll that frame models see, and the way from a Song to it and back.

A frame lasts `division` of a whole note. Column 0 is MIDI pitch 21 (A0), column 87 is 108 (C8). Onsets and
ends go to the nearest frame (halves upwards) and every note gets at least one frame; a key struck again while
it sounds keeps both onsets. Knows nothing of files or models.

Sources: Boulanger-Lewandowski et al., ICML 2012 (88-key frames); Uitdenbogerd & Zobel, 1999 (skyline).
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil

import numpy as np

from deepmusician.errors import MidiError, OptionError
from deepmusician.notes import NOTE, Song, Track

KEYS = 88
LOWEST = 21  # MIDI pitch of column 0, A0
DEFAULT_DIVISION = Fraction(1, 16)
DEFAULT_VELOCITY = 80
PLANES = ("sounding", "onset", "velocity")  # each choice holds those left of it, too
MAX_BEATS = 20_000  # longer than any piece; a single stray note could otherwise ask for gigabytes
MAX_DENOMINATOR = 192  # a 1/192 frame is 10 ms at 120 beats a minute
_TICKS_PER_BEAT = 480
_TIE = 1e-9  # frames; 0.5 - 1 ulp is meant as 0.5


def parse_division(text: str | Fraction) -> Fraction:
    """Read a frame's length as a part of a whole note: "1/16" a semiquaver, "1/24" a semiquaver triplet.

    Raises OptionError unless it lies between 1/192 and 1/1.
    """
    try:
        division = Fraction(text)
    except (ValueError, ZeroDivisionError, TypeError, OverflowError):
        raise OptionError(f"division must be a fraction of a whole note such as 1/16, got {text!r}") from None
    if not 0 < division <= 1 or division.denominator > MAX_DENOMINATOR:
        raise OptionError(
            f"division must lie between 1/{MAX_DENOMINATOR} and 1/1 of a whole note, got {text}; try 1/16"
        )
    return division


@dataclass(frozen=True, eq=False)
class Roll:
    """Planes on a time grid, all [T, 88]: which keys sound, which are struck, and how hard.

    `sounding` bool; `onset` bool, True in a note's first frame; `velocity` uint8, 0 where silent, else that
    of the last stroke; `division` the length of a frame in whole notes.
    """

    sounding: np.ndarray
    onset: np.ndarray
    velocity: np.ndarray
    division: Fraction = DEFAULT_DIVISION

    def __post_init__(self) -> None:
        shapes = {self.sounding.shape, self.onset.shape, self.velocity.shape}
        if len(shapes) > 1 or self.sounding.ndim != 2 or self.sounding.shape[1] != KEYS:
            raise MidiError(f"a roll's planes must all be [frames, {KEYS}], got {sorted(shapes)}")
        object.__setattr__(self, "division", parse_division(self.division))

    def __len__(self) -> int:
        return len(self.sounding)

    @property
    def frames_per_beat(self) -> Fraction:
        """Frames in a quarter note; 3/4 where a frame is longer than a beat."""
        return _frames_per_beat(self.division)


def _frames_per_beat(division: Fraction) -> Fraction:
    return Fraction(1, 4) / division


def playable(notes: np.ndarray) -> np.ndarray:
    """Mask [N] of the notes that have a key: no drums, nothing below A0 or above C8."""
    return ~notes["drum"] & (notes["pitch"] >= LOWEST) & (notes["pitch"] < LOWEST + KEYS)


def is_learnt(song: Song) -> bool:
    """Whether a model learns anything from it: drums alone, and what lies off the keyboard, are heard only."""
    return bool(playable(song.notes).any())


def off_keyboard(song: Song) -> int:
    """How many pitched notes lie outside the 88 keys, and are left out of its roll."""
    return int((~song.notes["drum"] & ~playable(song.notes)).sum())


def nearest_frame(beats: np.ndarray, frames_per_beat: Fraction) -> np.ndarray:
    """The frame that begins nearest to each of `beats`, int64; halves go upwards."""
    frames = beats * frames_per_beat.numerator / frames_per_beat.denominator
    return np.floor(frames + (0.5 + _TIE)).astype(np.int64)


def to_roll(song: Song, division: Fraction | str = DEFAULT_DIVISION) -> Roll:
    """Put a song on the grid. Drums and notes off the keyboard are left out; T is 0 where nothing is left.

    Where notes on one key overlap, each keeps its onset and the key sounds until the last of them ends;
    strokes that fall into one frame become one, the loudest. Tempo, instruments and tracks are lost.
    Raises MidiError for a song over 20,000 beats, OptionError for a bad division.
    """
    division = parse_division(division)
    notes = song.notes[playable(song.notes)]
    _check_length(notes)
    per_beat = _frames_per_beat(division)
    start = nearest_frame(notes["onset"], per_beat)
    end = np.maximum(nearest_frame(notes["onset"] + notes["duration"], per_beat), start + 1)
    frames = int(end.max()) if len(end) else 0
    return raster(start, end, notes["pitch"].astype(np.int64) - LOWEST, notes["velocity"], frames, division)


def _check_length(notes: np.ndarray) -> None:
    if not len(notes):
        return
    first, last = notes["onset"].min(), (notes["onset"] + notes["duration"]).max()
    if first < 0:
        raise MidiError(f"a note must not start before beat 0, got {first:g}; shift the song")
    if last > MAX_BEATS:
        raise MidiError(f"a song must end within {MAX_BEATS:,} beats, got {last:,.0f}; cut it or mend its times")


def raster(
    start: np.ndarray, end: np.ndarray, key: np.ndarray, loud: np.ndarray, frames: int, division: Fraction
) -> Roll:
    """Fill notes [N], given in frames, into the planes without a loop over notes."""
    order = np.lexsort((loud, start, key))
    key, loud = key[order], np.maximum(loud[order], 1)
    # one time line with the keys end to end, so that one running maximum serves all keys
    start, end = start[order] + key * frames, end[order] + key * frames
    end = np.minimum(np.maximum.accumulate(end), np.append(start, KEYS * frames)[1:])
    lengths = end - start
    cells = np.repeat(start - (np.cumsum(lengths) - lengths), lengths) + np.arange(lengths.sum())
    velocity = np.zeros((KEYS, frames), np.uint8)
    onset = np.zeros((KEYS, frames), bool)
    velocity.reshape(-1)[cells] = np.repeat(loud, lengths)
    onset.reshape(-1)[start] = True
    velocity = np.ascontiguousarray(velocity.T)
    return Roll(velocity > 0, np.ascontiguousarray(onset.T), velocity, division)


def from_roll(roll: Roll, tempo_bpm: float = 120.0, program: int = 0) -> Song:
    """Read the notes off a roll, onto one track of one General MIDI instrument.

    A note begins where its key is struck or comes out of silence, and lasts until the key rests or is struck
    again. Inverse of `to_roll` for notes that lie on the grid.
    """
    start, end, key = _runs(roll)
    per_beat = roll.frames_per_beat
    notes = np.zeros(len(start), NOTE)
    notes["onset"] = start * per_beat.denominator / per_beat.numerator
    notes["duration"] = (end - start) * per_beat.denominator / per_beat.numerator
    notes["pitch"] = key + LOWEST
    velocity = roll.velocity[start, key]
    notes["velocity"] = np.where(velocity > 0, np.minimum(velocity, 127), DEFAULT_VELOCITY)
    # a whole number of ticks in every frame
    ticks = per_beat.numerator * ceil(_TICKS_PER_BEAT / per_beat.numerator)
    song = Song(notes, ticks_per_beat=ticks, tracks=(Track(),))
    return song.with_tempo(tempo_bpm).with_program(program)


def _runs(roll: Roll) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First frame, end frame (not included) and column of every note [N]."""
    width = len(roll) + 1
    sounding = np.zeros((KEYS, width), bool)  # the spare frame ends each key's last note
    sounding[:, :-1] = roll.sounding.T
    struck = np.zeros_like(sounding)
    struck[:, :-1] = roll.onset.T
    before = np.zeros_like(sounding)
    before[:, 1:] = sounding[:, :-1]
    begins = (sounding & (struck | ~before)).reshape(-1)
    changes = np.flatnonzero(begins | (before & ~sounding).reshape(-1))
    starting = begins[changes]
    start, end = changes[starting], changes[1:][starting[:-1]]
    return start % width, start % width + (end - start), start // width


def frames_of(roll: Roll, planes: str = "sounding") -> np.ndarray:
    """The planes up to `planes` side by side: uint8 [T, 88 · P], 0 or 1 but for velocities, 0..127.

    A key that comes out of silence is struck, even where the roll does not say so.
    """
    sides = (roll.sounding, _struck(roll.sounding, roll.onset), roll.velocity)[: PLANES.index(planes) + 1]
    return np.concatenate([side.astype(np.uint8) for side in sides], axis=1)


def roll_from_frames(frames: np.ndarray, division: Fraction | str = DEFAULT_DIVISION) -> Roll:
    """Inverse of `frames_of`; in planes that are not there, an unbroken run is one note, of velocity 80.

    Raises MidiError for frames of another width than 88, 176 or 264.
    """
    frames = np.asarray(frames)
    if frames.ndim != 2 or frames.shape[1] not in (KEYS, 2 * KEYS, 3 * KEYS):
        raise MidiError(f"frames must be [T, {KEYS}] for each of 1 to 3 planes, got {list(frames.shape)}")
    sounding, onset, velocity = (frames[:, i * KEYS : (i + 1) * KEYS] for i in range(len(PLANES)))
    sounding = sounding.astype(bool)
    onset = _struck(sounding, onset.astype(bool) if onset.size else np.zeros_like(sounding))
    loud = np.clip(velocity, 1, 127) if velocity.size else DEFAULT_VELOCITY  # what sounds has been struck
    return Roll(sounding, onset, np.where(sounding, loud, 0).astype(np.uint8), division)


def _struck(sounding: np.ndarray, onset: np.ndarray) -> np.ndarray:
    """Where notes begin, bool [T, 88]: where a key is struck or comes out of silence."""
    before = np.zeros_like(sounding)
    before[1:] = sounding[:-1]
    return sounding & (onset | ~before)


def top_note(roll: Roll) -> Roll:
    """Only the highest sounding key of each frame; notes too short for the grid may share one even in a melody."""
    highest = KEYS - 1 - roll.sounding[:, ::-1].argmax(1)
    keep = roll.sounding & (np.arange(KEYS) == highest[:, None])
    return Roll(keep, roll.onset & keep, roll.velocity * keep, roll.division)


def drop_silence(roll: Roll) -> Roll:
    """Leave out the frames in which nothing sounds. Onsets stay: notes around a rest do not melt together."""
    keep = roll.sounding.any(axis=1)
    return Roll(roll.sounding[keep], roll.onset[keep], roll.velocity[keep], roll.division)


def transpose_roll(roll: Roll, semitones: int) -> Roll:
    """Move every note by `semitones`. Raises MidiError if a sounding key would leave the keyboard."""
    used = np.flatnonzero(roll.sounding.any(axis=0))
    if len(used) and not 0 <= used[0] + semitones <= used[-1] + semitones < KEYS:
        raise MidiError(
            f"transposing by {semitones:+d} pushes a note off the keyboard; "
            f"this roll can move by {-used[0]:+d}..{KEYS - 1 - used[-1]:+d}"
        )
    planes = (roll.sounding, roll.onset, roll.velocity)
    return Roll(*(np.roll(plane, semitones, axis=1) for plane in planes), roll.division)


def pack(sounding: np.ndarray) -> np.ndarray:
    """Bool [T, 88] to uint8 [T, 11], eight keys a byte, the lowest key in the highest bit."""
    return np.packbits(np.asarray(sounding, bool), axis=1)


def unpack(packed: np.ndarray) -> np.ndarray:
    """Inverse of `pack`: uint8 [T, 11] to bool [T, 88]."""
    return np.unpackbits(packed, axis=1).view(bool)


def skyline(song: Song) -> Song:
    """The highest sounding note at each moment: a melody in which one note sounds at a time.

    Drums are left out. A note that a higher one covers falls silent, and is struck again if it still sounds
    when the higher one ends.
    """
    notes = song.notes[~song.notes["drum"]]
    start = np.rint(notes["onset"] * song.ticks_per_beat).astype(np.int64)
    end = np.rint((notes["onset"] + notes["duration"]) * song.ticks_per_beat).astype(np.int64)
    pieces = _envelope(start.tolist(), np.maximum(end, start + 1).tolist(), notes["pitch"].tolist())
    index, start, end = np.array(pieces, np.int64).reshape(-1, 3).T
    melody = notes[index]
    melody["onset"], melody["duration"] = start / song.ticks_per_beat, (end - start) / song.ticks_per_beat
    return replace(song, notes=melody)


def _envelope(start: list[int], end: list[int], pitch: list[int]) -> list[tuple[int, int, int]]:
    """The topmost of some intervals sorted by start, as (index, start, end) pieces that do not overlap."""
    pieces: list[tuple[int, int, int]] = []
    sounding: list[tuple[int, int, int, int]] = []  # the highest, then the last struck, comes first
    now = 0

    def play_until(time: int) -> None:
        nonlocal now
        while sounding and now < time:
            i = sounding[0][-1]
            if end[i] <= now:
                heapq.heappop(sounding)
                continue
            until = min(end[i], time)
            if pieces and pieces[-1][0] == i and pieces[-1][2] == now:
                pieces[-1] = (i, pieces[-1][1], until)  # a lower note came in: the upper one just goes on
            else:
                pieces.append((i, now, until))
            now = until
        now = time

    for i in range(len(start)):
        play_until(start[i])
        heapq.heappush(sounding, (-pitch[i], -start[i], -end[i], i))
    play_until(max(end, default=0))
    return pieces
