"""Taking a listening test: the welcome, one question after the other, and the truth at the end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import streamlit as st

from deepmusician import listening, listening_results
from deepmusician import listening_store as store
from deepmusician.listening import CATCH, FIRST, HUMAN, MACHINE, PREFERENCE, SECOND, ListeningTest, Trial
from ui import audio, keys
from ui.page import plain
from ui.words import count

if TYPE_CHECKING:
    from sqlalchemy import Engine

CALLED = {HUMAN: "by a person", MACHINE: "by a machine", CATCH: "shuffled notes"}
LONGEST_SECONDS = 600.0  # who comes back later was not thinking all the while


def take(engine: Engine, name: str) -> None:
    """Lead a listener through the test; a reload goes on where they were."""
    test = store.find_test(engine, name)
    trials = store.trials_of(engine, test.id)
    listener = _listener(engine, test)
    st.subheader(plain(test.title), anchor=False)
    if listener is None:
        _welcome(engine, test, trials)
        return
    order = listening.order_for(listener.id, trials)
    answers = {vote.trial: vote.answer for vote in store.votes_of(engine, test.id, listener.id)}
    ahead = [trial for trial in order if trial.id not in answers]
    if ahead:
        _question(engine, test, listener.id, ahead[0], len(order) - len(ahead), len(order))
    else:
        _truth(test, listener, order, answers)


def _listener(engine: Engine, test: ListeningTest) -> store.Listener | None:
    """Who is listening, by the address or the session; None before they began."""
    id = st.query_params.get("me") or keys.LISTENER.get().get(test.id)
    listener = store.find_listener(engine, test.id, id) if id else None
    if listener:
        st.query_params["me"] = listener.id  # a reload begins a new session: the address remembers
    return listener


def _welcome(engine: Engine, test: ListeningTest, trials: list[Trial]) -> None:
    about = test.about
    n, seconds = len(trials), f"{about['seconds']:g} seconds"
    if test.kind == HUMAN:
        what = f"You hear **{count(n, 'clip')}** of {seconds}. Some are by people, some by a machine. Which is which?"
    else:
        what = f"You hear **{count(n, 'pair')}** of clips of {seconds}. Which of the two do you like better?"
    st.markdown(
        f"{what} There are no hints on the way; you see at the end how you did. It takes about "
        f"{count(max(about['minutes'], 1), 'minute')}, best with headphones. Reload or come back whenever you "
        "like: you go on where you were."
    )
    with st.form("listen.begin", border=False):
        name = st.text_input("Your name, if you like", max_chars=store.NAME_CHARS, placeholder="anonymous")
        if st.form_submit_button("Begin", type="primary", icon=":material/headphones:", width="stretch"):
            listener = store.add_listener(engine, test.id, name)
            keys.LISTENER.set({**keys.LISTENER.get(), test.id: listener.id})
            st.query_params["me"] = listener.id
            st.rerun()


def _question(engine: Engine, test: ListeningTest, listener: str, trial: Trial, done: int, total: int) -> None:
    if keys.ASKED.get()[0] != trial.id:
        keys.ASKED.set((trial.id, time.monotonic()))
    word = "Pair" if test.kind == PREFERENCE else "Clip"
    st.progress(done / total, f"{word} {done + 1} of {total}")

    def answer(label: str, value: str, icon: str) -> None:
        st.button(
            label, key=f"listen.{trial.id}.{value}", on_click=_vote, args=(engine, test, listener, trial.id, value),
            icon=icon, width="stretch", type="primary",
        )  # fmt: skip  # the key holds the trial: a second click cannot answer the next one

    if test.kind == HUMAN:
        _play(trial, FIRST, autoplay=done > 0)
        left, right = st.columns(2)
        with left:
            answer("A person", HUMAN, ":material/person:")
        with right:
            answer("A machine", MACHINE, ":material/memory:")
        return
    side = listening.left_side(listener, trial)
    for column, name, which in zip(st.columns(2), "AB", (side, SECOND if side == FIRST else FIRST), strict=True):
        with column, st.container(border=True):
            st.markdown(f"**{name}**")
            _play(trial, which)
            answer(f"I prefer {name}", which, ":material/favorite:")


def _play(trial: Trial, which: str, autoplay: bool = False) -> None:
    st.audio(audio.with_identity(listening.read_clip(trial, which), "wav"), "audio/wav", autoplay=autoplay)


def _vote(engine: Engine, test: ListeningTest, listener: str, trial: str, answer: str) -> None:
    from deepmusician.errors import DeepMusicianError

    asked, since = keys.ASKED.get()
    seconds = min(time.monotonic() - since, LONGEST_SECONDS) if asked == trial else 0.0
    try:
        listening.vote(engine, test, listener, trial, answer, seconds)
    except DeepMusicianError as error:  # the question stays; this says why
        keys.VOTE_PROBLEM.set(str(error))


def _truth(test: ListeningTest, listener: store.Listener, order: list[Trial], answers: dict[str, str]) -> None:
    votes = [store.Vote(listener.id, trial, answer, 0.0, 0.0) for trial, answer in answers.items()]
    mine = listening_results.tally(listener, order, votes)
    you = f", {plain(listener.name)}" if listener.name else ""
    st.success(f"Thank you{you}! All answers are in.", icon=":material/check:")
    if not mine.passed:
        st.warning(
            "At least once you took shuffled notes for music, which were there to tell who listens. Your votes are "
            "kept, but not counted.",
            icon=":material/hearing_disabled:",
        )
    if test.kind == HUMAN:
        st.markdown(
            f"You were right on **{mine.right.k} of {mine.right.n}** clips; guessing gives half. The machine fooled "
            f"you **{count(mine.fooled.k, 'time')}** out of {mine.fooled.n}."
        )
        rows = [
            (i, f"{'✓' if answers[t.id] == t.truth else '✗'} {CALLED[answers[t.id]]}", CALLED[t.kind], t.source)
            for i, t in enumerate(order, 1)
        ]
        names = ("Clip", "You said", "It was", "From")
    else:
        first, second = test.about["titles"]
        st.markdown(f"You preferred {plain(first)} **{mine.first.k} of {mine.first.n}** times.")
        called = {FIRST: first, SECOND: second}
        rows = [
            (i, "shuffled notes" if t.kind == CATCH and answers[t.id] == SECOND else called[answers[t.id]],
             "a catch trial" if t.kind == CATCH else "")
            for i, t in enumerate(order, 1)
        ]  # fmt: skip
        names = ("Pair", "You preferred", "")
    st.dataframe([dict(zip(names, row, strict=True)) for row in rows], hide_index=True, width="stretch")
    numbers = range(1, len(order) + 1)
    again = st.selectbox("Hear one again", numbers, format_func=lambda i: f"{names[0]} {i}", index=None)
    if again:
        trial = order[again - 1]
        for which in (FIRST, SECOND)[: 1 + bool(trial.other)]:
            _play(trial, which)
