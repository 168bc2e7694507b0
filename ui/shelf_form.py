"""How data sets are renamed, taken along as a zip, deleted, and brought back."""

from __future__ import annotations

import streamlit as st

from deepmusician import shelf
from deepmusician.library import list_data_sets, source_of, split_paths
from ui import keys
from ui.library_form import choose
from ui.page import sentences


def manage(name: str) -> None:
    """Everything that can be done with a data set as a whole."""
    if name not in list_data_sets():
        st.caption(
            "This corpus is built in and stays as it is. The first decision about one of its pieces makes a copy of "
            "your own, which you can rename, export and delete."
        )
        return
    with st.expander(
        "Rename, export, delete", icon=":material/folder_managed:", key=f"shelf.{name}", on_change="rerun"
    ):
        if runs := _runs_on(name):
            st.caption(
                f"Learnt from by {', '.join(runs)}. Under another name or deleted, such a training cannot go on; what "
                "it has learnt stays."
            )
        with st.form("shelf.rename", border=False), st.container(horizontal=True, vertical_alignment="bottom"):
            new = st.text_input("Name", name, max_chars=80, key=f"shelf.name.{name}")
            if st.form_submit_button("Rename", icon=":material/edit:") and new.strip() != name:
                with sentences():
                    shelf.rename_data_set(name, new.strip())
                    _say(f"“{name}” is now “{new.strip()}”.", new.strip())
        with st.container(horizontal=True, vertical_alignment="center"):
            st.download_button(
                "Export", lambda: _parcel(name), f"{name}.zip", "application/zip", icon=":material/download:",
                on_click="ignore", key="shelf.export",
                help="One zip: the music as it was read, your decisions, and MIDI of what is learnt for other "
                "programs. Add it to a library again as it is.",
            )  # fmt: skip
            with st.popover("Delete", icon=":material/delete:"):
                st.markdown(f"It can be brought back for {shelf.BIN_DAYS} days.")
                if st.button(f"Delete “{name}”", key="shelf.delete", type="primary"):
                    with sentences():
                        shelf.delete_data_set(name)
                        keys.DATA.set(None)
                        st.query_params.pop("data", None)
                        _say(f"“{name}” is deleted; “Deleted data sets” below brings it back.", None)


def _parcel(name: str) -> bytes:
    from deepmusician.parcels import export_data_set

    return export_data_set(name)


def _runs_on(name: str) -> list[str]:
    """The trainings that learn from the data set."""
    from deepmusician.errors import DeepMusicianError
    from deepmusician.runs import list_runs

    found, source = [], source_of(name)
    for run in list_runs():
        try:
            if source in split_paths(run.options().path):
                found.append(run.name)
        except DeepMusicianError:  # a damaged run says so on its own page
            continue
    return found


def bring_back() -> None:
    """What was deleted lately."""
    deleted = shelf.list_deleted()
    if not deleted:
        return
    with st.expander("Deleted data sets", icon=":material/restore_from_trash:"), st.container(horizontal=True):
        for name in deleted:
            if st.button(f"Bring back “{name}”", key=f"shelf.restore.{name}", icon=":material/undo:"):
                with sentences():
                    back = shelf.restore_data_set(name)
                    _say(f"“{back}” is here again.", back)


def _say(note: str, name: str | None) -> None:
    keys.NOTE.set(note)
    if name:
        choose(name)
    st.rerun()
