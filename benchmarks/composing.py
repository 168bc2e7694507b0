"""Composing speed beside the original's generator, and beside what the processor can read and multiply.

    python benchmarks/composing.py [--frames 256] [--batch 256] [--tries 3] [--recipes deep-musician quick studio]

One piece is a matter of reading every weight once a frame, so its measure is the bandwidth at which one core reads as
many bytes again and again; many pieces at once are a matter of matrix products. The networks are untrained: what a
frame costs does not depend on what was learnt. Ours draws each key by its honest probability and reads what it wrote
again every `seq_len` frames, as it was trained, which is as many weights again but those of its inputs; the original
took whatever reached a threshold and never looked back. Both limits are printed. Beside what the compiled loops make
stands what the modules make by themselves, step by step. One thread, in CPU seconds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from unittest.mock import patch

import torch
from measure import OriginalLoop, gemm_peak, machine, read_bandwidth, timed

from deepmusician.generation import compose_frames
from deepmusician.models import writing
from deepmusician.models.contract import Sampling
from deepmusician.models.registry import new_model
from deepmusician.recipes import list_recipes, recipe_options

HOW = {"as it is": Sampling(), "temperature 0.7, top-p 0.8": Sampling("sample", 0.7, 0.8)}
FREQUENCY = 4 / 88  # how often a key sounds
FLOP_PER_WEIGHT = 2
FEW = 4  # pieces at once, as variations


def main() -> None:
    """Measure, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=256)
    parser.add_argument("--batch", type=int, default=256, help="pieces at once")
    parser.add_argument("--tries", type=int, default=3, help="the fastest counts")
    parser.add_argument(
        "--recipes", nargs="+", default=["deep-musician", "quick", "studio"],
        choices=[recipe.name for recipe in list_recipes()],
    )  # fmt: skip
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{machine()}\n")
    network = OriginalLoop()
    megabytes = 4e-6 * sum(p.numel() for part in (network.decoder, network.classifier) for p in part.parameters())
    again = 4e-6 * sum(p.numel() for name, p in network.encoder.named_parameters() if name.startswith("weight_hh"))
    bandwidth, peak = read_bandwidth(megabytes), gemm_peak(clock=time.thread_time)
    print(f"{megabytes:.1f} MB of weights are read at {bandwidth:.0f} GB/s, so nobody composes one piece faster than")
    print(
        f"{bandwidth / megabytes * 1e3:,.0f} frames/s, nor with {again:.1f} MB to read what was written faster than ",
        end="",
    )
    print(f"{bandwidth / (megabytes + again) * 1e3:,.0f}\n")
    print(
        f"{'one piece':62}{'frames/s':>10}{'× original':>12}{'by modules':>12}{'of bandwidth':>14}{'reading again':>15}"
    )
    source = torch.zeros(64, 1, 88)
    reference = rate(lambda: network.compose(source, args.frames), args.frames, args.tries)
    row("original", reference, reference, reference, megabytes, 0.0, bandwidth)
    for name in args.recipes:
        for how, sampling in HOW.items():
            for pieces in (1, FEW):
                found, slow = (ours(name, sampling, args.frames, pieces, args.tries, way) for way in (True, False))
                known = (megabytes, again) if (name, pieces) == ("deep-musician", 1) else (None, 0.0)
                several = f", {pieces} pieces at once" if pieces > 1 else ""
                row(f"{name}, {how}{several}", found, reference, slow, *known, bandwidth)
    products = FLOP_PER_WEIGHT * megabytes / 4
    more = FLOP_PER_WEIGHT * sum(p.numel() for p in network.encoder.parameters()) / 1e6
    fastest = [peak / mflop * 1e3 for mflop in (products, products + more)]
    print(f"\n{products:.1f} MFLOP a frame, {products + more:.1f} with reading again; products at {peak:.0f} GFLOP/s,")
    print(f"so nobody composes faster than {fastest[0]:,.0f} and {fastest[1]:,.0f} frames/s\n")
    print(f"{f'{args.batch} pieces at once':45}{'frames/s':>10}{'× original':>12}{'of peak':>14}")
    for frames in (64, 128):
        source = torch.zeros(64, args.batch, 88)
        reference = rate(lambda: network.compose(source, frames), frames * args.batch, 1)  # noqa: B023
        print(f"{f'original, {frames} frames':45}{reference:10,.0f}{1:12.1f}{reference * products / 1e3 / peak:14.0%}")
        found, read = (
            ours("deep-musician", HOW["as it is"], frames, args.batch, 1),
            more * (frames // 64 - 1) * 64 / frames,
        )
        share = found * (products + read) / 1e3 / peak
        label = f"deep-musician, as it is, {frames} frames"
        print(f"{label:45}{found:10,.0f}{found / reference:12.1f}{share:14.0%}", flush=True)


def row(
    name: str, found: float, reference: float, slow: float, megabytes: float | None, again: float, bandwidth: float
) -> None:
    """Frames a second, also by modules; the share of the bandwidth by the decoder's weights and by all that is read."""
    shares = [f"{found * size / 1e3 / bandwidth:.0%}" for size in (megabytes, megabytes + again)] if megabytes else []
    print(
        f"{name:62}{found:10,.0f}{found / reference:12.1f}{slow:12,.0f}{''.join(f'{share:>14}' for share in shares)}",
        flush=True,
    )


def rate(work: Callable[[], object], frames: int, tries: int) -> float:
    """Frames a CPU second."""
    return frames / min(timed(work, time.thread_time) for _ in range(tries))


def ours(name: str, how: Sampling, frames: int, batch: int, tries: int, compiled: bool = True) -> float:
    """Frames a second of all pieces together, by compiled loops where there are any or by the modules alone."""
    torch.manual_seed(0)
    model = new_model(recipe_options(name), 1)
    model.head.start_at(torch.full((88,), FREQUENCY))
    draw = lambda: compose_frames(model, frames, how, generator=torch.Generator().manual_seed(0), batch_size=batch)  # noqa: E731
    if compiled:
        return rate(draw, frames * batch, tries)
    model.head.part.compiled_rows = 0
    with patch.object(writing, "MOST_PIECES", 0):
        return rate(draw, frames * batch, tries)


if __name__ == "__main__":
    main()
