"""Training speed of every backbone and head: target frames a second, and the share of the processor's fp32 peak.

    python benchmarks/backbones.py [--hidden 256] [--threads 1] [-b 16] [-s 64] [--only gru transformer]

Each is a decoder alone on made-up chords, measured as whole optimiser steps; the peak is a square matrix product's
in the same run. What a step costs is counted by torch while it runs, not by a formula. The biaxial ones have
`hidden`/8 units for each of the 88 keys. Composing is timed one frame after the other for one piece.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from measure import gemm_peak, timed
from training import counted

from deepmusician.models.backbones import BACKBONES
from deepmusician.models.config import ModelConfig
from deepmusician.models.contract import Batch, Sampling
from deepmusician.models.registry import make

HEADS = {"biaxial": ("axis", "intervals"), "biaxial-lstm": ("axis",)}  # the heads measured, where not keys and chord
NOTES = 4.0  # sounding in a frame


def main() -> None:
    """Measure each, and print one table."""
    args = arguments()
    torch.set_num_threads(args.threads)
    peak = gemm_peak(torch.float32)
    setting = f"{args.threads} thread(s), {args.batch}×{args.frames} frames a step"
    print(f"matrix product peak: {peak:.0f} GFLOP/s fp32; {setting}\n")
    columns = ("weights", "MFLOP/frame", "frames/s", "of peak", "ms to compose a frame")
    print(f"{'backbone':14}{'head':12}" + "".join(f"{c:>{len(c) + 3}}" for c in columns))
    for backbone in args.only or BACKBONES:
        for head in HEADS.get(backbone, ("keys", "chord")):
            row(backbone, head, peak, args)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-b", "--batch", type=int, default=16)
    parser.add_argument("-s", "--frames", type=int, default=64)
    parser.add_argument("--steps", type=int, default=5, help="steps to measure; the median counts")
    parser.add_argument("--only", nargs="*", choices=list(BACKBONES))
    return parser.parse_args()


def row(backbone: str, head: str, peak: float, args: argparse.Namespace) -> None:
    hidden = args.hidden // 8 if backbone in HEADS else args.hidden
    torch.manual_seed(0)
    config = ModelConfig(
        arrangement="decoder", backbone=backbone, head=head, loss="bce", hidden_size=hidden, num_layers=args.layers,
        classifier_size=hidden if backbone in HEADS else 2 * hidden,
    )  # fmt: skip
    model = make(config)
    model.head.start_at(torch.full((88,), NOTES / 88))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    target = (torch.rand(args.batch, args.frames, 88) < NOTES / 88).float()
    zeros = torch.zeros(args.batch, dtype=torch.long)
    batch = Batch(torch.zeros_like(target[:, :1]), target, torch.ones(target.shape[:2], dtype=torch.bool), None, zeros)

    def step() -> None:
        optimizer.zero_grad()
        model(batch).backward()
        optimizer.step()

    flop = counted(step) / (args.batch * args.frames)
    frames = args.batch * args.frames
    seconds = float(np.median([timed(step) for _ in range(args.steps)]))
    weights = sum(p.numel() for p in model.parameters())
    print(
        f"{backbone:14}{head:12}{weights:10,}{flop / 1e6:14.1f}{frames / seconds:11.0f}"
        f"{flop * frames / seconds / 1e9 / peak:10.0%}{composing(model):24.2f}",
        flush=True,
    )


@torch.inference_mode()
def composing(model: torch.nn.Module, frames: int = 48) -> float:
    """Milliseconds of one step and one drawn frame, once the piece has some length."""
    model.eval()
    frame, state = model.start("zero")
    seconds = []
    for _ in range(frames):
        began = time.perf_counter()
        context, state = model.step(frame, state)
        frame = model.head.sample(context, Sampling())
        seconds.append(time.perf_counter() - began)
    return 1e3 * float(np.median(seconds[frames // 2 :]))


if __name__ == "__main__":
    main()
