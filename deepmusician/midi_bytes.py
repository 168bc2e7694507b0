"""The container around MIDI events: headers, chunks, variable-length numbers, text, and what a file really is.

It finds the tracks of a Standard MIDI File and refuses, in a sentence, what is not one. It does not know what an
event means (see midi_events) nor what a song is (see midi).

Decisions where files and the specification part:
- RIFF (.rmi) is unwrapped; bytes before `MThd` are skipped and reported; unknown chunks are passed over, as the
  specification asks. A chunk whose declared length is wrong is cut or stretched to the next `MTrk`.
- SMPTE division counts ticks in seconds. Such a song is laid out at 120 beats a minute: a beat of half a second.
- Text is UTF-8 where it can be, else Shift-JIS where it looks Japanese, else Windows-1252.

Source: The Complete MIDI 1.0 Detailed Specification, Standard MIDI Files 1.0 (RP-001), MMA 1996.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deepmusician.errors import MidiError
from deepmusician.limits import DEFAULTS, Limits
from deepmusician.plurals import count

MAX_STRANGE_CHUNKS = 1000  # looked through for those that hold MIDI
MAX_TEXT = 200  # characters kept of a name
DRUM_CHANNEL = 9  # counted from 0: what musicians call channel 10

LOOKS_LIKE = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "a gzip archive",
    b"%PDF": "a PDF document",
    b"ID3": "MP3 audio",
    b"\xff\xfb": "MP3 audio",
    b"OggS": "Ogg audio",
    b"fLaC": "FLAC audio",
    b"RIFF": "a RIFF file without MIDI in it, perhaps WAV audio",
    b"<": "a web page or XML",
    b"X:": "ABC notation; name it .abc",
}


@dataclass(frozen=True)
class Container:
    """A MIDI file taken apart: `chunks` are (first byte, one past the last) of each track's events in `data`.

    With SMPTE division each of the file's ticks is `tick_scale` of ours and the tempo is `fixed_bpm` throughout.
    """

    data: bytes
    format: int
    ticks_per_beat: int
    chunks: tuple[tuple[int, int], ...]
    tick_scale: int = 1
    fixed_bpm: float | None = None
    repairs: tuple[str, ...] = ()


def load_bytes(source: str | Path | bytes, limits: Limits = DEFAULTS) -> tuple[bytes, str]:
    """Content and file name ("" for bytes) of a path or of the bytes given. Raises MidiError for too large a file."""
    if isinstance(source, bytes | bytearray | memoryview):
        _check_size(len(source), limits)
        return bytes(source), ""
    path = Path(source)
    try:
        with named_errors(path.name), path.open("rb") as file:
            _check_size(os.fstat(file.fileno()).st_size, limits)
            data = file.read(limits.file_bytes + 1)  # a device, or a file that grows, tells no size
            _check_size(len(data), limits)
        return data, path.name
    except OSError as error:
        raise MidiError(f"{path} cannot be read: {error.strerror}; check the path") from error


def _check_size(size: int, limits: Limits) -> None:
    if size > limits.file_bytes:
        raise MidiError(f"a file may have at most {limits.file_bytes:,} bytes, got {size:,}; split it into pieces")


@contextmanager
def named_errors(label: str) -> Iterator[None]:
    """Put `label`, where there is one, before the message of a MidiError."""
    try:
        yield
    except MidiError as error:
        if label:
            error.args = (f"{label}: {error}", *error.args[1:])
        raise


def open_container(data: bytes, limits: Limits = DEFAULTS) -> Container:
    """Find the header and the tracks. Raises MidiError if `data` is not a readable Standard MIDI File."""
    _check_size(len(data), limits)
    data, repairs = _unwrap(data)
    format_, ticks, scale, bpm, start, header_repairs = _read_header(data)
    chunks, chunk_repairs = _find_tracks(data, start, limits.tracks)
    promised = struct.unpack_from(">H", data, 10)[0]
    repairs += header_repairs + chunk_repairs
    if len(chunks) < promised:
        repairs.append(f"the header promises {count(promised, 'track')}, the file holds {len(chunks)}")
    return Container(data, format_, ticks, tuple(chunks), scale, bpm, tuple(repairs))


def _unwrap(data: bytes) -> tuple[bytes, list[str]]:
    """Strip a RIFF wrapper or leading bytes that some mail and Macintosh programs put before the header."""
    start = _riff_payload(data) if data[:4] == b"RIFF" else data.find(b"MThd", 0, 4096)
    if start < 0:
        raise MidiError(_not_midi(data))
    if not start or data[:4] == b"RIFF":
        return data[start:], []
    return data[start:], [f"{count(start, 'byte')} before the MIDI header skipped"]


def _riff_payload(data: bytes) -> int:
    """Where the MIDI file begins inside a RIFF RMID file; -1 if there is none."""
    at = 12
    for _ in range(MAX_STRANGE_CHUNKS if data[8:12] == b"RMID" else 0):
        if at + 8 > len(data):
            break
        if data[at : at + 4] == b"data" and data[at + 8 : at + 12] == b"MThd":
            return at + 8
        size = struct.unpack_from("<I", data, at + 4)[0]
        at += 8 + size + size % 2  # RIFF pads chunks to an even length
    return -1


def _not_midi(data: bytes) -> str:
    if not data.strip():
        return "a MIDI file begins with 'MThd', but this file is empty; export or download it again"
    found = next((what for magic, what in LOOKS_LIKE.items() if data.lstrip().startswith(magic)), "")
    begins = "".join(chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}" for byte in data[:8])
    looks = f"this looks like {found}" if found else f"this one begins with '{begins}'"
    return f"a MIDI file begins with 'MThd', but {looks}; export or download it again as MIDI"


def _read_header(data: bytes) -> tuple[int, int, int, float | None, int, list[str]]:
    if len(data) < 14:
        raise MidiError(f"a MIDI header takes 14 bytes, got {len(data)}; the file is cut short, download it again")
    length, format_, _, division = struct.unpack_from(">IHHh", data, 4)
    repairs = []
    if format_ > 2:
        repairs.append(f"format {format_} does not exist (0, 1 and 2 do); read as format 1")
    # a length under 6 is a lie: the three numbers of the header are always there
    start = 8 + (length if 6 <= length <= len(data) - 8 else 6)
    ticks, scale, bpm = _read_division(division)
    return format_ if format_ <= 2 else 1, ticks, scale, bpm, start, repairs


def _read_division(division: int) -> tuple[int, int, float | None]:
    """Ticks per beat, our ticks per file tick, and the fixed tempo (None where the file's own tempos hold)."""
    if division > 0:
        return division, 1, None
    frames, ticks = -(division >> 8), division & 0xFF
    if division == 0 or not ticks or frames not in (24, 25, 29, 30):
        raise MidiError(
            f"division must be 1..32767 ticks a beat, or 24, 25, 29 or 30 SMPTE frames a second of at least 1 tick, "
            f"got {division & 0xFFFF:#06x}; the file's header is damaged, export it again"
        )
    drop = 1000 / 1001 if frames == 29 else 1.0  # "29" stands for 29.97 frames a second
    return (30 if frames == 29 else frames) * ticks, 2, 120.0 * drop


def _find_tracks(data: bytes, at: int, most: int) -> tuple[list[tuple[int, int]], list[str]]:
    """Byte spans of the events of each MTrk chunk from byte `at` on, and what was wrong with them."""
    chunks: list[tuple[int, int]] = []
    wrong = skipped = headers = strange = 0
    while at + 8 <= len(data):
        kind, size = data[at : at + 4], struct.unpack_from(">I", data, at + 4)[0]
        start, end = at + 8, at + 8 + size
        if kind == b"MTrk":
            real_end = _track_end(data, start, end)
            wrong += real_end != end
            chunks.append((start, real_end))
            end = real_end
            if len(chunks) > most:  # counted here: more are not even looked for
                raise MidiError(f"a file may have at most {most} tracks, this one has more; split it into pieces")
        elif not re.fullmatch(rb"[ -~]{4}", kind):
            end = data.find(b"MTrk", at)
            if end < 0:
                break  # what follows the last chunk is padding
            skipped += end - at
        headers += kind == b"MThd"
        strange += kind != b"MTrk"
        if strange > MAX_STRANGE_CHUNKS:
            raise MidiError(f"a file may have at most {MAX_STRANGE_CHUNKS} chunks beside its tracks; this has more")
        at = end
    if not chunks:
        raise MidiError("a MIDI file needs at least one track, this one has none; the file is damaged, export it again")
    repairs = [f"{count(wrong, 'track')} of a wrong declared length measured anew"] if wrong else []
    if skipped:
        repairs.append(f"{count(skipped, 'byte')} between its tracks skipped")
    if headers:
        repairs.append("a second MIDI file stands in this one; its tracks are read as further tracks")
    return chunks, repairs


def _track_end(data: bytes, start: int, end: int) -> int:
    """The declared end of a track if it can be true, else where the next track or the file ends."""
    follows = data[end : end + 4]
    if data[end - 3 : end] == b"\xff\x2f\x00" and end <= len(data):
        return end
    inside = data.find(b"\xff\x2f\x00MTrk", start, end)
    if inside >= 0:
        return inside + 3
    if end <= len(data) and (end > len(data) - 8 or re.fullmatch(rb"[ -~]{4}", follows)):
        return end
    following = data.find(b"MTrk", start)
    return following if following >= 0 else len(data)


def read_number(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Read a variable-length number: (value, next position). Raises IndexError where it is cut off by `end`."""
    value = 0
    while at < end:
        byte = data[at]
        at += 1
        value = (value & 0x1FFFFF) << 7 | byte & 0x7F  # 28 bits are all the specification allows
        if byte < 0x80:
            return value, at
    raise IndexError("number cut off")


def write_number(value: int) -> bytes:
    """Inverse of `read_number`, for 0 .. 2**28 - 1."""
    out = [value & 0x7F]
    while value := value >> 7:
        out.append(value & 0x7F | 0x80)
    return bytes(reversed(out))


def decode_text(raw: bytes) -> str:
    """Make a readable name of any bytes: no control characters, no outer blanks, at most MAX_TEXT characters."""
    text = _try_decode(raw, "utf-8") or _japanese(raw) or _try_decode(raw, "cp1252") or raw.decode("latin-1")
    text = text[: 4 * MAX_TEXT]
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    return text.strip()[:MAX_TEXT].strip()


def _try_decode(raw: bytes, encoding: str) -> str:
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError:
        return ""


def _japanese(raw: bytes) -> str:
    """Shift-JIS text, recognised by kana or by two ideographs side by side; accented Latin has neither."""
    text = _try_decode(raw, "cp932")
    return text if re.search("[\u3041-\u30fe]|[\u4e00-\u9fff]{2}", text) else ""
