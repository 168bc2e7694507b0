"""Music larger than memory: a shuffled epoch of windows from packed rolls mapped from disk, beside a training step.

    python benchmarks/epoch.py [--frames 10000000 30000000 90000000] [--json FILE]

For each number of frames (made up, 11 bytes each, four keys at a time) all windows of 192 frames are dealt at random
and fetched in batches of 128, and every eighth batch is made ready for the model, transposed; then the default model
takes steps. Input must be fetched within 2 ms, take less than 5 % of a step, and the process less than 500 MB, whatever
the number of frames. One core; docs/growth.py draws what `--json` keeps.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

WINDOWS, FRAMES = 128, 192
MOST_MB, MOST_MS, MOST_SHARE = 500, 2, 0.05

EPOCH = """
import json, os, time
import numpy as np, torch
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}})
torch.set_num_threads(1)
from deepmusician.options import TrainOptions
from deepmusician.rolls import Rolls
from deepmusician.training import Trainer
from deepmusician.windows import Windows
each, half, batch = 2000, {window} // 2, {batch}
songs = {frames} // each
lengths = np.full(songs, each, np.int64)
rolls = Rolls(np.memmap({path!r}, np.uint8, "r").reshape(-1, 11)[: songs * each], lengths)
windows = Windows(rolls, np.arange(songs), half, half)
rng, clock = np.random.default_rng([0, 0]), time.process_time
began = clock(); places = windows.places(rng); dealt = clock() - began
steps = rng.integers(-5, 6, len(places))
fetched, ready = [], []
whole = clock()
for i in range(0, len(places) - batch + 1, batch):
    some = places[i : i + batch]
    at = np.maximum(some[:, 1:], 0) + np.arange(-half, half)
    inside = (at >= 0) & (at < rolls.lengths[some[:, :1]])
    began = clock(); rolls.gather(some[:, 0], at, inside); fetched.append(clock() - began)
    if i % (8 * batch) == 0:
        began = clock(); windows.batch(some, steps[i : i + batch]); ready.append(clock() - began)
whole = clock() - whole
status = open("/proc/self/status").read()
own = int(status.split("RssAnon:")[1].split()[0]) / 1024  # what is mapped can be given back at any time
resident = int(status.split("VmHWM:")[1].split()[0]) / 1024
del windows, places, steps
small = Rolls(np.array(rolls.packed[: 40 * each]), lengths[:40])
trainer = Trainer(TrainOptions(path="made-up", seq_len=half, batch_size=batch), small, np.arange(36), np.arange(36, 40))
step = float(np.median(trainer.trial(6.0, 6)))
median = lambda v: float(np.median(v)) * 1e3
print(json.dumps(dict(frames=songs * each, windows=len(fetched) * batch, dealt=dealt, seconds=whole,
    fetch_ms=median(fetched), batch_ms=median(ready), own_mb=own, resident_mb=resident, step_ms=step * 1e3)))
"""


def write_rolls(path, frames):
    """Packed frames with about four keys each, written piecemeal."""
    rng = np.random.default_rng(1)
    block = np.zeros((100_000, 88), bool)
    for _ in range(4):
        block[np.arange(len(block)), np.repeat(rng.integers(20, 68, len(block) // 4), 4)] = True
    packed = np.packbits(block, axis=1)
    with open(path, "wb") as file:
        for at in range(0, frames, len(packed)):
            file.write(np.roll(packed, at // 7, axis=0)[: frames - at].data)


def measured(path, frames):
    """What one epoch takes, in a process of its own."""
    code = EPOCH.format(path=str(path), frames=frames, window=FRAMES, batch=WINDOWS)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--frames", type=int, nargs="+", default=[10_000_000, 30_000_000, 90_000_000])
    parser.add_argument("--json", help="keep the figures in this file")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    print("| frames | dealt, s | epoch of input, s | fetched, ms | ready, ms | of a step | own, MB | resident, MB |")
    print("|---|---|---|---|---|---|---|---|")
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "packed.bin"
        write_rolls(path, max(args.frames))
        for frames in sorted(args.frames):
            row = measured(path, frames)
            rows.append(row)
            cells = [f"{row['frames']:,}", *(f"{row[k]:.2f}" for k in ("dealt", "seconds", "fetch_ms", "batch_ms"))]
            cells += [f"{row['batch_ms'] / row['step_ms']:.2%}", f"{row['own_mb']:.0f}", f"{row['resident_mb']:.0f}"]
            print(f"| {' | '.join(cells)} |", flush=True)
    if args.json:
        Path(args.json).write_text(json.dumps(rows, indent=1))
    last = rows[-1]
    met = last["resident_mb"] < MOST_MB and last["fetch_ms"] <= MOST_MS
    met &= last["batch_ms"] < MOST_SHARE * last["step_ms"]
    print(f"a step takes {last['step_ms']:,.0f} ms; the goals are {'met' if met else 'missed'}")
    return int(not met)


if __name__ == "__main__":
    sys.exit(main())
