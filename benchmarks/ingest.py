"""How fast files become a data set, what that takes of memory and disk, and how fast windows come out of it again.

`python benchmarks/ingest.py` makes files (sonatas of 8,000 notes, chorales of 240, each a song of its own) and reads
the same ones in turn with pretty_midi, through music21 as the original did, with symusic, and with `ingest`; then it
measures the second worker, the bytes of a frame, memory as files grow, and an epoch over a set larger than memory
(`--frames`). `--files 50000` is the long form; `--json FILE` keeps the figures, `--picture FILE` draws the curve.
Per core means: bound to one core, all processes together.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

COLLECTIONS = {  # pieces, and notes of a piece, about: the projected time is of these
    "MAESTRO": (1_291, 5_600), "Classical Archives": (4_918, 3_000), "Symbolic Music MIDI Data": (21_425, 2_500),
    "Video Game Music": (92_861, 2_000), "VGMusic": (31_581, 2_000), "BitMidi": (5_311, 3_000),
    "Lakh MIDI": (45_129, 5_000), "Magic of MIDI": (169_454, 4_000),
}  # fmt: skip
SONATA, CHORALE = (8_000, 2), (240, 4)  # notes, tracks
WINDOWS, FRAMES = 128, 192


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


def seconds(do):
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


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
from deepmusician import batches, ingest
batches.compiled()
if __name__ == "__main__":
    ingest.WORTH = 1
    ingest.ingest([{warm!r}], "warm-" + {name!r}, workers={workers})  # its processes are started, and have loaded
    deadline = time.monotonic() + 60
    while len(batches.processes(ingest.current()).idle) < {workers} and time.monotonic() < deadline:
        time.sleep(0.1)
    began, marks = time.perf_counter(), []
    watch = lambda state: marks.append((time.perf_counter(), state.done))
    totals = ingest.ingest([{folder!r}], {name!r}, workers={workers}, watch=watch)
    took = time.perf_counter() - began
    some = [m for m in marks if m[1] > marks[0][1]]  # after the first report, which waits for starts
    steady = (some[-1][0] - marks[0][0]) / (some[-1][1] - marks[0][1]) if some else took / marks[-1][1]
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    below = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    pools = [batches.processes(ingest.current()).peak_mb]
    print(json.dumps(dict(seconds=took, steady=steady, main_mb=own, worker_mb=max([below, *pools]), totals=totals)))
"""


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
        keep("ingest, one core", done["seconds"] / len(files))
    return best


