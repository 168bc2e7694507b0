"""One door for every notation: MIDI, MusicXML (.musicxml .xml .mxl), ABC (tune books too) and Humdrum (.krn).

The suffix of the name tells the format; where it does not, the first bytes do. MIDI goes to midi, all else through
music21, which is imported only then and never allowed to cache (its caches are pickles). Whatever music21 raises on a
broken file becomes one sentence. What the notes of a score mean is notation's business.

It reads in the process it is called in, which a hostile file may take with it: whoever reads what a person brings asks
`reading`, which asks this module in a process that may die.

Sources: MusicXML 4.0 (W3C), the ABC standard 2.1, the Humdrum guide.
"""

from __future__ import annotations

import logging
import re
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import replace
from io import BytesIO, StringIO
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from deepmusician.errors import BrokenOffError, MidiError
from deepmusician.limits import DEFAULTS, Limits
from deepmusician.midi import read_midi
from deepmusician.midi_bytes import load_bytes, named_errors, open_container
from deepmusician.notation import song_from_music21
from deepmusician.notes import Song
from deepmusician.plurals import count

if TYPE_CHECKING:
    from music21.stream import Stream

__all__ = ["SUFFIXES", "read_piece", "read_song", "read_songs", "song_from_music21"]

log = logging.getLogger(__name__)

SUFFIXES = {
    ".mid": "midi",
    ".midi": "midi",
    ".kar": "midi",
    ".rmi": "midi",
    ".xml": "musicxml",
    ".musicxml": "musicxml",
    ".mxl": "musicxml",
    ".abc": "abc",
    ".krn": "humdrum",
}
MAX_INFLATED_BYTES = 50_000_000  # of a compressed MusicXML file
MAX_TUNES = 5_000  # in a tune book
PieceReader = Callable[[str, bytes, Limits], Song]  # format, content, limits
_UTF_16_XML = (b"\xff\xfe<\0", b"\xfe\xff\0<")
_NAMES = {"musicxml": "MusicXML", "abc": "ABC", "humdrum": "Humdrum"}


def read_piece(kind: str, data: bytes, limits: Limits = DEFAULTS) -> Song:
    """Read one piece of a format that is known. Raises MidiError in words."""
    return read_midi(data, limits=limits) if kind == "midi" else _through_music21(kind, data, limits)


def read_song(
    source: str | Path | bytes, name: str = "", limits: Limits = DEFAULTS, read: PieceReader = read_piece
) -> Song:
    """Read one piece from a path or from bytes; `name` tells the format where the path does not.

    Of a tune book the first readable tune is taken, and `repairs` says so. Raises MidiError in words, beginning with
    the file's name unless the caller has a `name` for it and shows that itself. `read` reads each piece.
    """
    songs = read_songs(source, name, limits, read)
    if len(songs) == 1:
        return songs[0]
    left_out = f"the first of {len(songs)} tunes; the others are left out"
    dropped = songs[0].touched.dropped + sum(len(song) for song in songs[1:])
    touched = songs[0].touched._replace(dropped=dropped)
    return replace(songs[0], repairs=(left_out, *songs[0].repairs), touched=touched)


def read_songs(
    source: str | Path | bytes, name: str = "", limits: Limits = DEFAULTS, read: PieceReader = read_piece
) -> list[Song]:
    """Read all pieces: one, or every tune of an ABC tune book.

    What a look at the file can tell (its size, its format, a MIDI file's header and lengths) is told before `read` is
    asked. Tunes that cannot be read are told in the first one's `repairs`. Raises MidiError where nothing can be read.
    """
    kind, data, own_name = look_at(source, name, limits)
    with named_errors("" if name else own_name):
        return _read_book(data, limits, read) if kind == "abc" else [read(kind, data, limits)]


def look_at(source: str | Path | bytes, name: str, limits: Limits) -> tuple[str, bytes, str]:
    """The format of a file, its content, and its own name: all that can be told before it is read.

    Raises MidiError for what its size, its first bytes or a MIDI file's header and lengths forbid.
    """
    data, own_name = load_bytes(source, limits)
    with named_errors("" if name else own_name):
        kind = _format_of(data, name or own_name)
        if kind == "midi":
            open_container(data, limits)
    return kind, data, own_name


