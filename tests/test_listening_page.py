"""Listen: the page as its maker and its listeners meet it, in every state."""

import re

import pytest
from streamlit.testing.v1 import AppTest
from test_app import APP, by_key, by_label, warm_server, well  # noqa: F401

from deepmusician import listening
from deepmusician import listening_store as store
from deepmusician.listening import HUMAN, MACHINE, PREFERENCE, ListeningOptions
from deepmusician.render import sound_problem
from ui import listen_form
from ui.page import plain
from ui.router import LISTEN

pytestmark = pytest.mark.skipif(sound_problem() is not None, reason=f"no sound: {sound_problem()}")
HOSTILE = "![x](https://example.org/x.png) <script>alert(1)</script> $a$"


@pytest.fixture(autouse=True)
def own_workspace(home, monkeypatch):
    monkeypatch.setattr("deepmusician.checkpoint.BUNDLED", home / "bundled")


@pytest.fixture
def engine(own_workspace):
    engine = store.open_store()
    yield engine
    engine.dispose()


@pytest.fixture
def test(engine, small_run):
    return listening.new_test(engine, ListeningOptions("small", title=HOSTILE, clips=4, seconds=3, catches=1))


def listen(**query):
    app = AppTest.from_file(APP, default_timeout=60)
    app.query_params.update(query)
    app.switch_page(LISTEN)
    return well(app.run())


def said(*lists):
    """All that some elements of the page say, without the signs that keep text text."""
    return " ".join(e.value for elements in lists for e in elements).replace("\\", "")


def answer(app, engine, right=True):
    """Give the right answer, or the wrong one, to the question on the page."""
    buttons = {b.key.split(".")[2]: b for b in app.button if b.key and b.key.startswith("listen.")}
    trial = next(b.key.split(".")[1] for b in app.button if b.key and b.key.startswith("listen."))
    of = next(t for test in store.list_tests(engine) for t in store.trials_of(engine, test.id) if t.id == trial)
    wrong = next(a for a in buttons if a != of.truth)
    return trial, well(buttons[of.truth if right else wrong].click().run())


def begin(test, name=""):
    app = listen(test=test.id)
    app.text_input[0].set_value(name)
    return well(by_label(app.button, "Begin").click().run())


def test_without_a_model_the_page_says_what_to_do(own_workspace):
    app = listen()
    assert "There is no model to listen to yet" in app.info[0].value
    assert any("three clicks away" in c.value for c in app.caption)


def test_a_test_is_made_in_three_clicks_and_its_address_told(engine, small_run):
    app = listen()
    assert by_key(app.selectbox, "listen.model").value == "small"  # click one, where there are several
    assert by_key(app.selectbox, "listen.music").value is None  # and two
    for key, value in (("listen.clips", 8), ("listen.seconds", 6)):
        by_key(app.select_slider, key).set_value(value)
    by_label(app.button, "Make the test").click()
    app = well(app.run())
    assert "excerpts of that length" in app.error[0].value  # one held-out song is not enough for eight clips
    assert store.list_tests(engine) == []


def test_two_epochs_of_a_run_are_compared(engine, small_run):
    app = listen()
    well(by_key(app.segmented_control, "listen.kind").set_value("A or B?").run())
    by_key(app.selectbox, "listen.first").set_value("small@0")
    by_key(app.selectbox, "listen.second").set_value("small@4")
    by_key(app.select_slider, "listen.seconds").set_value(6)
    by_key(app.select_slider, "listen.clips").set_value(8)
    by_key(app.select_slider, "listen.bound").set_value(15)
    app = well(by_label(app.button, "Make the test").click().run())
    assert not app.error
    (test,) = store.list_tests(engine)
    assert (test.kind, test.about["titles"]) == (PREFERENCE, ["small after epoch 0", "small after epoch 4"])
    assert (test.about["bound"], test.about["clips"], test.about["seconds"]) == (0.15, 8, 6)
    assert any(code.value.endswith(f"/listen?test={test.id}") for code in app.code)
    app = begin(test)
    for _ in range(6):
        assert len(app.get("audio")) == 2
        buttons = [b for b in app.button if b.label.startswith("I prefer")]
        app = well(buttons[0].click().run())
    assert "You preferred" in said(app.markdown)
    assert len(store.votes_of(engine, test.id)) == 6


def test_a_test_is_taken_to_its_end_without_hints_and_the_truth_comes_last(engine, test):
    app = begin(test, HOSTILE)
    seen = []
    for done in range(5):
        assert f"{done + 1} of 5" in app.get("progress")[0].proto.text
        assert not app.dataframe
        assert not app.success
        trial, app = answer(app, engine)
        seen.append(trial)
    assert len(set(seen)) == 5
    assert "You were right on **4 of 4** clips" in said(app.markdown)
    assert len(app.dataframe[0].value) == 5
    app = listen()
    assert "1 listener counts" in said(app.markdown)
    table = next(d.value for d in app.dataframe if "Listener" in d.value)
    assert list(table["Listener"]) == [HOSTILE[: store.NAME_CHARS].strip()]
    assert list(table["Right"]) == ["100%"]


