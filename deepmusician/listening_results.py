"""What the votes of a blind listening test say: each listener's tally, all of them pooled, and the votes as CSV.

Only listeners count who finished and were right on every catch trial. Knows nothing of how tests are made or taken.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deepmusician import listening_stats as stats
from deepmusician import listening_store as store
from deepmusician.listening import FIRST, MACHINE, PAIR
from deepmusician.listening_store import CATCH, HUMAN, PREFERENCE, Listener, ListeningTest, Trial, Vote

if TYPE_CHECKING:
    from sqlalchemy import Engine

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # a cell that begins so is a formula to a spreadsheet


@dataclass(frozen=True)
class Tally:
    """One listener's votes. `passed` is whether every catch trial was right; `right` counts what has a truth.

    `hits` of `machine` machine clips and `alarms` of `human` human ones were called machine; of `pairs` the first model
    was preferred `preferred` times.
    """

    listener: Listener
    votes: int = 0
    finished: bool = False
    passed: bool = False
    hits: int = 0
    machine: int = 0
    alarms: int = 0
    human: int = 0
    preferred: int = 0
    pairs: int = 0

    @property
    def counts(self) -> bool:
        """Whether these votes are in the result."""
        return self.finished and self.passed

    @property
    def right(self) -> stats.Share:
        """Clips called what they are."""
        return stats.Share(self.hits + self.human - self.alarms, self.machine + self.human)

    @property
    def fooled(self) -> stats.Share:
        """Machine clips taken for human."""
        return stats.Share(self.machine - self.hits, self.machine)

    @property
    def first(self) -> stats.Share:
        """Pairs in which the first model was preferred."""
        return stats.Share(self.preferred, self.pairs)

    @property
    def sensitivity(self) -> stats.Sensitivity:
        """d′ of this listener."""
        return stats.d_prime(self.hits, self.machine, self.alarms, self.human)


def tally(listener: Listener, trials: Sequence[Trial], votes: Sequence[Vote]) -> Tally:
    """Count one listener's votes."""
    answers = {vote.trial: vote.answer for vote in votes}
    given = [(trial, answers[trial.id]) for trial in trials if trial.id in answers]
    count = lambda kind, answer=None: sum(t.kind == kind and answer in (None, a) for t, a in given)  # noqa: E731
    catches = [trial for trial in trials if trial.kind == CATCH]
    return Tally(
        listener, len(given), len(given) == len(trials), all(answers.get(t.id) == t.truth for t in catches),
        count(MACHINE, MACHINE), count(MACHINE), count(HUMAN, MACHINE), count(HUMAN), count(PAIR, FIRST), count(PAIR),
    )  # fmt: skip


@dataclass(frozen=True)
class Results:
    """All of a test's votes, counted."""

    test: ListeningTest
    tallies: tuple[Tally, ...] = field(default=())

    @property
    def counted(self) -> tuple[Tally, ...]:
        """The listeners whose votes are in the result."""
        return tuple(t for t in self.tallies if t.counts)

    @property
    def left_out(self) -> int:
        """Listeners who finished and failed a catch trial."""
        return sum(t.finished and not t.passed for t in self.tallies)

    @property
    def unfinished(self) -> int:
        """Listeners who have not answered everything."""
        return sum(not t.finished for t in self.tallies)

    @property
    def pooled(self) -> Tally:
        """All counted listeners as one."""
        total = {
            name: sum(getattr(t, name) for t in self.counted)
            for name in ("votes", "hits", "machine", "alarms", "human", "preferred", "pairs")
        }
        return Tally(Listener("", self.test.id), finished=True, passed=True, **total)

    @property
    def share(self) -> stats.Share:
        """What is held against one half: clips called what they are, or the first model preferred."""
        return self._share(self.pooled)

    def _share(self, t: Tally) -> stats.Share:
        return t.first if self.test.kind == PREFERENCE else t.right

    @property
    def verdict(self) -> stats.Verdict:
        """What the share proves."""
        share = self.share
        return stats.judge(share.k, share.n, self.bound, [self._share(t).value for t in self.counted])

    @property
    def bound(self) -> float:
        """How far from one half still counts as the same; said when the test was made."""
        return float(self.test.about.get("bound", 0.1))

    @property
    def d_over_listeners(self) -> tuple[float, stats.Interval | None] | None:
        """The mean of the listeners' own d′ and its interval; None without listeners."""
        values = [t.sensitivity.d for t in self.counted]
        return (sum(values) / len(values), stats.mean_interval(values)) if values else None

    @property
    def missing(self) -> int:
        """How many more votes until this means something; 0 where it does."""
        share = self.share
        if self.verdict.name != stats.OPEN:
            return 0
        return max(1, stats.votes_missing(share.k, share.n, self.bound))

    @property
    def missing_listeners(self) -> int:
        """As many, in listeners."""
        clips = self.test.about.get("clips", 12)
        return -(-self.missing // (clips // 2 if self.test.kind == PREFERENCE else clips))


def results(engine: Engine, test: ListeningTest) -> Results:
    """Count the votes of a test."""
    trials, votes = store.trials_of(engine, test.id), store.votes_of(engine, test.id)
    by_listener: dict[str, list[Vote]] = {}
    for given in votes:
        by_listener.setdefault(given.listener, []).append(given)
    listeners = store.listeners_of(engine, test.id)
    return Results(test, tuple(tally(who, trials, by_listener.get(who.id, [])) for who in listeners))


def of_model(engine: Engine, weights: str) -> list[Results]:
    """The results of every test of these weights (their fingerprint), newest first."""
    tests = [test for test in store.list_tests(engine) if weights in test.about.get("weights", ())]
    return [results(engine, test) for test in sorted(tests, key=lambda test: -test.created)]


# ---- taking the votes along


def export_csv(engine: Engine, test: ListeningTest) -> str:
    """Every vote as a line: who, on what, the truth, the answer, when. No cell is a formula to a spreadsheet."""
    trials = {trial.id: trial for trial in store.trials_of(engine, test.id)}
    tallies = {t.listener.id: t for t in results(engine, test).tallies}
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(
        ["test", "title", "listener", "name", "counts", "trial", "kind", "source", "truth", "answer", "seconds", "time"]
    )
    for given in store.votes_of(engine, test.id):
        trial, who = trials[given.trial], tallies[given.listener]
        row = [
            test.id, test.title, who.listener.id, who.listener.name, "yes" if who.counts else "no", trial.id,
            trial.kind, trial.source, trial.truth, given.answer, f"{given.seconds:.1f}",
            time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(given.time)),
        ]  # fmt: skip
        writer.writerow([harmless(cell) for cell in row])
    return file.getvalue()


def harmless(cell: str) -> str:
    """The cell with an apostrophe before it where a spreadsheet would run it. Source: OWASP, CSV injection."""
    return f"'{cell}" if cell.lstrip(" ").startswith(FORMULA) or cell.startswith(FORMULA) else cell
