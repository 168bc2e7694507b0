"""What the doctor found, in the words of tables and lines: a row for a file, a line for a track, a sentence for all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from deepmusician.instruments import program_name
from deepmusician.plots import pitch_name
from ui.page import plain
from ui.words import count

if TYPE_CHECKING:
    from deepmusician.doctor import Report, TrackReport
    from deepmusician.glance import Glance
    from deepmusician.library import Entry

MARKS = {"left out": "✕ Left out", "changed": "✎ Changed", "kept": "✓ Kept"}
SIDES = {"training": "Training", "held out": "Held out", "": "–"}
PINNED = "📌"


def remark(entry: Entry) -> str:
    """Why reading repaired or refused a piece; its name, which many reasons begin with, stands beside it already."""
    return entry.reason.removeprefix(f"{entry.name}: ")


def row(report: Report, side: str, share: float, like: str = "") -> dict[str, Any]:
    """One line of the library's table. Numbers are of what is learnt; of a piece left out, of what was read.

    `like` names the piece that it is nearly the same as.
    """
    why = "; ".join(filter(None, (report.reason, like and f"nearly the same as {like}")))
    line: dict[str, Any] = {"piece": report.name, "verdict": MARKS[report.verdict], "why": why}
    look = report.after or report.before
    if look is None:
        return line
    pin = f" {PINNED}" if report.choice.side and report.is_in else ""
    return line | {
        "side": SIDES[side] + pin,
        "share": 100 * share,
        "notes": look.notes,
        "bars": look.bars,
        "minutes": look.minutes,
        "tracks": look.tracks,
        "key": look.key,
        "tempo": look.tempo_bpm,
        "meter": look.meter,
        "range": pitch_range(look.low, look.high),
        "density": look.density,
        "polyphony": look.polyphony,
    }


def track_line(track: TrackReport) -> str:
    """A track as the label of its switch: name, instrument, notes, range, and what becomes of it."""
    instrument = "drums" if track.drum else program_name(track.program)
    name = plain(track.name.strip()) or f"Track {track.index + 1}"
    about = ", ".join(filter(None, (count(track.notes, "note"), pitch_range(track.low, track.high))))
    colour = {"kept": "green", "changed": "orange", "left out": "red"}[track.verdict]
    verdict = f":{colour}[{track.verdict}{': ' + track.reason if track.reason else ''}]"
    return f"**{name}** · {instrument} · {about} · {verdict}"


def pitch_range(low: int | None, high: int | None) -> str:
    """From the lowest to the highest note: C2–G5."""
    return "" if low is None or high is None else f"{pitch_name(low)}–{pitch_name(high)}"


TOUCHED = {  # of an import report: what was done to notes that could not be taken as they stand in the file
    "dropped": "dropped", "closed": "ended where the file does not say", "moved": "moved in time",
    "changed": "given another loudness",
}  # fmt: skip


def reading_sentence(entries: Iterable[Entry]) -> str:
    """The import report of all files, in one sentence."""
    from deepmusician.report import STATES, reports, totals

    total = totals(reports(entries))
    files = ", ".join(f"{total[state]:,} {state}" for state in STATES.values() if total[state])
    return f"Reading the files: {files}; {_notes_touched(total) or 'every note as it stands in its file'}."


def touched_sentence(entry: Entry) -> str:
    """What reading did to the notes of one file; empty where it took them as they stand."""
    from deepmusician.report import Report

    said = _notes_touched(Report.of(entry).touched._asdict())
    return f"Reading it: {said}." if said else ""


def _notes_touched(counts: Mapping[str, int]) -> str:
    parts = [f"{count(counts[kind], 'note')} {words}" for kind, words in TOUCHED.items() if counts.get(kind)]
    return ", ".join(parts)


def piece_sentence(look: Glance) -> str:
    """One piece at a glance."""
    return " · ".join(filter(None, (
        look.key, look.meter, f"{look.tempo_bpm:.0f} beats a minute", pitch_range(look.low, look.high),
        f"{look.density:.1f} notes a beat", f"{look.polyphony:.1f} at once", count(look.bars, "bar"),
    )))  # fmt: skip


def data_sentence(looks: Sequence[Glance]) -> str:
    """All pieces that are in, at a glance."""
    keys, meters = Counter(g.key.removeprefix("≈ ") for g in looks if g.key), Counter(g.meter for g in looks)
    density = 4 * sum(g.notes for g in looks) / max(sum(g.frames for g in looks), 1)  # a frame is a semiquaver
    tempos = sorted(g.tempo_bpm for g in looks)
    low, high = min(g.low for g in looks), max(g.high for g in looks)
    slow, fast = f"{tempos[0]:.0f}", f"{tempos[-1]:.0f}"
    pace = slow if slow == fast else f"{slow} to {fast}"
    half = "" if slow == fast else f", half of it above {median(tempos):.0f}"
    polyphony = sum(g.polyphony * g.frames for g in looks) / max(sum(g.frames for g in looks), 1)
    return (
        f"**Keys:** {_most(keys)}. **Meters:** {_most(meters)}. "
        f"**Tempo:** {pace} beats a minute{half}. "
        f"**Range:** {pitch_range(low, high)}. **Density:** {density:.1f} notes a beat. "
        f"**Polyphony:** {polyphony:.1f} notes at once."
    )


def _most(counts: Counter[str], shown: int = 3) -> str:
    if sum(counts.values()) == 1:
        return next(iter(counts))
    named = ", ".join(f"{name} ({n})" for name, n in counts.most_common(shown))
    return named + (f" and {len(counts) - shown} more" if len(counts) > shown else "")


def headline(reports: Iterable[Report]) -> str:
    """What became of the files, in one sentence."""
    verdicts = Counter(r.verdict for r in reports)
    total, used = sum(verdicts.values()), verdicts["kept"] + verdicts["changed"]
    said = f"**{used:,} of {count(total, 'file')} {'is' if 1 in (used, total) else 'are'} learnt from**"
    parts = [f"{verdicts['changed']:,} changed"] if verdicts["changed"] else []
    parts += [f"{verdicts['left out']:,} left out"] if verdicts["left out"] else []
    return said + (f": {', '.join(parts)}. Each is listed below with its reason." if parts else ", as they were read.")
