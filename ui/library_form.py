"""How music is brought in and how a data set is chosen, on every page that needs one."""

from __future__ import annotations

from pathlib import PurePath

import streamlit as st

from deepmusician.corpora import CORPORA, list_corpora
from deepmusician.formats import SUFFIXES
from deepmusician.library import list_data_sets, read_uploads, save_data_set
from deepmusician.parcels import import_data_set, parcel_name
from ui import cached, describe, keys
from ui.page import sentence, sentences, tame
from ui.words import count

KINDS = sorted({*SUFFIXES, ".zip"})


def add_music() -> None:
    """The uploader, files or a whole folder, and the name under which what was read is kept."""
    if note := keys.NOTE.take():
        st.success(sentence(note), icon=":material/check:")
    nothing = not list_data_sets() and not chosen()
    with st.expander("Add your own music", expanded=nothing, icon=":material/upload:"):
        folder = st.toggle("A whole folder", help="The browser then asks for a folder and takes all music below it.")
        with st.form("upload", border=False, clear_on_submit=False):
            files = st.file_uploader(
                "MIDI, MusicXML, ABC or Humdrum files, a zip of them, or an exported data set",
                type=None if folder else [kind.lstrip(".") for kind in KINDS],
                accept_multiple_files="directory" if folder else True,
                key=f"upload.{'folder' if folder else 'files'}.{keys.UPLOADS.get()}",
            )
            name = st.text_input("Keep as", placeholder="a name; the file's own where this is empty", max_chars=80)
            sent = st.form_submit_button("Add to the library", type="primary", icon=":material/add:")
        if sent:
            with sentences():
                _keep(list(files or []), name.strip())


def _keep(uploaded: list, name: str) -> None:
    """Read the files, keep what was read, and let the page show it; the memory of the upload is then given back."""
    files = [(f.name, f.getvalue()) for f in uploaded]
    if not files:
        st.info("Choose a file first: drop it on the field above, or press Browse.", icon=":material/upload_file:")
        return
    parcel = parcel_name(files[0][1]) if len(files) == 1 else None
    name = name or free_name(parcel or (PurePath(files[0][0]).stem if len(files) == 1 else "my music"))
    if parcel:
        data = import_data_set(files[0][1], name)
        release(uploaded)
        _show(name, f"{count(len(data.songs), 'piece')} kept as “{name}”, with the decisions that came along.")
    with cached.progress_bar("Reading") as progress:
        data = read_uploads(files, name, progress)
    if not data.songs:
        for entry in data.entries:
            st.error(tame(f"{entry.name} could not be read: {describe.remark(entry)}."), icon=":material/error:")
        return
    save_data_set(data, name)
    release(uploaded)
    lost = len(data.entries) - len(data.songs)
    more = f" {count(lost, 'file')} could not be read; the reasons stand below." if lost else ""
    _show(name, f"{count(len(data.songs), 'piece')} kept as “{name}”.{more}")


def release(uploaded: list) -> None:
    """Let the session forget uploaded files, which it would hold until it ends, and show an empty uploader."""
    context = st.runtime.scriptrunner.get_script_run_ctx()
    for file in uploaded:
        context.uploaded_file_mgr.remove_file(context.session_id, file.file_id)
    keys.UPLOADS.set(keys.UPLOADS.get() + 1)


def _show(name: str, note: str) -> None:
    choose(name)
    st.query_params.pop("piece", None)
    keys.NOTE.set(note)
    st.rerun()


def free_name(stem: str) -> str:
    """A name for a data set that is not taken: letters, digits, spaces, and a number where needed."""
    clean = "".join(c if c.isalnum() or c in " ._-" else " " for c in stem).strip(" ._-")[:70] or "my music"
    taken = {*CORPORA, *list_data_sets()}
    return next(n for n in (clean, *(f"{clean} {i}" for i in range(2, 10_000))) if n not in taken)


def choose(name: str) -> None:
    """Make `name` the data set that the pages look at; the address holds it."""
    keys.DATA.set(name)
    st.query_params["data"] = name


def choose_data(label: str, key: str) -> str | None:
    """A choice among the person's data sets and the built-in corpora.

    Before anything was chosen it is the person's first data set; None where there is none.
    """
    titles = data_titles()
    wanted = chosen() or (next(iter(titles)) if list_data_sets() else None)
    if wanted:
        choose(wanted)
        st.session_state[key] = wanted  # not `index`: the browser would keep showing what was chosen before
    return st.selectbox(
        label, list(titles), index=0 if wanted else None, format_func=titles.__getitem__, key=key,
        on_change=lambda: choose(st.session_state[key]), placeholder="your data sets and corpora",
    )  # fmt: skip


def chosen() -> str | None:
    """The data set in the address, else the one that was looked at last; None where that is none that is here."""
    titles = data_titles()
    return next((name for name in (st.query_params.get("data"), keys.DATA.get()) if name in titles), None)


def choose_several(label: str, key: str, default: str) -> list[str]:
    """A choice of at least one among the person's data sets and the built-in corpora; the address holds them.

    Before anything was chosen it is the person's first data set, else `default`. What was chosen here before gives way
    to a data set that was looked at elsewhere since.
    """
    titles, last, before = data_titles(), keys.DATA.get(), st.session_state.get(key, [])
    first = next(iter(titles)) if list_data_sets() else default
    asked = st.query_params.get_all("data") or (before if last in before else [last])
    chosen = [name for name in asked if name in titles] or [first]
    _look_at(chosen)
    st.session_state[key] = chosen
    return st.multiselect(
        label, list(titles), format_func=titles.__getitem__, key=key, persist_state="session",
        on_change=lambda: _look_at(st.session_state[key]), placeholder="your data sets and corpora",
        help="Two or more are learnt as so many styles: composing can choose one of them, mix them, or go from one to "
        "another.",
    )  # fmt: skip


def _look_at(names: list[str]) -> None:
    keys.DATA.set(names[-1] if names else keys.DATA.get())
    st.query_params["data"] = names


def about_corpus(name: str) -> None:
    """What a built-in corpus is and under which licence it comes."""
    about = next((c for c in list_corpora() if c.name == name), None)
    if about:
        st.caption(f"{about.description} {about.licence}")


def title_of(name: str) -> str:
    """What a data set is called where it is clear which kind it is."""
    return CORPORA[name].title if name in CORPORA else name


def data_titles() -> dict[str, str]:
    """What each data set is called on a page: the person's own first, then the corpora with their counts."""
    own = {name: f"{name} (yours)" for name in list_data_sets()}
    return own | {c.name: f"{c.title} ({count(c.count, 'piece')}, built in)" for c in list_corpora()}
