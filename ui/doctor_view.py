"""What became of a data set: totals before and after, findings with their remedies, and the table of its files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from deepmusician.recipes import list_recipes
from ui import describe, examined, figures, keys, router
from ui.library_form import choose, title_of
from ui.words import count

if TYPE_CHECKING:
    from deepmusician.doctor import Finding
    from ui.examined import Examined

ICONS = {
    "unread": "block", "toneless": "block", "range": "unfold_less", "drums": "music_off", "silence": "content_cut",
    "copies": "content_copy", "sides": "call_split", "share": "balance", "unjudged": "gavel",
}  # fmt: skip
DONE = {
    "range": "transposed {} into range", "drums": "dropped the drums of {}", "silence": "trimmed {}",
    "copies": "left out {} nearly the same as another", "sides": "put {} on one side of the split",
}  # fmt: skip
VERDICT = (
    "Kept: learnt as it stands in its file. Changed: not all of it is, for reading repaired it, you decided so, "
    "or some notes are off the 88 keys. Left out: not learnt from."
)
LINE = 35  # pixels of a row


def show_totals(seen: Examined) -> None:
    """The headline, and what was read beside what is learnt."""
    st.markdown(describe.headline(seen.reports))
    st.caption(describe.reading_sentence([r.read for r in seen.reports]))
    totals = seen.totals
    cells = (
        ("Files", totals.files, "read, and taken in"),
        ("Tracks", totals.tracks, "with notes, and with notes that are learnt"),
        ("Notes", totals.notes, "read, and learnt: drums and notes off the 88 keys are not"),
        ("Bars", totals.bars, ""),
        ("Minutes", totals.minutes, "played at the tempo of each file"),
    )
    with st.container(horizontal=True, gap="medium"):
        for title, (before, after), about in cells:
            lost = f"of {before:,.0f}" if round(before) != round(after) else "all"
            st.metric(
                title, f"{after:,.0f}", lost, delta_color="off", delta_arrow="off", help=about or None, width="content"
            )


def show_findings(seen: Examined) -> None:
    """What there is to know, each with one click that would help."""
    for finding in seen.findings:
        with st.container(border=True):
            text, remedy = st.columns([4, 1.4], vertical_alignment="center")
            text.markdown(f":material/{ICONS[finding.kind]}: {finding.words}")
            if finding.kind == "share":
                with remedy:
                    train_button(seen.name, finding.remedy, "doctor.balance", balance=1.0)
            elif finding.changes:
                remedy.button(
                    finding.remedy, key=f"doctor.{finding.kind}", width="stretch", on_click=examined.decide,
                    args=(seen.name, _what(finding), finding.changes),
                )  # fmt: skip
    if seen.problem:
        st.warning(seen.problem[:1].upper() + seen.problem[1:] + ".", icon=":material/gavel:")


def show_undo(seen: Examined) -> None:
    """The way back. Its place is there before there is anything to undo, so that findings that come and go below it
    move no button that is about to be pressed."""
    steps = seen.decisions.steps
    with st.container(horizontal=True, vertical_alignment="center", key="doctor.way.back"):
        if steps:
            st.button(
                f"Undo: {steps[-1].what}", key="doctor.undo", icon=":material/undo:", on_click=examined.undo,
                args=(seen.name,),
            )  # fmt: skip
        if len(steps) > 1 and seen.decisions.choices:
            st.button(
                "Everything as it was read", key="doctor.reset", icon=":material/restart_alt:",
                on_click=examined.decide, args=(seen.name, "took everything back", _as_read(seen)),
            )  # fmt: skip


def _as_read(seen: Examined) -> dict:
    from deepmusician.decisions import AS_READ

    return dict.fromkeys(seen.decisions.choices, AS_READ)


def _what(finding: Finding) -> str:
    names = list(finding.changes)
    return DONE[finding.kind].format(names[0] if len(names) == 1 else count(len(names), "file"))


def begin_with(name: str) -> None:
    """For who has no music here yet: a built-in corpus, to look at or to train on, one click each."""
    title = title_of(name)
    with st.container(horizontal=True):
        train_button(name, f"Train on {title}", "library.begin", type="primary", icon=":material/school:")
        st.button(
            f"Look at {title}", key="library.begin.look", icon=":material/visibility:", on_click=choose, args=(name,)
        )


def train_button(name: str, label: str, key: str, balance: float | None = None, **look: str) -> None:
    """Leads to Train with this data set, perhaps with songs in balance."""
    if st.button(label, key=key, width="stretch" if balance else "content", **look):
        keys.DATA.set(name)
        if balance is not None:  # whichever recipe is chosen there; its control stands among all options
            st.session_state["train.view"] = "Every option"
            for form in ("train", *(f"train.{recipe.name}" for recipe in list_recipes())):
                st.session_state[f"{form}.balance"] = balance
        st.switch_page(router.TRAIN, query_params={"run": "new"})


def show_table(seen: Examined) -> str:
    """Every file with its verdict and reason; returns the name of the one looked at, chosen here or in the list."""
    verdicts = {"": f"All {len(seen.rows)}"}
    for verdict, mark in describe.MARKS.items():
        n = sum(r.verdict == verdict for r in seen.reports)
        verdicts |= {verdict: f"{mark} {n}"} if n else {}
    shown = st.segmented_control(
        "Show", list(verdicts), default="", required=True, format_func=verdicts.__getitem__, key="doctor.shown",
        label_visibility="collapsed",
    )  # fmt: skip
    rows = [row for row, r in zip(seen.rows, seen.reports, strict=True) if shown in ("", r.verdict)]
    names = [row["piece"] for row in rows]
    event = st.dataframe(
        rows, height=min(LINE * (len(rows) + 1) + 3, 320), hide_index=True, on_select="rerun",
        selection_mode="multi-row", placeholder="", key=f"doctor.files.{seen.name}.{hash(tuple(names))}",
        column_config=_columns(),
    )  # fmt: skip
    chosen = [names[i] for i in event.selection.rows if i < len(names)]
    if len(chosen) > 1:
        _decide_about(seen, chosen)
    before = keys.TICKED.get()
    if fresh := [name for name in chosen if name not in before]:
        st.query_params["piece"] = fresh[-1]
    keys.TICKED.set(chosen)
    return _look_at(seen)


def _decide_about(seen: Examined, names: list[str]) -> None:
    """One click for all the files that are ticked."""
    from dataclasses import replace

    actions = (
        ("Leave out", "block", "left out {}", {"out": True}),
        ("Take in", "add_circle", "took in {}", {"out": False}),
        ("Hold out", "gavel", "held out {}", {"side": "held out"}),
        ("Train on", "school", "put {} into training", {"side": "training"}),
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{count(len(names), 'file')} ticked:**", width="content")
        for label, icon, what, decided in actions:
            changes = {name: replace(seen.decisions.of(name), **decided) for name in names}
            st.button(
                label, key=f"doctor.ticked.{label}", icon=f":material/{icon}:", on_click=examined.decide,
                args=(seen.name, what.format(count(len(names), "file")), changes),
            )  # fmt: skip


def _look_at(seen: Examined) -> str:
    """The list of all files, which says the same as the address."""
    names = [r.name for r in seen.reports]
    key = f"doctor.piece.{seen.name}"
    first = next((r.name for r in seen.reports if r.is_in), names[0])
    asked = st.query_params.get("piece")
    st.session_state[key] = asked if asked in names else first

    def chosen() -> None:
        st.query_params["piece"] = st.session_state[key]

    return st.selectbox("Look at a file", names, key=key, on_change=chosen)


def _columns() -> dict:
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    return {
        "piece": text("File", width="medium", pinned=True),
        "verdict": text("Verdict", width="small", help=VERDICT),
        "why": text("Why", width="large"),
        "side": text(
            "Split", width="small", help=f"trained on, or held out to judge the model; {describe.PINNED} by you"
        ),
        "share": number("Share", format="%.1f%%", help="of the frames that are trained on"),
        "notes": number("Notes", format="localized", help="that are learnt"),
        "bars": number("Bars", format="localized"),
        "minutes": number("Minutes", format="%.1f"),
        "tracks": number("Tracks"),
        "key": text("Key", help="as the file names it; ≈ where it is a guess from the notes"),
        "tempo": number("Tempo", format="%.0f", help="beats a minute, for most of the piece"),
        "meter": text("Meter"),
        "range": text("Range"),
        "density": number("Density", format="%.1f", help="notes a beat"),
        "polyphony": number("Polyphony", format="%.1f", help="notes at once, while any sounds"),
    }


def show_glance(seen: Examined) -> None:
    """Everything that is in at a glance."""
    inside = [r for r in seen.reports if r.after]
    if not inside:
        return
    words, picture = st.columns(2, gap="large", vertical_alignment="center")
    words.markdown(describe.data_sentence([r.after for r in inside]))
    with picture:
        beats = tuple(map(sum, zip(*(r.after.classes for r in inside), strict=True)))
        figures.show("How long each pitch class sounds, of all time", *examined.pitch_pictures(beats, figures.dark()))
