"""What was composed, kept on disk: each piece as MIDI with everything that made it, so that it can be made again.

    workspace/compositions/ID/piece.mid, piece.json    a piece and its record
    workspace/compositions/songs/FINGERPRINT/          a song that pieces go on from or were written anew from

A deleted piece is set aside, and the last KEPT_ASIDE can be brought back. Knows nothing of models but their names.
"""

from __future__ import annotations

import dataclasses
import json
import secrets
import shutil
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from deepmusician.atomic import AtomicFolder, replace_file
from deepmusician.errors import LibraryError, MidiError, OptionError
from deepmusician.midi import read_midi, write_midi
from deepmusician.notes import Song, fingerprint
from deepmusician.options import GenerateOptions, RewriteOptions, from_dict, to_dict
from deepmusician.quota import check_room
from deepmusician.store import Entry, read_entries, write_entries
from deepmusician.workspace import workspace

KEPT_ASIDE = 50
_RECORD, _MIDI, _SONGS, _ASIDE = "piece.json", "piece.mid", "songs", ".deleted-"
COMPOSED, REWRITTEN = "composed", "rewritten"
_KINDS = {COMPOSED: GenerateOptions, REWRITTEN: RewriteOptions}


@dataclass(frozen=True)
class Request:
    """All that makes a piece: a model by its id, what it does, options by name, the song it begins from.

    `song` is the fingerprint of a kept song; `start` and `end` are beats of what is written anew in it.
    """

    model: str
    kind: str = COMPOSED
    options: dict[str, Any] = field(default_factory=dict)
    song: str | None = None
    start: float = 0.0
    end: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise OptionError(f"a piece is {' or '.join(_KINDS)}, got {self.kind!r}; the link is damaged")
        object.__setattr__(self, "options", to_dict(self.chosen()))

    def chosen(self) -> GenerateOptions | RewriteOptions:
        """The options, checked."""
        return from_dict(_KINDS[self.kind], self.options)

    @property
    def seed(self) -> int:
        """The seed of the first variation."""
        return self.options["seed"]

    def but(self, **changed: Any) -> Request:
        """The same with other options; None takes an option back to its default."""
        options = {**self.options, **changed}
        return dataclasses.replace(self, options={k: v for k, v in options.items() if v is not None})

    def query(self) -> dict[str, str]:
        """The words of an address that asks for this piece: what differs from the defaults, and the seed."""
        plain = to_dict(_KINDS[self.kind]())
        words = {"model": self.model, "seed": str(self.seed)}
        words |= {k: _text(v) for k, v in self.options.items() if v != plain.get(k) and k != "seed"}
        if self.song:
            words["song"] = self.song
        if self.kind == REWRITTEN:
            words |= {"rewrite": f"{self.start:g}-{self.end:g}"}
        return words

    @classmethod
    def from_query(cls, words: dict[str, str]) -> Request:
        """Inverse of `query`; other words are passed over. Raises OptionError for values that cannot be."""
        kind = REWRITTEN if "rewrite" in words else COMPOSED
        fields = {f.name: f for f in dataclasses.fields(_KINDS[kind])}
        options = {k: _value(fields[k], text) for k, text in words.items() if k in fields}
        start, _, end = words.get("rewrite", "0-0").partition("-")
        return cls(words["model"], kind, options, words.get("song"), _number(start), _number(end))


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _value(f: dataclasses.Field, text: str) -> Any:
    kind = str(f.type)
    if kind.startswith("bool"):
        return text == "true"
    if kind.startswith("str"):
        return text
    number = _number(text, f.name)
    return int(number) if kind.startswith("int") and number == int(number) else number


def _number(text: str, name: str = "rewrite") -> float:
    try:
        return float(text)
    except ValueError:
        raise OptionError(f"{name} in the address must be a number, got {text!r}; the link is damaged") from None


@dataclass(frozen=True)
class Piece:
    """One piece of the history: its id, when it was made (ISO), and with what.

    `weights` is the fingerprint of the weights that composed it: a model trained further composes differently.
    """

    id: str
    made: str
    request: Request
    title: str
    weights: str
    notes: int
    beats: float
    seconds: float
    starred: bool = False

    def song(self) -> Song:
        """The piece itself. Raises LibraryError where its file is gone or damaged."""
        try:
            return read_midi(_folder() / self.id / _MIDI) if self.notes else Song.from_notes([])
        except (OSError, MidiError) as error:
            raise LibraryError(f"the piece {self.id} cannot be read ({error}); delete it and compose it anew") from None


def _folder() -> Path:
    return workspace() / "compositions"


def add(request: Request, song: Song, title: str, weights: str) -> Piece:
    """Keep a piece, made just now by the model called `title`."""
    check_room()
    now = datetime.now().astimezone()
    id = f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    made = now.isoformat(timespec="seconds")
    piece = Piece(id, made, request, title, weights, len(song), song.beats, song.seconds)
    with AtomicFolder(_folder() / id) as draft:
        write_midi(song, draft / _MIDI)
        _write(piece, draft)
    return piece


def history() -> list[Piece]:
    """What was composed, newest first; a damaged record is left out."""
    found = (_read(folder) for folder in _folder().glob(f"*/{_RECORD}") if not folder.parent.name.startswith("."))
    return sorted((p for p in found if p is not None), key=lambda p: (p.made, p.id), reverse=True)


def find(id: str) -> Piece | None:
    """The piece of that id, where it is there."""
    return _read(_folder() / id / _RECORD) if id and "/" not in id and not id.startswith(".") else None


def star(piece: Piece, starred: bool = True) -> Piece:
    """Mark a piece, or take the mark away."""
    changed = dataclasses.replace(piece, starred=starred)
    _write(changed, _folder() / piece.id)
    return changed


def delete(piece: Piece) -> None:
    """Set a piece aside; `bring_back` undoes it."""
    folder = _folder()
    (folder / piece.id).rename(folder / f"{_ASIDE}{piece.id}")
    aside = sorted(folder.glob(f"{_ASIDE}*"), key=lambda path: path.stat().st_mtime)
    for old in aside[:-KEPT_ASIDE]:
        shutil.rmtree(old, ignore_errors=True)


def bring_back(id: str) -> Piece | None:
    """Undo `delete`; None where it is gone for good."""
    aside = _folder() / f"{_ASIDE}{id}"
    if not aside.is_dir():
        return None
    aside.rename(_folder() / id)
    return find(id)


def keep_song(song: Song) -> str:
    """Keep a song that a piece begins from; returns its fingerprint. The same song is kept once. Raises QuotaError."""
    name = fingerprint(song)
    place = _folder() / _SONGS / name
    if not place.is_dir():
        check_room()
        write_entries(place, [Entry.of(song.title or "a song", song)])
    return name


def kept_song(name: str) -> Song:
    """Inverse of `keep_song`. Raises LibraryError where it is not there."""
    place = _folder() / _SONGS / Path(name).name
    if not place.is_dir():
        raise LibraryError(f"the song {name} that this piece begins from is not in this workspace; choose it again")
    song = read_entries(place)[0].song
    if song is None:
        raise LibraryError(f"the song {name} holds no notes; choose another one")
    return song


def _write(piece: Piece, folder: Path) -> None:
    replace_file(folder / _RECORD, json.dumps(dataclasses.asdict(piece), indent=2, ensure_ascii=False) + "\n")


def _read(path: Path) -> Piece | None:
    try:
        record = json.loads(path.read_text("utf-8"))
        return Piece(**{**record, "request": Request(**record["request"])})
    except (OSError, ValueError, TypeError, KeyError, OptionError):
        return None
