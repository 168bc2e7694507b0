"""What the worker costs: the same files read in this process, one by one in a worker, and many together in workers.

`python benchmarks/reading.py [DIR…]` reads the MIDI files below the folders, else made-up songs of 200 and of 2,000
notes, and prints seconds on the clock and of the processors, this process's and the workers', the best of three rounds.
"""

import argparse
import os
import resource
import time
from pathlib import Path

import numpy as np

from deepmusician import formats, limits, reading
from deepmusician.errors import MidiError
from deepmusician.midi import write_midi
from deepmusician.notes import Song

ROUNDS = 3


def made_up(files, notes):
    """(name, content) of so many songs."""
    rng = np.random.default_rng(0)
    pitches = rng.integers(40, 90, (files, notes)).tolist()
    songs = (Song.from_notes([(i / 2, 0.5, pitch) for i, pitch in enumerate(row)]) for row in pitches)
    return [(f"{i}.mid", write_midi(song)) for i, song in enumerate(songs)]


def in_this_process(files, within):
    """Without a worker, as only a test may."""
    for name, data in files:
        try:
            formats.read_songs(data, name, within)
        except MidiError:
            continue


def in_workers(files, within, ahead):
    """As a page or the command line reads them."""
    return sum(1 for _ in reading.read_many([(name, lambda data=data: data) for name, data in files], within, ahead))


def processors(within):
    """Seconds of processor that this process and its workers have taken."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    stats = [Path(f"/proc/{worker.process.pid}/stat").read_text() for worker in reading._pool(within).idle]
    ticks = sum(int(field) for stat in stats for field in stat.rpartition(")")[2].split()[11:13])
    return used.ru_utime + used.ru_stime, ticks / os.sysconf("SC_CLK_TCK")


def table(title, files, within):
    """A line for each way."""
    size = sum(len(data) for _, data in files) / max(len(files), 1)
    print(f"{title}: {len(files)} files of {size:,.0f} bytes")
    ways = {
        "in this process": lambda: in_this_process(files, within),
        "worker, one by one": lambda: in_workers(files, within, ahead=False),
        "workers, many together": lambda: in_workers(files, within, ahead=True),
    }
    in_workers(files, within, ahead=True)  # they have started
    found = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, do in ways.items():
            before, began = processors(within), time.perf_counter()
            do()
            wall, after = time.perf_counter() - began, processors(within)
            found[name].append((wall, *(b - a for a, b in zip(before, after, strict=True))))
    alone = min(found["in this process"])[0]
    for name, rounds in found.items():
        wall, own, others = min(rounds)
        print(f"  {name:24}{wall:7.3f} s  {alone / wall:5.2f} times the speed   cpu {own:.3f} here, {others:.3f} there")


def main():
    """Read the folders, or made-up files."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", nargs="*", type=Path, help="folders of MIDI files")
    args = parser.parse_args()
    within = limits.current()
    for folder in args.folders:
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".mid", ".midi"))
        table(str(folder), [(path.name, path.read_bytes()) for path in paths], within)
    if not args.folders:
        table("short songs", made_up(600, 200), within)
        table("long songs", made_up(150, 2_000), within)


if __name__ == "__main__":
    main()
