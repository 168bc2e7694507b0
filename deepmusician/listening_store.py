"""Where listening tests and their votes are kept: a SQL database, its schema, and the way from one version to the next.

SQLite in the workspace unless $DEEPMUSICIAN_DATABASE names another, such as postgresql://user:word@host/name. Every
vote is one statement of its own, and its primary key is (listener, trial): votes that come at once wait for one
another, none is lost, and none counts twice. Sound lies in files, not here. Knows nothing of music or statistics.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, IntegrityError, SQLAlchemyError

from deepmusician.errors import ListeningError
from deepmusician.workspace import alone, workspace

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

VARIABLE = "DEEPMUSICIAN_DATABASE"
BUSY_SECONDS = 30  # how long a vote waits for others before it
NAME_CHARS = 40  # of a listener's name
TITLE_CHARS = 80

HUMAN, PREFERENCE = "human", "preference"  # what a test asks
CATCH = "catch"  # a trial whose answer is plain


@dataclass(frozen=True)
class ListeningTest:
    """A listening test: `kind` is HUMAN (human or machine?) or PREFERENCE (A or B?); `about` is how it was made."""

    id: str
    title: str
    kind: str
    about: dict[str, Any] = field(default_factory=dict)
    created: float = 0.0


@dataclass(frozen=True)
class Trial:
    """One question: a clip, or two to choose from. `kind` is what it is about, `truth` the right answer where there is
    one, `source` where the music comes from, told at the end only."""

    id: str
    test: str
    kind: str
    clip: str
    other: str = ""
    truth: str = ""
    source: str = ""


@dataclass(frozen=True)
class Listener:
    """Somebody who takes a test; the name is theirs to give or not."""

    id: str
    test: str
    name: str = ""
    started: float = 0.0


@dataclass(frozen=True)
class Vote:
    """An answer: "human" or "machine", or of two clips "first" or "second", whichever side that one was heard on.

    `seconds` passed between the question and the answer.
    """

    listener: str
    trial: str
    answer: str
    time: float
    seconds: float


_META = sa.MetaData()
_VERSION = sa.Table("listening_version", _META, sa.Column("version", sa.Integer, primary_key=True))
_TESTS = sa.Table(
    "listening_tests", _META,
    sa.Column("id", sa.String(32), primary_key=True), sa.Column("title", sa.Text), sa.Column("kind", sa.String(16)),
    sa.Column("about", sa.JSON), sa.Column("created", sa.Double),
)  # fmt: skip
_TRIALS = sa.Table(
    "listening_trials", _META,
    sa.Column("id", sa.String(32), primary_key=True), sa.Column("test", sa.String(32)),
    *(sa.Column(name, sa.Text) for name in ("kind", "clip", "other", "truth", "source")),
)  # fmt: skip
_LISTENERS = sa.Table(
    "listening_listeners", _META,
    sa.Column("id", sa.String(32), primary_key=True), sa.Column("test", sa.String(32)), sa.Column("name", sa.Text),
    sa.Column("started", sa.Double),
)  # fmt: skip
_VOTES = sa.Table(
    "listening_votes", _META,
    sa.Column("listener", sa.String(32), primary_key=True), sa.Column("trial", sa.String(32), primary_key=True),
    sa.Column("answer", sa.String(16)), sa.Column("time", sa.Double), sa.Column("seconds", sa.Double),
)  # fmt: skip

# What leads from each version of the schema to the next, in SQL that every database speaks. Steps that were ever
# released are not changed: a new one is added, and the tables above with it.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE listening_tests (id VARCHAR(32) PRIMARY KEY, title TEXT NOT NULL, kind VARCHAR(16) NOT NULL, "
        "about JSON NOT NULL, created DOUBLE PRECISION NOT NULL)",
        "CREATE TABLE listening_trials (id VARCHAR(32) PRIMARY KEY, test VARCHAR(32) NOT NULL REFERENCES "
        "listening_tests (id) ON DELETE CASCADE, kind TEXT NOT NULL, clip TEXT NOT NULL, other TEXT NOT NULL, "
        "truth TEXT NOT NULL, source TEXT NOT NULL)",
        "CREATE TABLE listening_listeners (id VARCHAR(32) PRIMARY KEY, test VARCHAR(32) NOT NULL REFERENCES "
        "listening_tests (id) ON DELETE CASCADE, name TEXT NOT NULL, started DOUBLE PRECISION NOT NULL)",
        "CREATE TABLE listening_votes (listener VARCHAR(32) NOT NULL REFERENCES listening_listeners (id) ON DELETE "
        "CASCADE, trial VARCHAR(32) NOT NULL REFERENCES listening_trials (id) ON DELETE CASCADE, answer VARCHAR(16) "
        "NOT NULL, time DOUBLE PRECISION NOT NULL, PRIMARY KEY (listener, trial))",
    ),
    (
        "ALTER TABLE listening_votes ADD COLUMN seconds DOUBLE PRECISION NOT NULL DEFAULT 0",
        "CREATE INDEX listening_trials_test ON listening_trials (test)",
        "CREATE INDEX listening_listeners_test ON listening_listeners (test)",
    ),
)

# ---- the database


def database_url() -> str:
    """Where votes go: $DEEPMUSICIAN_DATABASE of one who is alone, else a file in the workspace.

    Raises ListeningError for a bad address.
    """
    named = os.environ.get(VARIABLE, "").strip()
    if not named or not alone():  # one database would show each the others' tests
        folder = workspace() / "listening"
        folder.mkdir(exist_ok=True)
        return f"sqlite:///{folder / 'votes.sqlite'}"
    try:
        url = sa.make_url(named)
    except ArgumentError:
        raise ListeningError(
            f"{VARIABLE} must be a database's address such as postgresql://user:password@host/name; mend or unset it"
        ) from None
    if url.drivername in ("postgres", "postgresql"):
        url = url.set(drivername="postgresql+psycopg")
    return url.render_as_string(hide_password=False)


def engine_options(url: str) -> dict[str, Any]:
    """What `create_engine`, or `st.connection`, takes beside the address."""
    if url.startswith("sqlite"):
        return {"connect_args": {"timeout": BUSY_SECONDS}}
    return {"pool_pre_ping": True, "connect_args": {"connect_timeout": 10} if "psycopg" in url else {}}


def open_store(url: str | None = None) -> Engine:
    """The database, at the schema of this version. Raises ListeningError where it cannot be reached."""
    url = url or database_url()
    with speaking_of_drivers():
        engine = sa.create_engine(url, **engine_options(url))
    return prepare(engine)


@contextmanager
def speaking_of_drivers() -> Iterator[None]:
    """What a missing driver, or an unknown kind of database, means in a sentence."""
    try:
        yield
    except ImportError as error:
        raise ListeningError(
            f"this database needs a driver that is not installed ({error.name}); for PostgreSQL: "
            "pip install 'psycopg[binary]'"
        ) from error
    except SQLAlchemyError as error:
        raise ListeningError(f"{VARIABLE} names a database that is not known here ({error})") from error


def prepare(engine: Engine) -> Engine:
    """The same engine with its database at the schema of this version; to be called before anything else is."""
    if engine.dialect.name == "sqlite" and not event.contains(engine, "connect", _tune):
        event.listen(engine, "connect", _tune)
        engine.dispose()  # connections opened before are not tuned
    migrate(engine)
    return engine


def _tune(connection: sqlite3.Connection, record: object) -> None:
    """Readers never wait for a writer (WAL), and what belongs to a deleted test goes with it."""
    connection.execute(f"PRAGMA busy_timeout = {1000 * BUSY_SECONDS}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA foreign_keys = ON")


def migrate(engine: Engine, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> int:
    """Bring the schema up to the last of `migrations`, each step whole or not at all; returns its version.

    Two that do so at once wait for each other. Raises ListeningError for a database of a newer version.
    """
    with _told(engine):
        if (version := _version(engine)) < len(migrations):
            with engine.connect() as connection:
                _alone(connection)
                found = _version_in(connection)
                for number, step in enumerate(migrations[found:], found + 1):
                    for statement in step:
                        connection.exec_driver_sql(statement)
                    connection.execute(sa.delete(_VERSION))
                    connection.execute(sa.insert(_VERSION).values(version=number))
                connection.commit()
            return len(migrations)
    if version > len(migrations):
        raise ListeningError(
            f"the votes in {_place(engine)} are kept in form {version}, and this version of Deep Musician reads up to "
            f"{len(migrations)}; update it"
        )
    return version


def _version(engine: Engine) -> int:
    """0 for an empty database."""
    if not sa.inspect(engine).has_table(_VERSION.name):
        return 0
    with engine.connect() as connection:
        return _version_in(connection)


def _version_in(connection: Connection) -> int:
    return connection.scalar(sa.select(sa.func.max(_VERSION.c.version))) or 0


def _alone(connection: Connection) -> None:
    """Let no other migrate until this one is done."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    elif connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(6021023)")
    connection.exec_driver_sql(f"CREATE TABLE IF NOT EXISTS {_VERSION.name} (version INTEGER PRIMARY KEY)")


