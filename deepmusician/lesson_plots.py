"""Pictures of "How it works": notes in frames, the cost of silence, a teacher who leaves, a choice made bolder.

As in `plots`, every function takes axes and a palette and returns the axes. Knows nothing of models, files or pages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deepmusician.lessons import constant_loss
from deepmusician.losses import loss_curve
from deepmusician.notes import Song
from deepmusician.plots import BLACK, LIGHT, Palette, pitch_name, plot_focal
from deepmusician.roll import LOWEST, Roll

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_frames(song: Song, roll: Roll, beats: float, ax: Axes, palette: Palette = LIGHT) -> Axes:
    """Draw the first `beats` of a roll as cells, with the notes as they are written outlined over them."""
    from matplotlib.patches import Rectangle

    step = 1 / float(roll.frames_per_beat)
    frames = min(len(roll), int(np.ceil(beats / step)))
    notes = song.notes[(song.notes["onset"] < beats) & ~song.notes["drum"]]
    low, high = _span(notes["pitch"])
    _stripes(ax, low, high, palette)
    for t in np.arange(0, beats + step, step):
        ax.axvline(t, color=palette.grid, linewidth=0.4, zorder=1)
    _cells(ax, roll.sounding[:frames], step, palette.marks[0])
    for note in notes:
        corner = note["onset"], note["pitch"] - 0.5
        ax.add_patch(Rectangle(corner, note["duration"], 1, fill=False, edgecolor=palette.ink, linewidth=1.3, zorder=4))
    return _frame(ax, beats, low, high)


def plot_all_keys(roll: Roll, beats: float, ax: Axes, palette: Palette = LIGHT) -> Axes:
    """Draw the first `beats` of a roll with all 88 keys, so that the emptiness of it is seen."""
    step = 1 / float(roll.frames_per_beat)
    frames = min(len(roll), int(np.ceil(beats / step)))
    low, high = LOWEST, LOWEST + 87
    _stripes(ax, low, high, palette)
    _cells(ax, roll.sounding[:frames], step, palette.marks[0])
    ax.set_title("all 88 keys", color=palette.ink, fontsize=10, loc="left")
    return _frame(ax, beats, low, high)


def plot_constant(share: float, p: float, ax: Axes, palette: Palette = LIGHT) -> Axes:
    """Draw what it costs to say one probability of every key, with the best answer and the one that was chosen."""
    x = np.geomspace(0.001, 0.9, 300)
    ax.plot(x, constant_loss(x, share), color=palette.ink, linewidth=1.6)
    for place, colour, label in (
        (share, palette.marks[0], f"the best: {share:.1%}"),
        (p, palette.marks[1], f"yours: {p:.1%}"),
    ):
        ax.plot([place], [float(constant_loss(place, share))], "o", color=colour, markersize=8, label=label, zorder=3)
    ax.set_xscale("log")
    ax.set_xticks([0.001, 0.01, 0.1, 0.5], ["0.1%", "1%", "10%", "50%"])
    ax.minorticks_off()
    ax.set_ylim(bottom=0)
    ax.set_xlabel("said of every key")
    ax.set_ylabel("cross-entropy (nats a cell)")
    ax.legend(frameon=False, fontsize=9, labelcolor=palette.ink, loc="upper center")
    return ax


def plot_focal_at(kind: str, alpha: float, gamma: float, p: float, ax: Axes, palette: Palette = LIGHT) -> Axes:
    """Draw the loss of a key as `plot_focal` does, with the probability `p` marked on each line."""
    plot_focal(alpha, gamma, ax, kind, palette)
    here = np.array([p])
    plain, _ = loss_curve("bce", here, alpha, gamma)
    sounding, _ = loss_curve(kind, here, alpha, gamma)
    _, silent = loss_curve(kind, 1 - here, alpha, gamma)
    ax.axvline(p, color=palette.grid, linewidth=1)
    marks = [(plain, palette.ink)]
    if kind != "bce":
        marks += [(sounding, palette.marks[0]), (silent, palette.marks[1])]
    for loss, colour in marks:
        ax.plot([p], [min(float(loss[0]), 3.2)], "o", color=colour, markersize=7, zorder=4, clip_on=False)
    return ax


def plot_beside_truth(
    played: np.ndarray, truth: np.ndarray, step: float, ax: Axes, title: str, told: int | None = None,
    palette: Palette = LIGHT,
) -> Axes:  # fmt: skip
    """Draw what was played, [T, 88], over the truth: hits, wrong notes, and missed ones as outlines.

    A frame lasts `step` beats. `told` marks the frame from which on nobody told the truth.
    """
    pitches = np.flatnonzero((played | truth).any(0)) + LOWEST
    low, high = _span(pitches)
    _stripes(ax, low, high, palette)
    _cells(ax, truth & ~played, step, palette.ink, hollow=True, label="missed")
    _cells(ax, truth & played, step, palette.marks[0], label="right")
    _cells(ax, ~truth & played, step, palette.marks[1], label="wrong")
    if told is not None and told < len(truth):
        ax.axvline(told * step, color=palette.ink, linewidth=1.4, linestyle="--", zorder=5)
    ax.set_title(title, color=palette.ink, fontsize=10, loc="left")
    return _frame(ax, len(truth) * step, low, high)


def plot_agreement(
    curves: dict[str, np.ndarray], step: float, ax: Axes, told: int | None = None, palette: Palette = LIGHT
) -> Axes:
    """Draw how many of the notes are right in each beat, for each of some ways to play."""
    per_beat = max(1, round(1 / step))
    for i, (label, values) in reversed(list(enumerate(curves.items()))):  # the first one on top
        beats = [values[t : t + per_beat].mean() for t in range(0, len(values), per_beat)]
        edges = np.arange(len(beats) + 1) * per_beat * step
        ax.stairs(beats, edges, color=palette.marks[i], linewidth=2.2, label=label, baseline=None)
    if told is not None:
        ax.axvline(told * step, color=palette.ink, linewidth=1.4, linestyle="--")
    ax.set_ylim(0, 1)
    ax.set_xlim(0, len(values) * step)
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    ax.set_xlabel("time (beats)")
    ax.set_ylabel("notes right (F1)")
    ax.legend(frameon=False, fontsize=9, labelcolor=palette.ink, ncols=2, loc="lower right", bbox_to_anchor=(1, 1))
    return ax


def plot_choice(keys: np.ndarray, honest: np.ndarray, ax: Axes, palette: Palette = LIGHT) -> Axes:
    """Draw how often each key [88] is drawn, beside how often it would be at temperature 1."""
    used = np.flatnonzero(np.maximum(keys, honest) > 0.005)
    low, high = (used[0], used[-1]) if len(used) else (39, 51)
    at = np.arange(low, high + 1)
    for pitch in at + LOWEST:
        if pitch % 12 in BLACK:
            ax.axvspan(pitch - 0.5, pitch + 0.5, color=palette.shade, linewidth=0, zorder=0)
    ax.bar(at + LOWEST, keys[at], width=0.8, color=palette.marks[0], label="at this temperature", zorder=2)
    ax.hlines(
        honest[at], at + LOWEST - 0.45, at + LOWEST + 0.45, color=palette.marks[1], linewidth=2, zorder=3,
        label="at 1, as it learnt",
    )  # fmt: skip
    ticks = [p for p in at + LOWEST if p % 12 in (0, 4, 7)]
    ax.set_xticks(ticks, [pitch_name(p) for p in ticks])
    ax.set_xlim(low + LOWEST - 0.6, high + LOWEST + 0.6)
    ax.set_ylim(0, 1)
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    ax.set_xlabel("key")
    ax.set_ylabel("drawn in the next frame")
    ax.legend(frameon=False, fontsize=9, labelcolor=palette.ink, loc="upper left")
    return ax


# ---- parts of the pictures


def _span(pitches: np.ndarray) -> tuple[int, int]:
    return (int(pitches.min()) - 1, int(pitches.max()) + 1) if len(pitches) else (48, 72)


def _stripes(ax: Axes, low: int, high: int, palette: Palette) -> None:
    for pitch in range(low, high + 1):
        if pitch % 12 in BLACK:
            ax.axhspan(pitch - 0.5, pitch + 0.5, color=palette.shade, linewidth=0, zorder=0)


def _cells(ax: Axes, cells: np.ndarray, step: float, colour: str, hollow: bool = False, label: str = "") -> None:
    """Draw the marked cells [T, 88] as boxes of `step` beats, in one collection."""
    from matplotlib.collections import PolyCollection

    frame, key = np.nonzero(cells)
    left, pitch = frame * step, key + float(LOWEST)
    corners = [(left, pitch - 0.44), (left, pitch + 0.44), (left + step, pitch + 0.44), (left + step, pitch - 0.44)]
    boxes = np.stack([np.stack(corner, axis=-1) for corner in corners], axis=1)
    inside = {"facecolors": "none", "edgecolors": colour, "linewidths": 0.8} if hollow else {"facecolors": colour}
    ax.add_collection(PolyCollection(boxes, zorder=2, label=label, **inside))


def _frame(ax: Axes, beats: float, low: int, high: int) -> Axes:
    ax.set_xlim(0, beats)
    ax.set_ylim(low - 0.5, high + 0.5)
    ticks = [p for p in range(low, high + 1) if p % 12 == 0]
    ax.set_yticks(ticks, [pitch_name(p) for p in ticks])
    ax.set_xticks(np.arange(0, beats + 1e-9, 4 if beats > 8 else 1))
    ax.set_xlabel("time (beats)")
    return ax
