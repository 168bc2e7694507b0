"""Read any folder of files through the one way in, and print what became of them: `python benchmarks/hostile.py DIR…`.

Every file of the folders, and what their zips hold, is read as an upload is. The table says how many were accepted,
repaired and refused, how many of the refused broke the worker (crashed) or ran out of time or memory, how long files
took, and the most memory a worker held. Then MIDI files that mido, too, can read are compared with it: every note it
finds must be in the song or counted as dropped, and a song of which nothing is reported must hold exactly mido's notes.

`python tests/bombs.py DIR` writes a folder of files made to do harm.
"""

import argparse
import collections
import io
import logging
import sys
import time
from pathlib import Path

import numpy as np

from deepmusician import archives, limits, reading
from deepmusician.errors import BrokenOffError, LibraryError, MidiError
from deepmusician.midi_bytes import load_bytes

GOAL_SECONDS, GOAL_MB = 10, 512
STATES = ("accepted", "repaired", "refused", "crashed", "over time", "over memory")


def contents(folders, within):
    """(name, bytes or the reason there are none) of every file, those in zips included."""
    for folder in folders:
        for path in sorted(p for p in Path(folder).rglob("*") if p.is_file()) or [Path(folder)]:
            if not archives.is_zip(path.name):
                yield str(path), lambda path=path: load_bytes(path, within)[0]
                continue
            try:
                archive = archives.Archive(path, within)
            except LibraryError as error:
                yield str(path), lambda error=error: _raise(error)
                continue
            for info in archive.members:
                yield f"{path}:{info.filename}", lambda archive=archive, info=info: archive.read(info)


def _raise(error):
    raise error


def judge(name, get, within):
    """(state, songs, reason, content) of one file."""
    data = b""
    try:
        data = get()
        songs = reading.read_songs(data, Path(name).name, within)
    except BrokenOffError as error:
        return {"crash": "crashed", "time": "over time", "memory": "over memory"}[error.kind], [], str(error), data
    except (MidiError, LibraryError) as error:
        return "refused", [], str(error), data
    repairs = "; ".join(repair for song in songs for repair in song.repairs)
    return "repaired" if repairs else "accepted", songs, repairs, data


def mido_notes(data):
    """(tick, pitch, velocity) of every note-on as mido finds them; None where mido refuses the file."""
    import mido

    try:
        file = mido.MidiFile(file=io.BytesIO(data), clip=True)
    except Exception:  # it raises whatever it comes upon
        return None
    found = []
    for track in file.tracks:
        now = 0
        for message in track:
            now += message.time
            if message.type == "note_on" and message.velocity:
                found.append((now, message.note, message.velocity))
    return found


def unreported(song, data):
    """None where mido cannot judge; else whether notes differ from its without being counted."""
    expected = mido_notes(data)
    if expected is None:
        return None
    if len(song) + song.touched.dropped < len(expected):
        return True
    if song.repairs:
        return False  # told; where tracks were found that mido does not see there are more notes
    ticks = np.rint(song.notes["onset"] * song.ticks_per_beat).astype(int)
    scale = 2 if data[12] > 0x7F else 1  # SMPTE ticks are halved on reading
    own = zip((ticks // scale).tolist(), song.notes["pitch"].tolist(), song.notes["velocity"].tolist(), strict=True)
    return sorted(own) != sorted(expected)


def main():
    """Print the table; 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", metavar="DIR")
    parser.add_argument("--each", action="store_true", help="print a line for every file")
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    within = limits.current()
    counts, seconds = collections.Counter(), []
    judged, wrong, notes = 0, [], collections.Counter()
    for name, get in contents(args.folders, within):
        started = time.perf_counter()
        state, songs, reason, data = judge(name, get, within)
        seconds.append((time.perf_counter() - started, name))
        counts[state] += 1
        for song in songs:
            notes.update(song.touched._asdict() | {"notes": len(song)})
        if args.each:
            print(f"{state:12}{seconds[-1][0]:7.2f} s  {name}  {reason[:150]}")
        if len(songs) == 1 and data[:4] == b"MThd" and len(data) < 1_000_000:
            verdict = unreported(songs[0], data)
            judged += verdict is not None
            wrong += [name] if verdict else []
    taken = np.array([s for s, _ in seconds] or [0.0])
    peak = reading.peak_mb()
    slowest = max(seconds, default=(0.0, ""))
    print("\n".join(f"{state:24}{counts[state]:>10,}" for state in STATES))
    print(f"{'p50 / p99 / longest':24}{np.median(taken) * 1e3:.1f} / {np.percentile(taken, 99) * 1e3:.1f} ms / ", end="")  # noqa: E501
    print(f"{slowest[0]:.2f} s ({slowest[1]})")
    print(f"{'peak worker memory':24}{peak:>10.0f} MB")
    print("\n".join(f"{'notes ' + what:24}{number:>10,}" for what, number in notes.items()))
    print(f"{'compared with mido':24}{judged:>10,} files, {len(wrong)} with notes lost or changed in silence")
    print("\n".join(f"  {name}" for name in wrong))
    over = int((taken > GOAL_SECONDS).sum())
    missed = counts["crashed"] or over or peak > GOAL_MB or wrong
    print("goals missed" if missed else f"goals met: no crash, none over {GOAL_SECONDS} s, at most {GOAL_MB} MB, all told")  # noqa: E501
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
