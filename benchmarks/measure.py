"""What several of these programs measure with: made-up music, the processor's own limits, and the original's network.

The original is the student project this one grew from, as it ran: an encoder and a decoder of two GRU layers, the
decoder called once a frame from Python, a window begun at every frame.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from deepmusician.roll import KEYS, PLANES, pack
from deepmusician.rolls import Rolls

NOTES = 4  # sounding in a made-up frame
HELD = 4  # frames that a made-up chord lasts
PEAK_SIZE = 1024  # rows of the square product whose speed is called the peak


class OriginalLoop(nn.Module):
    """The original's network as it ran: the decoder called once a frame."""

    def __init__(self, hidden: int = 512) -> None:
        super().__init__()
        self.encoder = nn.GRU(88, hidden, 2, dropout=0.2)
        self.decoder = nn.GRU(88, hidden, 2, dropout=0.2)
        self.classifier = nn.Sequential(nn.Linear(hidden, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, 88))

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Logits [T, B, 88] for time-first `source` and `target`."""
        _, state = self.encoder(source)
        frame, outputs = source[-1], []
        for t in range(len(target)):
            context, state = self.decoder(frame[None], state)
            outputs.append(self.classifier(context[0]))
            frame = target[t]
        return torch.stack(outputs)

    @torch.no_grad()
    def compose(self, source: Tensor, n_frames: int, threshold: float = 0.5) -> Tensor:
        """Frames [T, B, 88] played on from `source`, each fed back: keys whose output reaches `threshold` sound."""
        self.eval()
        _, state = self.encoder(source)
        frame, frames = source[-1], []
        for _ in range(n_frames):
            context, state = self.decoder(frame[None], state)
            frame = (torch.sigmoid(self.classifier(context[0])) >= threshold).float()
            frames.append(frame)
        return torch.stack(frames)


def made_up_rolls(songs: int, frames: int, planes: str = "sounding", melody: bool = False, seed: int = 0) -> Rolls:
    """Songs of held chords picked by chance: the cost of a step does not depend on which keys sound."""
    rng = np.random.default_rng(seed)
    beats = -(-songs * frames // HELD)
    picked = rng.integers(24, 64, (beats, 1 if melody else NOTES))
    keys = np.zeros((beats, KEYS), bool)
    keys[np.arange(beats)[:, None], picked] = True
    sounding = keys.repeat(HELD, 0)[: songs * frames]
    struck = sounding & (np.arange(len(sounding)) % HELD == 0)[:, None]
    n_planes = PLANES.index(planes) + 1
    onset = pack(struck) if n_planes > 1 else None
    velocity = (struck * rng.integers(1, 128, struck.shape)).astype(np.uint8) if n_planes > 2 else None
    return Rolls(pack(sounding), np.full(songs, frames, np.int64), onset, velocity)


def gemm_peak(
    dtype: torch.dtype = torch.float32, n: int = PEAK_SIZE, tries: int = 6,
    clock: Callable[[], float] = time.perf_counter,
) -> float:  # fmt: skip
    """GFLOP/s of a square matrix product with the threads now set, best of several."""
    a, b = (torch.randn(n, n).to(dtype) for _ in range(2))
    out = a @ b
    return 2 * n**3 / min(timed(lambda: torch.mm(a, b, out=out), clock) for _ in range(tries)) / 1e9


def read_bandwidth(megabytes: float, tries: int = 40) -> float:
    """GB/s at which one thread reads that many megabytes again and again, by the fastest of three ways."""
    numbers = np.random.default_rng(0).random(int(megabytes * 1e6 / 4), np.float32)
    matrix = numbers[: len(numbers) // 512 * 512].reshape(-1, 512)
    flat, one = torch.from_numpy(numbers), matrix[0].copy()
    ways = (flat.sum, lambda: np.dot(matrix, one), lambda: torch.mv(torch.from_numpy(matrix), torch.from_numpy(one)))
    return numbers.nbytes / min(timed(way, time.thread_time) for way in ways for _ in range(tries)) / 1e9


def timed(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds that `work` takes by `clock`; by `time.thread_time` those of this thread alone, whatever else runs."""
    began = clock()
    work()
    return clock() - began


def mflop_per_frame(hidden: int = 512, classifier: int = 256) -> float:
    """Products and sums of the original for one source and one target frame, forward and backward (twice that)."""
    gru = 3 * hidden * (88 + hidden) + 3 * hidden * 2 * hidden
    return 6 * (2 * gru + hidden * classifier + classifier * 88) / 1e6


def machine() -> str:
    """What is measured on, in a line."""
    info = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return f"{name}, {os.cpu_count()} cores, torch {torch.__version__}, load {load:.1f} when it began"
