"""Parcels: a saved data set as one zip file that can be taken along and imported again.

A parcel holds the data set as it is stored, decisions included, and under `midi/` the music as it is learnt from, for
other programs. Only the stored form is read back. An archive is not trusted: nothing is unpacked by its own name, what
is inflated is counted, each file has a cap, and every song and number in it is checked as if a reader had read it.
"""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from pathlib import Path

from deepmusician import limits
from deepmusician.archives import Archive
from deepmusician.atomic import no_room
from deepmusician.collected import is_collected
from deepmusician.decisions import Decisions
from deepmusician.errors import LibraryError, MidiError
from deepmusician.library import printable
from deepmusician.limits import Limits
from deepmusician.midi import check_length, write_midi
from deepmusician.notes import NOTE, Song, check_numbers
from deepmusician.shelf import DECISIONS_FILE, folder_of, load_data_set, load_decisions, save_data_set, save_decisions
from deepmusician.store import CATALOGUE_FILE, NOTES_FILE, DataSet, Entry, read_entries

MARK, FORM = "deepmusician.json", 1
WITHIN = Limits(file_mb=500, zip_mb=1_000, zip_files=100_000)
# bytes of each file that is read back; JSON takes up to thirty times as much memory
LARGEST = {MARK: 10_000, DECISIONS_FILE: 8_000_000, CATALOGUE_FILE: 16_000_000, NOTES_FILE: WITHIN.file_bytes}
LONGEST_TEXT = 2_000  # characters of a name, a reason, a title
STATUSES = ("kept", "repaired", "refused", "left out")


def export_data_set(name: str) -> bytes:
    """The parcel of a saved data set. Raises LibraryError if there is none of that name."""
    folder = folder_of(name)
    if is_collected(folder):
        raise LibraryError(f"{name} is a large data set, which no zip holds; take its files along and ingest them")
    data, stored = load_data_set(name), {DECISIONS_FILE: load_decisions(name).to_json().encode()}
    stored |= {file: (folder / file).read_bytes() for file in (CATALOGUE_FILE, NOTES_FILE)}
    for file, content in stored.items():
        if len(content) > LARGEST[file]:
            size = f"{len(content):,} bytes, at most {LARGEST[file]:,}"
            raise LibraryError(f"{name} is too large for one zip ({file} has {size}); take its files along")
    parcel = io.BytesIO()
    with zipfile.ZipFile(parcel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MARK, json.dumps({"form": FORM, "name": name}))
        for file, content in stored.items():
            archive.writestr(file, content)
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
        return str(_mark(*_opened(content))["name"])
    except (LibraryError, KeyError):
        return None


def import_data_set(content: bytes, name: str) -> DataSet:
    """Inverse of `export_data_set`: keep what is in a parcel as `name`. Raises LibraryError where it is damaged."""
    with tempfile.TemporaryDirectory() as aside:
        try:
            entries, decisions = _read(content, Path(aside))
        except (LibraryError, MidiError, ValueError, RecursionError) as error:
            raise LibraryError(f"the exported data set is damaged ({error}); export it again") from error
        except OSError as error:  # of this machine: what is wrong with the archive is a LibraryError
            raise no_room(error, len(content)) or error from error
        save_data_set(DataSet(name, entries), name)
    save_decisions(name, decisions)
    return load_data_set(name)


def _read(content: bytes, aside: Path) -> tuple[tuple[Entry, ...], Decisions]:
    """What is in a parcel, by way of the folder `aside`, in which the notes stay while they are needed."""
    archive, members = _opened(content)
    if (form := _mark(archive, members).get("form")) != FORM:
        raise LibraryError(f"form {str(form)[:20]}, not {FORM}")
    for file in (CATALOGUE_FILE, NOTES_FILE, DECISIONS_FILE):
        _unpack(archive, members[file], aside / file, LARGEST[file])
    decisions = Decisions.from_json((aside / DECISIONS_FILE).read_text("utf-8"))
    return _checked(read_entries(aside), aside / NOTES_FILE), decisions


def _opened(content: bytes) -> tuple[Archive, dict[str, zipfile.ZipInfo]]:
    """A parcel and the members that are read back, each there once."""
    if not content.startswith(b"PK"):
        raise LibraryError("it is no zip")
    archive = Archive(io.BytesIO(content), WITHIN)
    found = [info for info in archive.members if info.filename in LARGEST]
    members = {info.filename: info for info in found}
    if len(found) > len(members) or set(members) != set(LARGEST):
        raise LibraryError(f"it must hold {', '.join(LARGEST)}, each once")
    return archive, members


def _mark(archive: Archive, members: dict[str, zipfile.ZipInfo]) -> dict:
    try:
        return dict(json.loads(archive.read(members[MARK], LARGEST[MARK])))
    except (ValueError, TypeError, RecursionError) as error:
        raise LibraryError(f"{MARK} is not as it should be ({error})") from None


def _unpack(archive: Archive, info: zipfile.ZipInfo, place: Path, most: int) -> None:
    with place.open("wb") as file:
        for chunk in archive.chunks(info, most):
            file.write(chunk)


def _checked(entries: tuple[Entry, ...], notes: Path) -> tuple[Entry, ...]:
    """The entries, if all that they say is what reading says of music. Raises LibraryError or MidiError."""
    within = limits.current()
    count = sum(len(entry.song) for entry in entries if entry.song is not None)
    if count * NOTE.itemsize > notes.stat().st_size:  # many songs may name the same notes, and be written out apart
        raise LibraryError("its songs hold more notes than there are")
    for entry in entries:
        _check_text(entry.name, entry.reason)
        if entry.status not in STATUSES or (entry.song is None) != (entry.status in STATUSES[2:]):
            raise LibraryError(f"no piece can be {str(entry.status)[:40]!r}")
        if entry.song is not None:
            _check_song(entry.song, within)
    return tuple(Entry(printable(entry.name), entry.song, entry.status, entry.reason) for entry in entries)


def _check_song(song: Song, within: Limits) -> None:
    _check_text(song.title, *song.repairs, *(track.name for track in song.tracks))
    if len(song) > within.notes or len(song.tracks) > within.tracks:
        raise LibraryError(
            f"a song may have {within.notes:,} notes on {within.tracks} tracks, got {len(song):,} on {len(song.tracks)}"
        )
    for number in (song.ticks_per_beat, *(track.program for track in song.tracks), *song.touched):
        if type(number) is not int or not 0 <= number < 2**31:
            raise LibraryError(f"a number in it must be a whole one, got {str(number)[:40]}")
    if any(track.program > 127 or not isinstance(track.drum, bool) for track in song.tracks):
        raise LibraryError("a track has an impossible instrument")
    check_numbers(song)
    check_length(song, within)


def _check_text(*texts: object) -> None:
    for text in texts:
        if not isinstance(text, str) or len(text) > LONGEST_TEXT:
            raise LibraryError(f"a name in it must be a text of at most {LONGEST_TEXT:,} signs, got {str(text)[:40]!r}")
