"""The doctor: what became of every file and track of a data set, why, in words, and what can be done about it.

Each piece is examined as it was read and as it is learnt from, after what was decided of it. Findings speak of the data
set as a whole; most bring the decisions with them that would help. Pure: it looks at songs, not at files or pages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from deepmusician.copies import Group, Lines, find_copies, kin, lines
from deepmusician.decisions import HELD_OUT, TRAINING, Choice, silent_beats, treated
from deepmusician.glance import Glance, glance
from deepmusician.notes import Song
from deepmusician.plurals import count
from deepmusician.roll import playable
from deepmusician.store import Entry
from deepmusician.windows import split_songs

Verdict = Literal["kept", "changed", "left out"]  # changed: not learnt as it stands in its file, whoever changed it
NAMED = 3  # files that a finding names; the table has them all
SHARE, TIMES = 0.2, 2.5  # one dominates with this share of the frames, and as many times its fair one


@dataclass(frozen=True)
class TrackReport:
    """What becomes of one track; `notes` as read, `low` and `high` MIDI pitches of those with one."""

    index: int
    name: str
    program: int
    drum: bool
    notes: int
    low: int | None
    high: int | None
    verdict: Verdict
    reason: str


@dataclass(frozen=True)
class Report:
    """What becomes of one file. `read` is it as it was read, `result` after the decisions; `before` and `after` are
    both at a glance, None where there is no music."""

    read: Entry
    result: Entry
    choice: Choice
    verdict: Verdict
    reason: str
    before: Glance | None
    after: Glance | None
    tracks: tuple[TrackReport, ...]
    lines: Lines | None

    @property
    def name(self) -> str:
        """The file's name."""
        return self.read.name

    @property
    def is_in(self) -> bool:
        """Whether anything is learnt from it."""
        return self.verdict != "left out"


# ---- one file


def examine(entry: Entry, choice: Choice) -> Report:
    """Look at one piece as read, carry out what is decided, and say what became of it."""
    if entry.song is None:
        reason = f"it could not be read: {entry.reason.removeprefix(f'{entry.name}: ')}"
        return Report(entry, entry, choice, "left out", reason, None, None, (), None)
    result = treated(entry, choice)
    before = glance(entry.song)
    after = before if result.song is entry.song else glance(result.song) if result.song else None
    changed = entry.status == "repaired" or result.song is not entry.song
    verdict, reason = _verdict(result, after, changed)
    is_in = verdict != "left out"
    tracks = tuple(_track(entry.song, i, choice) for i in range(len(entry.song.tracks)))
    heard = lines(result.song) if is_in else None
    return Report(entry, result, choice, verdict, reason, before, after if is_in else None, tracks, heard)


def _verdict(entry: Entry, after: Glance | None, changed: bool) -> tuple[Verdict, str]:
    reason = entry.reason.removeprefix(f"{entry.name}: ")
    if after is None:
        return "left out", reason
    if not after.notes:
        what = "it holds only drums, which have no pitch" if not after.lost else "none of its notes is on the 88 keys"
        return "left out", "; ".join(filter(None, (what, reason)))
    notes = [reason] if reason else []
    if after.lost:
        notes.append(f"{count(after.lost, 'note')} off the 88 keys {_is(after.lost)} not learnt")
    if after.drums:
        notes.append(f"its drums ({count(after.drums, 'note')}) have no pitch and are not learnt")
    return "changed" if changed or after.lost else "kept", "; ".join(notes)


def _track(song: Song, index: int, choice: Choice) -> TrackReport:
    track = song.tracks[index]
    notes = song.notes[song.notes["track"] == index]
    pitched = notes[~notes["drum"]]
    drum = not len(pitched) if len(notes) else track.drum
    verdict, reason = _track_verdict(notes, choice, index)
    low, high = (int(pitched["pitch"].min()), int(pitched["pitch"].max())) if len(pitched) else (None, None)
    return TrackReport(index, track.name, track.program, drum, len(notes), low, high, verdict, reason)


def _track_verdict(notes: np.ndarray, choice: Choice, index: int) -> tuple[Verdict, str]:
    drums, off = int(notes["drum"].sum()), int((~notes["drum"] & ~playable(notes)).sum())
    if choice.out or index in choice.mute:
        return "left out", "you left it out" if index in choice.mute else "you left the whole piece out"
    if not len(notes):
        return "left out", "it holds no notes"
    if drums == len(notes):
        return "left out", "drums have no pitch: " + ("you dropped them" if choice.no_drums else "heard, not learnt")
    if off + drums == len(notes) and not choice.fit:
        return "left out", "none of its notes is on the 88 keys"
    said = [f"{count(off, 'note')} off the 88 keys {'moved onto them' if choice.fit else 'not learnt'}"] if off else []
    said += [f"{count(drums, 'drum note')} not learnt"] if drums else []
    return "changed" if said else "kept", "; ".join(said)


