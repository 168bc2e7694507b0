"""Pictures on a page: drawn twice, for wide and for narrow screens, in the colours of the page's theme."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from html import escape
from typing import TYPE_CHECKING, Any

import streamlit as st

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from deepmusician.plots import Palette

KEPT = 20  # places whose pictures are kept

Draw = Callable[[Sequence["Axes"], "Palette"], Any]


def dark() -> bool:
    """Whether the page is dark."""
    return st.context.theme.type == "dark"


def draw_png(
    draw: Draw, width: float, height: float, is_dark: bool, rows: int = 1, columns: int = 1
) -> bytes:
    """Let `draw` fill axes of a figure of `width` by `height` inches; PNG bytes."""
    from deepmusician import plots

    palette = plots.DARK if is_dark else plots.LIGHT
    figure, axes = plots.new_figure(width, height, rows, columns, palette)
    draw(axes, palette)
    return plots.to_png(figure)


@st.cache_resource
def _painting() -> tuple[ThreadPoolExecutor, dict[str, tuple[Any, Future]], dict[str, tuple[bytes, bytes]]]:
    """One painter, what is being drawn for each place, and what was drawn there last."""
    return ThreadPoolExecutor(1, "painter"), {}, {}


def newest(place: str, of: Any, draw: Callable[[], tuple[bytes, bytes]]) -> tuple[bytes, bytes] | None:
    """The newest pictures there are for a `place`: a page that is shown every other second does not wait for them.

    Where none show `of`, they are drawn beside the page by `draw`, and found here when it asks again. None at first.
    """
    painter, under_way, drawn = _painting()
    if place in under_way and under_way[place][1].done():
        drawn[place] = under_way[place][1].result()
        while len(drawn) > KEPT:
            drawn.pop(next(iter(drawn)))
    if place not in under_way or (under_way[place][1].done() and under_way[place][0] != of):
        under_way[place] = of, painter.submit(draw)
        while len(under_way) > KEPT:
            under_way.pop(next(iter(under_way)))
    return drawn.get(place)


def show(alt: str, wide: bytes, narrow: bytes | None = None) -> None:
    """Show a PNG, and where the screen is narrow the other one, whose letters are large enough there."""
    parts = [
        _image(wide, alt, "dm-wide" if narrow else ""),
        _image(narrow, alt, "dm-narrow") if narrow else "",
    ]
    st.html(f'<div class="dm-figure">{"".join(parts)}</div>')


def _image(png: bytes, alt: str, name: str) -> str:
    data = base64.b64encode(png).decode()
    return f'<img class="{name}" alt="{escape(alt, quote=True)}" src="data:image/png;base64,{data}">'
