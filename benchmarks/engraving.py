"""How long other sessions of a server are held up while a long score is engraved in its process.

    python benchmarks/engraving.py [--notes 6000]

A thread stands for another session: it asks for Python's lock every 10 ms; how late it gets that is how long it is held
up. The piece is chords of four random pitches every half beat.
"""

from __future__ import annotations

import argparse
import threading
import time

import numpy as np

from deepmusician.notes import Song
from deepmusician.score import engrave

TICK_SECONDS = 0.01


def piece(count: int) -> Song:
    """`count` notes, four at once."""
    pitches = np.random.default_rng(0).integers(40, 85, count).tolist()
    return Song.from_notes([(i // 4 / 2, 0.5, pitch) for i, pitch in enumerate(pitches)])


def held_up(song: Song) -> tuple[float, list[float]]:
    """Seconds that engraving takes, and seconds that each tick beside it came late."""
    done, late = threading.Event(), []

    def session() -> None:
        while not done.is_set():
            start = time.monotonic()
            time.sleep(TICK_SECONDS)
            late.append(time.monotonic() - start - TICK_SECONDS)

    beside = threading.Thread(target=session)
    beside.start()
    start = time.monotonic()
    try:
        engrave(song)
    finally:
        seconds = time.monotonic() - start
        done.set()
        beside.join()
    return seconds, late


def main() -> None:
    """Print what one long score costs who does not wait for it."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--notes", type=int, default=6000)
    count = parser.parse_args().notes
    engrave(piece(4))  # loads music21 and verovio
    seconds, late = held_up(piece(count))
    middle, most, longest = np.quantile(late, [0.5, 0.95, 1])
    print(f"{count:,} notes engraved in {seconds:.1f} s; another session is held up")
    print(f"  median {1000 * middle:.0f} ms, 95 of 100 {1000 * most:.0f} ms, longest {1000 * longest:.0f} ms")


if __name__ == "__main__":
    main()
