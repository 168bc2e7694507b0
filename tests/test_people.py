"""Several users: who comes in, whose things are whose, and that nobody sees another's."""

import sys
from pathlib import Path

import pytest
import users
from conftest import scale_song
from streamlit.testing.v1 import AppTest

from deepmusician import checkpoint, history, listening, listening_store, people, workspace
from deepmusician.capsule import import_run
from deepmusician.cli import main
from deepmusician.errors import CheckpointError, DoorError, LibraryError, QuotaError, RunError
from deepmusician.ingest import ingest
from deepmusician.library import read_source
from deepmusician.options import TrainOptions
from deepmusician.runs import Status, new_run, open_run
from deepmusician.serve_verb import is_here, prepare
from deepmusician.shelf import list_data_sets, save_data_set
from deepmusician.slots import training_slot
from deepmusician.store import DataSet, Entry

APP = str(Path(__file__).parents[1] / "app.py")
CODE = "code-of-the-class"
SONG = scale_song(60, 4)


@pytest.fixture
def several(home, monkeypatch):
    """A studio open to a class, in which each thread is one person by the id in what this gives."""
    monkeypatch.setenv(workspace.DOOR_VARIABLE, people.CLASS)
    monkeypatch.setattr(people, "_COST", {"n": 2, "r": 1, "p": 1})
    people._wrong.clear()
    with users.classroom() as who:
        yield who


# ---- the door


def test_alone_nobody_signs_in(home):
    assert workspace.alone() and workspace.workspace() == workspace.home() == home


def test_where_nobody_signed_in_there_is_no_workspace(home, monkeypatch):
    monkeypatch.setenv(workspace.DOOR_VARIABLE, people.CLASS)
    with pytest.raises(LibraryError, match="sign in first"):
        list_data_sets()


def test_a_name_opens_with_the_word_it_was_taken_with_and_no_other(several, home):
    anna = people.enter(" Anna  B ", "my own word", CODE, CODE)
    assert anna == people.enter("anna b", "my own word", CODE.upper(), CODE)  # called as she first wrote it
    assert anna.name == "Anna B"
    with pytest.raises(DoorError, match="opens with another word"):
        people.enter("Anna B", "my old word", CODE, CODE)
    assert people.enter("Anna C", "my own word", CODE, CODE).id != anna.id
    kept = (home / "people" / people.REGISTER).read_text()
    assert "my own word" not in kept and people.names() == ["Anna B", "Anna C"]


def test_without_the_code_nobody_comes_in(several):
    with pytest.raises(DoorError, match="not the code of this class"):
        people.enter("Anna", "my own word", "guessed", CODE)
    assert people.names() == []


def test_guessing_words_is_slow(several, monkeypatch):
    people.enter("Anna", "my own word", CODE, CODE)
    for _ in range(people.TRIES):
        with pytest.raises(DoorError, match="another word"):
            people.enter("Anna", "guessed", CODE, CODE)
    with pytest.raises(DoorError, match="wait 60 seconds"):
        people.enter("Anna", "my own word", CODE, CODE)
    now = people.time.monotonic()
    monkeypatch.setattr(people.time, "monotonic", lambda: now + people.PAUSE + 1)
    assert people.enter("Anna", "my own word", CODE, CODE).name == "Anna"


def test_a_forgotten_word_is_chosen_anew_and_the_folder_stays(several, capsys):
    anna = people.enter("Anna", "my own word", CODE, CODE)
    assert main(["serve", "--forget", "Anna"]) == 0
    assert people.enter("Anna", "another word", CODE, CODE) == anna
    assert main(["serve", "--names"]) == 0
    assert capsys.readouterr().out == "Anna\n"


@pytest.mark.parametrize(("name", "word"), [("", "my own word"), ("Anna", "short"), ("A" * 41, "my own word")])
def test_unfit_names_and_words_are_refused(several, name, word):
    with pytest.raises(DoorError, match="must have"):
        people.enter(name, word, CODE, CODE)


def test_a_provider_is_told_apart_from_every_other():
    one = people.known_by("https://a", "b", "Anna")
    assert len({one.id, people.known_by("https://", "ab", "Anna").id, people.known_by("https://a", "c", "").id}) == 3
    with pytest.raises(DoorError, match="names nobody"):
        people.known_by("https://a", "", "Anna")