@contextmanager
def _told(engine: Engine) -> Iterator[None]:
    """A database's own complaint as a sentence."""
    try:
        yield
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise ListeningError(
            f"the votes in {_place(engine)} cannot be reached ({reason}); see that it is there, running and writable"
        ) from error


def _place(engine: Engine) -> str:
    return engine.url.database if engine.dialect.name == "sqlite" else engine.url.render_as_string(hide_password=True)


# ---- tests


def new_id() -> str:
    """A name that says nothing and cannot be guessed."""
    return secrets.token_hex(8)


def add_test(engine: Engine, test: ListeningTest, trials: Sequence[Trial]) -> None:
    """Keep a test with its trials, whole or not at all."""
    with _told(engine), engine.begin() as connection:
        connection.execute(sa.insert(_TESTS), [asdict(test)])
        connection.execute(sa.insert(_TRIALS), [asdict(trial) for trial in trials])


def list_tests(engine: Engine) -> list[ListeningTest]:
    """All tests, the newest first."""
    newest_first = sa.select(_TESTS).order_by(_TESTS.c.created.desc(), _TESTS.c.id)
    return [ListeningTest(**row) for row in _rows(engine, newest_first)]


def find_test(engine: Engine, name: str) -> ListeningTest:
    """The test of that id, else the newest of that title. Raises ListeningError where there is none."""
    where = sa.select(_TESTS).where((_TESTS.c.id == name) | (_TESTS.c.title == name))
    found = [ListeningTest(**row) for row in _rows(engine, where.order_by(_TESTS.c.created.desc()))]
    if not found:
        raise ListeningError(f"there is no listening test called {name!r}; ask for its address, or make a new one")
    return next((test for test in found if test.id == name), found[0])


