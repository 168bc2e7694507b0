"""Composing speed beside the original's generator, and beside what the processor can read and multiply.

    python benchmarks/composing.py [--frames 256] [--batch 256] [--tries 3] [--recipes deep-musician studio]

One piece after the other is a matter of reading every weight once a frame, so its measure is the bandwidth at which
one core reads as many bytes again and again; many pieces at once is a matter of matrix products. The networks are
untrained: what a frame costs does not depend on what was learnt. Ours draws each key by its honest probability and
reads what it wrote again every `seq_len` frames, as it was trained; the original took whatever reached a threshold
and never looked back. One thread, in CPU seconds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from measure import OriginalLoop, gemm_peak, machine, read_bandwidth, timed

from deepmusician.generation import compose_frames
from deepmusician.models.contract import Sampling
from deepmusician.models.registry import new_model
from deepmusician.recipes import list_recipes, recipe_options

HOW = {"as it is": Sampling(), "temperature 0.7, top-p 0.8": Sampling("sample", 0.7, 0.8)}
FREQUENCY = 4 / 88  # how often a key sounds
FLOP_PER_WEIGHT = 2


def main() -> None:
    """Measure, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=256)
    parser.add_argument("--batch", type=int, default=256, help="pieces at once")
    parser.add_argument("--tries", type=int, default=3, help="the fastest counts")
    parser.add_argument(
        "--recipes", nargs="+", default=["deep-musician", "studio"], choices=[recipe.name for recipe in list_recipes()]
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{machine()}\n")
    network = OriginalLoop()
    megabytes = 4e-6 * sum(p.numel() for part in (network.decoder, network.classifier) for p in part.parameters())
    bandwidth, peak = read_bandwidth(megabytes), gemm_peak(clock=time.thread_time)
    print(f"{megabytes:.1f} MB of weights are read at {bandwidth:.0f} GB/s; matrix products at {peak:.0f} GFLOP/s\n")
    columns = f"{'frames/s':>10}{'× original':>12}{'of bandwidth':>14}"
    print(f"{'one piece':45}{columns}")
    source = torch.zeros(64, 1, 88)
    reference = rate(lambda: network.compose(source, args.frames), args.frames, args.tries)
    row("original", reference, reference, megabytes, bandwidth)
    for name in args.recipes:
        for how, sampling in HOW.items():
            found = ours(name, sampling, args.frames, 1, args.tries)
            row(f"{name}, {how}", found, reference, megabytes if name == "deep-musician" else None, bandwidth)
    print(f"\n{f'{args.batch} pieces at once':45}{'frames/s':>10}{'× original':>12}{'of peak':>14}")
    frames, flop = max(args.frames // 4, 1), FLOP_PER_WEIGHT * megabytes / 4e-6 * 1e-9
    source = torch.zeros(64, args.batch, 88)
    reference = rate(lambda: network.compose(source, frames), frames * args.batch, 1)
    print(f"{'original':45}{reference:10,.0f}{1:12.1f}{reference * flop / peak:14.0%}")
    found = ours("deep-musician", HOW["as it is"], frames, args.batch, 1)
    print(f"{'deep-musician, as it is':45}{found:10,.0f}{found / reference:12.1f}{found * flop / peak:14.0%}")


def row(name: str, found: float, reference: float, megabytes: float | None, bandwidth: float) -> None:
    share = f"{found * megabytes / 1e3 / bandwidth:14.0%}" if megabytes else f"{'':14}"
    print(f"{name:45}{found:10,.0f}{found / reference:12.1f}{share}", flush=True)


def rate(work: Callable[[], object], frames: int, tries: int) -> float:
    """Frames a CPU second."""
    return frames / min(timed(work, time.thread_time) for _ in range(tries))


def ours(name: str, how: Sampling, frames: int, batch: int, tries: int) -> float:
    """Frames a second of all pieces together."""
    torch.manual_seed(0)
    model = new_model(recipe_options(name), 1)
    model.head.start_at(torch.full((88,), FREQUENCY))
    draw = lambda: compose_frames(model, frames, how, generator=torch.Generator().manual_seed(0), batch_size=batch)  # noqa: E731
    return rate(draw, frames * batch, tries)


if __name__ == "__main__":
    main()