# ---- opening it


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.168.1.7", "studio.example.org", ""])
def test_it_opens_to_nobody_unknown(address, capsys):
    assert main(["serve", f"--address={address}"]) == 2
    assert "open it with `deepmusician serve --class` or `--oidc`, or at 127.0.0.1" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "localhost"])
def test_it_opens_here(address):
    command, environment = prepare(address, 8600, None)
    assert is_here(address) and command[-2:] == [f"--server.address={address}", "--server.port=8600"]
    assert workspace.DOOR_VARIABLE not in environment


def test_a_class_has_a_code(home):
    codes = {prepare("0.0.0.0", 8501, people.CLASS)[1][workspace.CODE_VARIABLE] for _ in range(20)}
    assert len(codes) == 20
    assert prepare("0.0.0.0", 8501, people.CLASS, "seven-notes")[1][workspace.CODE_VARIABLE] == "seven-notes"
    with pytest.raises(DoorError, match="6 to 80"):
        prepare("0.0.0.0", 8501, people.CLASS, "abc")
    with pytest.raises(DoorError, match="give --class"):
        prepare("127.0.0.1", 8501, None, "seven-notes")


def test_oidc_asks_for_what_it_needs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("deepmusician.serve_verb.ROOT", tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "app.py").touch()
    with pytest.raises(DoorError, match=r"needs \[auth\] in"):
        prepare("0.0.0.0", 8501, people.OIDC)
    secrets = tmp_path / ".streamlit" / "secrets.toml"
    secrets.parent.mkdir()
    secrets.write_text('[auth]\nredirect_uri = "https://x/oauth2callback"\ncookie_secret = "short"\n')
    with pytest.raises(DoorError, match="lacks client_id, client_secret, server_metadata_url"):
        prepare("0.0.0.0", 8501, people.OIDC)
    rest = "".join(f'{name} = "x"\n' for name in ("client_id", "client_secret", "server_metadata_url"))
    secrets.write_text(secrets.read_text() + rest)
    with pytest.raises(DoorError, match="32 random letters"):
        prepare("0.0.0.0", 8501, people.OIDC)
    secrets.write_text(secrets.read_text().replace('"short"', f'"{"x" * 32}"'))
    for missing in (("httpx", "httpx2"), ("authlib",)):  # newer releases of Authlib take either of the two
        with monkeypatch.context() as without:
            for name in [n for n in sys.modules if n.split(".")[0] in ("httpx", "httpx2", "authlib")]:
                without.delitem(sys.modules, name)
            for package in missing:
                without.setitem(sys.modules, package, None)
            with pytest.raises(DoorError, match=rf"sign anybody in \(.*{missing[0]}.*; pip install 'Authlib>=.* httpx"):
                prepare("0.0.0.0", 8501, people.OIDC)
            assert main(["serve", "--oidc", "--address", "0.0.0.0"]) == 2
            said = capsys.readouterr().err
            assert said.count("\n") == 1 and "pip install 'Authlib>=1.3.2,<2' httpx" in said


# ---- whose is what


def test_twenty_users_at_once_see_nothing_of_each_other(several):
    seen = users.simulate(several, 20, 16)
    assert users.of_others(seen) == [set()] * 20
    assert sum(counter.total() for counter in seen) > 60


def test_a_model_of_another_is_found_under_no_name(several, small_run, home):
    theirs = workspace.person_folder("a" * 32) / "runs" / "small"
    theirs.parent.mkdir(parents=True)
    small_run.rename(theirs)
    several.id = "a" * 32
    assert checkpoint.find("small") and checkpoint.find("small@1")
    several.id = "b" * 32
    for name in ("small", "small@1", str(theirs), f"{theirs}@1", f"../../{'a' * 32}/runs/small"):
        with pytest.raises(CheckpointError):
            checkpoint.find(name)
    with pytest.raises(RunError):
        open_run("small")
    assert checkpoint.find("bach-chorales")  # what comes with the studio is everybody's


def test_files_of_the_server_are_not_music_to_train_on(several, midi_folder):
    several.id = "b" * 32
    with pytest.raises(LibraryError, match="nothing called my-midi in your workspace"):
        read_source(midi_folder)


