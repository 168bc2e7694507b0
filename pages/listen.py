"""Listen: blind tests by human ears. Make one, send it to friends, take one, see what the votes say."""

import time

import streamlit as st

from deepmusician import listening
from deepmusician import listening_store as store
from deepmusician.workspace import visiting
from ui import keys
from ui.listen_form import database, how_it_was_made, make_test, show, tell_address
from ui.listen_results import show_results
from ui.listen_take import take
from ui.page import opening, plain, sentence

asked = st.query_params.get("test")
LEAD = "Trust your ears." if asked else (
    "Is it by a person or a machine? Which of two models is better? Make a blind test, let friends take it on their "
    "phones, and see what the votes prove, and what they do not."
)  # fmt: skip
opening("Listen", LEAD)

if asked:
    if problem := keys.VOTE_PROBLEM.take():
        st.error(sentence(problem), icon=":material/error:")
    with visiting(asked):  # where it was made, by whomever
        take(database(), asked)
    st.stop()

engine = database()
st.subheader("Make a test", anchor=False)
make_test(engine)

st.subheader("Your tests", anchor=False)
tests = {test.id: test for test in store.list_tests(engine)}
if not tests:
    st.caption("There is none yet. The first one is three clicks away: the machine, the people, “Make the test”.")
    st.stop()

wanted = st.query_params.get("results")
if wanted and wanted not in tests:
    st.warning("That test is gone; here are the ones there are.", icon=":material/search_off:")
st.session_state["listen.test"] = wanted if wanted in tests else next(iter(tests))
st.selectbox(
    "Test", list(tests), key="listen.test", on_change=lambda: show(tests[st.session_state["listen.test"]]),
    format_func=lambda i: f"{tests[i].title} ({time.strftime('%d %b %H:%M', time.localtime(tests[i].created))})",
)  # fmt: skip
test = tests[st.session_state["listen.test"]]
with st.container(border=True):
    tell_address(test)
    st.button(  # a link to the page one is on would lose what its address asks for
        "Take it now", icon=":material/headphones:", on_click=st.query_params.from_dict, args=({"test": test.id},)
    )
show_results(engine, test)
with st.expander("How it was made", icon=":material/science:"):
    how_it_was_made(test)
with st.popover("Delete", icon=":material/delete:"):
    st.markdown(f"The test “{plain(test.title)}” is removed with its clips and all votes, for good.")
    if st.button("Delete the test", type="primary", key="listen.delete"):
        listening.delete_test(engine, test)
        show(None)
        st.rerun()
