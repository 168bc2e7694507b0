"""The sandbox: whatever a worker does, who asked is told in time, and the next request is answered."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deepmusician.pools import Pool
from deepmusician.sandbox import Fault, Refused, Worker

TESTS = Path(__file__).parent


@pytest.fixture
def pool(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    pool = Pool("naughty_worker", memory_mb=256, size=1)
    yield pool
    pool.close()


def ask(pool, do, data=b"", seconds=20.0, most=1000, **more):
    return pool.ask({"do": do, **more}, data, seconds, most)


def is_well(pool):
    return ask(pool, "echo", say="well")[0]["said"] == "well"


def test_what_is_asked_is_answered_with_the_data_sent_along_by_one_process(pool):
    answer, sent = ask(pool, "echo", b"abc", say="ünïcode")
    assert (answer["said"], bytes(sent)) == ("ünïcode", b"abc")
    assert ask(pool, "echo", say="again")[0]["pid"] == answer["pid"]
    assert 1 < pool.peak_mb < 256


def test_one_that_hangs_is_killed_in_time_and_replaced(pool):
    before = ask(pool, "echo", say="")[0]["pid"]
    started = time.monotonic()
    with pytest.raises(Fault, match="time"):
        ask(pool, "hang", seconds=0.3)
    assert time.monotonic() - started < 5
    assert not Path(f"/proc/{before}").exists()
    assert is_well(pool)


@pytest.mark.parametrize(
    ("do", "kind", "words"),
    [
        ("fill", "memory", "^memory"),
        ("fall", "crash", "-11"),
        ("fail", "crash", "RuntimeError: no idea"),
        ("flood", "crash", "more than it may"),
        ("babble", "crash", "no JSON"),
    ],
)
def test_one_that_breaks_down_is_told_by_its_kind_and_replaced(pool, do, kind, words):
    with pytest.raises(Fault, match=words) as caught:
        ask(pool, do)
    assert caught.value.kind == kind
    assert is_well(pool)


def test_a_sentence_of_refusal_comes_back_and_the_worker_lives(pool):
    before = ask(pool, "echo", say="")[0]["pid"]
    with pytest.raises(Refused, match=r"^it holds no notes$"):
        ask(pool, "refuse")
    assert ask(pool, "echo", say="")[0]["pid"] == before


def test_one_worn_out_by_other_work_has_not_the_last_word(pool):
    first = ask(pool, "wear")[0]["pid"]
    assert ask(pool, "wear")[0]["pid"] != first


def each(pool, *doing, seconds=20.0):
    """What comes of things asked together: what an echo said, or the error in the place of an answer."""
    pieces = [({"do": do, "say": f"{i}"}, b"%d" % i) for i, do in enumerate(doing)]
    found = pool.ask_each({"common": 1}, pieces, seconds, 1000, lambda told, sent: (told["said"], bytes(sent)))
    return [
        error.kind if isinstance(error, Fault) else error if isinstance(error, tuple) else str(error) for error in found
    ]


def echoes(*places):
    return [(f"{i}", b"%d" % i) for i in places]


def test_things_asked_together_are_answered_one_by_one_by_one_process(pool):
    before = ask(pool, "echo", say="")[0]["pid"]
    assert each(pool, "echo", "echo", "refuse", "echo") == [*echoes(0, 1), "it holds no notes", *echoes(3)]
    assert ask(pool, "echo", say="")[0]["pid"] == before
    assert each(pool) == []


@pytest.mark.parametrize(
    ("do", "kind"), [("fill", "memory"), ("fall", "crash"), ("fail", "crash"), ("flood", "crash"), ("babble", "crash")]
)
def test_one_of_many_that_breaks_the_worker_costs_no_other_its_answer(pool, do, kind):
    assert each(pool, "echo", do, "echo", do, do, "echo") == [*echoes(0), kind, *echoes(2), kind, kind, *echoes(5)]
    assert is_well(pool)


def test_each_of_many_has_its_own_time(pool):
    assert is_well(pool)  # it has started
    started = time.monotonic()
    found = each(pool, "nap", "nap", "nap", "hang", "nap", seconds=0.5)
    assert found == [*echoes(0, 1, 2), "time", *echoes(4)]  # the naps take longer than that together
    assert time.monotonic() - started < 10


def test_of_many_one_worn_out_by_those_before_is_asked_of_a_fresh_one(pool):
    assert each(pool, "wear", "wear", "wear") == echoes(0, 1, 2)


def test_what_takes_an_answer_may_find_it_nonsense(pool):
    def take(told, sent):
        if told["said"] == "1":
            raise Fault("crash", "no song")
        return told["pid"]

    found = pool.ask_each({}, [({"do": "echo", "say": f"{i}"}, b"") for i in range(3)], 20, 1000, take)
    assert isinstance(found[1], Fault) and found[0] != found[2]  # whoever says such things is asked no more


@pytest.mark.parametrize("together", [False, True])
def test_who_is_asked_once_more_has_what_is_left_of_the_seconds(pool, monkeypatch, together):
    monkeypatch.setattr("deepmusician.pools.LEAST_SECONDS", 0.1)
    assert is_well(pool)
    started = time.monotonic()
    if together:
        assert each(pool, "stale", "echo", seconds=1.5) == ["crash", *echoes(1)]  # as the first said, not "time"
    else:
        with pytest.raises(Fault, match="crash"):
            ask(pool, "stale", seconds=1.5)
    assert time.monotonic() - started < 1.5 + 10  # and the starts of workers
    assert is_well(pool)


def test_one_that_died_while_idle_is_replaced(pool):
    os.kill(ask(pool, "echo", say="")[0]["pid"], signal.SIGKILL)
    assert is_well(pool)


def test_what_a_library_prints_or_asks_does_not_disturb(pool):
    assert "peak_mb" in ask(pool, "chatter")[0]


def test_it_sees_no_secrets_and_imports_nothing_from_the_folder_one_stands_in(pool, tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text("raise SystemExit('taken over')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("API_KEY", "secret")
    answer, _ = ask(pool, "look")
    assert "site-packages" in answer["numpy"]
    assert "API_KEY" not in answer["environment"]
    assert answer["environment"]["OMP_NUM_THREADS"] == "1"


def test_it_cannot_fill_the_disk(pool, tmp_path):
    with pytest.raises(Fault, match="File too large"):
        ask(pool, "write", path=str(tmp_path / "big"))
    assert (tmp_path / "big").stat().st_size <= 1_000_000


def test_one_that_cannot_start_says_why():
    worker = Worker("no_such_module", 256)
    with pytest.raises(Fault, match="No module named no_such_module"):
        worker.ask({}, b"", 5, 0)


def test_computing_beyond_its_seconds_ends_even_a_worker_nobody_waits_for():
    code = "from deepmusician.serving import _limit_cpu; _limit_cpu(0.1)\nwhile True: pass"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == -signal.SIGXCPU


def test_it_ends_with_who_asked(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), str(TESTS.parent)]))
    code = (
        "import os; from deepmusician.sandbox import Worker; w = Worker('naughty_worker', 256)\n"
        "print(w.ask({'do': 'echo', 'say': ''}, b'', 20, 0)[0]['pid'], flush=True); os._exit(1)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and _runs(int(done.stdout)):
        time.sleep(0.05)
    assert not _runs(int(done.stdout))


def _runs(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_who_finds_all_at_work_is_served_by_another_and_there_are_no_more_than_allowed(pool):
    pool.size = 2
    with pool._lent():
        assert is_well(pool)  # by a second one
        with ThreadPoolExecutor(3) as threads:
            assert all(threads.map(is_well, [pool] * 6))
        with ThreadPoolExecutor(1) as threads:
            with pool._lent():
                third = threads.submit(is_well, pool)
                with pytest.raises(TimeoutError):
                    third.result(0.2)
            assert third.result(20)
        assert (pool.started, len(pool.idle)) == (2, 1)


def test_where_no_other_can_be_started_one_hears_why(pool, monkeypatch):
    pool.size = 2
    assert is_well(pool)
    with pool._lent():
        monkeypatch.setattr(pool, "module", "no_such_module")
        with ThreadPoolExecutor(1) as threads, pytest.raises(Fault, match="no_such_module"):
            threads.submit(is_well, pool).result(20)