def test_a_process_at_work_for_one_knows_their_folder_alone(several, monkeypatch, home):
    monkeypatch.setenv(workspace.CODE_VARIABLE, CODE)
    several.id = "b" * 32
    known = workspace.own_environment()
    assert known[workspace.HOME_VARIABLE] == str(home / "people" / ("b" * 32))
    assert CODE not in known.values() and workspace.DOOR_VARIABLE not in known
    monkeypatch.setattr("os.environ", known)
    workspace.set_whose(None)
    assert workspace.workspace() == home / "people" / ("b" * 32) and workspace.home() == home
    assert not workspace.alone()  # files outside stay closed to it


def test_persons_wait_for_one_another_and_are_not_told_for_whom(several):
    several.id = "a" * 32
    first = new_run(TrainOptions(path="bach-chorales"), "secret")
    said = []
    with training_slot(first, lambda: False):
        several.id = "b" * 32
        second = new_run(TrainOptions(path="bach-chorales"), "mine")
        with second.lock(), training_slot(second, lambda: bool(said.append(second.status().message)) or len(said) > 1):
            pass
    assert said[-1] == "Waiting until a training that is not yours has finished."


def test_who_keeps_as_much_as_one_may_is_told_so_and_keeps_it(several, home, monkeypatch, midi_folder):
    monkeypatch.setenv("DEEPMUSICIAN_MAX_PERSON_MB", "1")
    several.id = "a" * 32
    tunes = DataSet("tunes", (Entry.of("a", SONG),))
    save_data_set(tunes, "tunes")
    (workspace.workspace() / "much").write_bytes(bytes(1_100_000))
    for save in (
        lambda: save_data_set(tunes, "more"),
        lambda: new_run(TrainOptions(path="library:tunes")),
        lambda: history.add(history.Request("bach-chorales", options={"seed": 1}), SONG, "a", "0" * 16),
        lambda: history.keep_song(SONG),
        lambda: import_run(b"whatever"),
        lambda: ingest([midi_folder], "many"),
        lambda: listening.new_test(None, listening.ListeningOptions("bach-chorales")),
    ):
        with pytest.raises(QuotaError, match="you keep 1 MB here, and each person may keep 1; delete"):
            save()
    assert list_data_sets() == ["tunes"]
    several.id = "b" * 32  # nobody else is held up
    save_data_set(tunes, "more")
    several.id = "a" * 32
    (workspace.workspace() / "much").unlink()
    save_data_set(tunes, "more")


def test_one_person_does_not_take_every_place_to_train(several, monkeypatch):
    monkeypatch.setenv("DEEPMUSICIAN_MAX_RUNS", "3")
    monkeypatch.setattr("deepmusician.slots.time.sleep", lambda seconds: None)
    several.id = "a" * 32
    first, second = (new_run(TrainOptions(path="bach-chorales"), name) for name in ("first", "second"))

    def waits(run):
        said = []
        with run.lock(), training_slot(run, lambda: bool(said.append(run.status().message)) or len(said) > 2):
            return said[-1]

    with first.lock(), training_slot(first, lambda: False):
        first.write_status(Status("training"))
        assert waits(second) == "Waiting until first has finished."
        several.id = "b" * 32
        assert "Waiting" not in waits(new_run(TrainOptions(path="bach-chorales"), "theirs"))
        several.id = "a" * 32
        monkeypatch.setenv("DEEPMUSICIAN_MAX_PERSON_RUNS", "2")
        third = new_run(TrainOptions(path="bach-chorales"), "third")
        assert "Waiting" not in waits(third)


def test_what_was_opened_is_reached_by_its_token_alone(several):
    token = "0123456789abcdef"
    several.id = "a" * 32
    history.add(history.Request("bach-chorales", options={"seed": 1}), SONG, "Anna's", "0" * 16)
    workspace.share(token)
    several.id = None  # a stranger
    with workspace.visiting(token):
        assert [piece.title for piece in history.history()] == ["Anna's"]
    for other in ("fedcba9876543210", "../people", ""):
        with pytest.raises(LibraryError, match="this link"), workspace.visiting(other):
            pass
    several.id = "b" * 32
    assert history.history() == []
    with pytest.raises(LibraryError, match="only who opened"):
        workspace.unshare(token)
    several.id = "a" * 32
    workspace.unshare(token)
    with pytest.raises(LibraryError, match="leads nowhere"), workspace.visiting(token):
        pass


