"""Pictures: piano rolls, training curves and the focal loss, as matplotlib figures with units on their axes.

Every plot takes axes and returns them. Figures are made without pyplot, whose global state is not safe in a server,
and have no background, so that they sit on a light or a dark page; a `Palette` holds the colours of each. Knows
nothing of files, runs or pages.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from deepmusician.errors import OptionError
from deepmusician.notes import Song

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import Locator

    from deepmusician.roll import Roll

NAMES = ("C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")
BLACK = (1, 3, 6, 8, 10)  # pitch classes of the black keys
TITLES = {
    "loss": "loss",
    "nll": "surprise (nats a frame)",
    "density": "density (notes a frame)",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
}


@dataclass(frozen=True)
class Palette:
    """Colours for one kind of page: text, thin lines, and the marks in the order they are given out."""

    ink: str
    grid: str
    shade: str
    marks: tuple[str, ...]


LIGHT = Palette("#4a4f59", "#cfcabd", "#efebe1", ("#0e6e68", "#c8612b", "#4c5fb0", "#a33c6a", "#7a7420", "#5b4a8a"))
DARK = Palette("#b4b8bf", "#3b424d", "#1f242c", ("#4fc7bb", "#f0975c", "#93a3f0", "#e384ae", "#cfc566", "#b59fea"))


def pitch_name(pitch: int) -> str:
    """Name a MIDI pitch: 60 is C4, 70 is B♭4."""
    return f"{NAMES[pitch % 12]}{pitch // 12 - 1}"


def new_figure(
    width: float, height: float, rows: int = 1, columns: int = 1, palette: Palette = LIGHT
) -> tuple[Figure, list[Axes]]:
    """A see-through figure of `width` by `height` inches with `rows` x `columns` axes, dressed in `palette`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.patch.set_alpha(0)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for ax in axes:
        _dress(ax, palette)
    return figure, axes


def _dress(ax: Axes, palette: Palette) -> None:
    ax.patch.set_alpha(0)
    for name, spine in ax.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(palette.grid)
    ax.tick_params(colors=palette.ink, labelsize=8.5, length=0)
    for text in (ax.xaxis.label, ax.yaxis.label, ax.title):
        text.set_color(palette.ink)
        text.set_fontsize(9)


