"""The target of a coverage-guided fuzzer: whatever the bytes, they are read or refused in a sentence, and all is told.

With atheris installed (`pip install atheris`): `python tests/fuzz_reading.py CORPUS_FOLDER -max_total_time=600`.
Without it the same target is run on seeded mutations: `python tests/fuzz_reading.py --seconds 60`; the tests run it so
for a moment. It reads in its own process, since it looks for what the sandbox would have to catch.
"""

import random
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from bombs import NOTE, midi

from deepmusician.errors import MidiError
from deepmusician.midi import read_midi
from deepmusician.midi_bytes import open_container
from deepmusician.midi_events import scan as scan_carefully
from deepmusician.midi_notes import pair_notes

SEEDS = (
    midi(b"\x00\xff\x51\x03\x07\xa1\x20\x00\xc0\x28" + NOTE * 8, NOTE * 4, b"\x00\x99\x24\x40\x60\x24\x00"),
    midi(b"\x00\xff\x03\x02hi\x00\xff\x58\x04\x03\x02\x18\x08" + NOTE, format=0),
    midi(NOTE, b"\x00\xf0\x02\x01\xf7\x00\x90\x40\x40" + NOTE, b"\x00\xb0\x7b\x00" + NOTE, format=2),
    midi(b"\x00\x90\x3c\x40\x00\x3c\x40\x81\x00\x3c\x00\x00\x3c\x00\x00\xe0\x00\x40", division=-(25 << 8) + 40),
)
PIECES = (
    b"MTrk",
    b"MThd",
    b"\x00\xff\x2f\x00",
    b"\xff\xff\xff\x7f",
    b"\x90",
    b"\x80",
    b"\xc0",
    b"\xff\x51\x03",
    b"\0" * 4,
)


def target(data):
    """Read `data`; raises AssertionError where something is wrong, and whatever the reader should not raise."""
    try:
        song = read_midi(data)
    except MidiError as error:
        assert len(str(error).splitlines()) == 1
        return
    notes = song.notes
    assert len(notes)
    assert (notes["duration"] > 0).all()
    assert (notes["onset"] >= 0).all()
    assert max(notes["pitch"].max(), notes["velocity"].max(), notes["program"].max()) < 128
    assert all(earlier <= later for earlier, later in pairwise(notes["onset"].tolist()))
    assert np.isfinite(song.seconds)
    assert song.repairs or not any(song.touched)
    assert all(count >= 0 for count in song.touched)
    events = scan_carefully(open_container(data))
    begun = int(((events.status & 0xF0 == 0x90) & (events.two > 0)).sum())
    doubled = pair_notes(events).touched.dropped
    assert len(notes) == begun - doubled  # both scanners find the same notes, and each is in the song or counted


def mutated(data, chance):
    """`data` after a few random changes."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(changed) + 1)
        kind = chance.randrange(5)
        if kind == 0:
            del changed[at:]
        elif kind == 1:
            changed[at:at] = chance.choice(PIECES)
        elif kind == 2:
            del changed[at : at + chance.randint(1, 8)]
        elif kind == 3:
            changed[at:at] = changed[at // 2 : at]
        elif at < len(changed):
            changed[at] = chance.randrange(256)
    return bytes(changed[:100_000])


def run(seed, times=1 << 62, seconds=1e9):
    """Run the target on seeded mutations; returns how often."""
    chance, kept, done, ends = random.Random(seed), list(SEEDS), 0, time.monotonic() + seconds
    while done < times and time.monotonic() < ends:
        data = mutated(chance.choice(kept), chance)
        try:
            target(data)
        except BaseException:
            Path(f"crash-{seed}-{done}.mid").write_bytes(data) if __name__ == "__main__" else print(data.hex())
            raise
        if len(kept) < 500:
            kept.append(data)
        done += 1
    return done


if __name__ == "__main__":
    if sys.argv[1:2] == ["--seconds"]:
        print(run(seed=int(time.time()), seconds=float(sys.argv[2])), "files")
    else:
        import atheris

        atheris.instrument_all()
        atheris.Setup(sys.argv, target)
        atheris.Fuzz()