def test_what_one_who_was_alone_opened_is_reached_when_a_class_comes_in(home, monkeypatch):
    workspace.share("0123456789abcdef")
    monkeypatch.setenv(workspace.DOOR_VARIABLE, people.CLASS)
    with workspace.visiting("0123456789abcdef"):
        assert workspace.workspace() == home
    with pytest.raises(LibraryError, match="sign in first"):
        workspace.workspace()


def test_an_opened_listening_test_is_found_by_its_address_until_it_is_deleted(several):
    test = listening_store.ListeningTest("0123456789abcdef", "blind", listening_store.HUMAN, {}, 1.0)
    several.id = "a" * 32
    engine = listening_store.open_store()
    listening_store.add_test(engine, test, [listening_store.Trial("1" * 16, test.id, "human", "clip")])
    workspace.share(test.id)
    several.id = "b" * 32
    assert listening_store.list_tests(listening_store.open_store()) == []
    with workspace.visiting(test.id):
        assert [t.title for t in listening_store.list_tests(listening_store.open_store())] == ["blind"]
    several.id = "a" * 32
    listening.delete_test(engine, test)
    with pytest.raises(LibraryError, match="leads nowhere"), workspace.visiting(test.id):
        pass


# ---- the pages


def gate():
    from ui import people

    people.badge() if people.has_come_in() else people.door()


def test_the_door_opens_to_who_knows_the_code_and_the_word(several, monkeypatch):
    monkeypatch.setenv(workspace.CODE_VARIABLE, CODE)
    at = AppTest.from_function(gate).run()
    name = "*Anna*"
    for code, word in (("guessed", "a word"), (CODE, "short"), (CODE, "a word")):
        at.text_input("door.code").set_value(code)
        at.text_input("door.name").set_value(name)
        at.text_input("door.word").set_value(word)
        at.button[0].click().run()
        assert bool(at.error) == (word != "a word" or code != CODE)
    assert at.caption[0].value == r":material/person: \*Anna\*"  # no Markdown
    at.button("door.out").click().run()
    assert len(at.text_input) == 3 and "person" not in at.session_state


def test_each_finds_their_own_on_the_pages_and_nobody_past_the_door(several, monkeypatch):
    monkeypatch.setenv(workspace.CODE_VARIABLE, CODE)
    for name in ("Anna", "Ben"):
        person = people.enter(name, "my own word", CODE, CODE)
        with workspace.acting_in(workspace.person_folder(person.id)):
            new_run(TrainOptions(path="bach-chorales"), f"run of {name}").write_status(Status("finished"))
        at = AppTest.from_file(APP, default_timeout=60)
        at.session_state["person"] = person
        at.run().switch_page("pages/train.py").run()
        assert not at.exception
        assert [run for run in at.selectbox[0].options if run.startswith("run of")] == [f"run of {name}"]
        at.query_params["run"] = "run of Anna"  # a link of hers
        at.run()
        assert any("There is no training called run of Anna" in w.value for w in at.warning) == (name == "Ben")
    closed = AppTest.from_file(APP, default_timeout=60).run()
    for _ in range(2):
        assert closed.title[0].value == "Deep Musician" and len(closed.text_input) == 3
        closed.switch_page("pages/train.py").run()


def test_what_a_sentence_names_is_no_markup_however_it_is_put():
    from ui.page import sentence

    assert sentence("use `serve --class`, or [x](y)") == r"Use `serve --class`, or \[x\](y)."
    assert sentence("<b>: a *b* :red[x]!") == r"\<b>: a \*b\* \:red\[x\]!"
    for name in ("```![x](u)`", "`a``b`![x](u)`c`", r"\`![x](u)`"):  # would end or begin code in ways of their own
        assert r"!\[x\](u)" in sentence(name)


def test_the_studio_stays_closed_at_an_open_address(home, monkeypatch):
    from ui import people as door

    monkeypatch.setattr(door.st, "get_option", lambda name: {"server.address": "0.0.0.0"}.get(name))
    at = AppTest.from_file(APP, default_timeout=60).run()
    assert "stays closed: at 0.0.0.0" in at.error[0].value and not at.title
