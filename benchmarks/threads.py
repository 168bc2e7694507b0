"""Training with one thread, two threads or two processes, on a quiet machine and beside a busy process.

    python benchmarks/threads.py [--steps 8] [--recipe deep-musician] [--spinning]

OpenMP's threads wait for one another by spinning; beside a process that takes a core, the one that spins keeps the one
that works from working, and a step of a tenth of a second was seen to take 34. So a run's process is told to wait
passively (`deepmusician.runs.QUIET_THREADS`). Each row is measured in processes of its own, quiet and then beside one
that does nothing but turn; `--spinning` shows what happens without that, too, and may take minutes. Two processes train
as one (`accelerate launch`), each on its own half of a doubled batch.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from deepmusician.runs import QUIET_THREADS

HERE = Path(__file__)
BUSY = "while True: pass"


def main() -> None:
    """Measure each, and print one table; in a process started by it, only measure."""
    args = arguments()
    if args.worker:
        print(json.dumps(steps(args)), flush=True)
        return
    from measure import machine

    print(f"{machine()}\n\n{args.recipe}, target frames a second (slowest step in seconds)\n")
    print(f"{'':26}{'quiet':>22}{'beside a busy process':>26}")
    kinds = [("1 thread", 1, 1, False), ("2 threads, passive", 2, 1, False), ("2 processes of 1 thread", 1, 2, False)]
    if args.spinning:
        kinds.append(("2 threads, spinning", 2, 1, True))
    for name, threads, processes, spinning in kinds:
        cells = ""
        for busy in (False, True):
            rate, slowest = measured(args, threads, processes, spinning, busy)
            cells += f"{f'{rate:,.0f} ({slowest:.2f})':>{26 if busy else 22}}"
        print(f"{name:26}{cells}", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="deep-musician")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--spinning", action="store_true", help="two threads that wait as OpenMP does by itself, too")
    parser.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def measured(args: argparse.Namespace, threads: int, processes: int, spinning: bool, busy: bool) -> tuple[float, float]:
    """Target frames a second of all processes together, and the slowest step in seconds."""
    other = subprocess.Popen([sys.executable, "-c", BUSY]) if busy else None
    workers: list[subprocess.Popen] = []
    try:
        port = free_port()
        for rank in range(processes):
            env = {**os.environ, "OMP_NUM_THREADS": str(threads), **({} if spinning else QUIET_THREADS)}
            if processes > 1:
                env |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)}
                env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"}
            command = [sys.executable, "-W", "ignore", str(HERE), "--worker", "--recipe", args.recipe]
            command += ["--steps", str(args.steps), "--threads", str(threads)]
            workers.append(subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True))
        answers = [json.loads(worker.communicate()[0].splitlines()[-1]) for worker in workers]
    finally:
        for process in [*workers, *([other] if other else [])]:
            process.kill()
            process.wait()
    return answers[0]["rate"], max(answer["slowest"] for answer in answers)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def steps(args: argparse.Namespace) -> dict[str, float]:
    """In a worker: the median rate over some steps after the first, and the slowest of them."""
    import numpy as np
    import torch
    from training import stepper

    from deepmusician.recipes import recipe_options

    torch.set_num_threads(args.threads)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    step = stepper(recipe_options(args.recipe, precision="fp32", n_epochs=1), processes=processes)
    step()
    frames, seconds = [], []
    for _ in range(args.steps):
        began = time.perf_counter()
        frames.append(step())
        seconds.append(time.perf_counter() - began)
    return {"rate": float(np.median(np.array(frames) / np.array(seconds))), "slowest": max(seconds)}


if __name__ == "__main__":
    main()
