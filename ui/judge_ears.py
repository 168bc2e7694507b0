"""What the Judge page shows of the blind tests of a model: what its listeners said, and the way to ask some."""

from __future__ import annotations

import streamlit as st

from deepmusician import listening_results, listening_words
from deepmusician.checkpoint import fingerprint
from deepmusician.errors import ListeningError
from ui import router
from ui.listen_form import database
from ui.models import Model
from ui.page import plain, sentence


def show(model: Model) -> None:
    """A paragraph for each test; where there is none, what one would tell."""
    try:
        found = listening_results.of_model(database(), fingerprint(model.path))
    except ListeningError as error:
        st.error(sentence(str(error)), icon=":material/error:")
        return
    for results in found:
        with st.container(border=True):
            st.markdown(f"**{plain(results.test.title)}**: {plain(listening_words.headline(results))}")
            for line in listening_words.findings(results)[:2]:
                st.markdown(f"- {plain(line)}")
            st.markdown(plain(listening_words.verdict(results)))
            st.page_link(
                router.LISTEN, label="All that the votes say", icon=":material/hearing:",
                query_params={"results": results.test.id},
            )  # fmt: skip
    if not found:
        st.markdown(
            "Nobody has been asked yet. In a blind test of three minutes people say of each clip whether a person or "
            "a machine made it; what they said will stand here."
        )
        st.page_link(router.LISTEN, label="Make a blind test", icon=":material/hearing:")
