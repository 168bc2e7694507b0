"""How much faster than real time a piece becomes sound, for a piano alone and for eleven tracks.

    python benchmarks/rendering.py [--minutes 3] [--tries 3] [--encoding wav]

The pieces are made up: chords and a tune at 120 beats a minute, and the same on eleven instruments, drums among them.
All that a person waits for is measured: the worker process, FluidSynth at 44.1 kHz in stereo, levelling, the file.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from measure import machine

from deepmusician.notes import NOTE, Song, Track
from deepmusician.render import render, write_audio

PROGRAMS = (0, 24, 32, 40, 41, 42, 48, 56, 60, 71)
BEATS_A_MINUTE = 120  # where a song says nothing of its tempo


def main() -> None:
    """Measure both, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=3.0, help="length of the pieces")
    parser.add_argument("--tries", type=int, default=3, help="the fastest counts")
    parser.add_argument("--encoding", choices=["wav", "mp3", "ogg"], default="wav")
    args = parser.parse_args()
    print(f"{machine()}\n\n{args.minutes:g} minutes of music as {args.encoding}\n")
    print(f"{'piece':14}{'notes':>8}{'seconds':>10}{'× real time':>13}")
    beats = int(args.minutes * BEATS_A_MINUTE)
    for name, piece in (("piano", piano(beats)), ("eleven tracks", eleven(beats))):
        best = min(seconds(piece, args.encoding) for _ in range(args.tries))
        print(f"{name:14}{len(piece):8,}{best:10.2f}{piece.seconds / best:13.0f}", flush=True)


def piano(beats: int) -> Song:
    """A tune of quavers over held chords of three."""
    return song([part(beats, 48)])


def eleven(beats: int) -> Song:
    """The same on ten instruments, and drums on every beat."""
    drums = [(beat, 0.25, 36 if beat % 2 else 42) for beat in range(beats)]
    return song([*(part(beats, 36 + 2 * i) for i in range(len(PROGRAMS))), drums])


def part(beats: int, low: int) -> list[tuple[float, float, int]]:
    """Onset, duration (in beats) and pitch of the notes of one instrument, from pitch `low` on."""
    tune = [(i / 2, 0.5, low + 12 + (0, 4, 7, 12, 7, 4)[i % 6]) for i in range(2 * beats)]
    return [*tune, *((beat, 4, low + k) for beat in range(0, beats, 4) for k in (0, 4, 7))]


def song(parts: list[list[tuple[float, float, int]]]) -> Song:
    """One track for each part: the instruments of PROGRAMS, then drums."""
    programs = [*PROGRAMS, 0]
    rows = [
        (onset, duration, pitch, 80, programs[track], track == len(PROGRAMS), track)
        for track, notes in enumerate(parts)
        for onset, duration, pitch in notes
    ]
    return Song(np.array(rows, NOTE), tracks=tuple(Track() for _ in parts))


def seconds(piece: Song, encoding: str) -> float:
    """How long it takes until the file is there."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        write_audio(render(piece), Path(folder) / f"piece.{encoding}")
        return time.perf_counter() - began


if __name__ == "__main__":
    main()