def is_midi(name: str) -> bool:
    """Whether a file of that name is read as MIDI, whatever is in it."""
    _, dot, suffix = name.rpartition(".")
    return bool(dot) and SUFFIXES.get(f".{suffix.lower()}") == "midi"


def _format_of(data: bytes, name: str) -> str:
    suffix = Path(name).suffix.lower()
    return SUFFIXES.get(suffix) or _sniff(data) or _unknown(data, suffix)


def _sniff(data: bytes) -> str:
    """Format by the first bytes; "" where they tell nothing."""
    head = data[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith((b"MThd", b"RIFF")):
        return "midi"
    if head.startswith((b"PK\x03\x04", b"<?xml", b"<score-partwise", b"<!DOCTYPE score", *_UTF_16_XML)):
        return "musicxml"
    if head.startswith((b"**", b"!!")):
        return "humdrum"
    return "abc" if re.search(rb"^X:\s*\d", head, re.MULTILINE) else ""


def _unknown(data: bytes, suffix: str) -> str:
    known = " ".join(sorted(SUFFIXES))
    if not data.strip():
        raise MidiError(f"the file is empty; give one with music in it ({known})")
    raise MidiError(f"a music file must be one of {known}, got {suffix or 'no suffix'}; convert it, or name it rightly")


# --- through music21 ----------------------------------------------------------------------------------------------


@contextmanager
def _told_in_words(kind: str) -> Iterator[list[str]]:
    """Turn anything music21 raises over a broken file into a MidiError; what it only warns of comes in the list."""
    from music21.exceptions21 import Music21Exception

    reasons = (Music21Exception, ElementTree.ParseError, ArithmeticError, AssertionError, AttributeError)
    reasons += (LookupError, NotImplementedError, RecursionError, TypeError, ValueError, UnboundLocalError)
    said: list[str] = []
    printed = StringIO()
    with warnings.catch_warnings(record=True) as caught, redirect_stderr(printed):  # it warns in both ways
        warnings.simplefilter("always", UserWarning)
        try:
            yield said
        except reasons as error:
            log.debug("music21 gave up", exc_info=True)
            reason = _one_line(str(error)) or type(error).__name__
            raise MidiError(
                f"this is not readable as {_NAMES[kind]} ({reason}); export it again, or convert it to MIDI"
            ) from error
        finally:
            said += [_one_line(line) for line in printed.getvalue().splitlines() if line.strip()]
            said += [_one_line(str(w.message)) for w in caught if issubclass(w.category, UserWarning)]


def _one_line(text: str) -> str:
    return " ".join(text.split())[:120]


def _through_music21(kind: str, data: bytes, limits: Limits) -> Song:
    """Parse a score and play it as a song; what music21 warned of is among its `repairs`."""
    with _told_in_words(kind) as said:
        song = song_from_music21(_PARSERS[kind](data), limits)
    if not said:
        return song
    more = f" (and {count(len(said) - 1, 'more warning')})" if len(said) > 1 else ""
    return replace(song, repairs=(*song.repairs, f"music21 says: {said[0]}{more}"))


def _parse_musicxml(data: bytes) -> Stream:
    from music21.musicxml.xmlToM21 import MusicXMLImporter

    data = _uncompressed(data)
    if any("<!ENTITY".encode(encoding) in data for encoding in ("ascii", "utf-16-le", "utf-16-be")):
        raise MidiError("MusicXML declares no entities, but this file does; export it again")
    root = ElementTree.fromstring(data)
    if root.tag != "score-partwise":
        raise MidiError(f"MusicXML must be a score-partwise, got {root.tag[:40]}; export it again as partwise")
    importer = MusicXMLImporter()
    importer.xmlRootToScore(root, importer.stream)  # staves of one part go to the importer's own stream
    return importer.stream


def _uncompressed(data: bytes) -> bytes:
    """The score in a compressed MusicXML file (.mxl): the first root file its container names."""
    if not data.startswith(b"PK\x03\x04"):
        return data
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            name = _root_file(archive)
            with archive.open(name) as member:
                score = member.read(MAX_INFLATED_BYTES + 1)
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, NotImplementedError, RuntimeError) as error:
        raise MidiError(f"this .mxl is damaged ({error}); export it again, or uncompressed as .musicxml") from error
    if len(score) > MAX_INFLATED_BYTES:
        raise MidiError(f"a score may have at most {MAX_INFLATED_BYTES:,} bytes when inflated, got more; split it")
    return score


