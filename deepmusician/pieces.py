"""What the judges say of one piece: which of its bars stand in the training songs and where, and what a model expected.

Bars are the song's own, whatever its meter. A bar and the place in the training song where its passage stands are cut
as two pieces of one length, lined up so that they can be heard in turn. Knows nothing of pages.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from deepmusician.errors import CheckpointError, LibraryError
from deepmusician.evaluation import training_music
from deepmusician.judging import as_seen, make_index
from deepmusician.notes import METER, Song
from deepmusician.originality import Bar, Human, Index, Shared, verdict
from deepmusician.plurals import count
from deepmusician.roll import Roll, from_roll, parse_division, roll_from_frames
from deepmusician.rolls import Rolls
from deepmusician.surprise import surprise

BESIDE = 1  # bars heard before and after the one that is asked for


@dataclass(frozen=True)
class Read:
    """A model's training songs, `train` of `rolls`, with an index of them, and what human pieces share with them."""

    card: dict[str, Any]
    names: tuple[str, ...]
    rolls: Rolls
    train: np.ndarray
    index: Index
    human: Human

    @classmethod
    def of(cls, source: str | Path) -> Read:
        """Read the training music of a checkpoint. Raises CheckpointError and LibraryError where it is gone."""
        card, names, rolls, train, judged = training_music(source)
        division = parse_division(card["options"].get("division", "1/16"))
        return cls(card, names, rolls, train, *make_index(rolls, train, judged, division))

    def search(self, song: Song) -> Found:
        """Look for a piece in it."""
        roll = as_seen(song, self.card)
        shared = self.index.search(roll)
        ends = np.append(song.bar_starts(), song.beats)
        frames = np.rint(ends * float(roll.frames_per_beat)).astype(int)
        bars = tuple(shared.bar(a, b, self.human.mark) for a, b in pairwise(frames))
        return Found(song, roll, shared, bars, frames)

    def name(self, bar: Bar) -> str:
        """The training song in which a bar's longest passage stands."""
        return self.names[self.train[bar.passage.song]]

    def beside(self, found: Found, bar: int) -> tuple[Song, Song]:
        """A bar with BESIDE bars around it, and as much of the training song around the same chords."""
        begin = int(found.frames[max(bar - BESIDE, 0)])
        end = min(int(found.frames[min(bar + 1 + BESIDE, len(found.bars))]), len(found.roll))
        passage, chords = found.bars[bar].passage, found.shared.chords
        inside = (chords.frame >= found.frames[bar]) & (chords.frame < found.frames[bar + 1])
        first = next(i for i in np.flatnonzero(inside) if passage.begin <= i < passage.end)
        place = _along(first - passage.begin, len(passage), passage.song_end - passage.song_begin)
        frame = int(self.index.songs[passage.song].frame[passage.song_begin + place])
        shift = frame - int(chords.frame[first])
        source = roll_from_frames(self.rolls.frames(self.train[passage.song]), found.roll.division)
        return found.cut(found.roll, begin, end), found.cut(source, begin + shift, end + shift)


def _along(place: int, of: int, other: int) -> int:
    """The chord that answers chord `place` of `of`, in a passage that has `other` there."""
    return min(round(place * (other - 1) / max(of - 1, 1)), other - 1)


@dataclass(frozen=True)
class Found:
    """A song on the model's grid, what it shares with the training songs, and each bar: frames[i] to frames[i + 1]."""

    song: Song
    roll: Roll
    shared: Shared
    bars: tuple[Bar, ...]
    frames: np.ndarray

    @property
    def shades(self) -> np.ndarray:
        """Of each bar, 0..1."""
        return np.array([bar.shade for bar in self.bars])

    def cut(self, roll: Roll, begin: int, end: int) -> Song:
        """The frames `begin` to `end` of a roll, silent where it has none, in this song's tempo, sound and meter."""
        inside = np.arange(begin, end)
        inside = inside[(inside >= 0) & (inside < len(roll))]
        planes = []
        for plane in (roll.sounding, roll.onset, roll.velocity):
            part = np.zeros((end - begin, plane.shape[1]), plane.dtype)
            part[inside - begin] = plane[inside]
            planes.append(part)
        melodic = self.song.notes[~self.song.notes["drum"]]
        program = int(melodic["program"][0]) if len(melodic) else 0
        song = from_roll(Roll(*planes, roll.division), self.song.tempo_bpm, program)
        beat = max(begin, 0) / float(roll.frames_per_beat)
        meter = self.song.meters[np.searchsorted(self.song.meters["beat"], beat + 1e-9, side="right") - 1]
        return replace(song, meters=np.array([(0.0, meter["numerator"], meter["denominator"])], METER))


def semitones_words(semitones: int) -> str:
    """How much higher something stands: "1 semitone lower"; empty where it is no higher."""
    if not semitones:
        return ""
    size = abs(semitones)
    return f"{size} semitone{'s' if size > 1 else ''} {'higher' if semitones > 0 else 'lower'}"


def judge_piece(source: str | Path, song: Song, style: str | None = None) -> dict[str, Any]:
    """A piece's report as plain values for JSON: {"originality": …, "surprise": …}.

    "originality" holds the verdict and of each bar its shade and the passage it stands in; {"problem": sentence} where
    the training songs are gone. "surprise" holds nats a frame, each bar's, and each note's probability; None where the
    model sees no note or frame. Raises OptionError where no note lies on the keyboard.
    """
    expected = surprise(source, song, style)
    notes = zip(song.notes, expected.probability, strict=True)
    return {
        "originality": _originality(source, song),
        "surprise": {
            "nats": round(expected.nats, 4), "of": "velocities" if expected.velocities else "notes",
            "bars": [_number(nats) for nats in expected.bars],
            "notes": [
                {"beat": round(float(n["onset"]), 5), "pitch": int(n["pitch"]), "probability": _number(p)}
                for n, p in notes
            ],
        },
    }  # fmt: skip


def _originality(source: str | Path, song: Song) -> dict[str, Any]:
    try:
        read = Read.of(source)
    except (CheckpointError, LibraryError) as error:
        return {"problem": str(error)}
    found = read.search(song)
    much, said = verdict(found.shared, read.human)
    bars = [
        {"bar": i + 1, "shade": round(bar.shade, 4), "chords": bar.chords}
        | ({"song": read.name(bar), "semitones": bar.passage.semitones} if bar.passage else {})
        for i, bar in enumerate(found.bars)
    ]
    share, longest = found.shared.share(read.human.mark), found.shared.longest
    return {
        "warning": much, "words": said, "share": round(share, 4), "longest": longest, "mark": read.human.mark,
        "human": {"share": round(read.human.mean, 4), "limit": round(read.human.limit, 4)}, "bars": bars,
    }  # fmt: skip


def _number(value: float) -> float | None:
    return round(float(value), 5) if np.isfinite(value) else None


def piece_words(report: dict[str, Any]) -> list[str]:
    """The report on a piece, for people."""
    original, expected = report["originality"], report["surprise"]
    lines = [original.get("words") or f"Whether it is new was not judged: {original['problem']}"]
    for bar in sorted(original.get("bars", ()), key=lambda bar: -bar["shade"])[:5]:
        if bar["shade"]:
            moved = semitones_words(bar["semitones"])
            lines.append(
                f"bar {bar['bar']}: {count(bar['chords'], 'chord')} of {bar['song']}{f', {moved}' if moved else ''}"
            )
    return [*lines, f"The model expected its {expected['of']} at {expected['nats']:.2f} nats a frame."]
