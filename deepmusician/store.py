"""Entry and DataSet: what came of reading some files, and the form this takes on disk.

A stored data set is a folder: `notes.npy`, the notes of all songs end to end (NOTE, memory-mapped on loading),
and `catalogue.json`, one record an entry, in order: name, status, reason, and for a song where its notes lie and
everything else it holds. Knows nothing of where files come from, nor where data sets are kept.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from deepmusician.arrays import read_header
from deepmusician.atomic import AtomicFolder
from deepmusician.errors import LibraryError, MidiError
from deepmusician.notes import KEY, METER, NOTE, TEMPO, Song, Touched, Track
from deepmusician.roll import is_learnt

NOTES_FILE, CATALOGUE_FILE = "notes.npy", "catalogue.json"
_FORM = 1  # raise it when the form changes: older data sets are then refused with a word


@dataclass(frozen=True)
class Entry:
    """One piece, and whether it was kept as it is, repaired, refused, or left out; `reason` says why in a sentence.

    `side` is the side of the split it is pinned to: "training", "held out", or neither.
    """

    name: str
    song: Song | None
    status: Literal["kept", "repaired", "refused", "left out"]
    reason: str = ""
    side: str = ""

    @classmethod
    def of(cls, name: str, song: Song) -> Entry:
        """The entry of a song that was read; one without notes is refused."""
        if not len(song):
            return cls.refused(name, "it holds no notes")
        return cls(name, song, "repaired" if song.repairs else "kept", "; ".join(song.repairs))

    @classmethod
    def refused(cls, name: str, reason: str) -> Entry:
        """The entry of a file that could not be read."""
        return cls(name, None, "refused", reason)


@dataclass(frozen=True)
class DataSet:
    """Everything that came of one place, good and bad, in order."""

    name: str
    entries: Sequence[Entry]

    @cached_property
    def songs(self) -> Sequence[Song]:
        """The songs of the entries that were neither refused nor left out."""
        return tuple(entry.song for entry in self.entries if entry.song is not None)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The name of each of `songs`."""
        return tuple(entry.name for entry in self.entries if entry.song is not None)

    @cached_property
    def sides(self) -> tuple[str, ...]:
        """The side of the split that each of `songs` is pinned to, "" where it is left to chance."""
        return tuple(entry.side for entry in self.entries if entry.song is not None)

    @cached_property
    def learnt(self) -> int:
        """How many of `songs` are learnt from; the others hold drums alone, or nothing on the 88 keys."""
        return sum(map(is_learnt, self.songs))


# ---- to and from a folder


def write_entries(folder: Path, entries: Sequence[Entry]) -> None:
    """Write a stored data set, replacing what stood there; a half-written one is never seen under its name."""
    songs = [entry.song.notes for entry in entries if entry.song is not None]
    ends = np.cumsum([0] + [0 if entry.song is None else len(entry.song) for entry in entries]).tolist()
    records = [_record(entry, offset) for entry, offset in zip(entries, ends, strict=False)]
    with AtomicFolder(folder) as fresh:
        _save_notes(fresh / NOTES_FILE, np.concatenate([np.zeros(0, NOTE), *songs]))
        (fresh / CATALOGUE_FILE).write_text(json.dumps({"form": _FORM, "entries": records}), "utf-8")


def read_entries(folder: Path) -> tuple[Entry, ...]:
    """Inverse of `write_entries`. Raises LibraryError if the folder is missing, damaged or of another form."""
    try:
        catalogue = json.loads((folder / CATALOGUE_FILE).read_text("utf-8"))
        if catalogue["form"] != _FORM:
            raise LibraryError(f"data set {folder.name} has form {catalogue['form']}, not {_FORM}; import it again")
        notes = _load_notes(folder / NOTES_FILE)
        return tuple(_entry(record, notes) for record in catalogue["entries"])
    except (OSError, EOFError, ValueError, KeyError, TypeError, ArithmeticError, RecursionError, MidiError) as error:
        raise LibraryError(f"data set {folder.name} is damaged ({error}); delete it and import it again") from error


def _save_notes(path: Path, notes: np.ndarray) -> None:
    """As np.save, which passes over a full disk without a word where the rest fits into C's buffer."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(notes))
        file.write(notes.view(np.uint8).data)


def _load_notes(path: Path) -> np.ndarray:
    """The notes of a file, mapped; it is no larger and no smaller than its header says."""
    with path.open("rb") as file:
        dtype, shape, _ = read_header(file)
        begin = file.tell()
    if dtype != NOTE or len(shape) != 1:
        raise ValueError(f"{path.name} holds {dtype}")
    if begin + shape[0] * NOTE.itemsize != path.stat().st_size:
        raise ValueError(f"{path.name} is not of the length of {shape[0]:,} notes")
    if not shape[0]:  # numpy cannot map an empty file
        return np.zeros(0, NOTE)
    return np.memmap(path, NOTE, "r", begin, shape)


def _record(entry: Entry, offset: int) -> dict:
    record = {"name": entry.name, "status": entry.status, "reason": entry.reason}
    if entry.song is None:
        return record
    song = entry.song
    return record | {
        "offset": offset,
        "count": len(song),
        "ticks_per_beat": int(song.ticks_per_beat),  # a reader may have left numpy's number
        "tempos": song.tempos.tolist(),
        "meters": song.meters.tolist(),
        "keys": song.keys.tolist(),
        "tracks": [[track.name, int(track.program), bool(track.drum)] for track in song.tracks],
        "title": song.title,
        "repairs": song.repairs,
        "touched": song.touched,
    }


def _entry(record: dict, notes: np.ndarray) -> Entry:
    song = None if record["status"] in ("refused", "left out") else _song(record, notes)
    return Entry(record["name"], song, record["status"], record["reason"])


def _song(record: dict, notes: np.ndarray) -> Song:
    offset, end = record["offset"], record["offset"] + record["count"]
    if not 0 <= offset <= end <= len(notes):
        raise ValueError(f"{record['name']} names notes {offset}..{end} of {len(notes)}")
    return Song(
        notes[offset:end],
        ticks_per_beat=record["ticks_per_beat"],
        tempos=_events(record["tempos"], TEMPO),
        meters=_events(record["meters"], METER),
        keys=_events(record["keys"], KEY),
        tracks=tuple(Track(*track) for track in record["tracks"]),
        title=record["title"],
        repairs=tuple(record["repairs"]),
        touched=Touched(*record.get("touched", ())),  # data sets kept before it was counted have none
    )


def _events(rows: list[list], dtype: np.dtype) -> np.ndarray:
    return np.array([tuple(row) for row in rows], dtype)
