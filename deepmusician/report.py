"""The import report: of every piece whether it was read, repaired or refused, why, and what became of its notes.

The command `deepmusician inspect` prints it, the Library shows it. It knows neither files nor how they are read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from deepmusician.notes import UNTOUCHED, Touched
from deepmusician.plurals import count
from deepmusician.store import Entry

STATES = {"kept": "read", "repaired": "repaired", "refused": "refused"}  # what an entry's status is called here


@dataclass(frozen=True)
class Report:
    """What became of one piece: `state` is "read", "repaired" or "refused"; `remarks` say in words what and why.

    `notes` are in the song; `touched` counts those that reading dropped, closed, moved or changed.
    """

    name: str
    state: str
    remarks: tuple[str, ...] = ()
    notes: int = 0
    beats: float = 0.0
    seconds: float = 0.0
    touched: Touched = UNTOUCHED

    @classmethod
    def of(cls, entry: Entry) -> Report:
        """The report of an entry; one left out by a decision is reported by what it would be."""
        song = entry.song
        if song is None:
            return cls(entry.name, STATES.get(entry.status, entry.status), (entry.reason,))
        state = "repaired" if song.repairs else "read"
        return cls(entry.name, state, song.repairs, len(song), song.beats, song.seconds, song.touched)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as they are written to JSON."""
        return {
            "name": self.name,
            "state": self.state,
            "notes": self.notes,
            "beats": round(self.beats, 3),
            "seconds": round(self.seconds, 3),
            **self.touched._asdict(),
            "remarks": list(self.remarks),
        }

    def lines(self) -> list[str]:
        """The report in words: one line, and one for each remark."""
        about = f"{count(self.notes, 'note')}, {count(self.beats, 'beat')}" if self.state != "refused" else ""
        return [f"{self.state:9}{self.name}{f': {about}' if about else ''}", *(f"{'':9}{r}" for r in self.remarks)]


def reports(entries: Iterable[Entry]) -> list[Report]:
    """The report of each entry, in order."""
    return [Report.of(entry) for entry in entries]


def totals(found: Iterable[Report]) -> dict[str, int]:
    """How many pieces were read, repaired and refused, and their notes, kept and touched, together."""
    found = list(found)
    counts = {state: sum(report.state == state for report in found) for state in STATES.values()}
    counts["notes"] = sum(report.notes for report in found)
    return counts | {name: sum(getattr(report.touched, name) for report in found) for name in Touched._fields}


def summary(found: Iterable[Report]) -> str:
    """The totals in one sentence, such as "3 read, 1 repaired, 0 refused; 2 notes closed"."""
    total = totals(found)
    pieces = ", ".join(f"{total[state]:,} {state}" for state in STATES.values())
    notes = [f"{total[name]:,} {name}" for name in Touched._fields if total[name]]
    return pieces + (f"; notes {', '.join(notes)}" if notes else "; every note as it stands in its file")
