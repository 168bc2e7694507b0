"""How fast files become a data set, what that takes of memory and disk, and how long each collection would take.

    python benchmarks/ingest.py [--files 50000] [--cluster] [--json FILE]

Made-up sonatas of 8,000 notes and chorales of 240, each a song of its own, are read in turn with pretty_midi, through
music21 as the original did, with symusic, and with `ingest`: CPU seconds of all processes together, bound to one core.
Then it measures the second worker (by the clock), the bytes of a packed frame, and time and memory as files grow; those
are real ones from `../shared/data/midi` where it is there, each varied so that it is a piece of its own. `--cluster`
reads the same with a Dask cluster of two processes, too, and holds what comes out against what one worker made.
docs/growth.py draws what `--json` keeps.
"""

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
REAL = ROOT.parent / "shared" / "data" / "midi"
COLLECTIONS = {  # pieces, and notes of a piece, about: the projected time is of these
    "MAESTRO": (1_291, 5_600), "Classical Archives": (4_918, 3_000), "Symbolic Music MIDI Data": (21_425, 2_500),
    "Video Game Music": (92_861, 2_000), "VGMusic": (31_581, 2_000), "BitMidi": (5_311, 3_000),
    "Lakh MIDI": (45_129, 5_000), "Magic of MIDI": (169_454, 4_000),
}  # fmt: skip
SONATA, CHORALE = (8_000, 2), (240, 4)  # notes, tracks


def song(notes, tracks, seed):
    """Voices that move in steps, most notes after one another, as music has them."""
    from deepmusician.notes import NOTE, Song, Track

    rng = np.random.default_rng(seed)
    each = notes // tracks
    rows = np.zeros(each * tracks, NOTE)
    length = rng.choice([60, 120, 240, 480], (tracks, each), p=[0.3, 0.4, 0.2, 0.1])
    rows["onset"] = (np.cumsum(length, 1) - length).reshape(-1) / 480
    rows["duration"] = (length - 10).reshape(-1) / 480
    steps = rng.integers(-4, 5, (tracks, each)).cumsum(1)
    rows["pitch"] = (np.abs((steps + 20) % 48 - 24) + 36 + 12 * np.arange(tracks)[:, None] % 36).reshape(-1)
    rows["velocity"] = rng.integers(40, 100, len(rows))
    rows["track"] = np.repeat(np.arange(tracks), each)
    return Song(rows, tracks=tuple(Track(f"voice {i}") for i in range(tracks)))


def write_files(folder, count, kind):
    """`count` files, each of a song of its own."""
    from deepmusician.midi import write_midi

    for i in range(count):
        place = folder / f"{i // 1000:03d}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{i:06d}.mid").write_bytes(write_midi(song(*kind, i)))
    return sorted(folder.rglob("*.mid"))


def pitches(data):
    """Where the pitches of all note events lie in a MIDI file; IndexError or ValueError where it is not well kept."""
    places, at = [], 14
    while at < len(data):
        if data[at : at + 4] != b"MTrk":
            raise ValueError("no track")
        end, running = at + 8 + int.from_bytes(data[at + 4 : at + 8], "big"), 0
        at += 8
        while at < end:
            at = after_number(data, at)
            if data[at] >= 0xF0:  # meta and system exclusive events have a length
                at = after_number(data, at + 1 + (data[at] == 0xFF), skip=True)
                continue
            if data[at] > 0x7F:
                running, at = data[at], at + 1
            if running >> 4 in (8, 9) and running & 15 != 9:
                places.append(at)
            at += 1 if running >> 4 in (0xC, 0xD) else 2
    return np.array(places, np.int64)


def after_number(data, at, skip=False):
    value = data[at] & 127
    while data[at] > 127:
        at += 1
        value = value << 7 | data[at] & 127
    return at + 1 + skip * value


def write_varied(folder, count, real):
    """`count` files, the real ones again and again, the pitches of each moved in a way of its own: few are copies."""
    known = []
    for path in real:
        content = path.read_bytes()
        with suppress(IndexError, ValueError):  # some are broken on purpose
            known.append((np.frombuffer(content, np.uint8), pitches(content)))
    for i in range(count):
        content, places = known[i % len(known)]
        moved = np.clip(np.arange(128) + np.random.default_rng(i).integers(-4, 5, 128), 0, 127)
        content = content.copy()
        content[places] = moved[content[places] & 127]
        place = folder / f"{i // 1000:03d}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{i:06d}.mid").write_bytes(content)
    return sorted(folder.rglob("*.mid"))


def seconds(do):
    """Of CPU time."""
    began = time.process_time()
    do()
    return time.process_time() - began


