"""Whose studio this is: who has signed in, and the door for those who have not.

Alone at 127.0.0.1 nobody signs in. Where `deepmusician serve` opened the studio to others, every question for a
workspace asks here, so that no page, callback or fragment can forget to; a session without a person gets no
workspace at all.
"""

from __future__ import annotations

import os
from pathlib import Path

import streamlit as st

from deepmusician import workspace
from deepmusician.errors import DoorError, LibraryError
from deepmusician.people import CLASS, OIDC, SHORTEST_WORD, Person, enter, known_by
from deepmusician.serve_verb import closed, is_here
from ui import keys

# A sign-in comes back to the bare address: the tab itself keeps the one that was asked for, for a quarter of an hour.
# What it keeps is its own address, and it goes nowhere but to this site.
_REMEMBER = """<script>
if (location.pathname.endsWith("/") && !location.search) sessionStorage.removeItem("dm.wanted");
else sessionStorage.setItem("dm.wanted", JSON.stringify([location.href, Date.now()]));
</script>"""
_GO_ON = """<script>
(() => {
  const kept = sessionStorage.getItem("dm.wanted");
  sessionStorage.removeItem("dm.wanted");
  if (!kept || !location.pathname.endsWith("/") || location.search) return;
  const [wanted, since] = JSON.parse(kept);
  if (new URL(wanted).origin === location.origin && Date.now() - since < 900000) location.replace(wanted);
})();
</script>"""


def way_in() -> str:
    """How persons come in: "" where there is one alone."""
    return os.environ.get(workspace.DOOR_VARIABLE, "")


def person() -> Person | None:
    """Who has signed in with this session."""
    if way_in() == OIDC:
        user = st.user.to_dict()
        if not user.get("is_logged_in"):
            return None
        return known_by(
            str(user.get("iss", "")), str(user.get("sub", "")), str(user.get("name") or user.get("email") or "")
        )
    return keys.PERSON.get() if way_in() == CLASS else None


def _whose() -> Path:
    known = person() if st.runtime.scriptrunner.get_script_run_ctx(suppress_warning=True) else None
    if known is None:
        raise LibraryError("nobody has signed in here, so there is nothing to be seen; sign in first")
    return workspace.person_folder(known.id)


def stand_guard() -> None:
    """From now on each session has the workspace of its person. Called by everything that draws a page."""
    workspace.set_whose(_whose if way_in() else None)


def has_come_in() -> bool:
    """Whether there is a workspace to show: somebody has signed in, or need not."""
    stand_guard()
    try:
        return person() is not None if way_in() else is_here(_address())
    except DoorError:
        return False


def badge() -> None:
    """Who has signed in, and the way out; nothing where there is one person alone."""
    if known := person():
        with st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center"):
            if way_in() == OIDC:
                st.html(_GO_ON, unsafe_allow_javascript=True)
            st.caption(f":material/person: {_plain(known.name)}", width="content")
            st.button("Sign out", type="tertiary", key="door.out", on_click=_leave)


def _plain(name: str) -> str:
    """A name in which nothing is taken for Markdown."""
    return "".join(f"\\{sign}" if sign in r"\`*_{}[]<>()#+-.!|~:$^&" else sign for sign in name)


def _leave() -> None:
    oidc = way_in() == OIDC
    for name in list(st.session_state):
        del st.session_state[name]  # the next one at this machine finds nothing
    if oidc:
        st.logout()


def door() -> None:
    """What stands in the place of a page until somebody has signed in."""
    if way_in() == OIDC:
        st.title("Deep Musician", anchor=False)
        st.markdown("Sign in to find your own music here. Nobody else sees it.")
        st.html(_REMEMBER, unsafe_allow_javascript=True)
        st.button("Sign in", on_click=st.login, type="primary", icon=":material/login:")
    elif way_in() == CLASS and os.environ.get(workspace.CODE_VARIABLE):
        st.title("Deep Musician", anchor=False)
        _form()
    else:
        why = "it was opened in no way that is known; use `deepmusician serve`" if way_in() else closed(_address())
        st.error(f"The studio stays closed: {why}.", icon=":material/lock:")


def _address() -> str | None:
    return st.get_option("server.address")


def _form() -> None:
    st.markdown(
        "Come in with the code of your class, your name, and a secret word. The first time, you make the word up; "
        "later the same name and word bring you back to your music. Nobody else in the class sees it."
    )
    with st.form("door", width=420):
        code = st.text_input("Code of the class", key="door.code", autocomplete="off")
        name = st.text_input("Your name", key="door.name", max_chars=40, autocomplete="username")
        word = st.text_input(
            f"Your secret word, {SHORTEST_WORD} letters or more", key="door.word", type="password",
            autocomplete="current-password",
        )  # fmt: skip
        if st.form_submit_button("Come in", type="primary", icon=":material/login:"):
            try:
                keys.PERSON.set(enter(name, word, code, os.environ[workspace.CODE_VARIABLE]))
            except DoorError as error:
                st.error(_plain(_capital(str(error))), icon=":material/lock:")
            else:
                st.rerun()


def _capital(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
