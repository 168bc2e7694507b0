"""What a listening test found: in words, as a picture, by listener, and to take home."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from deepmusician import listening_results, listening_words
from deepmusician.listening_results import Results
from deepmusician.listening_stats import DIFFERENT, EQUIVALENT
from deepmusician.listening_store import HUMAN, ListeningTest
from ui import figures
from ui.page import plain

if TYPE_CHECKING:
    from sqlalchemy import Engine

ICONS = {EQUIVALENT: ":material/balance:", DIFFERENT: ":material/call_split:"}


def show_results(engine: Engine, test: ListeningTest) -> None:
    """Everything the votes of a test say."""
    results = listening_results.results(engine, test)
    st.markdown(f"**{plain(listening_words.headline(results))}**")
    icon = ICONS.get(results.verdict.name if results.counted else "", ":material/hourglass_top:")
    st.info(plain(listening_words.verdict(results)), icon=icon)
    if results.counted:
        _picture(results)
    for line in listening_words.findings(results):
        st.markdown(f"- {plain(line)}")
    if results.tallies:
        _by_listener(results)
    st.caption(listening_words.LIMITS)
    st.download_button(
        "Votes as CSV", lambda: listening_results.export_csv(engine, test).encode(), f"votes-{test.id}.csv", "text/csv",
        on_click="ignore", icon=":material/download:", key=f"listen.csv.{test.id}",
    )  # fmt: skip


def _by_listener(results: Results) -> None:
    human = results.test.kind == HUMAN
    rows = []
    for i, t in enumerate(results.tallies, 1):
        row: dict[str, Any] = {"Listener": t.listener.name or f"anonymous {i}", "Votes": t.votes}
        row["Counts"] = "yes" if t.counts else "missed a catch trial" if t.finished else "not finished"
        if human:
            row |= {
                "Right": _percent(t.right.value), "Fooled": _percent(t.fooled.value),
                "d′": f"{t.sensitivity.d:.2f}" if t.votes else "–",
            }  # fmt: skip
        else:
            row[f"Preferred {results.test.about['titles'][0]}"] = _percent(t.first.value)
        rows.append(row)
    st.dataframe(rows, hide_index=True, width="stretch")


def _percent(value: float) -> str:
    return "–" if value != value else f"{value:.0%}"  # nan: no votes


def _picture(results: Results) -> None:
    human = results.test.kind == HUMAN
    pooled = results.pooled
    if human:
        bars = [("called what they are", pooled.right), ("machine taken for human", pooled.fooled)]
    else:
        bars = [(f"{results.test.about['titles'][0]} preferred", pooled.first)]
    rows = [(name, share.value, *share.interval) for name, share in bars]

    def draw(axes: Any, palette: Any) -> None:
        from deepmusician.charts import plot_shares

        plot_shares(rows, results.bound, axes[0], palette)

    height = 1.1 + 0.45 * len(rows)
    pictures = [figures.draw_png(draw, width, height, figures.dark()) for width in (9.0, 4.2)]
    words = "; ".join(
        f"{name}: {100 * value:.0f} % ({100 * low:.0f} to {100 * high:.0f})" for name, value, low, high in rows
    )
    figures.show(f"Shares of the votes with their 95 % intervals. {words}", *pictures)