def in_child(code, cores, home):
    """Run Python code in a process bound to some cores; what it prints as JSON. Peak memory is that of all children."""
    bound = f"import os; os.sched_setaffinity(0, {cores!r})\n" if hasattr(os, "sched_setaffinity") else ""
    environment = os.environ | {"DEEPMUSICIAN_HOME": str(home), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", bound + code], capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


INGEST = """
import json, resource, sys, time
from deepmusician import batch_worker, batches, ingest

def spent():  # CPU seconds, of this process and of those that read
    pids = [worker.process.pid for worker in batch_worker.processes(ingest.current()).idle]
    try:
        below = [int(open(f"/proc/{{pid}}/schedstat").read().split()[0]) / 1e9 for pid in pids]
    except OSError:
        return float("nan")
    return time.process_time() + sum(below)

if __name__ == "__main__":
    ingest.WORTH = 1
    ingest.ingest([{warm!r}], "warm-" + {name!r}, workers={workers})  # its processes are started, and have loaded
    deadline = time.monotonic() + 60
    while len(batch_worker.processes(ingest.current()).idle) < {workers} and time.monotonic() < deadline:
        time.sleep(0.1)
    began, cpu, marks = time.perf_counter(), spent(), []
    watch = lambda state: marks.append((time.perf_counter(), state.done))
    totals = ingest.ingest([{folder!r}], {name!r}, workers={workers}, watch=watch)
    took, cpu = time.perf_counter() - began, spent() - cpu
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    worker = batch_worker.processes(ingest.current()).peak_mb
    print(json.dumps(dict(seconds=took, cpu=cpu, main_mb=own, worker_mb=worker, totals=totals)))
"""

CLUSTER = """
import json, time
from distributed import LocalCluster
from deepmusician import ingest
from deepmusician.collected import rows
from deepmusician.shelf import folder_of
if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        ingest.ingest([{warm!r}], "warm-dask", scheduler=cluster.scheduler_address)
        began = time.perf_counter()
        ingest.ingest([{folder!r}], "dask", scheduler=cluster.scheduler_address)
        took = time.perf_counter() - began
    found = [[(row.name, row.status, row.reason, row.at.notes if row.at else 0, row.twin)
              for row in rows(folder_of(name), 0, 10**6)[0]] for name in ("dask", {alone!r})]
    print(json.dumps(dict(seconds=took, same=found[0] == found[1], pieces=len(found[0]))))
"""


def in_cluster(folder, warm, alone, home):
    script = Path(home) / "dask.py"
    script.write_text(CLUSTER.format(folder=str(folder), warm=str(warm), alone=alone))
    cores = set(sorted(os.sched_getaffinity(0))[:2]) if hasattr(os, "sched_getaffinity") else set()
    return in_child(f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')", cores, home)


def ingested(folder, warm, name, workers, home):
    cores = set(sorted(os.sched_getaffinity(0))[:workers]) if hasattr(os, "sched_getaffinity") else set()
    code = INGEST.format(folder=str(folder), warm=str(warm), name=name, workers=workers)
    script = Path(home) / f"{name}.py"
    script.write_text(code)  # a file, since spawned workers import it
    runner = f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')"
    return in_child(runner, cores, home)


def per_core(files, warm, home, what, rounds):
    """Seconds a file with each reader, in turn on the same files, the best of some rounds."""
    import pretty_midi
    import symusic

    from deepmusician.library import read_source  # noqa: F401  loaded before the clock runs

    few = files[:: max(1, len(files) // (4 if what == "sonata" else 40))]
    best = {}

    def keep(name, value):
        best[name] = min(best.get(name, value), value)

    some = [f.read_bytes() for f in few]
    for turn in range(rounds):
        keep("pretty_midi", seconds(lambda: [pretty_midi.PrettyMIDI(io.BytesIO(c)) for c in some]) / len(some))
        keep("symusic, bare", seconds(lambda: [symusic.Score.from_midi(f.read_bytes()) for f in files]) / len(files))
        done = ingested(files[0].parents[1], warm, f"{what}-{turn}", 1, home)
        keep("ingest, one core", done["cpu"] / len(files))
        keep("ingest, by the clock", done["seconds"] / len(files))
    return best


def music21_cold(file):
    """Seconds that the original's route takes for one file: music21 parses it afresh, and every moment is looked at."""
    code = f"""
import json, time
began = time.process_time()
from music21 import converter
score = converter.parse({str(file)!r}, forceSource=True)
moments = score.chordify()
rows = [(float(c.offset), [p.midi for p in c.pitches]) for c in moments.recurse().getElementsByClass("Chord")]
print(json.dumps([time.process_time() - began, len(rows)]))
"""
    return in_child(code, set(sorted(os.sched_getaffinity(0))[:1]), tempfile.gettempdir())[0]


PACK = """
import json, time
from deepmusician.options import TrainOptions
from deepmusician.rolls import read_rolls
from pathlib import Path
from deepmusician.workspace import cache_dir
held = lambda: sum(f.stat().st_size for f in (cache_dir() / "rolls").rglob("*") if f.is_file())
before, began = held(), time.perf_counter()
names, rolls = read_rolls(TrainOptions(path={name!r}))
took = time.perf_counter() - began
size = held() - before
print(json.dumps(dict(seconds=took, frames=int(rolls.lengths.sum()), songs=len(rolls), bytes=size)))
"""


def growth(counts, scratch, home, real):
    """Files -> seconds, peak memory of the process that deals them out and of a worker."""
    rows, write = [], write_varied if real else write_files
    files = write(scratch / "growth", counts[-1], real or CHORALE)
    for count in counts:
        folder = scratch / f"growth-{count}"
        for i, file in enumerate(files[:count]):
            place = folder / f"{i // 1000:03d}"
            place.mkdir(parents=True, exist_ok=True)
            os.link(file, place / file.name)
        done = ingested(folder, scratch / "warm", f"growth-{count}", 1, home)
        rows.append({"files": count, "notes": done["totals"]["notes"]})
        rows[-1] |= {k: done[k] for k in ("seconds", "cpu", "main_mb", "worker_mb")}
        cells = (f"{done['cpu']:.1f}", f"{done['main_mb']:.0f}", f"{done['worker_mb']:.0f}")
        print(f"| {count:,} | {done['totals']['notes']:,} | {' | '.join(cells)} |", flush=True)
        shutil.rmtree(Path(home) / "library" / f"growth-{count}", ignore_errors=True)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=4_000, help="at the end of the growth curve")
    parser.add_argument("--sonatas", type=int, default=384)
    parser.add_argument("--chorales", type=int, default=6_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--cluster", action="store_true", help="read with a Dask cluster of two processes, too")
    parser.add_argument("--no-music21", action="store_true", help="leave out the slowest reader, which takes minutes")
    parser.add_argument("--json", help="keep the figures in this file")
    args = parser.parse_args()
    said = {"load": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        home = scratch / "home"
        home.mkdir()
        os.environ["DEEPMUSICIAN_HOME"] = str(home)
        from deepmusician import batches

        batches.compiled()
        write_files(scratch / "warm", 40, CHORALE)
        print(f"load {said['load']:.1f} before the first measure\n")
        rates = {}
        for what, kind, count in (("sonata", SONATA, args.sonatas), ("chorale", CHORALE, args.chorales)):
            files = write_files(scratch / what, count, kind)
            best = per_core(files, scratch / "warm", home, what, args.rounds)
            if not args.no_music21 and what == "sonata":
                best["music21, cold"] = music21_cold(files[0])
            rates[what] = best
            ours = best["ingest, one core"]
            print(f"| {what}s, one core | files a second | ingest is … times as fast |\n|---|---|---|")
            for name, each in sorted(best.items(), key=lambda row: -row[1]):
                print(f"| {name} | {1 / each:,.2f} | {each / ours:,.1f} |")
            packed = in_child(PACK.format(name=f"{what}-0"), set(sorted(os.sched_getaffinity(0))[:1]), home)
            each = packed["seconds"] / packed["songs"]
            print(f"| … and packed rolls of them laid out | {1 / (ours + each):,.2f} | |")
            print(f"\n{packed['bytes'] / packed['frames']:.2f} bytes a frame on disk\n", flush=True)
            said[what] = {**best, "pack": each, "bytes_a_frame": packed["bytes"] / packed["frames"]}
        if len(os.sched_getaffinity(0)) > 1:
            said["workers"] = {}
            for what in ("sonata", "chorale"):
                best = {}
                for turn in range(args.rounds):
                    for n in (1, 2):
                        done = ingested(scratch / what, scratch / "warm", f"{what}-{n}-{turn}", n, home)["seconds"]
                        best[n] = min(best.get(n, done), done)
                said["workers"][f"{what}s"] = best[1] / best[2]
            both = ", ".join(f"{gain:.2f} ({what})" for what, gain in said["workers"].items())
            print(f"two workers on two cores are … times as fast as one on one: {both}\n", flush=True)
        if args.cluster:
            said["cluster"] = done = in_cluster(scratch / "chorale", scratch / "warm", "chorale-0", home)
            if not done["same"]:
                sys.exit("a Dask cluster makes another data set than one worker")
            rate = done["pieces"] / done["seconds"]
            print(f"a Dask cluster of two processes makes the same, {rate:,.0f} chorales a second", flush=True)
        real = sorted(path for path in REAL.rglob("*") if path.suffix.lower() in (".mid", ".midi"))
        print(f"\n{len(real)} real files, varied" if real else f"\nmade-up chorales ({REAL} is not there)")
        print("| files | notes | CPU seconds | dealing process, MB | worker, MB |\n|---|---|---|---|---|")
        said["growth"] = growth(sorted({100, *(max(100, args.files // n) for n in (4, 2, 1))}), scratch, home, real)
        notes = {k: rates[k]["ingest, by the clock"] for k in rates}
        slope = (notes["sonata"] - notes["chorale"]) / (SONATA[0] - CHORALE[0])
        per_note = said["growth"][-1]["cpu"] / said["growth"][-1]["notes"]
        print("\n| collection | pieces | one core, if well kept | as the real files above |\n|---|---|---|---|")
        for name, (pieces, each) in COLLECTIONS.items():
            took = pieces * (notes["chorale"] + slope * (each - CHORALE[0]))
            said.setdefault("projected", {})[name] = [took, pieces * each * per_note]
            print(f"| {name} | {pieces:,} | {took:,.0f} s | {pieces * each * per_note:,.0f} s |")
    print(f"\nload {os.getloadavg()[0]:.1f} after the last measure")
    if args.json:
        Path(args.json).write_text(json.dumps(said, indent=1))


if __name__ == "__main__":
    main()