def trials_of(engine: Engine, test: str) -> list[Trial]:
    """The trials of a test, in an order that means nothing."""
    return [Trial(**row) for row in _rows(engine, sa.select(_TRIALS).where(_TRIALS.c.test == test).order_by("id"))]


def delete_test(engine: Engine, test: str) -> None:
    """Remove a test with its listeners and votes."""
    with _told(engine), engine.begin() as connection:
        connection.execute(sa.delete(_TESTS).where(_TESTS.c.id == test))


# ---- listeners and votes


def add_listener(engine: Engine, test: str, name: str = "") -> Listener:
    """Somebody new. Raises ListeningError where the test is gone."""
    clean = " ".join("".join(c if c.isprintable() else " " for c in name).split())[:NAME_CHARS]
    listener = Listener(new_id(), test, clean, time.time())
    with _told(engine):
        try:
            with engine.begin() as connection:
                connection.execute(sa.insert(_LISTENERS), [asdict(listener)])
        except IntegrityError:
            raise ListeningError("this listening test is gone; ask who sent it to you") from None
    return listener


def find_listener(engine: Engine, test: str, id: str) -> Listener | None:
    """The listener of that id in that test, if there is one."""
    rows = _rows(engine, sa.select(_LISTENERS).where(_LISTENERS.c.test == test, _LISTENERS.c.id == id))
    return Listener(**rows[0]) if rows else None


def listeners_of(engine: Engine, test: str) -> list[Listener]:
    """Who has begun a test, in that order."""
    of = sa.select(_LISTENERS).where(_LISTENERS.c.test == test)
    return [Listener(**row) for row in _rows(engine, of.order_by(_LISTENERS.c.started, _LISTENERS.c.id))]


def cast_vote(engine: Engine, listener: str, trial: str, answer: str, seconds: float = 0.0) -> bool:
    """Keep an answer; False where the first one to this question stands, or the trial is none of this listener's."""
    values = [sa.literal(answer), sa.literal(time.time()), sa.literal(float(seconds))]
    allowed = (
        sa.select(_LISTENERS.c.id, _TRIALS.c.id, *values)
        .join(_TRIALS, _TRIALS.c.test == _LISTENERS.c.test)
        .where(_LISTENERS.c.id == listener, _TRIALS.c.id == trial)
    )
    into = sa.insert(_VOTES).from_select(["listener", "trial", "answer", "time", "seconds"], allowed)
    into = into.execution_options(preserve_rowcount=True)  # which is else not asked of an INSERT
    with _told(engine):
        try:
            with engine.begin() as connection:
                return connection.execute(into).rowcount == 1
        except IntegrityError:
            return False


def votes_of(engine: Engine, test: str, listener: str | None = None) -> list[Vote]:
    """The votes of a test, of all its listeners or of one, in the order in which they came."""
    of = sa.select(_VOTES).join(_TRIALS, _TRIALS.c.id == _VOTES.c.trial).where(_TRIALS.c.test == test)
    if listener is not None:
        of = of.where(_VOTES.c.listener == listener)
    return [Vote(**row) for row in _rows(engine, of.order_by(_VOTES.c.time, _VOTES.c.trial))]


def _rows(engine: Engine, statement: sa.Select) -> list[dict[str, Any]]:
    with _told(engine), engine.connect() as connection:
        return [dict(row) for row in connection.execute(statement).mappings()]
