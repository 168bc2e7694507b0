"""How a listening test is made, and its address told: what is asked first, and what more there is to choose."""

from __future__ import annotations

import socket
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import streamlit as st

from deepmusician import listening_store as store
from deepmusician.listening import ListeningOptions, ListeningTest, new_test
from deepmusician.options import TEMPO_BPM
from ui import cached, keys
from ui.compose_form import choose_program
from ui.library_form import data_titles
from ui.models import all_models
from ui.page import plain
from ui.words import count

if TYPE_CHECKING:
    from sqlalchemy import Engine

HUMAN, PREFERENCE = "Human or machine?", "A or B?"
HELD_OUT = "Songs the model was not shown"
HERE_ONLY = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Choice:
    """A model that can be listened to: as the package finds it, and as the page calls it."""

    source: str
    title: str
    tempo_bpm: float = TEMPO_BPM
    program: int = 0


def database() -> Engine:
    """The votes' database, by Streamlit's connection of this server. Raises ListeningError."""
    url = store.database_url()
    with store.speaking_of_drivers():
        connection = st.connection("deepmusician_votes", type="sql", url=url, **store.engine_options(url))
    return store.prepare(connection.engine)


def models() -> list[Choice]:
    """Every model that composes."""
    return [Choice(m.id.removeprefix("run-"), m.title, **m.composing) for m in all_models().values()]


def models_and_epochs() -> list[Choice]:
    """Every model that composes, and those that runs kept of single epochs."""
    from deepmusician.milestones import timeline
    from deepmusician.runs import list_runs

    composing = {choice.source: choice for choice in models()}
    epochs = [
        replace(
            composing[run.name], source=f"{run.name}@{moment.epoch}", title=f"{run.name} after epoch {moment.epoch}"
        )
        for run in list_runs()
        if run.name in composing
        for moment in timeline(run)
        if moment.model and moment.model.parent.name == "milestones"
    ]
    return [*models(), *epochs]


def make_test(engine: Engine) -> None:
    """The form for a new test; shows the test when it is made."""
    known = models()
    if not known:
        st.info("There is no model to listen to yet: train one first.", icon=":material/school:")
        return
    kind = st.segmented_control(
        "Question", (HUMAN, PREFERENCE), default=HUMAN, required=True, key="listen.kind", persist_state="session",
        help="Is it by a person? Or: of two models, or two epochs of one training, which is preferred?",
    )  # fmt: skip
    with st.container(border=True):
        model, chosen = _human(known) if kind == HUMAN else _preference()
        with st.expander("More choices", icon=":material/tune:"):
            chosen |= _more(kind, model)
        made = st.button("Make the test", type="primary", icon=":material/hearing:")
        if problem := cached.sound_problem():
            st.info(f"A listening test needs sound: {problem}", icon=":material/volume_off:")
    if made:
        options = ListeningOptions(**chosen)
        with cached.progress_bar("Composing and recording clips") as progress:
            test = new_test(engine, options, progress)
        show(test)
        st.rerun()


def show(test: ListeningTest | None) -> None:
    """Let the page show this test; the address holds it."""
    if test is None:
        st.query_params.pop("results", None)
    else:
        st.query_params["results"] = test.id


def _human(known: list[Choice]) -> tuple[Choice, dict[str, Any]]:
    left, right = st.columns(2)
    with left:
        model = _choose("The machine", known, "listen.model")
    titles = data_titles()
    with right:
        music = st.selectbox(
            "The people", [None, *titles], key="listen.music", persist_state="session",
            format_func=lambda name: HELD_OUT if name is None else titles[name],
            help="Whatever you choose, songs that the model learnt from are not used.",
        )  # fmt: skip
    return model, {"model": model.source, "titles": (model.title,), "music": music}


def _preference() -> tuple[Choice, dict[str, Any]]:
    known = models_and_epochs()
    left, right = st.columns(2)
    with left:
        first = _choose("One", known, "listen.first")
    with right:
        second = _choose("The other", known, "listen.second", min(1, len(known) - 1))
    return first, {"model": first.source, "against": second.source, "titles": (first.title, second.title)}


def _choose(label: str, known: list[Choice], key: str, index: int = 0) -> Choice:
    titles = {choice.source: choice for choice in known}
    wanted = keys.MODEL.get()
    if key == "listen.model" and wanted and wanted.removeprefix("run-") in titles:
        index = list(titles).index(wanted.removeprefix("run-"))
    source = st.selectbox(
        label, list(titles), index, format_func=lambda name: titles[name].title, key=key, persist_state="session"
    )
    return titles[source]


