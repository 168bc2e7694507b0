"""Training speed: every recipe beside the processor's matrix-product peak, and the original's loop beside ours.

    python benchmarks/training.py [--threads 1 2] [--only deep-musician] [-p PATH] [--steps 5] [--skip-original]

A step is a whole one: windows cut and moved, both passes, clipping, the optimiser. What it costs is counted by torch
while it runs, not by a formula; the peak is a square product's, taken again between the steps of each recipe.

The original took every frame as the start of a window and fed its decoder frame by frame in a Python loop; its epoch
over the same songs is projected from the steps measured, because a whole one takes hours. Where the processor has bf16
instructions, or the machine a GPU, they are measured too; where not, that is said.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from unittest import mock

from deepmusician.runs import QUIET_THREADS

for _name, _value in QUIET_THREADS.items():  # as a run's process has them; read when torch loads
    os.environ.setdefault(_name, _value)

import numpy as np  # noqa: E402
import torch  # noqa: E402
from measure import OriginalLoop, gemm_peak, machine, made_up_rolls, mflop_per_frame, timed  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from deepmusician import training  # noqa: E402
from deepmusician.library import read_source  # noqa: E402
from deepmusician.losses import Loss, cell_loss  # noqa: E402
from deepmusician.models.backbones import recurrent  # noqa: E402
from deepmusician.options import TrainOptions  # noqa: E402
from deepmusician.precision import can_bf16, prefers_bf16  # noqa: E402
from deepmusician.recipes import list_recipes, recipe_options  # noqa: E402
from deepmusician.rolls import Rolls, make_rolls  # noqa: E402
from deepmusician.training import Trainer  # noqa: E402
from deepmusician.windows import Windows  # noqa: E402


def main() -> None:
    """Measure, and print two tables."""
    args = arguments()
    print(f"{machine()}\n")
    precisions = ["fp32", "bf16"] if can_bf16("cpu") else ["fp32"]
    if len(precisions) == 1:
        print("This processor has no bf16 instructions, so half precision is not measured.")
    else:
        print(f"`auto` would take {'bf16' if prefers_bf16('cpu') else 'fp32'} here.")
    if not torch.cuda.is_available():
        print("This machine has no GPU that torch can use, so none is measured.")
    for precision in precisions:
        recipes(args, precision)
    if torch.cuda.is_available():
        gpu(args)
    if not args.skip_original:
        original_beside_ours(args, precisions)


def arguments() -> argparse.Namespace:
    names = [recipe.name for recipe in list_recipes()]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-p", "--path", help="music to train on beside the original; without it made-up chords")
    parser.add_argument("--songs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5, help="steps to measure; the median counts")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only", nargs="*", choices=names, default=names, metavar="RECIPE")
    parser.add_argument("-b", "--batch-size", type=int, default=32, help="windows a step beside the original")
    parser.add_argument("-s", "--seq-len", type=int, default=64, help="frames of a window beside the original")
    parser.add_argument("--skip-original", action="store_true", help="the recipes only")
    return parser.parse_args()


def recipes(args: argparse.Namespace, precision: str) -> None:
    """One row for each recipe: how fast, and what share of the peak, with each number of threads."""
    print(f"\n{precision}: whole steps; the share is of the fp32 peak in the same run\n")
    each = "".join(f"{f'{n} thread(s): frames/s':>24}{'GFLOP/s':>9}{'of peak':>9}" for n in args.threads)
    print(f"{'recipe':22}{'batch × frames':>15}{'MFLOP/frame':>13}{each}")
    for name in args.only:
        options = recipe_options(name, precision=precision, n_epochs=1)
        step = stepper(options)
        flop, cells = counted(step) / step(), ""
        for threads in args.threads:
            torch.set_num_threads(threads)
            rate, peak = speed(step, args.steps)
            cells += f"{rate:24,.0f}{rate * flop / 1e9:9.1f}{rate * flop / 1e9 / peak:9.0%}"
        print(f"{name:22}{f'{options.batch_size} × {options.seq_len}':>15}{flop / 1e6:13.2f}{cells}", flush=True)


def stepper(options: TrainOptions, rolls: Rolls | None = None, processes: int = 1) -> Callable[[], int]:
    """A function that takes one training step and returns its target frames, of all processes together."""
    need = 3 * options.batch_size * options.seq_len * processes  # three full steps, over which it turns
    rolls = rolls or made_up_rolls(8, -(-need // 8), options.planes, options.voices == "melody")
    trainer = Trainer(options, rolls, np.arange(len(rolls.lengths)), np.arange(0))
    rng = np.random.default_rng(0)
    places = trainer.windows.places(rng)
    moves, n_batches = trainer._steps(rng, len(places)), trainer.batches_per_epoch()
    trainer.wrapped.train()

    def step() -> int:
        trainer.batch = (trainer.batch + 1) % max(n_batches - 1, 1)  # the last one may be smaller
        return trainer._step(places, moves, n_batches)

    return step


def counted(step: Callable[[], int]) -> int:
    """Products and sums of a step: torch's own networks in its stead, whose matrix products are counted."""
    with (
        FlopCounterMode(display=False) as counter,
        torch.backends.mkldnn.flags(enabled=False),  # without oneDNN an LSTM is matrix products, too
        mock.patch.object(recurrent, "suits", lambda *_: False),
    ):
        step()
    return counter.get_total_flops()


