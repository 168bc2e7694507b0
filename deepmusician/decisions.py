"""Decisions: what a person wants done with each piece of a data set, and the doing of it.

The notes as they were read are never touched: a `Choice` is kept beside them and carried out whenever the data set is
read, so everything that learns from it or composes with it sees the same music, and undoing is taking a choice back.
"Silence" is what a model hears as such: bars in which none of the 88 keys sounds, though drums may. Knows nothing of
files or pages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from deepmusician.errors import LibraryError
from deepmusician.notes import Song, bar_beats
from deepmusician.roll import KEYS, LOWEST, MAX_BEATS, off_keyboard, playable
from deepmusician.store import Entry

HIGHEST = LOWEST + KEYS - 1
TRAINING, HELD_OUT = "training", "held out"
SIDES = ("", TRAINING, HELD_OUT)  # on which side of the split a piece is pinned; "" leaves it to chance
FEW = 0.1  # share of a piece's notes off the keyboard up to which they are moved alone, not the piece
MAX_STEPS = 50  # decisions that can be undone
_FORM = 1


@dataclass(frozen=True)
class Choice:
    """What is decided of one piece; as it stands here, nothing."""

    out: bool = False  # left out as a whole
    mute: tuple[int, ...] = ()  # tracks left out
    no_drums: bool = False
    trim: bool = False  # the silent bars before and after the music
    fit: bool = False  # notes off the keyboard are brought onto it
    side: str = ""

    def __post_init__(self) -> None:
        if self.side not in SIDES:
            raise LibraryError(f"a piece is pinned to one of {', '.join(SIDES[1:])} or to none, got {self.side!r}")

    def hear(self, track: int, wanted: bool) -> Choice:
        """The choice with one track taken in or left out."""
        mute = set(self.mute) - {track} if wanted else {*self.mute, track}
        return replace(self, mute=tuple(sorted(mute)))


AS_READ = Choice()


@dataclass(frozen=True)
class Step:
    """One decision in words, and how the pieces it changed stood before."""

    what: str
    before: Mapping[str, Choice]


@dataclass(frozen=True)
class Decisions:
    """The choices of a data set by the names of its pieces, and the steps that led there, newest last."""

    choices: Mapping[str, Choice] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()

    def of(self, name: str) -> Choice:
        """What is decided of the piece of that name."""
        return self.choices.get(name, AS_READ)

    def decide(self, what: str, changes: Mapping[str, Choice]) -> Decisions:
        """With new choices for some pieces; the same decisions where they change nothing."""
        changes = {name: choice for name, choice in changes.items() if choice != self.of(name)}
        if not changes:
            return self
        step = Step(what, {name: self.of(name) for name in changes})
        return Decisions(self._with(changes), (*self.steps, step)[-MAX_STEPS:])

    def undo(self) -> Decisions:
        """As before the last decision."""
        return Decisions(self._with(self.steps[-1].before), self.steps[:-1]) if self.steps else self

    def _with(self, changes: Mapping[str, Choice]) -> dict[str, Choice]:
        return {name: choice for name, choice in {**self.choices, **changes}.items() if choice != AS_READ}

    def to_json(self) -> str:
        """As text for a file."""
        steps = [{"what": step.what, "before": _plain(step.before)} for step in self.steps]
        return json.dumps({"form": _FORM, "choices": _plain(self.choices), "steps": steps}, ensure_ascii=True)

    @classmethod
    def from_json(cls, text: str) -> Decisions:
        """Inverse of `to_json`. Raises LibraryError where it is something else."""
        try:
            table = json.loads(text)
            if table["form"] != _FORM:
                raise ValueError(f"form {table['form']}, not {_FORM}")
            steps = tuple(Step(str(step["what"]), _choices(step["before"])) for step in table["steps"])
            return cls(_choices(table["choices"]), steps)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = f"its decisions cannot be read ({error}); delete decisions.json to begin anew"
            raise LibraryError(reason) from error


def _plain(choices: Mapping[str, Choice]) -> dict[str, dict[str, Any]]:
    return {name: {k: v for k, v in asdict(c).items() if v != getattr(AS_READ, k)} for name, c in choices.items()}


def _choices(table: dict[str, dict[str, Any]]) -> dict[str, Choice]:
    return {name: Choice(**c | {"mute": tuple(map(int, c.get("mute", ())))}) for name, c in table.items()}


# ---- carrying them out


def treated(entry: Entry, choice: Choice = AS_READ) -> Entry:
    """The piece as decided. What nothing is left of, or what is too long for a roll, is left out with the reason; of
    all else the status goes on to say how it was read."""
    if entry.song is None:
        return entry
    if choice.out:
        return Entry(entry.name, None, "left out", "you left it out")
    song, said = treat(entry.song, choice)
    reason = "; ".join(filter(None, (entry.reason, *said)))
    if not len(song):
        return Entry(entry.name, None, "left out", f"no note is left of it: {reason}")
    if (end := music_span(song)[1]) > MAX_BEATS:
        return Entry(entry.name, None, "left out", f"its last note lies at beat {end:,.0f}, {MAX_BEATS:,} are possible")
    return Entry(entry.name, song, entry.status, reason, choice.side)


def treat(song: Song, choice: Choice) -> tuple[Song, tuple[str, ...]]:
    """The song as decided, and in words what was done; what had nothing to do says nothing."""
    said = []
    for do, asked in ((_without_tracks, choice.mute), (_without_drums, choice.no_drums)):
        if asked:
            song, words = do(song, choice)
            said.append(words)
    if choice.fit:
        song, words = fit(song)
        said.append(words)
    if choice.trim:
        song, words = trim(song)
        said.append(words)
    return song, tuple(filter(None, said))


def _without_tracks(song: Song, choice: Choice) -> tuple[Song, str]:
    out = [i for i in choice.mute if i < len(song.tracks)]
    lost = int(np.isin(song.notes["track"], out).sum())
    kept = song.select([i for i in range(len(song.tracks)) if i not in out])
    words = f"you left out {_count(len(out), 'track')} of {len(song.tracks)} ({_count(lost, 'note')})"
    return kept, words if out else ""


def _without_drums(song: Song, choice: Choice) -> tuple[Song, str]:
    lost = int(song.notes["drum"].sum())
    return song.select(drums=False), f"you dropped its drums ({_count(lost, 'note')})" if lost else ""


def fit(song: Song) -> tuple[Song, str]:
    """Bring every pitched note onto the 88 keys: the piece by octaves where many lie off them, else note by note."""
    lost = off_keyboard(song)
    if not lost:
        return song, ""
    notes = song.notes.copy()
    pitched = ~notes["drum"]
    pitch = notes["pitch"][pitched].astype(int)
    octaves = 0
    if lost > FEW * len(pitch):
        octaves = min(range(-8, 9), key=lambda o: (_off(pitch + 12 * o), abs(o)))
        pitch += 12 * octaves
    folded = _off(pitch)
    pitch += 12 * -(-np.maximum(LOWEST - pitch, 0) // 12) - 12 * -(-np.maximum(pitch - HIGHEST, 0) // 12)
    notes["pitch"][pitched] = pitch
    moves = [f"the piece moved {_count(abs(octaves), 'octave')} {'up' if octaves > 0 else 'down'}"] if octaves else []
    moves += [f"{_count(folded, 'note')} moved by octaves"] if folded else []
    return replace(song, notes=notes), " and ".join(moves) + " onto the keyboard"


def _off(pitch: np.ndarray) -> int:
    return int(((pitch < LOWEST) | (pitch > HIGHEST)).sum())


def music_span(song: Song) -> tuple[float, float]:
    """The beats between which a model hears music: whole bars from the first key that sounds to the last."""
    notes = song.notes[playable(song.notes)]
    if not len(notes):
        return 0.0, song.beats
    first, last = float(notes["onset"].min()), float((notes["onset"] + notes["duration"]).max())
    return _bar_line(song, first, after=False), min(_bar_line(song, last, after=True), max(song.beats, last))


def silent_beats(song: Song) -> float:
    """Beats before and after the music that `trim` takes away."""
    begin, end = music_span(song)
    return begin + song.beats - end


def trim(song: Song) -> tuple[Song, str]:
    """Cut the silent bars before and after the music; bars stay where they are against the notes."""
    begin, end = music_span(song)
    if begin <= 0 and end >= song.beats:
        return song, ""
    notes = song.notes[(song.notes["onset"] >= begin) & (song.notes["onset"] < end)].copy()
    notes["duration"] = np.minimum(notes["duration"], end - notes["onset"])
    notes["onset"] -= begin
    maps = {name: _from_beat(getattr(song, name), begin) for name in ("tempos", "meters", "keys")}
    cut = begin + song.beats - end
    return replace(song, notes=notes, **maps), f"{_count(cut, 'beat')} of silence trimmed"


def _from_beat(events: np.ndarray, begin: float) -> np.ndarray:
    """A map as it stands from `begin` on, which becomes beat 0."""
    first = max(int(np.searchsorted(events["beat"], begin, side="right")) - 1, 0)
    events = events[first:].copy()
    events["beat"] = np.maximum(events["beat"] - begin, 0)
    return events


def _bar_line(song: Song, beat: float, after: bool) -> float:
    """The bar line at or before, or at or after, a beat; a new meter begins a new bar."""
    i = max(int(np.searchsorted(song.meters["beat"], beat, side="left" if after else "right")) - 1, 0)
    start, length = float(song.meters["beat"][i]), bar_beats(song.meters)[i]
    bars = (beat - start) / length
    line = start + length * float(np.ceil(bars - 1e-9) if after else np.floor(bars + 1e-9))
    return min(line, float(song.meters["beat"][i + 1])) if i + 1 < len(song.meters) else line


def _count(number: float, noun: str) -> str:
    text = f"{number:,.2f}".rstrip("0").rstrip(".")
    return f"{text} {noun}{'' if number == 1 else 's'}"