def _more(kind: str, model: Choice) -> dict[str, Any]:
    left, right = st.columns(2)
    with left:
        clips = st.select_slider(
            "Clips", (8, 12, 16, 20, 24), 12, key="listen.clips", persist_state="session",
            help="Half by people, half by the machine; or half as many pairs. Catch trials come on top.",
        )  # fmt: skip
        seconds = st.select_slider(
            "Seconds a clip", (6, 8, 10, 15, 20), 10, key="listen.seconds", persist_state="session"
        )
        catches = st.select_slider(
            "Catch trials", (1, 2, 3, 4), 2, key="listen.catches", persist_state="session",
            help="Shuffled notes, plain to hear. Who takes them for music was not listening and is left out.",
        )  # fmt: skip
    with right:
        tempo = st.slider(
            "Tempo", 40, 200, round(model.tempo_bpm), key=f"listen.tempo.{model.source}", persist_state="session",
            help="The same for every clip; it begins with what suits the model.",
        )  # fmt: skip
        program = choose_program(f"listen.{model.source}", model.program)
        bound = st.select_slider(
            "Counts as the same", (5, 10, 15, 20), 10, key="listen.bound", persist_state="session",
            format_func=lambda points: f"50 ± {points} %",
            help="Chosen now, not after the votes: within it, it is equivalent. Narrower needs more votes.",
        )  # fmt: skip
    title = st.text_input("Title", placeholder="what listeners read above the test", max_chars=80, key="listen.title")
    options = {
        "clips": clips, "seconds": float(seconds), "catches": catches, "tempo_bpm": float(tempo), "program": program,
        "bound": bound / 100, "title": title, "seed": st.number_input("Seed", 0, 9999, 0, key="listen.seed"),
    }  # fmt: skip
    minutes = ListeningOptions("", "" if kind == HUMAN else "x", **options).minutes
    st.caption(f"It takes about {count(minutes, 'minute')}.")
    return options


# ---- the address


def tell_address(test: ListeningTest) -> None:
    """Where the test is taken, here and by friends on the same network."""
    port, base = st.get_option("server.port"), str(st.get_option("server.baseUrlPath") or "").strip("/")
    path = f"{base}/listen?test={test.id}" if base else f"listen?test={test.id}"
    if str(st.get_option("server.address")) in HERE_ONLY:
        st.markdown("Take it on this computer:")
        st.code(f"http://127.0.0.1:{port}/{path}", language=None)
        with st.popover("Send it to friends", icon=":material/share:"):
            st.markdown(
                "The studio answers this computer only. To let phones and computers on the same network in, stop it "
                "and start it with:"
            )
            st.code("deepmusician serve --class --address 0.0.0.0", language=None)
            st.markdown("The test is then found at:")
            st.code(f"http://{own_address()}:{port}/{path}", language=None)
            st.markdown(
                "Friends come in with the code it prints, a name and a word of their own, and see nothing of yours "
                "but the test. A test that you made alone stays yours: look at its votes when you are alone again."
            )
        return
    st.markdown("Send this address to friends on the same network:")
    st.code(f"http://{own_address()}:{port}/{path}", language=None)
    st.caption("They sign in as you did, and see nothing of yours but the test.")


def own_address() -> str:
    """This computer's address on its network; nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.168.255.255", 9))  # of a datagram socket: only chooses the way
            return probe.getsockname()[0]
        except OSError:
            return socket.gethostname()


def how_it_was_made(test: ListeningTest) -> None:
    """Everything the clips have in common, for whoever doubts."""
    about = test.about
    passed = about.get("passed_over", {})
    lines = [
        f"**Models** {plain(', '.join(about['titles']))}",
        *([f"**People** {plain(about['music'])}"] if about.get("music") else []),
        f"**Every clip** {about['seconds']:g} s at {about['tempo_bpm']:g} beats a minute, {about['instrument']}, "
        f"frames of {about['grid']['division']} of a whole note, {about['soundfont']}, equally loud (ITU-R BS.1770)",
        "**Passed over because too little sounded** " + ", ".join(f"{plain(who)}: {n}" for who, n in passed.items()),
    ]
    st.markdown("  \n".join(lines))