def to_png(figure: Figure, dpi: int = 150) -> bytes:
    """The figure as PNG bytes with a transparent background."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi, transparent=True)
    return file.getvalue()


def plot_roll(
    music: Song | Roll,
    ax: Axes,
    start_beats: float = 0.0,
    end_beats: float | None = None,
    palette: Palette = LIGHT,
) -> Axes:
    """Draw notes as bars: time in beats below, bar numbers above, note names at the left, louder notes stronger.

    Only what sounds between `start_beats` and `end_beats` is drawn; each track has its colour. Drums are left out.
    """
    song = _as_song(music)
    end = max(song.beats, 1.0) if end_beats is None else end_beats
    if not 0 <= start_beats < end:
        raise OptionError(f"the part shown must have start < end, got {start_beats:g} to {end:g} beats")
    notes = song.notes[~song.notes["drum"]]
    seen = notes[(notes["onset"] < end) & (notes["onset"] + notes["duration"] > start_beats)]
    low, high = _pitch_range(seen)
    _shade_black_keys(ax, low, high, palette)
    _draw_notes(ax, seen, palette)
    ax.set_ylim(low - 0.5, high + 0.5)
    _mark_beats(ax, start_beats, end)
    _mark_pitches(ax, low, high)
    _mark_bars(ax, song.bar_starts(), start_beats, end, palette)
    ax.set_xlabel("time (beats)")
    ax.set_ylabel("note")
    return ax


def _as_song(music: Song | Roll) -> Song:
    if isinstance(music, Song):
        return music
    from deepmusician.roll import from_roll

    return from_roll(music)


def _pitch_range(notes: np.ndarray) -> tuple[int, int]:
    """The pitches to show: those that sound with a little room, two octaves at least."""
    if not len(notes):
        return 48, 72
    low, high = int(notes["pitch"].min()) - 2, int(notes["pitch"].max()) + 2
    room = max(0, 24 - (high - low))
    return max(0, low - room // 2), min(127, high + (room + 1) // 2)


def _shade_black_keys(ax: Axes, low: int, high: int, palette: Palette) -> None:
    for pitch in range(low, high + 1):
        if pitch % 12 in BLACK:
            ax.axhspan(pitch - 0.5, pitch + 0.5, color=palette.shade, linewidth=0, zorder=0)


def _draw_notes(ax: Axes, notes: np.ndarray, palette: Palette) -> None:
    """All notes in one collection: thousands of single patches would take seconds."""
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgb

    left, right, pitch = notes["onset"], notes["onset"] + notes["duration"], notes["pitch"].astype(float)
    right = np.maximum(right - np.minimum(0.04, 0.15 * notes["duration"]), left)  # a gap between repeated notes
    corners = [(left, pitch - 0.42), (left, pitch + 0.42), (right, pitch + 0.42), (right, pitch - 0.42)]
    shapes = np.stack([np.stack(corner, axis=-1) for corner in corners], axis=1)
    tracks, place = np.unique(notes["track"], return_inverse=True)
    colours = np.array([to_rgb(palette.marks[i % len(palette.marks)]) for i in range(max(len(tracks), 1))])
    strength = 0.45 + 0.55 * notes["velocity"] / 127.0
    faces = np.column_stack([colours[place], strength]) if len(notes) else np.empty((0, 4))
    ax.add_collection(PolyCollection(list(shapes), facecolors=faces, edgecolors="none", zorder=2))


def _mark_pitches(ax: Axes, low: int, high: int) -> None:
    """Name every C, and every G too where there is room."""
    steps = (0,) if high - low > 40 else (0, 7)
    ticks = [p for p in range(low, high + 1) if p % 12 in steps]
    ax.set_yticks(ticks, [pitch_name(p) for p in ticks])


def _mark_beats(ax: Axes, start: float, end: float) -> None:
    """Beats at 1, 2, 4, 8 ... apart: most meters begin their bars there."""
    ax.set_xlim(start, end)
    ax.xaxis.set_major_locator(_every_beats(end - start, ax.get_figure().get_figwidth() * 1.6))


def _every_beats(beats: float, most: float) -> Locator:
    """At most `most` marks over so many beats: 1, 2, 4, 8 ... apart."""
    from matplotlib.ticker import MultipleLocator

    return MultipleLocator(2 ** max(0, int(np.ceil(np.log2(beats / most)))))


def _mark_bars(ax: Axes, starts: np.ndarray, begin: float, end: float, palette: Palette) -> None:
    """A line at each bar, numbers above; where they would touch, every 2nd, 4th, 8th... bar is numbered."""
    numbers = np.arange(1, len(starts) + 1)
    seen = (starts >= begin - 1e-9) & (starts < end)
    starts, numbers = starts[seen], numbers[seen]
    room = max(4, int(ax.get_figure().get_figwidth() * 2.2))
    every = 1 << max(0, int(np.ceil(np.log2(max(len(starts), 1) / room))))
    for start in starts[:: every if len(starts) > 150 else 1]:
        ax.axvline(start, color=palette.grid, linewidth=0.8, zorder=1)
    above = ax.secondary_xaxis("top")
    above.set_xticks(starts[::every], [str(n) for n in numbers[::every]])
    above.tick_params(colors=palette.ink, labelsize=8.5, length=0)
    above.spines["top"].set_visible(False)
    above.set_xlabel("bar", color=palette.ink, fontsize=9)


def plot_focal(alpha: float, gamma: float, ax: Axes, loss: str = "focal", palette: Palette = LIGHT) -> Axes:
    """Draw what one key costs, in nats, against the probability given to the truth, beside cross-entropy.

    One line for keys that sound, one for silent keys, so that what alpha and gamma do to each is seen.
    """
    from deepmusician.losses import loss_curve

    truth = np.linspace(0.01, 0.999, 300)  # probability the model gives to what is true
    plain, _ = loss_curve("bce", truth, alpha, gamma)
    sounding, _ = loss_curve(loss, truth, alpha, gamma)
    _, silent = loss_curve(loss, 1 - truth, alpha, gamma)
    ax.plot(truth, plain, color=palette.ink, linestyle="--", linewidth=1.2, label="bce, every key")
    if loss != "bce":
        ax.plot(truth, sounding, color=palette.marks[0], linewidth=2.2, label=f"{loss}, key that sounds")
        ax.plot(truth, silent, color=palette.marks[1], linewidth=2.2, label=f"{loss}, silent key")
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 3.2)
    ax.set_xlabel("probability the model gives to the truth")
    ax.set_ylabel("loss (nats a key)")
    return legend(ax, palette)


def plot_metric(
    history: Sequence[dict[str, Any]],
    name: str,
    ax: Axes,
    references: dict[str, float] | None = None,
    palette: Palette = LIGHT,
) -> Axes:
    """Draw one number of each epoch, on training songs, held-out songs and compositions; `references` are levels.

    `history` is a run's metrics: {"epoch": 1, "train": {name: ...}, "valid": ..., "composed": ...} for each epoch. A
    part that is missing is left out. Raises OptionError for a name that no epoch holds.
    """
    if name not in TITLES:
        raise OptionError(f"metric must be one of {', '.join(TITLES)}, got {name!r}")
    for part, label, colour in (
        ("train", "training songs", palette.marks[1]),
        ("valid", "held-out songs", palette.marks[0]),
        ("composed", "what it composes", palette.marks[2]),
    ):
        points = [(row["epoch"], row[part][name]) for row in history if (row.get(part) or {}).get(name) is not None]
        if points:
            ax.plot(*zip(*points, strict=True), color=colour, linewidth=2, label=label, **marker(len(points)))
    for i, (label, level) in enumerate((references or {}).items()):
        style = (":", "--", "-.", (0, (6, 2, 1, 2, 1, 2)))[i % 4]
        ax.axhline(level, color=palette.ink, linestyle=style, linewidth=1.2, label=label)
    ax.set_xlabel("epoch")
    ax.set_title(TITLES[name], color=palette.ink, fontsize=10, loc="left")
    whole_epochs(ax, len(history))
    return legend(ax, palette)


def marker(points: int) -> dict[str, Any]:
    """Dots on a line of few points."""
    return {"marker": "o", "markersize": 4} if points < 30 else {}


def whole_epochs(ax: Axes, epochs: int) -> None:
    """An x-axis of epochs, which are whole numbers."""
    from matplotlib.ticker import MaxNLocator

    ax.set_xlim(0.5, max(epochs, 2) + 0.5)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))


def legend(ax: Axes, palette: Palette) -> Axes:
    """Below the axes, where no line can run through it."""
    if ax.get_legend_handles_labels()[0]:
        box = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.2), "ncols": 2}
        ax.legend(frameon=False, fontsize=8, labelcolor=palette.ink, **box)
    return ax


def plot_attention(
    weights: np.ndarray, ax: Axes, begin: float = 0.0, source: float = 0.0, frame: float = 0.25,
    palette: Palette = LIGHT,
) -> Axes:  # fmt: skip
    """Draw how much each composed frame looked at each frame of the window before it: `weights` [T, S], rows sum to 1.

    A frame lasts `frame` beats; the first row is at beat `begin`, the first column at beat `source`. To look everywhere
    alike is at most half the strongest colour.
    """
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.ticker import PercentFormatter

    length, span = weights.shape
    box = source, source + span * frame, begin + length * frame, begin  # time goes down, as one reads
    colours = LinearSegmentedColormap.from_list("attention", [palette.shade, palette.marks[0]])
    most = max(float(weights.max()), 2 / span)
    image = ax.imshow(weights, cmap=colours, extent=box, aspect="auto", interpolation="nearest", vmin=0, vmax=most)
    for axis, beats in ((ax.xaxis, span * frame), (ax.yaxis, length * frame)):
        axis.set_major_locator(_every_beats(beats, 9))
    ax.set_xlabel("looked at (beats)")
    ax.set_ylabel("composed (beats)")
    bar = ax.get_figure().colorbar(image, ax=ax, format=PercentFormatter(1), pad=0.02, aspect=24)
    bar.outline.set_visible(False)
    _dress(bar.ax, palette)
    bar.set_label("of its attention", color=palette.ink, fontsize=9)
    return ax


def plot_loss_curves(
    history: Sequence[dict[str, Any]],
    axes: Sequence[Axes],
    baselines: dict[str, dict[str, float]] | None = None,
    palette: Palette = LIGHT,
) -> Sequence[Axes]:
    """Draw `curve_names` of each epoch on as many axes, with what there is to beat.

    `baselines` are a run's: {"key_frequencies": {"nll": ...}, ...}; the data's own density comes from `history`.
    """
    words = {
        "repeat_last": "repeat the last frame",
        "key_frequencies": "key frequencies alone",
        "silence": "silence",
        "velocity_frequencies": "velocity frequencies alone",
        "markov": "a Markov chain",
    }
    levels = {words.get(k, k): v["nll"] for k, v in (baselines or {}).items() if np.isfinite(v.get("nll", np.nan))}
    own = [(row.get("valid") or row["train"]).get("data_density") for row in history]
    target = {"the songs themselves": own[-1]} if own and own[-1] is not None else {}
    for name, ax in zip(curve_names(history), axes, strict=True):
        plot_metric(history, name, ax, {"nll": levels, "density": target}.get(name), palette)
        if name == "density":
            ax.set_ylim(bottom=0)
    return axes


def curve_names(history: Sequence[dict[str, Any]]) -> list[str]:
    """Which curves tell of a training: loss, likelihood, and density where the model decides which keys sound."""
    scores = [row[part] for row in history for part in ("train", "valid") if row.get(part)]
    return [name for name in ("loss", "nll", "density") if any(name in part for part in scores)]
