"""Pictures of a comparison: the curves of several trainings on one set of axes, and what a loss makes of some music.

Every plot takes axes and returns them; see `plots`, whose colours and legends these share.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from deepmusician.losses import loss_curve
from deepmusician.plots import LIGHT, Palette, legend, marker, whole_epochs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

History = Sequence[dict[str, Any]]
LAB = (  # part of a report, number, title
    ("valid", "nll", "surprise (nats a frame, held-out songs)"),
    ("valid", "rare_recall", "recall of rare notes"),
    ("composed", "density", "density of what it composes"),
)
SURE, MISSED = 0.95, 0.1  # a silence the model is sure of; a note it gave a tenth of the probability


def plot_lab(histories: dict[str, History], axes: Sequence[Axes], palette: Palette = LIGHT) -> Sequence[Axes]:
    """Draw surprise, recall of rare notes and composed density on three axes, one line for each loss.

    Where nothing is held out the training songs are shown instead; the dotted line is the density of the songs.
    """
    most = max((len(h) for h in histories.values()), default=1)
    for (part, name, title), ax in zip(LAB, axes, strict=True):
        for i, (label, history) in enumerate(histories.items()):
            points = [(row["epoch"], value) for row in history if (value := _number(row, part, name)) is not None]
            if points:
                look = {"color": palette.marks[i], "linewidth": 2, "label": label, **marker(len(points))}
                ax.plot(*zip(*points, strict=True), **look)
        own = [d for h in histories.values() for row in h if (d := _number(row, "valid", "data_density")) is not None]
        if part == "composed" and own:
            ax.axhline(own[-1], color=palette.ink, linestyle=":", linewidth=1.2, label="the songs themselves")
        if name != "nll":
            ax.set_ylim(bottom=0)
        ax.set_xlabel("epoch")
        ax.set_title(title, color=palette.ink, fontsize=10, loc="left")
        whole_epochs(ax, most)
        legend(ax, palette)
    return axes


def _number(row: dict[str, Any], part: str, name: str) -> float | None:
    return (row.get(part) or (row["train"] if part == "valid" else {})).get(name)


def plot_balance(share: float, loss: str, alpha: float, gamma: float, ax: Axes, palette: Palette = LIGHT) -> Axes:
    """Draw who sounds in the music, and who makes up a loss: notes against silent keys, as parts of one bar each.

    `share` is that of the sounding cells. Each note is missed (given MISSED), each silence plain (SURE).
    """
    bars = {"keys of this music": share, "what bce sees": note_share(share, "bce", alpha, gamma)}
    if loss != "bce":
        bars[f"what {loss} sees"] = note_share(share, loss, alpha, gamma)
    for place, (label, part) in enumerate(reversed(bars.items())):
        ax.barh(place, part, color=palette.marks[0], height=0.55, label="sounding" if not place else None)
        ax.barh(place, 1 - part, left=part, color=palette.grid, height=0.55, label="silent" if not place else None)
        ax.text(0.01, place + 0.3, f"{label}: {percent(part)} notes", color=palette.ink, fontsize=8.5, va="bottom")
    ax.set_xlim(0, 1)
    ax.set_ylim(-0.5, len(bars) - 0.1)
    ax.set_yticks([])
    ax.set_xticks([0, 0.5, 1], ["0", "50 %", "100 %"])
    return legend(ax, palette)


def note_share(share: float, loss: str, alpha: float, gamma: float) -> float:
    """The part of the loss that missed notes make up beside plain silences, where `share` of the cells sound."""
    missed, _ = loss_curve(loss, np.array([MISSED]), alpha, gamma)
    _, plain = loss_curve(loss, np.array([1 - SURE]), alpha, gamma)
    notes, silences = share * float(missed[0]), (1 - share) * float(plain[0])
    return notes / (notes + silences)


def percent(part: float) -> str:
    """4.4 %, 97 %, 99.9 %."""
    return f"{100 * part:.1f} %" if part < 0.1 or 0.99 < part < 1 else f"{100 * part:.0f} %"
