"""Sound is made in a process of its own: FluidSynth is C, and plays what strangers wrote.

The worker (`python -m deepmusician.synthesis`, see sandbox) stays warm between pieces and sends samples as it makes
them, so it never holds a whole piece; time, memory and the number of samples are bounded. It knows no songs.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from deepmusician import fluid, limits, pools, sandbox, serving
from deepmusician.errors import RenderError

MODULE = "deepmusician.synthesis"  # not __name__, which is __main__ in the worker
WORKERS = min(2, os.cpu_count() or 1)
MEMORY_MB = 1_000  # beside the soundfont, which may be unpacked
FRAME_BYTES = 8  # two floats


def synthesise(
    midi: bytes,
    soundfont: Path,
    sample_rate_hz: int,
    music_seconds: float,
    heard: Callable[[np.ndarray], None] | None = None,
) -> np.ndarray:
    """As `fluid.synthesise`, in a worker: float32 [N, 2]. `heard` is shown the samples made so far.

    Raises RenderError, too, where it takes longer than the limit or the worker breaks down.
    """
    within = limits.current()
    frames = fluid.most_frames(music_seconds, sample_rate_hz)
    request = {
        "library": fluid.library(),
        "soundfont": str(soundfont.absolute()),
        "sample_rate_hz": sample_rate_hz,
        "music_seconds": music_seconds,
        "frames": frames,
    }
    shown = (lambda sent: heard(_samples(sent))) if heard else None
    try:
        _, sent = _pool(soundfont).ask(request, midi, within.render_seconds, FRAME_BYTES * frames, shown)
    except sandbox.Refused as refused:
        raise RenderError(str(refused)) from None
    except sandbox.Fault as fault:
        raise RenderError(_why(fault, within.render_seconds)) from fault
    return _samples(sent)


def warm(soundfont: Path) -> None:
    """Start a worker, where there is none, before it is needed."""
    _pool(soundfont).warm()


def _samples(sent: memoryview) -> np.ndarray:
    return np.frombuffer(sent, np.float32).reshape(-1, 2)


def _pool(soundfont: Path) -> pools.Pool:
    size_mb = soundfont.stat().st_size // 1_000_000 if soundfont.is_file() else 0
    return pools.pool(MODULE, MEMORY_MB + 10 * size_mb, WORKERS)


def _why(fault: sandbox.Fault, seconds: float) -> str:
    if fault.kind == "time":
        return (
            f"turning a piece into sound may take {seconds:g} seconds, this takes longer; shorten it, "
            f"or allow more in {limits.VARIABLE}RENDER_SECONDS"
        )
    what = "ran out of memory" if fault.kind == "memory" else f"broke down ({fault.detail or 'without a word'})"
    return f"the synthesizer {what}; try another soundfont or a shorter piece"


def _answer(request: dict, midi: bytes, send: Callable[[Any], None]) -> dict:
    fluid.synthesise(midi=midi, soundfont=Path(request.pop("soundfont")), send=send, **request)
    return {}


if __name__ == "__main__":
    serving.serve(_answer)
