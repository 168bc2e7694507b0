"""Files made to do harm, or only looking like music: what tests and benchmarks/hostile.py throw at the reader.

`python tests/bombs.py FOLDER` writes them all. Each is made when asked for; the same seed makes the same bytes.
"""

import io
import random
import stat
import struct
import sys
import zipfile
from pathlib import Path

END = b"\x00\xff\x2f\x00"
NOTE = b"\x00\x90\x3c\x40\x60\x80\x3c\x00"
MOST = 7_900_000  # bytes, just under the limit of a file


def midi(*tracks, format=1, division=480):
    """A file of tracks in raw bytes, each closed by an end mark."""
    chunks = b"".join(b"MTrk" + struct.pack(">I", len(t) + 4) + t + END for t in tracks)
    return b"MThd" + struct.pack(">IHHH", 6, format, len(tracks), division & 0xFFFF) + chunks


def zipped(*members):
    """A zip of (name or ZipInfo, content)."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return target.getvalue()


def link(name, target):
    """A symbolic link for a zip."""
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return info, target


def lying_header():
    """A zip whose headers say that its five megabytes are ten bytes."""
    data = bytearray(zipped(("lying.mid", bytes(5_000_000))))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", data, data.index(signature) + offset, 10)
    return bytes(data)


def many_entries(count):
    """A zip whose table alone would fill the memory: one stored file, named over and over."""
    whole = zipped(("a.mid", midi(NOTE)))
    table = whole.index(b"PK\x01\x02")
    end = whole.index(b"PK\x05\x06")
    entries = whole[table:end] * count
    tail = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 0xFFFF, 0xFFFF, len(entries), table, 0)
    return whole[:table] + entries + tail


def noise(seed, size):
    """Seeded random bytes."""
    return random.Random(seed).randbytes(size)


def flipped(data, seed, share=0.01):
    """`data` with some bytes changed."""
    chance, changed = random.Random(seed), bytearray(data)
    for _ in range(max(1, int(len(changed) * share))):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def musicxml(measures, divisions=1):
    """A score of one part."""
    return (
        '<?xml version="1.0"?><score-partwise version="3.0"><part-list><score-part id="P"><part-name>P</part-name>'
        f'</score-part></part-list><part id="P"><measure number="1"><attributes><divisions>{divisions}</divisions>'
        f"</attributes>{measures}</measure></part></score-partwise>"
    ).encode()


def xml_note(duration=1):
    """One note of a score."""
    pitch = "<pitch><step>C</step><octave>4</octave></pitch>"
    return f"<note>{pitch}<duration>{duration}</duration><type>quarter</type></note>"


LAUGHS = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
ON = bytes((0, 0x90, 60, 64))

BOMBS = {
    # MIDI: numbers out of all proportion
    "endless-note.mid": lambda: midi(b"\x00\x90\x3c\x40\xff\xff\xff\x7f\x80\x3c\x00"),
    "endless-note-coarse.mid": lambda: midi(b"\x00\x90\x3c\x40\xff\xff\xff\x7f\x80\x3c\x00", division=1),
    "beyond-2-to-the-31.mid": lambda: midi(b"\xff\xff\xff\x7f\x90\x3c\x40" * 1000 + b"\x00\x80\x3c\x00"),
    "million-notes-on-a-tick.mid": lambda: midi(ON + b"\x00\x3c\x40" * 999_999),
    "notes-without-end.mid": lambda: midi(ON + b"\x00\x3c\x40" * 190_000),
    "silences-and-endless-notes.mid": lambda: midi((b"\x01\x90\x3c\x40" + b"\x00\xb0\x7b\x00") * 190_000),
    "program-switches.mid": lambda: midi(b"\x00\xc0\x01\x00\xc0\x02" * 95_000, *[NOTE] * 255),
    "program-switches-with-notes.mid": lambda: midi((b"\x00\xc0\x01" + NOTE + b"\x00\xc1\x02") * 90_000),
    "changes-beyond-count.mid": lambda: midi(b"\x00\xc0\x01" * 2_600_000),
    "tempo-zero.mid": lambda: midi(b"\x00\xff\x51\x03\0\0\0" + NOTE),
    "tempo-changes.mid": lambda: midi(b"\x01\xff\x51\x03\x07\xa1\x20" * 190_000 + NOTE),
    "meter-changes.mid": lambda: midi(b"\x01\xff\x58\x04\x01\x07\x18\x08" * 190_000 + NOTE),
    "slow.mid": lambda: midi(b"\x00\xff\x51\x03\xff\xff\xff\x00\x90\x3c\x40\xff\x7f\x80\x3c\x00" * 900, division=1),
    "division-zero.mid": lambda: midi(NOTE, division=0),
    "format-2.mid": lambda: midi(*[NOTE] * 200, format=2),
    "format-77.mid": lambda: midi(NOTE, format=77),
    # MIDI: chunks and lengths that lie
    "empty-tracks.mid": lambda: midi() + b"MTrk\0\0\0\0" * 900_000,
    "lying-lengths.mid": lambda: midi() + (b"MTrk\xff\xff\xff\xff" + NOTE) * 250,
    "unknown-chunks.mid": lambda: midi() + b"XXXX\0\0\0\0" * 900_000 + midi(NOTE)[14:],
    "lying-text.mid": lambda: midi(NOTE + b"\x00\xff\x03\xff\xff\xff\x7f" + NOTE * 1000),
    "long-name.mid": lambda: midi(_name(5_000_000)),
    "many-names.mid": lambda: midi(b"\x00\xff\x03\x08<script>" * 190_000 + NOTE),
    "riff-of-nothing.rmi": lambda: b"RIFF\xff\xff\xff\xffRMID" + b"LIST\0\0\0\0" * 900_000,
    "riff.rmi": lambda: b"RIFF\0\0\0\0RMIDdata" + struct.pack("<I", len(midi(NOTE))) + midi(NOTE),
    "two-files.mid": lambda: midi(NOTE) + midi(NOTE),
    # MIDI: what is no event
    "noise.mid": lambda: midi(noise(1, 1_000_000)),
    "noise-to-the-limit.mid": lambda: midi(noise(2, MOST)),
    "no-status.mid": lambda: midi(bytes(MOST)),
    "deltas-without-end.mid": lambda: midi(b"\x80" * MOST),
    "all-ff.mid": lambda: midi(b"\xff" * MOST),
    "controllers.mid": lambda: midi(NOTE + b"\x00\xb0\x07\x40" + b"\x00\x07\x41" * 2_600_000),
    "controllers-and-a-fault.mid": lambda: midi(NOTE + b"\x00\xb0\x07\x40" + b"\x00\x07\x41" * 2_600_000 + b"\xf4"),
    "velocity-over-127.mid": lambda: midi(b"\x00\x90\x3c\xff\x60\x80\x3c\x00" * 1000),
    "pitch-over-127.mid": lambda: midi(NOTE + b"\x00\x90\xbc\x40\x60\x80\xbc\x00" * 1000),
    # not MIDI at all
    "html.mid": lambda: b"<!DOCTYPE html><html><body>404</body></html>",
    "picture.mid": lambda: b"\x89PNG\r\n\x1a\n" + noise(3, 10_000),
    "empty.mid": lambda: b"",
    "blank.mid": lambda: b"\n" * 100_000,
    "header-alone.mid": lambda: midi()[:14],
    "too-large.mid": lambda: bytes(9_000_000),
    "zip.mid": lambda: zipped(("a.mid", midi(NOTE))),
    # scores
    "laughs.musicxml": lambda: f"<!DOCTYPE x [<!ENTITY l0 'ha'>{LAUGHS}]><score-partwise>&l9;</score-partwise>".encode(),  # noqa: E501
    "files-of-yours.musicxml": lambda: b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><score-partwise>&e;</score-partwise>',
    "deep.musicxml": lambda: musicxml("<a>" * 500_000 + "</a>" * 500_000),
    "long-note.musicxml": lambda: musicxml(xml_note(10**9)),
    "fine-note.musicxml": lambda: musicxml(xml_note(1), 10**30),
    "many-notes.musicxml": lambda: musicxml(xml_note() * 60_000),
    "repeated.musicxml": lambda: musicxml(
        xml_note() * 2000 + '<barline><bar-style>light-heavy</bar-style><repeat direction="backward" times="999999999"/></barline>'  # noqa: E501
    ),
    "bomb.mxl": lambda: zipped(("a.musicxml", b" " * 100_000_000)),
    "cut.musicxml": lambda: musicxml(xml_note() * 100)[:5000],
    "empty-tunes.abc": lambda: b"X:1\n" * 1_900_000,
    "long-note.abc": lambda: b"X:1\nL:1/4\nK:C\nC1000000000|\n",
    "brackets.abc": lambda: b"X:1\nL:1/4\nK:C\n" + b"[" * 100_000 + b"C\n",
    "tuplets.abc": lambda: b"X:1\nL:1/4\nK:C\n" + b"(3" * 20_000 + b"CDE|\n",
    "one-line.abc": lambda: b"X:1\nL:1/4\nK:C\n" + b"CDEF|" * 200_000,
    "spines.krn": lambda: b"\t".join([b"**kern"] * 5000) + b"\n" + b"\t".join([b"4c"] * 5000) + b"\n",
    "splits.krn": lambda: b"**kern\n" + b"".join(b"\t".join([b"*^"] * 2**i) + b"\n" for i in range(14)) + b"4c\n",
    "many-notes.krn": lambda: b"**kern\n" + b"4c\n" * 300_000 + b"*-\n",
    # archives
    "lying.zip": lying_header,
    "nested.zip": lambda: zipped(("in.zip", zipped(("a.mid", midi(NOTE)))), ("b.mid", midi(NOTE))),
    "traversal.zip": lambda: zipped(("../../out.mid", midi(NOTE)), ("/abs.mid", midi(NOTE)), ("C:\\x.mid", midi(NOTE))),
    "link.zip": lambda: zipped(link("link.mid", "/etc/passwd")),
    "same-names.zip": lambda: zipped(("a.mid", midi(NOTE)), ("a.mid", midi(NOTE + NOTE))),
    "inflating.zip": lambda: zipped(("big.mid", bytes(60_000_000)), ("a.mid", midi(NOTE))),
    "many-inflating.zip": lambda: zipped(*((f"{i}.mid", bytes(7_000_000)) for i in range(40))),
    "crowded.zip": lambda: zipped(*((f"{i}.mid", b"") for i in range(1001))),
    "table.zip": lambda: many_entries(500_000),
}  # fmt: skip


def _name(length):
    size = bytes([length >> 21 & 0x7F | 0x80, length >> 14 & 0x7F | 0x80, length >> 7 & 0x7F | 0x80, length & 0x7F])
    return b"\x00\xff\x03" + size + b"A" * length + NOTE


def write(folder):
    """Write every bomb, a file cut at many places and its seeded byte flips."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in BOMBS.items():
        (folder / name).write_bytes(make())
    whole = midi(b"\x00\xff\x51\x03\x07\xa1\x20\x00\xc0\x28" + NOTE * 8, NOTE * 4, b"\x00\x99\x24\x40\x60\x24\x00")
    for size in range(len(whole)):
        (folder / f"cut-{size:03}.mid").write_bytes(whole[:size])
    for seed in range(200):
        (folder / f"flipped-{seed:03}.mid").write_bytes(flipped(whole, seed, 0.03))


if __name__ == "__main__":
    write(sys.argv[1])
