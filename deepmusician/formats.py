"""One door for every notation: MIDI, MusicXML (.musicxml .xml .mxl), ABC (tune books too) and Humdrum (.krn).

The suffix of the name tells the format; where it does not, the first bytes do. MIDI goes to midi, all else through
music21, which is imported only then and never allowed to cache (its caches are pickles). Whatever music21 raises on a
broken file becomes one sentence. What the notes of a score mean is notation's business.

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
from functools import partial
from io import BytesIO, StringIO
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from deepmusician.errors import MidiError
from deepmusician.midi import read_midi
from deepmusician.midi_bytes import count_of, load_bytes, named_errors
from deepmusician.notation import song_from_music21
from deepmusician.notes import Song

if TYPE_CHECKING:
    from music21.stream import Stream

__all__ = ["SUFFIXES", "read_song", "read_songs", "song_from_music21"]

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
_UTF_16_XML = (b"\xff\xfe<\0", b"\xfe\xff\0<")
_NAMES = {"musicxml": "MusicXML", "abc": "ABC", "humdrum": "Humdrum"}


def read_song(source: str | Path | bytes, name: str = "") -> Song:
    """Read one piece from a path or from bytes; `name` tells the format where the path does not.

    Of a tune book the first readable tune is taken, and `repairs` says so. Raises MidiError in words, beginning with
    the file's name unless the caller has a `name` for it and shows that itself.
    """
    songs = read_songs(source, name)
    if len(songs) == 1:
        return songs[0]
    left_out = f"the first of {len(songs)} tunes; the others are left out"
    return replace(songs[0], repairs=(left_out, *songs[0].repairs))


def read_songs(source: str | Path | bytes, name: str = "") -> list[Song]:
    """Read all pieces: one, or every tune of an ABC tune book.

    Tunes that cannot be read are told in the first one's `repairs`. Raises MidiError where nothing can be read.
    """
    data, own_name = load_bytes(source)
    with named_errors("" if name else own_name):
        return _READERS[_format_of(data, name or own_name)](data)


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


def _through_music21(kind: str, parse: Callable[[], Stream]) -> Song:
    """Parse a score and play it as a song; what music21 warned of is among its `repairs`."""
    with _told_in_words(kind) as said:
        song = song_from_music21(parse())
    if not said:
        return song
    more = f" (and {count_of(len(said) - 1, 'more warning')})" if len(said) > 1 else ""
    return replace(song, repairs=(*song.repairs, f"music21 says: {said[0]}{more}"))


def _read_musicxml(data: bytes) -> list[Song]:
    return [_through_music21("musicxml", lambda: _parse_musicxml(_uncompressed(data)))]


def _parse_musicxml(data: bytes) -> Stream:
    from music21.musicxml.xmlToM21 import MusicXMLImporter

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


def _read_humdrum(data: bytes) -> list[Song]:
    return [_through_music21("humdrum", lambda: _parse_humdrum(_text(data)))]


def _parse_humdrum(text: str) -> Stream:
    from music21.humdrum.spineParser import HumdrumDataCollection

    collection = HumdrumDataCollection(text)
    collection.parse()
    return collection.stream


def _read_abc(data: bytes) -> list[Song]:
    songs: list[Song] = []
    failed: list[str] = []
    tunes = _tunes(_text(data))
    for tune in tunes:
        try:
            songs.append(_through_music21("abc", partial(_parse_abc, tune)))
        except MidiError as error:
            failed.append(str(error))
    if not songs:
        raise MidiError(failed[0])
    if failed:
        lost = f"{count_of(len(failed), 'tune')} of {len(tunes)} could not be read: {failed[0]}"
        songs[0] = replace(songs[0], repairs=(*songs[0].repairs, lost))
    return songs


def _parse_abc(tune: str) -> Stream:
    """As music21's abcToStreamScore, but without drawing beams, which takes it more than half of its time."""
    from music21 import abcFormat, metadata, stream

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


def _read_midi(data: bytes) -> list[Song]:
    return [read_midi(data)]


_READERS: dict[str, Callable[[bytes], list[Song]]] = {
    "midi": _read_midi,
    "musicxml": _read_musicxml,
    "abc": _read_abc,
    "humdrum": _read_humdrum,
}