def test_names_and_titles_stay_text(engine, test):
    app = begin(test, "<b>*me*</b>")
    for _ in range(5):
        _, app = answer(app, engine)
    shown = [e.value for e in (*app.success, *app.subheader, *app.markdown)]
    assert any("\\<b\\>\\*me\\*\\</b\\>" in text for text in shown)
    assert not any(re.search(r"(?<!\\)(<script|<b>|\]\(http)", text) for text in shown)
    assert plain("[a](b) $x$ # `c`\n\n- d") == "\\[a\\]\\(b\\) \\$x\\$ \\# \\`c\\` \\- d"


def test_a_reload_goes_on_where_the_listener_was(engine, test):
    app = begin(test)
    _, app = answer(app, engine)
    _, app = answer(app, engine)
    me = app.query_params["me"]
    waiting = next(b.key for b in app.button if b.key and b.key.startswith("listen."))
    again = listen(test=test.id, me=me)
    assert "3 of 5" in again.get("progress")[0].proto.text
    assert next(b.key for b in again.button if b.key and b.key.startswith("listen.")) == waiting
    assert len(store.listeners_of(engine, test.id)) == 1


def test_two_windows_of_one_listener_count_one_vote(engine, test):
    app = begin(test)
    other = listen(test=test.id, me=app.query_params["me"])
    answer(app, engine, right=True)
    trial, other = answer(other, engine, right=False)
    (vote,) = store.votes_of(engine, test.id)
    truth = {t.id: t.truth for t in store.trials_of(engine, test.id)}
    assert vote.answer == truth[trial]  # the first one stands
    assert "2 of 5" in other.get("progress")[0].proto.text


def test_who_takes_noise_for_music_is_told_at_the_end_and_left_out(engine, test):
    app = begin(test)
    for _ in range(5):
        _, app = answer(app, engine, right=False)
    assert "took shuffled notes for music" in app.warning[0].value
    app = listen()
    assert "0 listeners count; 1 left out" in said(app.markdown)
    assert list(next(d.value for d in app.dataframe if "Counts" in d.value)["Counts"]) == ["missed a catch trial"]


def test_many_votes_are_summed_and_drawn(engine, test):
    for i in range(3):
        me = store.add_listener(engine, test.id, f"listener {i}").id
        for trial in store.trials_of(engine, test.id):
            listening.vote(engine, test, me, trial.id, trial.truth if i or trial.kind != MACHINE else HUMAN)
    app = listen(results=test.id)
    told = said(app.markdown)
    assert "Machine taken for human: 33 % (2 of 6" in told
    assert "Called what they are: 83 % (10 of 12" in told
    assert any("data:image/png" in h.proto.body and "83 %" in h.proto.body for h in app.get("html"))


def test_an_address_that_leads_nowhere_is_told(engine, test):
    app = listen(test="gone")
    assert "There is no listening test called 'gone'" in app.error[0].value
    assert listen(results="gone").warning[0].value == "That test is gone; here are the ones there are."
    assert by_label(listen(test=test.id, me="nobody").button, "Begin")


def test_clips_that_are_gone_are_told(engine, test):
    for file in listening.folder_of(test.id).iterdir():
        file.unlink()
    assert "The sound of this clip is gone" in begin(test).error[0].value


def test_a_database_that_is_out_of_reach_is_told(engine, monkeypatch):
    monkeypatch.setenv(store.VARIABLE, "sqlite:////nowhere/votes.sqlite")
    assert "The votes in /nowhere/votes.sqlite cannot be reached" in listen().error[0].value


def test_a_test_is_deleted_with_its_clips(engine, test):
    app = listen(results=test.id)
    app = well(by_key(app.button, "listen.delete").click().run())
    assert store.list_tests(engine) == []
    assert not listening.folder_of(test.id).exists()


@pytest.mark.parametrize(("address", "open_to_all"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_the_address_to_send_says_how_to_open_the_studio(engine, test, address, open_to_all, monkeypatch):
    monkeypatch.setattr("ui.people.is_here", lambda address: True)  # whatever the door: see test_people
    real = listen_form.st.get_option
    monkeypatch.setattr(listen_form.st, "get_option", lambda name: address if name == "server.address" else real(name))
    app = listen(results=test.id)
    codes = [c.value for c in app.code]
    assert any(listen_form.own_address() in c for c in codes)
    assert any("deepmusician serve --class --address 0.0.0.0" in c for c in codes) != open_to_all
    assert "see nothing of yours but the test" in said(app.markdown, app.caption)
