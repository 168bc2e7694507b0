"""Parcels: a saved data set as one zip file that can be taken along and imported again.

A parcel holds the data set as it is stored, decisions included, and under `midi/` the music as it is learnt from, for
other programs. Only the stored form is read back. Archives are not trusted: nothing is unpacked by its own name, and
what is inflated is counted.
"""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
import zlib
from pathlib import Path

from deepmusician.decisions import Decisions
from deepmusician.errors import LibraryError, MidiError
from deepmusician.midi import write_midi
from deepmusician.shelf import DECISIONS_FILE, folder_of, load_data_set, load_decisions, save_data_set, save_decisions
from deepmusician.store import CATALOGUE_FILE, NOTES_FILE, DataSet, read_entries

MARK, FORM = "deepmusician.json", 1
MAX_BYTES = 500_000_000  # inflated, of each file that is read back
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError, KeyError, TypeError)


def export_data_set(name: str) -> bytes:
    """The parcel of a saved data set. Raises LibraryError if there is none of that name."""
    folder, data = folder_of(name), load_data_set(name)
    parcel = io.BytesIO()
    with zipfile.ZipFile(parcel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MARK, json.dumps({"form": FORM, "name": name}))
        archive.writestr(DECISIONS_FILE, load_decisions(name).to_json())
        for file in (CATALOGUE_FILE, NOTES_FILE):
            archive.write(folder / file, file)
        taken: set[str] = set()
        for label, song in zip(data.names, data.songs, strict=True):
            try:
                archive.writestr(_member(label, taken), write_midi(song))
            except MidiError:  # what MIDI has no room for is in the stored form
                continue
    return parcel.getvalue()


def _member(label: str, taken: set[str]) -> str:
    """A path for a piece's MIDI file that stays within midi/ and is used once."""
    parts = [part.strip(" .") or "_" for part in label.replace("\\", "/").replace(":", "_").split("/")]
    stem = "/".join(part for part in parts if part != "_" or len(parts) == 1)
    stem = stem if stem.lower().endswith((".mid", ".midi")) else f"{stem}.mid"
    while stem.lower() in taken:
        stem = f"_{stem}"
    taken.add(stem.lower())
    return f"midi/{stem}"


def parcel_name(content: bytes) -> str | None:
    """The name of the data set in a parcel; None for any other file."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return str(json.loads(_read(archive, MARK, 10_000))["name"])
    except _ZIP_ERRORS:
        return None


def import_data_set(content: bytes, name: str) -> DataSet:
    """Inverse of `export_data_set`: keep what is in a parcel as `name`. Raises LibraryError where it is damaged."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive, tempfile.TemporaryDirectory() as aside:
            form = json.loads(_read(archive, MARK, 10_000))["form"]
            if form != FORM:
                raise ValueError(f"form {form}, not {FORM}")
            for file in (CATALOGUE_FILE, NOTES_FILE, DECISIONS_FILE):
                Path(aside, file).write_bytes(_read(archive, file, MAX_BYTES))
            decisions = Decisions.from_json(Path(aside, DECISIONS_FILE).read_text("utf-8"))
            save_data_set(DataSet(name, read_entries(Path(aside))), name)
    except _ZIP_ERRORS as error:
        raise LibraryError(f"the exported data set is damaged ({error}); export it again") from error
    save_decisions(name, decisions)
    return load_data_set(name)


def _read(archive: zipfile.ZipFile, member: str, most: int) -> bytes:
    """The content of a member, which may not inflate to more than `most` bytes."""
    with archive.open(member) as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise ValueError(f"{member} holds more than {most:,} bytes")
    return content
