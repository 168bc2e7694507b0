"""Pictures of what music is made of: which pitch classes sound, and how dense it is along its way. As in `plots`, each
takes axes and returns them, with units on them. And what votes say, beside chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from deepmusician.plots import BLACK, LIGHT, NAMES, TITLES, Palette, whole_epochs

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_pitch_classes(beats: Sequence[float], ax: Axes, palette: Palette = LIGHT) -> Axes:
    """The share of the sounding time that each pitch class has, of `beats` [12] from C on; black keys stand paler."""
    weights = np.asarray(beats, float)
    shares = 100 * weights / max(weights.sum(), 1e-9)
    bars = ax.bar(range(12), shares, color=palette.marks[0], width=0.72)
    for i in BLACK:
        bars[i].set_alpha(0.55)
    ax.set_xticks(range(12), NAMES)
    ax.set_ylabel("sounding time (%)")
    ax.grid(axis="y", color=palette.grid, linewidth=0.6)
    ax.set_axisbelow(True)
    return ax


def plot_density(edges: Sequence[float], density: Sequence[float], ax: Axes, palette: Palette = LIGHT) -> Axes:
    """Notes a beat in stretches that begin and end at the beats `edges` [K + 1]."""
    ax.stairs(density, edges, fill=True, color=palette.marks[0], alpha=0.3)
    ax.stairs(density, edges, color=palette.marks[0], linewidth=1.4)
    ax.set_xlim(edges[0], edges[-1])
    ax.set_ylim(0, max(float(np.max(density)) * 1.1, 0.1))
    ax.set_xlabel("time (beats)")
    ax.set_ylabel("notes a beat")
    ax.grid(axis="y", color=palette.grid, linewidth=0.6)
    return ax


def plot_overlay(
    curves: Mapping[str, Sequence[tuple[int, float]]], name: str, ax: Axes, palette: Palette = LIGHT
) -> Axes:
    """One measure, named as in a report, of several runs over their epochs; each run's values as (epoch, value)."""
    for i, (run, points) in enumerate(curves.items()):
        colour, line = palette.marks[i % len(palette.marks)], ("-", "--", ":")[i // len(palette.marks) % 3]
        marker = "o" if len(points) < 3 else ""
        ax.plot([e for e, _ in points], [v for _, v in points], line, color=colour, label=run, marker=marker)
    whole_epochs(ax, max((len(points) for points in curves.values()), default=1))
    ax.set_xlabel("epoch")
    ax.set_ylabel(TITLES.get(name, name))
    if name == "density":
        ax.set_ylim(bottom=0)  # a change in the third decimal is none
    ax.legend(frameon=False, labelcolor=palette.ink, fontsize="small")
    return ax


def plot_shares(
    rows: Sequence[tuple[str, float, float, float]], bound: float, ax: Axes, palette: Palette = LIGHT
) -> Axes:
    """Shares of votes (name, value, low, high in 0..1) with their intervals, beside one half and what counts as it."""
    ax.axvspan(50 - 100 * bound, 50 + 100 * bound, color=palette.shade, zorder=0)
    ax.axvline(50, color=palette.ink, linewidth=0.9, linestyle="--", zorder=1)
    for y, (name, value, low, high) in enumerate(rows):
        colour = palette.marks[y % len(palette.marks)]
        ax.plot([100 * low, 100 * high], [y, y], color=colour, linewidth=3, solid_capstyle="round", zorder=2)
        ax.plot([100 * value], [y], "o", color=colour, markersize=9, zorder=3)
        ax.text(1, y - 0.36, name, color=palette.ink, fontsize=9, va="center")
    ax.set_xlim(0, 100)
    ax.set_ylim(len(rows) - 0.5, -0.75)
    ax.set_yticks([])
    ax.set_xlabel("share of votes (%)")
    return ax