def music21_cold(file):
    """Seconds that the original's route takes for one file: music21 parses it afresh, and every moment is looked at."""
    code = f"""
import json, time
began = time.perf_counter()
from music21 import converter
score = converter.parse({str(file)!r}, forceSource=True)
moments = score.chordify()
rows = [(float(c.offset), [p.midi for p in c.pitches]) for c in moments.recurse().getElementsByClass("Chord")]
print(json.dumps([time.perf_counter() - began, len(rows)]))
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

EPOCH = """
import json, resource, time
import numpy as np, torch
torch.set_num_threads(1)
from deepmusician.mapped import Pages
from deepmusician.options import TrainOptions
from deepmusician.rolls import Rolls
from deepmusician.windows import Windows
frames, songs = {frames}, {songs}
lengths = np.full(songs, frames // songs, np.int64)
rolls = Rolls(np.memmap({path!r}, np.uint8, "r").reshape(-1, 11), lengths)
from deepmusician.training import Trainer
options = TrainOptions(path="made-up", seq_len=96, batch_size=128)
half = {frames_a_window} // 2
windows = Windows(rolls, np.arange(songs), half, half)
rng = np.random.default_rng([0, 0])
began = time.perf_counter(); places = windows.places(rng); dealt = time.perf_counter() - began
steps = rng.integers(-5, 6, len(places))
raw, whole = [], []
began = time.perf_counter()
n = 0
for i in range(0, len(places) - 128, 128):
    some = places[i : i + 128]
    at = np.maximum(some[:, 1:], 0) + np.arange(-half, half)
    inside = (at >= 0) & (at < rolls.lengths[some[:, :1]])
    t = time.perf_counter(); rolls.gather(some[:, 0], at, inside); raw.append(time.perf_counter() - t)
    if i % (8 * 128) == 0:
        t = time.perf_counter(); windows.batch(some, steps[i : i + 128]); whole.append(time.perf_counter() - t)
    n += 1
epoch = time.perf_counter() - began
peak = int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1024
del windows, places, steps
small = Rolls(np.array(rolls.packed[: 40 * (frames // songs)]), lengths[:40])
trainer = Trainer(options, small, np.arange(36), np.arange(36, 40))
steps_took = trainer.trial(6.0, 6)
median = lambda v: float(np.median(v))
print(json.dumps(dict(dealt=dealt, fetch_ms=median(raw) * 1e3, batch_ms=median(whole) * 1e3, batches=n, epoch=epoch,
    peak_mb=peak, step_ms=median(steps_took) * 1e3)))
"""


def made_up_rolls(path, frames):
    """Packed frames with about four keys each, written piecemeal."""
    rng = np.random.default_rng(1)
    block = np.zeros((100_000, 88), bool)
    for _ in range(4):
        block[np.arange(len(block)), np.repeat(rng.integers(20, 68, len(block) // 4), 4)] = True
    packed = np.packbits(block, axis=1)
    with open(path, "wb") as file:
        for at in range(0, frames, len(packed)):
            file.write(np.roll(packed, at // 7, axis=0)[: frames - at].data)


def growth(counts, scratch, home):
    """Files -> seconds, peak memory of the process that deals them out and of a worker."""
    rows = []
    for count in counts:
        folder = scratch / f"growth-{count}"
        write_files(folder, count, CHORALE)
        done = ingested(folder, scratch / "warm", f"growth-{count}", 1, home)
        rows.append({"files": count, **{k: done[k] for k in ("seconds", "main_mb", "worker_mb")}})
        print(f"| {count:,} | {done['seconds']:.1f} | {done['main_mb']:.0f} | {done['worker_mb']:.0f} |", flush=True)
    return rows


def draw(rows, path):
    """Files against seconds and memory."""
    from matplotlib.figure import Figure

    figure = Figure((7, 3), layout="constrained")
    drawn = ((("seconds",), "time (s)"), (("main_mb", "worker_mb"), "memory (MB)"))
    for axis, (names, label) in zip(figure.subplots(1, 2), drawn, strict=True):
        for name in names:
            axis.plot([r["files"] for r in rows], [r[name] for r in rows], "o-", label=name.split("_")[0])
        axis.set(xlabel="files", ylabel=label, ylim=(0, None))
    axis.legend()
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=4_000, help="chorales at the end of the growth curve")
    parser.add_argument("--sonatas", type=int, default=96)
    parser.add_argument("--chorales", type=int, default=1_500)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--frames", type=int, default=90_000_000, help="of the set larger than memory; 0 leaves it out")
    parser.add_argument("--no-music21", action="store_true", help="leave out the slowest reader, which takes minutes")
    parser.add_argument("--json", help="keep the figures in this file")
    parser.add_argument("--picture", help="draw the growth curve into this file")
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
        one = ingested(scratch / "chorale", scratch / "warm", "one", 1, home)["steady"]
        if len(os.sched_getaffinity(0)) > 1:
            two = ingested(scratch / "chorale", scratch / "warm", "two", 2, home)["steady"]
            s_one = ingested(scratch / "sonata", scratch / "warm", "s-one", 1, home)["steady"]
            s_two = ingested(scratch / "sonata", scratch / "warm", "s-two", 2, home)["steady"]
            said["workers"] = {"chorales": one / two, "sonatas": s_one / s_two}
            print(f"two workers on two cores: {one / two:.2f} times one (chorales), {s_one / s_two:.2f} (sonatas)\n")
        print("| chorales | seconds | dealing process, MB | worker, MB |\n|---|---|---|---|")
        counts = sorted({100, max(100, args.files // 4), max(100, args.files // 2), args.files})
        said["growth"] = growth(counts, scratch, home)
        notes = {k: rates[k]["ingest, one core"] for k in rates}
        slope = (notes["sonata"] - notes["chorale"]) / (SONATA[0] - CHORALE[0])
        print("\n| collection | pieces | projected, one core |\n|---|---|---|")
        for name, (pieces, each) in COLLECTIONS.items():
            took = pieces * (notes["chorale"] + slope * (each - CHORALE[0]))
            said.setdefault("projected", {})[name] = took
            print(f"| {name} | {pieces:,} | {took / 60:.1f} min |")
        if args.frames:
            path = scratch / "packed.bin"
            made_up_rolls(path, args.frames)
            songs = max(args.frames // 2_000, 50)
            values = {"frames": args.frames // songs * songs, "songs": songs, "path": str(path)}
            values["frames_a_window"] = FRAMES
            os.truncate(path, 11 * values["frames"])
            epoch = in_child(EPOCH.format(**values), set(sorted(os.sched_getaffinity(0))[:1]), home)
            said["epoch"] = epoch
            batches_of = f"{epoch['batches']:,} batches of {WINDOWS} windows of {FRAMES} frames"
            ready = f"fetched in {epoch['fetch_ms']:.2f} ms, ready for the model in {epoch['batch_ms']:.2f} ms"
            step = f"a step of the default model takes {epoch['step_ms']:,.0f} ms"
            share = f"input is {epoch['batch_ms'] / epoch['step_ms']:.2%} of it"
            print(f"\nA shuffled epoch over {values['frames']:,} frames, dealt in {epoch['dealt']:.2f} s:")
            print(f"{batches_of},")
            print(f"{ready}; {step}: {share}; {epoch['peak_mb']:.0f} MB resident, torch included")
    print(f"\nload {os.getloadavg()[0]:.1f} after the last measure")
    if args.json:
        Path(args.json).write_text(json.dumps(said, indent=1))
    if args.picture:
        draw(said["growth"], args.picture)


if __name__ == "__main__":
    main()