# ---- the whole


@dataclass(frozen=True)
class Totals:
    """A data set before, as it was read, and after: what is learnt of it."""

    files: tuple[int, int]
    tracks: tuple[int, int]
    notes: tuple[int, int]
    bars: tuple[int, int]
    minutes: tuple[float, float]


def totals(reports: Sequence[Report]) -> Totals:
    """Count files, tracks, notes, bars and minutes before and after."""
    before = [r.before for r in reports if r.before]
    after = [r.after for r in reports if r.after]
    both = [(sum(getattr(g, n) for g in before), sum(getattr(g, n) for g in after)) for n in ("bars", "minutes")]
    tracks = sum(1 for r in reports for t in r.tracks if t.notes), sum(g.tracks for g in after)
    notes = sum(g.notes + g.lost + g.drums for g in before), sum(g.notes for g in after)
    return Totals((len(reports), len(after)), tracks, notes, *both)


def sides(reports: Sequence[Report], valid_fraction: float, seed: int) -> list[str]:
    """On which side of the split each piece comes to stand when it is trained on alone; "" for what is left out.

    Raises LibraryError where none is left to train on.
    """
    places = [i for i, r in enumerate(reports) if r.is_in]
    pins = np.array([reports[i].choice.side for i in places], "U8")
    alike = kin([piece for i in places if (piece := reports[i].lines)])
    _, held = split_songs(len(places), valid_fraction, seed, sides=pins, kin=alike)
    found = ["" if not r.is_in else TRAINING for r in reports]
    for i in held:
        found[places[i]] = HELD_OUT
    return found


def shares(reports: Sequence[Report], where: Sequence[str]) -> list[float]:
    """Each piece's share of the training frames; 0 for what is held out or left out."""
    frames = [r.after.frames if r.after and side == TRAINING else 0 for r, side in zip(reports, where, strict=True)]
    return [n / max(sum(frames), 1) for n in frames]


def copies(reports: Sequence[Report]) -> list[Group]:
    """The near-duplicates among the pieces that are in, by their places in `reports`."""
    places = [i for i, r in enumerate(reports) if r.lines is not None]
    groups = find_copies([reports[i].lines for i in places])
    return [Group(places[g.original], tuple(replace(c, index=places[c.index]) for c in g.copies)) for g in groups]


# ---- findings


@dataclass(frozen=True)
class Finding:
    """Something to know of a data set, in Markdown; `remedy` names what `changes` would do, "" where there is none."""

    kind: str
    words: str
    remedy: str = ""
    changes: Mapping[str, Choice] | None = None


def findings(reports: Sequence[Report], where: Sequence[str], groups: Sequence[Group]) -> list[Finding]:
    """Everything there is to say, what was lost first."""
    found = [_unread(reports), _toneless(reports), _off_keys(reports), _drums(reports), _silence(reports)]
    found += [_copied(reports, groups), _divided(reports, where, groups), _dominant(reports, where)]
    found.append(_none_held_out(where))
    return [finding for finding in found if finding]


def _unread(reports: Sequence[Report]) -> Finding | None:
    lost = [r for r in reports if r.read.song is None]
    if not lost:
        return None
    named = "; ".join(f"{_code(r.name)}: {r.reason.removeprefix('it could not be read: ')}" for r in lost[:NAMED])
    more = f"; and {len(lost) - NAMED} more, in the table" if len(lost) > NAMED else ""
    return Finding("unread", f"**{count(len(lost), 'file')} could not be read.** {named}{more}.")


def _toneless(reports: Sequence[Report]) -> Finding | None:
    some = [r for r in reports if r.read.song and not r.is_in and not r.choice.out]
    if not some:
        return None
    named = "; ".join(f"{_code(r.name)}: {r.reason}" for r in some[:NAMED])
    more = f"; and {len(some) - NAMED} more, in the table" if len(some) > NAMED else ""
    return Finding("toneless", f"**Nothing can be learnt from {count(len(some), 'file')}.** {named}{more}.")


def _off_keys(reports: Sequence[Report]) -> Finding | None:
    some = [r for r in reports if r.before and r.before.lost and not r.choice.out and not r.choice.fit]
    lost = sum(r.before.lost for r in some)
    words = f"**{count(lost, 'note')} off the 88 keys** of a piano {_is(lost)} not learnt, in {_named(some)}."
    return _offer("range", words, "Transpose into range", some, fit=True)


