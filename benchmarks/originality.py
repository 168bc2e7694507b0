"""How long it takes to look for a 64-bar piece in 1,000 training songs.

    python benchmarks/originality.py [CORPUS ...]

The songs of each corpus are repeated until there are 1,000; the piece is 64 bars of songs that the index
lacks, and once more of songs that it holds. Prints processor seconds for reading and indexing the songs and for a
search, the best of three.
"""

from __future__ import annotations

import sys
import time
from fractions import Fraction
from itertools import cycle, islice

import numpy as np

from deepmusician.library import read_source
from deepmusician.originality import Index
from deepmusician.roll import Roll, to_roll

SONGS, BARS, DIVISION = 1000, 64, Fraction(1, 16)


def main() -> None:
    """Measure each corpus."""
    print(f"{'corpus':18}{'chords':>9}{'in a row':>10}{'index, s':>10}{'new piece, s':>14}{'copied, s':>11}")
    for name in sys.argv[1:] or ("bach-chorales", "airds"):
        measure(name)


def measure(name: str) -> None:
    """One row."""
    rolls = [roll for song in read_source(name).songs if len(roll := to_roll(song, DIVISION))]
    new, known = rolls[::10], [roll for i, roll in enumerate(rolls) if i % 10]
    began = time.process_time()
    index = Index(islice(cycle(known), SONGS))
    indexed = time.process_time() - began
    times = [best(index, piece(songs)) for songs in (new, known)]
    chords = sum(map(len, index.songs))
    print(f"{name:18}{chords:9,}{index.n:10}{indexed:10.2f}{times[0]:14.3f}{times[1]:11.3f}")


def piece(songs: list[Roll]) -> Roll:
    """BARS bars of four beats of the songs, end to end."""
    frames = int(BARS / DIVISION)
    planes = (np.concatenate([getattr(s, p) for s in songs])[:frames] for p in ("sounding", "onset", "velocity"))
    return Roll(*planes, DIVISION)


def best(index: Index, roll: Roll) -> float:
    """Seconds of the fastest of three searches."""
    times = []
    for _ in range(3):
        began = time.process_time()
        index.search(roll)
        times.append(time.process_time() - began)
    return min(times)


if __name__ == "__main__":
    main()
