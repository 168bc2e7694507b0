"""A large data set on the Library page: its totals, what it holds by style, and its pieces a page at a time."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from deepmusician.collected import Row, is_collected, rows, styles, totals
from deepmusician.shelf import folder_of, list_data_sets
from ui import cached
from ui.words import count

PAGE = 100  # pieces on one page of the table
MANY = 2_000  # pieces up to which each is examined, as of any other data set
STATES = {"": "All", "kept": "Read", "repaired": "Repaired on reading", "refused": "Refused"}


def is_large(name: str) -> bool:
    """Whether a data set has so many pieces that none is looked at before it is asked for."""
    if name not in list_data_sets() or not is_collected(folder := folder_of(name)):
        return False
    return totals(folder)["pieces"] > MANY


def show_collection(name: str) -> None:
    """All that the catalogue knows, without reading the notes of any piece."""
    folder = folder_of(name)
    counts = totals(folder)
    learnt = cached.data_set(name).data.learnt
    words = [f"**{count(learnt, 'piece')}** of {count(int(counts['files']), 'file')} learnt from"]
    words += [f"{int(counts['repaired']):,} repaired on reading"] if counts["repaired"] else []
    words += [f"{count(int(counts['refused']), 'file')} could not be read"] if counts["refused"] else []
    twins = f"{int(counts['twins']):,} nearly the same as another, which stand on one side of the split with it"
    st.markdown("; ".join([*words, twins] if counts["twins"] else words) + ".")
    with st.container(horizontal=True, gap="medium"):
        for title, name in (("Notes", "notes"), ("Bars", "bars"), ("Hours", "minutes")):
            value = counts[name] / 60 if name == "minutes" else counts[name]
            st.metric(title, f"{value:,.0f}", width="content")
    if found := styles(folder):
        named = ", ".join(f"{style} ({n:,})" for style, n in found[:12])
        more = f" and {len(found) - 12:,} more" if len(found) > 12 else ""
        st.caption(f"Styles: {named}{more}. On the command line, NAME/STYLE trains on one of them.")
    _table(folder)


def _table(folder: Path) -> None:
    st.subheader("Every piece", anchor=False)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        search = st.text_input("Name holds", key=f"collected.search.{folder.name}")
        status = st.segmented_control(
            "Show", list(STATES), default="", required=True, format_func=STATES.__getitem__,
            key=f"collected.status.{folder.name}",
        )  # fmt: skip
        found, total = rows(folder, 0, 0, search, status)
        pages = max(-(-total // PAGE), 1)
        page = st.number_input("Page", 1, pages, key=f"collected.page.{folder.name}.{pages}")
    found, _ = rows(folder, (page - 1) * PAGE, PAGE, search, status)
    if not found:
        st.info("No piece is called so.", icon=":material/search_off:")
        return
    st.dataframe([_cells(row) for row in found], hide_index=True, placeholder="", column_config=_columns())
    st.caption(f"{(page - 1) * PAGE + 1:,} to {(page - 1) * PAGE + len(found):,} of {total:,}")


def _cells(row: Row) -> dict[str, object]:
    about = {"piece": row.name, "verdict": STATES[row.status], "why": row.reason, "twin": row.twin}
    if row.at is None:
        return about
    names = ("notes", "bars", "minutes", "key", "tempo_bpm", "meter", "density", "polyphony")
    return about | {name: getattr(row.at, name) for name in names}


def _columns() -> dict:
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    return {
        "piece": text("Piece", width="medium", pinned=True),
        "verdict": text("Verdict", width="small"),
        "why": text("Why", width="medium"),
        "twin": text("Nearly the same as"),
        "notes": number("Notes", format="localized", help="that are learnt"),
        "bars": number("Bars", format="localized"),
        "minutes": number("Minutes", format="%.1f"),
        "key": text("Key", help="as the file names it; ≈ where it is a guess from the notes"),
        "tempo_bpm": number("Tempo", format="%.0f", help="beats a minute, for most of the piece"),
        "meter": text("Meter"),
        "density": number("Density", format="%.1f", help="notes a beat"),
        "polyphony": number("Polyphony", format="%.1f", help="notes at once, on average while any sounds"),
    }
