"""In which order the measures of a score are played, by its repeat signs, endings and da capos.

The signs of all parts are gathered, so that one standing in one part only (a da capo often does) holds for all and the
parts cannot fall apart, and are read as a musician reads them:
- a closing repeat sign without an opening one goes back to the sign before it, or to the beginning;
- an opening sign that is never closed means nothing; an ending without a number is the first where it closes a repeat;
- after a da capo or dal segno repeats are not taken again, and the last endings are played;
- al fine ends with the measure of the fine, al coda leaves after the measure of the first coda sign for the second.
Where the words make no sense together (a dal segno without a segno), they are not followed, and a sentence says so.

music21's own Expander reads A :| B :| as A A B A A B, refuses endings without numbers, expands each part for itself and
copies every note. It does not know notes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from music21.stream import Measure

MAX_TIMES = 16  # how often a passage may sound
CANNOT = "its da capo, segno and coda signs make no sense together: not followed"


@dataclass
class Signs:
    """What a score says about repeats, by index of the measure."""

    starts: set[int] = field(default_factory=set)
    ends: dict[int, int] = field(default_factory=dict)  # how often the passage sounds
    endings: dict[tuple[int, int], set[int]] = field(default_factory=dict)  # (first, last measure): in which rounds
    words: dict[str, list[int]] = field(default_factory=dict)  # "Segno", "DaCapoAlFine" …, as music21 calls them


def playing_order(parts: list[list[Measure]], brackets: list) -> tuple[list[int], str]:
    """Indices of the measures in the order they sound, and what could not be followed ("" where all could).

    `parts` holds the measures of each part, equally many; `brackets` are the score's RepeatBracket spanners.
    """
    return expand(_gather(parts, brackets), len(parts[0]))


def expand(signs: Signs, measures: int) -> tuple[list[int], str]:
    """As `playing_order`, from the signs alone."""
    _tidy(signs)
    jumps = [(at, word) for word in signs.words if word.startswith(("Da", "Al")) for at in signs.words[word]]
    if not jumps:
        return _play(signs, 0, measures), ""
    at, word = jumps[0]
    again = _after_jump(signs, at, word, measures)
    if again is None or len(jumps) > 1:
        return _play(signs, 0, measures), CANNOT
    return _play(signs, 0, at + 1) + again, ""


def _play(signs: Signs, at: int, stop: int, again: bool = False) -> list[int]:
    """Measures from `at` to before `stop` as played; with `again` repeats are not taken, and last endings are."""
    order: list[int] = []
    back_to, round_ = at, 1
    while at < stop:
        if at in signs.starts and at > back_to:
            back_to, round_ = at, 1
        ending = _ending_at(signs, at)
        if ending and not (_is_last_ending(signs, ending) if again else round_ in signs.endings[ending]):
            at = ending[1] + 1
            continue
        order.append(at)
        if at in signs.ends and not again and round_ < _rounds(signs, at, ending):
            at, round_ = back_to, round_ + 1
            continue
        leaves = at == ending[1] if ending else at in signs.ends
        at += 1
        if leaves:
            back_to, round_ = at, 1
    return order


def _ending_at(signs: Signs, measure: int) -> tuple[int, int] | None:
    return next((ending for ending in signs.endings if ending[0] <= measure <= ending[1]), None)


def _group(signs: Signs, ending: tuple[int, int]) -> list[tuple[int, int]]:
    """The endings of one passage: those that follow one another without a gap, this one among them."""
    group: list[tuple[int, int]] = []
    for other in sorted(signs.endings):
        if group and (other[0] != group[-1][1] + 1 or signs.endings[other] & signs.endings[group[-1]]):
            if ending in group:
                break
            group = []
        group.append(other)
    return group


def _rounds(signs: Signs, measure: int, ending: tuple[int, int] | None) -> int:
    """How often the passage sounds that the repeat sign of `measure` closes."""
    if ending is None:
        return signs.ends[measure]
    return max(max(signs.endings[other]) for other in _group(signs, ending))


def _is_last_ending(signs: Signs, ending: tuple[int, int]) -> bool:
    return _group(signs, ending)[-1] == ending


def _after_jump(signs: Signs, at: int, word: str, measures: int) -> list[int] | None:
    """What is played after the jump at the end of measure `at`; None if its goal is missing."""
    segno, fine, coda = (sorted(signs.words.get(name, [])) for name in ("Segno", "Fine", "Coda"))
    to_segno = "Segno" in word
    needs = [
        (to_segno, len(segno), 1),
        (word.endswith("Fine"), len(fine), 1),
        (word.endswith("Coda"), len(coda), 2),
    ]
    if any(needed and has < least for needed, has, least in needs):
        return None
    goal = segno[0] if to_segno else 0
    if word.endswith("Coda"):
        return _play(signs, goal, coda[0] + 1, again=True) + _play(signs, coda[-1], measures, again=True)
    if fine:
        return _play(signs, goal, fine[-1] + 1, again=True)
    return _play(signs, goal, at + 1, again=True) + _play(signs, at + 1, measures)


# --- gathering and tidying ----------------------------------------------------------------------------------------


def _gather(parts: list[list[Measure]], brackets: list) -> Signs:
    from music21 import bar, repeat

    signs = Signs()
    for measures in parts:
        for i, measure in enumerate(measures):
            for side, line in enumerate((measure.leftBarline, measure.rightBarline)):
                if isinstance(line, bar.Repeat) and line.direction == "start":
                    signs.starts.add(i + side)
                elif isinstance(line, bar.Repeat):
                    signs.ends[i + side - 1] = max(line.times or 2, signs.ends.get(i + side - 1, 2))
            for word in measure.getElementsByClass(repeat.RepeatExpression):
                places = signs.words.setdefault(type(word).__name__, [])
                places += [i] if i not in places else []
    index = {id(measure): i for measures in parts for i, measure in enumerate(measures)}
    for bracket in brackets:
        spanned = [index[id(m)] for m in bracket.getSpannedElements() if id(m) in index]
        if spanned:
            signs.endings[min(spanned), max(spanned)] = set(bracket.numberRange or [])
    return signs


def _tidy(signs: Signs) -> None:
    """Mend the signs in place."""
    signs.ends = {i: min(times, MAX_TIMES) for i, times in signs.ends.items() if i >= 0}
    for bracket, rounds in signs.endings.items():
        known = {number for number in rounds if 0 < number <= MAX_TIMES}
        signs.endings[bracket] = known or ({1} if bracket[1] in signs.ends else {2})
    signs.starts = {start for start in signs.starts if _is_closed(start, signs)}


def _is_closed(start: int, signs: Signs) -> bool:
    """Does a closing sign follow before the next opening one?"""
    end = min((end for end in signs.ends if end >= start), default=None)
    return end is not None and not any(start < other <= end for other in signs.starts)