def _root_file(archive: zipfile.ZipFile) -> str:
    names = archive.namelist()
    if "META-INF/container.xml" in names:
        with archive.open("META-INF/container.xml") as member:
            named = re.search(rb"full-path\s*=\s*[\"']([^\"']+)[\"']", member.read(100_000))
        if named and named[1].decode("utf-8", "replace") in names:
            return named[1].decode("utf-8", "replace")
    score = next((name for name in names if re.search(r"^(?!META-INF/).*\.(musicxml|xml)$", name, re.I)), None)
    if score is None:
        raise MidiError("a .mxl archive must hold a .musicxml or .xml score, this one has none; export it again")
    return score


def _parse_humdrum(data: bytes) -> Stream:
    from music21.humdrum.spineParser import HumdrumDataCollection

    collection = HumdrumDataCollection(_text(data))
    collection.parse()
    return collection.stream


def _read_book(data: bytes, limits: Limits, read: PieceReader) -> list[Song]:
    songs: list[Song] = []
    failed: list[str] = []
    tunes = _tunes(_text(data))
    if len(tunes) > MAX_TUNES:
        raise MidiError(f"a tune book may hold at most {MAX_TUNES:,} tunes, got {len(tunes):,}; split it")
    for tune in tunes:
        try:
            songs.append(read("abc", tune.encode("utf-8", "replace"), limits))
        except BrokenOffError:
            raise  # a book of such tunes would take as many times as long
        except MidiError as error:
            failed.append(str(error))
    if not songs:
        raise MidiError(failed[0])
    if failed:
        lost = f"{count(len(failed), 'tune')} of {len(tunes)} could not be read: {failed[0]}"
        songs[0] = replace(songs[0], repairs=(*songs[0].repairs, lost))
    return songs


def _parse_abc(data: bytes) -> Stream:
    """As music21's abcToStreamScore, but without drawing beams, which takes it more than half of its time."""
    from music21 import abcFormat, metadata, stream

    (tune,) = _tunes(_text(data))[-1:]

    class Unbeamed(stream.Part):
        def makeBeams(self, **_: object) -> None:
            """Nobody looks at them."""

    handler = abcFormat.ABCFile().readstr(tune)
    head, *voices = handler.splitByVoice()
    score = stream.Score([metadata.Metadata()])
    for voice in [head + voice for voice in voices] or [head]:
        score.insert(0, abcFormat.translate.abcToStreamPart(voice, Unbeamed()))
    title = re.search(r"^T:[ \t]*(.+?)\s*$", tune, re.MULTILINE)
    score.metadata.title = title[1] if title else None
    return score


def _tunes(text: str) -> list[str]:
    """The tunes of a book, each with the fields that stand before the first one."""
    head, *tunes = re.split(r"^(?=X:)", text.replace("\r\n", "\n").replace("\r", "\n"), flags=re.MULTILINE)
    if not tunes:
        return [head]
    fields = "".join(line + "\n" for line in head.split("\n") if re.match(r"[A-WYZa-z]:", line))
    return [re.sub(r"\n", "\n" + fields, tune, count=1) if fields else tune for tune in tunes]


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


_PARSERS: dict[str, Callable[[bytes], Stream]] = {
    "musicxml": _parse_musicxml,
    "abc": _parse_abc,
    "humdrum": _parse_humdrum,
}
