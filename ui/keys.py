"""The few things a session remembers, each under one typed name. Results live on disk, not here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import streamlit as st

from deepmusician.history import Request
from deepmusician.people import Person

T = TypeVar("T")


@dataclass(frozen=True)
class Key(Generic[T]):
    """A named place in the session's state, with what it holds before anything was put there."""

    name: str
    default: T

    def get(self) -> T:
        """What is there now."""
        return st.session_state.get(self.name, self.default)

    def set(self, value: T) -> None:
        """Put `value` there."""
        st.session_state[self.name] = value

    def take(self) -> T:
        """What is there now; afterwards it is as before anything was put there."""
        return st.session_state.pop(self.name, self.default)


PERSON: Key[Person | None] = Key("person", None)  # who signed in, in a class
ROUTED: Key[bool] = Key("routed", False)  # the page about to run was called by app.py
DATA: Key[str | None] = Key("data", None)  # the data set or corpus last looked at
MODEL: Key[str | None] = Key("model", None)  # the model last composed with
PAGE: Key[str] = Key("page", "")  # the page shown last
NOTE: Key[str] = Key("note", "")  # what Library says once, after what was uploaded is kept
UPLOADS: Key[int] = Key("uploads", 0)  # how often files were taken in: each time the uploader is a new, empty one
LISTENING: Key[str | None] = Key(
    "listening", None
)  # fingerprint of the piece that was asked to play, on this page
TICKED: Key[list[str]] = Key("ticked", [])  # the files ticked in the Library's table when the page was drawn last
HOME_PIECE: Key[tuple[str, int] | None] = Key("home_piece", None)  # model and seed of the piece on Home
REQUEST: Key[Request | None] = Key("request", None)  # what Compose was last asked for
RESTORE: Key[bool] = Key("restore", False)  # the controls of Compose shall show what REQUEST was composed with
LINK: Key[dict[str, str]] = Key("link", {})  # the address that Compose has answered
NOTED: Key[tuple[Request, list[str]] | None] = Key("noted", None)  # a request and the pieces of it in the history
DENSITY: Key[Any] = Key("density", None)  # where the controls stood that compose anew as soon as they are moved
LISTENER: Key[dict[str, str]] = Key("listener", {})  # who is listening, by test
ASKED: Key[tuple[str, float]] = Key("asked", ("", 0.0))  # the trial on the page, and since when
VOTE_PROBLEM: Key[str] = Key("vote_problem", "")  # why the last vote could not be kept
