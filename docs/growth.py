"""Draw how cost grows into docs/pictures/growth-files.png, growth-frames.png and growth-sessions.png.

    python docs/growth.py [--files FILE] [--frames FILE] [--sessions FILE]

Each FILE is what a program of benchmarks/ kept with `--json`: ingest.py (files), epoch.py (frames), load.py (sessions).
Each may be left out; then its picture stays as it is.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

PICTURES = Path(__file__).resolve().parent / "pictures"
Curve = tuple[str, list[float]]  # what it is called, and its value for each row


def draw(name: str, x: tuple[str, list[float]], left: tuple[str, list[Curve]], right: tuple[str, list[Curve]]) -> None:
    """Two axes side by side over the same `x`, each (its label, its curves)."""
    figure = Figure((8, 3), layout="constrained")
    for axis, (label, curves) in zip(figure.subplots(1, 2), (left, right), strict=True):
        for title, values in curves:
            axis.plot(x[1], values, "o-", label=title)
        axis.set(xlabel=x[0], ylabel=label, xlim=(0, None), ylim=(0, None))
        axis.grid(alpha=0.3)
        axis.legend(loc="lower right")
    figure.savefig(PICTURES / f"growth-{name}.png", dpi=110)


def files(said: dict[str, Any]) -> None:
    """Time and memory of `ingest`."""
    rows = said["growth"]
    of = lambda key: [row[key] for row in rows]  # noqa: E731
    memory = [("the process that deals out", of("main_mb")), ("a worker", of("worker_mb"))]
    draw("files", ("files", of("files")), ("CPU time (s)", [("ingest", of("cpu"))]), ("peak memory (MB)", memory))


def frames(rows: list[dict[str, Any]]) -> None:
    """Time and memory of an epoch's input."""
    of = lambda key: [row[key] for row in rows]  # noqa: E731
    x = ("million frames", [row["frames"] / 1e6 for row in rows])
    memory = [("resident", of("resident_mb")), ("of these its own", of("own_mb"))]
    draw("frames", x, ("CPU time (s)", [("input of an epoch", of("seconds"))]), ("peak memory (MB)", memory))


def sessions(rows: list[dict[str, Any]]) -> None:
    """What people wait for, and what of one core they take."""
    waits = [(f"page, {q} of 100", [row["look"][str(q)] for row in rows]) for q in (50, 95)]
    share = [("the server", [100 * row["server"] for row in rows])]
    draw("sessions", ("people", [row["sessions"] for row in rows]), ("wait (s)", waits), ("of one core (%)", share))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    drawers = {"files": files, "frames": frames, "sessions": sessions}
    for name in drawers:
        parser.add_argument(f"--{name}", type=Path, metavar="FILE")
    args = parser.parse_args()
    for name, drawer in drawers.items():
        if path := getattr(args, name):
            drawer(json.loads(path.read_text()))


if __name__ == "__main__":
    main()