def speed(step: Callable[[], int], steps: int) -> tuple[float, float]:
    """Target frames a second, the median of `steps` steps, and the fp32 peak taken between them."""
    frames, seconds, peaks = step(), [], []
    for _ in range(steps):
        seconds.append(timed(step))
        peaks.append(gemm_peak(tries=2))
    return frames / float(np.median(seconds)), max(peaks)


def gpu(args: argparse.Namespace) -> None:
    """The recipes on the GPU, in fp32 and bf16, windows cut from memory and there."""
    print(f"\non {torch.cuda.get_device_name()}: target frames a second; windows cut from memory, and on the card\n")
    print(f"{'recipe':22}{'fp32':>12}{'on the card':>14}{'bf16':>12}{'on the card':>14}")
    for name in args.only:
        rates = []
        for precision in ("fp32", "bf16"):
            options = recipe_options(name, precision=precision, n_epochs=1, accelerator="gpu")
            with mock.patch.object(training, "where_it_trains", lambda windows, device: windows):
                rates.append(gpu_rate(stepper(options), args.steps))
            rates.append(gpu_rate(stepper(options), args.steps))
        print(f"{name:22}{rates[0]:12,.0f}{rates[1]:14,.0f}{rates[2]:12,.0f}{rates[3]:14,.0f}", flush=True)


def gpu_rate(step: Callable[[], int], steps: int) -> float:
    """Target frames a second: the median of `steps` steps, each waited for."""
    frames, seconds = step(), []
    for _ in range(steps):
        torch.cuda.synchronize()
        seconds.append(timed(lambda: (step(), torch.cuda.synchronize())))
    return frames / float(np.median(seconds))


def original_beside_ours(args: argparse.Namespace, precisions: list[str]) -> None:
    """The same network on the same songs: steps in turn, so that both meet the same machine."""
    rolls = make_rolls(read_source(args.path).songs[: args.songs]) if args.path else made_up_rolls(args.songs, 1000)
    frames, music = int(rolls.lengths.sum()), args.path or "made-up chords"
    torch.set_num_threads(1)
    every_frame = Windows(rolls, np.arange(len(rolls)), args.seq_len, stride=1)
    kinds = {"original": original(every_frame, args)}
    for precision in precisions:
        options = TrainOptions(batch_size=args.batch_size, seq_len=args.seq_len, precision=precision)
        kinds[f"deep-musician {precision}"] = stepper(options, rolls)
    times: dict[str, list[float]] = {name: [] for name in kinds}
    rates: dict[str, list[float]] = {name: [] for name in kinds}
    peaks = []
    for step in kinds.values():
        step()
    for _ in range(args.steps):
        for name, step in kinds.items():
            began = timed(lambda step=step, name=name: rates[name].append(step()))
            times[name].append(began)
            rates[name][-1] /= began
        peaks.append(gemm_peak(tries=2))
    peak, ours = max(peaks), -(-frames // args.seq_len)  # windows of an epoch
    print(
        f"\nbeside the original: {len(rolls)} songs of {music}, {frames} frames, batch {args.batch_size}, "
        f"seq_len {args.seq_len}, 1 thread; fp32 peak {peak:.0f} GFLOP/s\n"
    )
    print(f"{'':22}{'step ms':>9}{'× faster':>10}{'epoch s':>10}{'× faster':>10}{'GFLOP/s':>9}{'of peak':>9}")
    reference = None
    for name in kinds:
        step, rate = float(np.median(times[name])), float(np.median(rates[name]))
        epoch = (len(every_frame.places()) if name == "original" else ours) * args.seq_len / rate
        reference = reference or (rate, epoch)
        gflops = rate * mflop_per_frame() / 1e3
        print(
            f"{name:22}{step * 1e3:9.0f}{rate / reference[0]:10.2f}{epoch:10.1f}{reference[1] / epoch:10.0f}"
            f"{gflops:9.1f}{gflops / peak:9.0%}"
        )
    print("\nThe original's epoch is projected from its steps: it took a window from every frame.")


def original(windows: Windows, args: argparse.Namespace) -> Callable[[], int]:
    """A function that takes one step of the original's loop and returns its target frames."""
    places = windows.places(np.random.default_rng(0))
    model = OriginalLoop()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loss, done = Loss("focal", 0.75, 2.0), 0

    def step() -> int:
        nonlocal done
        some = places[done : done + args.batch_size]
        done = (done + args.batch_size) % (len(places) - args.batch_size)
        batch = windows.batch(some, np.zeros(len(some), int))
        optimizer.zero_grad()
        logits = model(batch.source.transpose(0, 1), batch.target.transpose(0, 1))
        cell_loss(logits, batch.target.transpose(0, 1), loss).mean().backward()
        optimizer.step()
        return len(some) * args.seq_len

    return step


if __name__ == "__main__":
    main()
