"""Listening proxies: what composed pieces are like beside the held-out human ones, for several ways of drawing.

    python benchmarks/proxies.py -c RUN [--pieces 12] [--frames 256]

Printed for each setting, as means over the pieces: notes a frame, share of frames equal to the one before, share of
notes in one key, different chords (frames seen, as a share), and pieces that collapsed. The best setting is the one
whose rows look most like the first.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from deepmusician import checkpoint
from deepmusician.generation import compose_frames, sampling
from deepmusician.metrics import find_collapse, held_share, scale_consistency
from deepmusician.models.contract import Sampling
from deepmusician.options import GenerateOptions, TrainOptions, from_dict
from deepmusician.rolls import read_rolls


def main() -> None:
    """Compose with each setting and print one row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-c", "--checkpoint", required=True)
    parser.add_argument("--pieces", type=int, default=12)
    parser.add_argument("--frames", type=int, default=256)
    args = parser.parse_args()
    model, card = checkpoint.load(args.checkpoint)
    names, rolls = read_rolls(from_dict(TrainOptions, card["options"]))
    held_out = set(card["data"]["held_out"])
    human = [rolls.sounding(i)[: args.frames] for i, name in enumerate(names) if name in held_out]
    print(f"{'':34}{'notes':>8}{'held':>8}{'in key':>8}{'chords':>8}{'collapsed':>11}")
    row("held-out human", human, card)
    row("as calibrated", pieces(model, sampling(GenerateOptions(), card), "zero", args), card)
    for init in ("zero", "random"):
        for temperature in (1.0, 0.85, 0.7, 0.55):
            for top_p in (1.0, 0.9, 0.8):
                how = Sampling("sample", temperature, top_p, fullness=card.get("fullness", 1.0))
                row(f"{init} temperature {temperature} top-p {top_p}", pieces(model, how, init, args), card)
        row(f"{init} threshold", pieces(model, Sampling("threshold", threshold=card["threshold"]), init, args), card)


def pieces(model: torch.nn.Module, how: Sampling, init: str, args: argparse.Namespace) -> list[np.ndarray]:
    generator = torch.Generator().manual_seed(0)
    frames, _ = compose_frames(model, args.frames, how, init, None, generator, batch_size=args.pieces)
    return list(frames)


def row(name: str, rolls: list[np.ndarray], card: dict) -> None:
    chords = [len(np.unique(np.packbits(r, axis=1), axis=0)) / len(r) for r in rolls]
    means = [np.mean([f(r) for r in rolls]) for f in (lambda r: r.sum(1).mean(), held_share, scale_consistency)]
    collapsed = sum(bool(find_collapse(r, card["data"]["held_share"])) for r in rolls)
    print(f"{name:34}{means[0]:8.2f}{means[1]:8.2f}{means[2]:8.2f}{np.mean(chords):8.2f}{collapsed:8d}/{len(rolls)}")


if __name__ == "__main__":
    main()
