"""Votes in SQLite and in PostgreSQL: none lost, none twice, and the way from an older schema."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import postgresql
import pytest
import sqlalchemy as sa

from deepmusician import listening_store as store
from deepmusician.errors import ListeningError
from deepmusician.listening_store import CATCH, HUMAN, ListeningTest, Trial, Vote

LISTENERS = 50


@pytest.fixture(scope="module")
def postgres():
    with postgresql.server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, home, monkeypatch):
    """An empty database of each kind."""
    if request.param == "sqlite":
        return store.database_url()
    address = request.getfixturevalue("postgres")
    if address is None:
        pytest.skip("there is no PostgreSQL here: apt-get install postgresql")
    pytest.importorskip("psycopg", reason="PostgreSQL needs its driver: pip install 'psycopg[binary]'")
    monkeypatch.setenv(store.VARIABLE, address)
    engine = sa.create_engine(store.database_url())
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    engine.dispose()
    return store.database_url()


@pytest.fixture
def engine(url):
    engine = store.open_store(url)
    yield engine
    engine.dispose()


def small_test(engine, trials=4, id="t"):
    test = ListeningTest(id, "Which?", HUMAN, {"seconds": 3}, time.time())
    kinds = [HUMAN, "machine", CATCH]
    store.add_test(engine, test, [Trial(f"{id}{i}", id, kinds[i % 3], f"clip{i}") for i in range(trials)])
    return test


def test_what_is_kept_comes_back(engine):
    test = small_test(engine)
    listener = store.add_listener(engine, "t", "  Clara\nSchumann ")
    assert store.find_test(engine, "t") == store.find_test(engine, "Which?") == store.list_tests(engine)[0] == test
    assert [t.id for t in store.trials_of(engine, "t")] == ["t0", "t1", "t2", "t3"]
    assert listener.name == "Clara Schumann"
    assert store.find_listener(engine, "t", listener.id) == listener == store.listeners_of(engine, "t")[0]
    assert store.find_listener(engine, "other", listener.id) is None


def test_the_first_answer_stands_and_a_second_one_counts_nothing(engine):
    small_test(engine)
    me = store.add_listener(engine, "t").id
    assert store.cast_vote(engine, me, "t0", "human", 2.5)
    assert not store.cast_vote(engine, me, "t0", "machine")
    (vote,) = store.votes_of(engine, "t")
    assert vote == Vote(me, "t0", "human", vote.time, 2.5)


def test_a_vote_on_another_tests_trial_or_by_nobody_is_not_kept(engine):
    small_test(engine)
    small_test(engine, id="u")
    me = store.add_listener(engine, "t").id
    assert not store.cast_vote(engine, me, "u0", "human")
    assert not store.cast_vote(engine, "nobody", "t0", "human")
    assert store.votes_of(engine, "t") == store.votes_of(engine, "u") == []


def test_fifty_listeners_voting_at_once_lose_no_vote(url):
    engines = [store.open_store(url), store.open_store(url)]  # as two processes would
    small_test(engines[0], trials=6)
    together = Barrier(LISTENERS)

    def listen(number):
        engine = engines[number % 2]
        me = store.add_listener(engine, "t", f"listener {number}").id
        together.wait(30)
        kept = [store.cast_vote(engine, me, f"t{i}", "human" if (number + i) % 2 else "machine") for i in range(6)]
        again = [store.cast_vote(engine, me, f"t{i}", "machine") for i in range(6)]
        return me, kept, again

    with ThreadPoolExecutor(LISTENERS) as pool:
        done = list(pool.map(listen, range(LISTENERS)))
    votes = store.votes_of(engines[0], "t")
    assert len(votes) == LISTENERS * 6
    assert all(all(kept) and not any(again) for _, kept, again in done)
    answers = {(v.listener, v.trial): v.answer for v in votes}
    for number, (me, _, _) in enumerate(done):
        assert [answers[me, f"t{i}"] for i in range(6)] == [
            "human" if (number + i) % 2 else "machine" for i in range(6)
        ]
    for engine in engines:
        engine.dispose()


def test_a_deleted_test_takes_its_listeners_and_votes_along(engine):
    small_test(engine)
    me = store.add_listener(engine, "t").id
    store.cast_vote(engine, me, "t0", "human")
    store.delete_test(engine, "t")
    assert store.list_tests(engine) == store.listeners_of(engine, "t") == store.votes_of(engine, "t") == []
    with pytest.raises(ListeningError, match="no listening test called 't'"):
        store.find_test(engine, "t")
    with pytest.raises(ListeningError, match="this listening test is gone"):
        store.add_listener(engine, "t")


# ---- migrations


def test_an_older_database_is_brought_up_to_date_with_its_votes(url):
    engine = sa.create_engine(url)
    assert store.migrate(engine, store.MIGRATIONS[:1]) == 1
    with engine.begin() as connection:
        for statement in (
            "INSERT INTO listening_tests VALUES ('t', 'old', 'human', '{}', 1.0)",
            "INSERT INTO listening_trials VALUES ('t0', 't', 'human', 'c', '', 'human', '')",
            "INSERT INTO listening_listeners VALUES ('me', 't', '', 2.0)",
            "INSERT INTO listening_votes VALUES ('me', 't0', 'human', 3.0)",
        ):
            connection.exec_driver_sql(statement)
    store.prepare(engine)
    assert store.votes_of(engine, "t") == [Vote("me", "t0", "human", 3.0, 0.0)]
    assert store.migrate(engine) == len(store.MIGRATIONS)  # again does nothing
    engine.dispose()


def test_a_step_that_fails_leaves_the_database_as_it_was(url):
    engine = store.open_store(url)
    broken = (*store.MIGRATIONS, ("ALTER TABLE listening_tests ADD COLUMN more INTEGER", "NO SUCH STATEMENT"))
    with pytest.raises(ListeningError, match="cannot be reached"):
        store.migrate(engine, broken)
    assert "more" not in {column["name"] for column in sa.inspect(engine).get_columns("listening_tests")}
    assert store.migrate(engine) == len(store.MIGRATIONS)
    engine.dispose()


def test_several_that_migrate_at_once_wait_for_one_another(url):
    with ThreadPoolExecutor(8) as pool:
        engines = list(pool.map(lambda _: store.open_store(url), range(8)))
    small_test(engines[0])
    assert store.list_tests(engines[-1])
    for engine in engines:
        engine.dispose()


def test_the_tables_of_the_code_are_those_of_the_migrations(engine):
    inspector = sa.inspect(engine)
    for table in store._META.sorted_tables:
        assert {c["name"] for c in inspector.get_columns(table.name)} == set(table.columns.keys())


def test_a_database_of_a_newer_version_is_left_alone(url):
    engine = store.open_store(url)
    with engine.begin() as connection:
        connection.execute(sa.update(store._VERSION).values(version=99))
    with pytest.raises(
        ListeningError, match="kept in form 99, and this version of Deep Musician reads up to 2; update"
    ):
        store.prepare(engine)
    engine.dispose()


# ---- what a person reads where it cannot be


def test_sqlite_in_the_workspace_is_the_default_and_readers_do_not_wait_for_writers(home):
    engine = store.open_store()
    assert (home / "listening" / "votes.sqlite").is_file()
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 30_000
    engine.dispose()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("not an address", "DEEPMUSICIAN_DATABASE must be a database's address"),
        ("nothing://host/name", "names a database that is not known here"),
        ("mysql+nodriver://me:secret@host/name", "not known here"),
        ("sqlite:////nowhere/at/all.sqlite", "the votes in /nowhere/at/all.sqlite cannot be reached"),
    ],
)
def test_a_database_that_cannot_be_is_told_in_a_sentence(address, message, home, monkeypatch):
    monkeypatch.setenv(store.VARIABLE, address)
    with pytest.raises(ListeningError, match=message) as told:
        store.open_store()
    assert "secret" not in str(told.value)


def test_a_missing_driver_is_named(home, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    monkeypatch.setenv(store.VARIABLE, "postgresql://me:secret@127.0.0.1:1/name")
    with pytest.raises(ListeningError, match="pip install 'psycopg"):
        store.open_store()


def test_a_server_that_does_not_answer_is_told_without_its_password(home, monkeypatch):
    pytest.importorskip("psycopg", reason="PostgreSQL needs its driver: pip install 'psycopg[binary]'")
    monkeypatch.setenv(store.VARIABLE, "postgresql://me:secret@127.0.0.1:1/name")
    with pytest.raises(ListeningError, match=r"me:\*\*\*@127.0.0.1:1/name cannot be reached") as told:
        store.open_store()
    assert "secret" not in str(told.value)
