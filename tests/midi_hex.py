"""Readable MIDI for the tests: bytes written as hex with a comment on each line, chunk headers added."""

import re
import struct

C4 = "00 90 3c 40  # note_on C4, velocity 64 \n 83 60 80 3c 00  # note_off after 480 ticks"
END = "00 ff 2f 00  # end of track"


def hex_bytes(text: str) -> bytes:
    """Bytes of hex text; what follows a # on a line is a comment."""
    return bytes.fromhex(re.sub(r"#.*", "", text))


def midi_file(*tracks: str, format: int = 1, division: int = 480) -> bytes:
    """A MIDI file of tracks in hex, each closed by END unless it has an end mark already."""
    bodies = [hex_bytes(track) for track in tracks]
    bodies = [body if b"\xff\x2f\x00" in body else body + hex_bytes(END) for body in bodies]
    chunks = b"".join(b"MTrk" + struct.pack(">I", len(body)) + body for body in bodies)
    return b"MThd" + struct.pack(">IHHH", 6, format, len(bodies), division & 0xFFFF) + chunks


def rows(song) -> list[tuple]:
    """(onset, duration, pitch) of every note, in beats."""
    return [(n["onset"], n["duration"], n["pitch"]) for n in song.notes]
