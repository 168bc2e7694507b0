"""Training speed beside the original's, in one run on the same songs, threads and architecture.

    python benchmarks/training.py [-p bach-chorales] [--songs 5] [--threads 1]

The original took every frame as the start of a window and fed its decoder frame by frame in a Python loop; its epoch
is projected from `--steps` measured steps, because a whole one takes hours. Ours is measured as a whole epoch, with
everything: cutting windows, transposing, both passes, the optimiser.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from torch import nn

from deepmusician.library import read_source
from deepmusician.losses import Loss, cell_loss
from deepmusician.options import TrainOptions
from deepmusician.rolls import make_rolls
from deepmusician.training import Trainer
from deepmusician.windows import Windows


class OriginalLoop(nn.Module):
    """The original's network as it ran: the decoder called once a frame."""

    def __init__(self, hidden: int = 512) -> None:
        super().__init__()
        self.encoder = nn.GRU(88, hidden, 2, dropout=0.2)
        self.decoder = nn.GRU(88, hidden, 2, dropout=0.2)
        self.classifier = nn.Sequential(nn.Linear(hidden, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, 88))

    def forward(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Logits [T, B, 88] for time-first `source` and `target`."""
        _, state = self.encoder(source)
        frame, outputs = source[-1], []
        for t in range(len(target)):
            context, state = self.decoder(frame[None], state)
            outputs.append(self.classifier(context[0]))
            frame = target[t]
        return torch.stack(outputs)


def main() -> None:
    """Measure, and print one table."""
    args = arguments()
    torch.set_num_threads(args.threads)
    songs = read_source(args.path).songs[: args.songs]
    rolls = make_rolls(songs)
    frames = int(rolls.lengths.sum())
    peak = {"fp32": gemm_peak(torch.float32), "bf16": gemm_peak(torch.bfloat16)}
    setting = f"seq_len {args.seq_len}, batch {args.batch_size}, {args.threads} thread(s)"
    print(f"{len(songs)} songs of {args.path}, {frames} frames, {setting}")
    print(f"matrix product peak: {peak['fp32']:.0f} GFLOP/s fp32, {peak['bf16']:.0f} bf16\n")
    print(f"{'':22}{'epoch s':>10}{'× faster':>10}{'target frames/s':>17}{'GFLOP/s':>9}{'of fp32 peak':>14}")
    epoch, rate = original(rolls, args)
    row("original (projected)", epoch, epoch, rate, peak)
    for precision in ("fp32", "bf16"):
        seconds, rate_ours = ours(rolls, args, precision)
        row(f"deep-musician {precision}", seconds, epoch, rate_ours, peak)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-p", "--path", default="bach-chorales")
    parser.add_argument("--songs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=6, help="steps of the original to measure")
    parser.add_argument("--epochs", type=int, default=3, help="epochs of ours to measure; the median counts")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-b", "--batch-size", type=int, default=32)
    parser.add_argument("-s", "--seq-len", type=int, default=64)
    return parser.parse_args()


def row(name: str, epoch: float, reference: float, rate: float, peak: dict[str, float]) -> None:
    gflops = rate * mflop_per_frame() / 1e3
    print(f"{name:22}{epoch:10.2f}{reference / epoch:10.0f}{rate:17.0f}{gflops:9.1f}{gflops / peak['fp32']:14.0%}")


def mflop_per_frame(hidden: int = 512, classifier: int = 256) -> float:
    """Products and sums for one source and one target frame, forward and backward (twice the forward's)."""
    gru = 3 * hidden * (88 + hidden) + 3 * hidden * 2 * hidden
    return 6 * (2 * gru + hidden * classifier + classifier * 88) / 1e6


def gemm_peak(dtype: torch.dtype, n: int = 2048) -> float:
    """GFLOP/s of a square matrix product, best of several."""
    a, b = (torch.randn(n, n).to(dtype) for _ in range(2))
    a @ b
    best = min(timed(lambda: a @ b) for _ in range(8))
    return 2 * n**3 / best / 1e9


def timed(work: object) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def original(rolls: object, args: argparse.Namespace) -> tuple[float, float]:
    """Projected seconds of an epoch over every-frame windows, and target frames a second."""
    windows = Windows(rolls, np.arange(len(rolls)), args.seq_len, stride=1)
    places = windows.places(np.random.default_rng(0))
    model = OriginalLoop()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loss = Loss("focal", 0.75, 2.0)

    def step(i: int) -> None:
        some = places[i * args.batch_size : (i + 1) * args.batch_size]
        batch = windows.batch(some, np.zeros(len(some), int))
        optimizer.zero_grad()
        logits = model(batch.source.transpose(0, 1), batch.target.transpose(0, 1))
        cell_loss(logits, batch.target.transpose(0, 1), loss).mean().backward()
        optimizer.step()

    step(0)
    seconds = float(np.median([timed(lambda i=i: step(i)) for i in range(1, args.steps + 1)]))
    steps_per_epoch = -(-len(places) // args.batch_size)
    return seconds * steps_per_epoch, args.batch_size * args.seq_len / seconds


def ours(rolls: object, args: argparse.Namespace, precision: str) -> tuple[float, float]:
    """Seconds of a whole epoch, and target frames a second."""
    options = TrainOptions(
        n_epochs=args.epochs + 1, batch_size=args.batch_size, seq_len=args.seq_len, precision=precision
    )
    trainer = Trainer(options, rolls, np.arange(len(rolls)), np.arange(0))
    seconds, rates = [], []
    for report in trainer.epochs():
        seconds.append(report["seconds"])
        rates.append(report["frames_per_second"])
    return float(np.median(seconds[1:])), float(np.median(rates[1:]))


if __name__ == "__main__":
    main()