def _drums(reports: Sequence[Report]) -> Finding | None:
    some = [r for r in reports if r.is_in and r.before.drums and not r.choice.no_drums]
    lost = sum(r.before.drums for r in some)
    words = f"**{count(lost, 'drum note')}** have no pitch: heard here, but not learnt, in {_named(some)}."
    return _offer("drums", words, "Drop the drums", some, no_drums=True)


def _silence(reports: Sequence[Report]) -> Finding | None:
    some = [r for r in reports if r.is_in and not r.choice.trim and silent_beats(r.result.song) > 0]
    beats = sum(silent_beats(r.result.song) for r in some)
    words = f"**{count(round(beats), 'beat')} of silence** before or after the music, in {_named(some)}."
    return _offer("silence", words, "Trim the silence", some, trim=True)


def _copied(reports: Sequence[Report], groups: Sequence[Group]) -> Finding | None:
    if not groups:
        return None
    pairs = [
        f"{_code(reports[c.index].name)} is {_same(c.share)} as {_code(reports[g.original].name)}{_moved(c.semitones)}"
        for g in groups
        for c in g.copies
    ]
    more = f"; and {len(pairs) - NAMED} more" if len(pairs) > NAMED else ""
    words = f"**{count(len(pairs), 'near-duplicate')}.** {'; '.join(pairs[:NAMED])}{more}."
    some = [reports[c.index] for g in groups for c in g.copies]
    return _offer("copies", words, f"Leave out the {'copies' if len(some) > 1 else 'copy'}", some, out=True)


def _same(share: float) -> str:
    return "the same" if share > 0.995 else f"{share:.0%} the same"


def _moved(semitones: int) -> str:
    if not semitones:
        return ""
    return f", {count(abs(semitones), 'semitone')} {'higher' if semitones > 0 else 'lower'}"


def divided(where: Sequence[str], groups: Sequence[Group]) -> list[Group]:
    """The groups of copies that stand on both sides of the split."""
    return [g for g in groups if {TRAINING, HELD_OUT} <= {where[i] for i in g.members}]


def _divided(reports: Sequence[Report], where: Sequence[str], groups: Sequence[Group]) -> Finding | None:
    torn = divided(where, groups)
    if not torn:
        return None
    changes = {}
    for group in torn:  # to the side where most of them stand; in doubt they are trained on
        held = sum(where[i] == HELD_OUT for i in group.members)
        side = HELD_OUT if 2 * held > len(group.members) else TRAINING
        changes |= {reports[i].name: replace(reports[i].choice, side=side) for i in group.members}
    named = ", ".join(_code(reports[g.original].name) for g in torn[:NAMED])
    words = f"**Held-out songs are known from training:** {named} and what is nearly the same stand on both sides."
    return Finding("sides", words + " The model is then judged on what it has seen.", "Keep them on one side", changes)


def _dominant(reports: Sequence[Report], where: Sequence[str]) -> Finding | None:
    mine = shares(reports, where)
    n = sum(share > 0 for share in mine)
    top = int(np.argmax(mine)) if mine else 0
    if n < 3 or mine[top] < max(SHARE, TIMES / n):
        return None
    words = f"**{_code(reports[top].name)} makes up {mine[top]:.0%} of what is trained on**"
    words += f"; a fair share would be {1 / n:.0%}."
    return Finding("share", words, "Train with songs in balance")


def _none_held_out(where: Sequence[str]) -> Finding | None:
    if HELD_OUT in where or TRAINING not in where:
        return None
    why = "one piece cannot be parted" if sum(map(bool, where)) == 1 else "all are pinned to training"
    words = f"**No song is held out** ({why}), so a model cannot be judged on music it does not know."
    return Finding("unjudged", words)


def _offer(kind: str, words: str, remedy: str, some: Sequence[Report], **decided: bool) -> Finding | None:
    changes = {r.name: replace(r.choice, **decided) for r in some}
    return Finding(kind, words, remedy, changes) if some else None


def _named(reports: Sequence[Report]) -> str:
    names = ", ".join(_code(r.name) for r in reports[:NAMED])
    return names + (f" and {count(len(reports) - NAMED, 'more file')}" if len(reports) > NAMED else "")


def _code(name: str) -> str:
    """A file's name as Markdown shows it, whatever signs are in it."""
    return "`" + name.replace("`", "'") + "`"


def _is(number: int) -> str:
    return "is" if number == 1 else "are"
