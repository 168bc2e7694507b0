"""The table of all runs: filtered, with each one's curve small; the ones selected stand in the address."""

from __future__ import annotations

from typing import Any

import streamlit as st

from deepmusician.errors import RunError
from deepmusician.keeping import best_scores
from deepmusician.runs import Run, list_runs, open_run

_TABLE = "runs.table"


def shown_names() -> list[str]:
    """The runs in the address, by the names they have now; those that are gone are told of."""
    found = []
    for name in st.query_params.get_all("run"):
        try:
            found.append(open_run(name).name)
        except RunError:
            said = f"There is no run called {_safe(name)}; here are the ones there are."
            st.warning(said, icon=":material/search_off:")
    return list(dict.fromkeys(found))


def _safe(name: str) -> str:
    return "".join(c for c in name if c.isalnum() or c in " ._+-")[:80]


def show(names: list[str]) -> None:
    """Let the address name these runs."""
    if names:
        st.query_params["run"] = names
    elif "run" in st.query_params:
        del st.query_params["run"]


def runs_table(shown: list[str]) -> None:
    """The table, with controls that filter it."""
    runs = [run for run in list_runs() if run.is_readable()]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        words = st.text_input("Filter", placeholder="name, data, recipe or note", key="runs.filter").lower().split()
        states = sorted({run.status().state for run in runs})
        wanted = st.pills("State", states, selection_mode="multi", key="runs.states") if len(states) > 1 else []
        starred = st.toggle("Starred", key="runs.starred")
    rows = [row(run) for run in runs]
    rows = [
        r for r in rows
        if all(w in " ".join(str(r[k]) for k in ("name", "data", "recipe", "note")).lower() for w in words)
        and (not wanted or r["state"] in wanted) and (not starred or r["star"])
    ]  # fmt: skip
    if not rows:
        st.info("No run is like that; change the filter.", icon=":material/filter_alt_off:")
        return
    names = [r["name"] for r in rows]
    key = f"{_TABLE}.{hash(tuple(names))}.{hash(tuple(shown))}"  # chosen elsewhere, or filtered: marked anew
    st.dataframe(
        rows, hide_index=True, placeholder="–", key=key, selection_mode="multi-row",
        on_select=lambda: _select(key, names, shown),
        selection_default={"selection": {"rows": [names.index(n) for n in shown if n in names]}},
        height=min(35 * (len(rows) + 1) + 3, 420),
        column_config={
            "star": st.column_config.TextColumn("★", width=30),
            "name": st.column_config.TextColumn("Run", pinned=True),
            "state": st.column_config.TextColumn("State", width="small"),
            "epochs": st.column_config.NumberColumn("Epochs", width="small"),
            "curve": st.column_config.LineChartColumn("Surprise by epoch", help="on held-out songs; lower is better"),
            "nll": st.column_config.NumberColumn("Surprise", format="%.2f", help="nats a frame, of the run's model"),
            "f1": st.column_config.NumberColumn("F1", format="%.2f"),
            "density": st.column_config.NumberColumn("Density", format="%.1f", help="notes a frame"),
            "data": st.column_config.TextColumn("Music"),
            "recipe": st.column_config.TextColumn("Recipe"),
            "start": st.column_config.TextColumn("Begun with"),
            "note": st.column_config.TextColumn("Note", width="medium"),
        },
    )  # fmt: skip
    st.caption("Select one run to see all about it, two or more to compare them.")


def _select(key: str, names: list[str], shown: list[str]) -> None:
    rows = st.session_state[key]["selection"]["rows"]
    hidden = [name for name in shown if name not in names]
    show([*hidden, *(names[i] for i in rows if i < len(names))])


def row(run: Run) -> dict[str, Any]:
    """One line of the table."""
    options, about, status, scores = run.options(), run.about(), run.status(), best_scores(run)
    curve = [(r.get("valid") or r.get("train") or {}).get("nll") for r in run.metrics()]
    return {
        "star": "★" if about.starred else "",
        "name": run.name,
        "state": status.state,
        "epochs": status.epoch,
        "curve": [v for v in curve if v is not None],
        **{name: scores.get(name) for name in ("nll", "f1", "density")},
        "data": options.path.replace("library:", "").replace("|", ", "),
        "recipe": options.recipe,
        "start": options.start_from or "",
        "note": about.note,
    }
