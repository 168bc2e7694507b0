"""The time contract: what fits into a budget of minutes, what was promised for a run, and what it took.

A budget is filled with epochs first; where too few steps would fit for anything to be learnt, batches and network are
made smaller. Only what costs time is chosen, and only before the first step, so that a run with a budget is repeated
and resumed as exactly as any other. Where the machine proves slower than it was measured, the run ends with the budget
after the epoch that fills it. `contract.json` in a run's folder holds the promise and, as time goes on, what the
run took.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deepmusician.errors import OptionError
from deepmusician.estimate import Pace, duration, keep, known, measure_rolls, write_json
from deepmusician.options import TrainOptions
from deepmusician.plurals import count
from deepmusician.recipes import recipe_options, train_command
from deepmusician.runs import QUIET_THREADS, Run, new_run
from deepmusician.workspace import own_environment

if TYPE_CHECKING:
    import numpy as np

    from deepmusician.rolls import Rolls

MARGIN = 0.93  # share of a budget that is planned for; the rest is for what machines do beside
ENOUGH_STEPS = 600  # steps below which networks of this kind have learnt little more than how often keys sound
FEW_STEPS = 8  # steps an epoch below which it costs more in judging than in learning
SMALLEST_BATCH = 4
WORTH = 1.1  # times as many steps that make it worth giving something up
SMALLEST = {"biaxial": 16, "biaxial-lstm": 16}  # units for each key
SMALLEST_HIDDEN = 64
MOST_EPOCHS = 400  # times through the same songs, after which they are known by heart


@dataclass(frozen=True)
class Plan:
    """What is trained in a budget: the options, their pace, and what was chosen otherwise than asked, in words."""

    options: TrainOptions
    pace: Pace
    words: str

    @property
    def seconds(self) -> float:
        """How long it will take."""
        return self.pace.seconds(self.options.n_epochs)


def fit(
    options: TrainOptions,
    minutes: float,
    pace_of: Callable[[TrainOptions], Pace | None],
    spent: Callable[[], float] = lambda: 0.0,
) -> Plan | None:
    """Choose epochs, and where they bring too few steps smaller batches and a smaller network, to fill `minutes`.

    `pace_of` measures, or looks up; where it gives None there is no plan yet. `spent` says how many seconds of the
    budget are gone.
    Raises OptionError for a budget that is not above 0.
    """
    if not minutes > 0:
        raise OptionError(f"the budget must be above 0 minutes, got {minutes:g}; give 5 for five minutes")
    tried, best = options, None  # best: (options, pace, epochs) so far
    while tried is not None:
        pace = pace_of(tried)
        if pace is None:
            return None
        epochs = pace.epochs_in(MARGIN * (60 * minutes - spent()))
        if best and epochs * pace.steps < WORTH * best[2] * best[1].steps:
            break  # what was given up brought nothing: judging takes the time, not learning
        best = tried, pace, epochs
        enough = epochs * pace.steps >= ENOUGH_STEPS or epochs >= MOST_EPOCHS
        tried = None if enough else _smaller(tried, pace)
    tried, pace, epochs = best
    chosen = dataclasses.replace(tried, n_epochs=min(max(epochs, 1), MOST_EPOCHS))
    return Plan(chosen, pace, _plan_words(options, chosen, pace, minutes, epochs))


def _smaller(options: TrainOptions, pace: Pace) -> TrainOptions | None:
    """The next thing to give up: first windows in a step, where an epoch has few; then units. None at the end."""
    if pace.steps < FEW_STEPS and options.batch_size > SMALLEST_BATCH:
        return dataclasses.replace(options, batch_size=max(options.batch_size // 2, SMALLEST_BATCH))
    least = min(SMALLEST.get(options.backbone, SMALLEST_HIDDEN), options.hidden_size)
    unit = 2 * options.attention_heads if options.backbone == "transformer" else 1
    hidden = max(options.hidden_size // 2 // unit * unit, -(-least // unit) * unit)
    if hidden >= options.hidden_size:
        return None
    classifier = max(options.classifier_size // 2, min(32, options.classifier_size))
    return dataclasses.replace(options, hidden_size=hidden, classifier_size=classifier)


def _plan_words(asked: TrainOptions, chosen: TrainOptions, pace: Pace, minutes: float, epochs: int) -> str:
    steps = chosen.n_epochs * pace.steps
    held = f"{count(chosen.n_epochs, 'epoch')}, {count(steps, 'step')}"
    words = f"{_minutes(minutes)} {'holds' if minutes == 1 else 'hold'} {held}"
    changes = []
    if chosen.hidden_size != asked.hidden_size:
        changes.append(f"{chosen.hidden_size} units in a layer instead of {asked.hidden_size}")
    if chosen.batch_size != asked.batch_size:
        changes.append(f"{chosen.batch_size} windows in a step instead of {asked.batch_size}")
    if changes:
        words += f", with {' and '.join(changes)}, since too few steps teach nothing"
    if epochs < 1:
        words = f"Not even one epoch fits into {_minutes(minutes)}: it will take longer"
    elif epochs > MOST_EPOCHS:
        words += ". It will need less time: songs gone through more often are only learnt by heart"
    elif steps < ENOUGH_STEPS:
        words += f". That is little to learn from: {ENOUGH_STEPS} steps are a good beginning"
    return words + "."


def _minutes(minutes: float) -> str:
    return f"{round(minutes, 1):g} {'minute' if minutes == 1 else 'minutes'}"


def start_measuring(options: TrainOptions, minutes: float | None = None) -> subprocess.Popen[str]:
    """Measure in a process of its own, as `deepmusician estimate` does, and return at once; kill it to give up.

    When it ends well, what it measured is `known`; else its stderr says why.
    """
    if minutes is not None:  # the epochs are not asked for
        options = dataclasses.replace(options, n_epochs=recipe_options(options.recipe).n_epochs)
    words = [*shlex.split(train_command(options)), *([] if minutes is None else ["--minutes", str(minutes)])]
    paths = [str(Path(__file__).resolve().parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        [sys.executable, "-m", "deepmusician", "estimate", *words, "--polite"],
        env={**own_environment(), **QUIET_THREADS, "PYTHONPATH": os.pathsep.join(paths)}, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


# ---- the contract of a run


@dataclass(frozen=True)
class Contract:
    """What was promised for a run, and what became of it.

    `minutes` is the budget, None where epochs were asked for; `words` what was chosen for it. `pace` is None until
    measured; `seconds` the estimate. `spent` are the seconds at work so far, up to its last finished epoch or its end.
    """

    minutes: float | None = None
    words: str = ""
    pace: Pace | None = None
    seconds: float | None = None
    spent: float = 0.0

    def time_is_up(self, epoch_seconds: float) -> bool:
        """Whether another epoch of `epoch_seconds`, and what follows the last, would end after the budget."""
        if self.minutes is None or self.pace is None:
            return False
        return self.spent + epoch_seconds + self.pace.finish_seconds > 60 * self.minutes

    def ending(self, epoch: int, n_epochs: int) -> str:
        """In words, that a run ended with its budget and not with its last epoch."""
        held = f"{_minutes(self.minutes)} held {epoch} of {count(n_epochs, 'epoch')}"
        return f"{held}: the best of its models is kept. Resume goes on to the last epoch."

    def verdict(self) -> str:
        """How true the estimate was, of a run that is over: "Estimated 4 min, took 4 min 20 s."."""
        return f"Estimated {duration(self.seconds)}, took {duration(self.spent)}."


def read_contract(folder: Path) -> Contract | None:
    """The contract of the run in `folder`, None where nothing was promised."""
    try:
        values = json.loads((folder / "contract.json").read_text("utf-8"))
        pace = values.pop("pace")
        return Contract(pace=Pace(**pace) if pace else None, **values)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def write_contract(folder: Path, contract: Contract) -> Contract:
    """Inverse of `read_contract`; returns the contract."""
    write_json(folder / "contract.json", asdict(contract))
    return contract


def start_promised(options: TrainOptions, name: str | None = None, minutes: float | None = None) -> Run:
    """As `runs.start_run`, with a contract: measured before its first step, fitted into `minutes` if given."""
    run = new_run(options, name)
    write_contract(run.path, Contract(minutes))
    return run.resume()


def promise(
    contract: Contract, options: TrainOptions, rolls: Rolls, parts: tuple[np.ndarray, np.ndarray], began: float
) -> tuple[TrainOptions, Contract]:
    """Before the first step: the options to train with, fitted where there is a budget, and the contract with numbers.

    `parts` are the training and the held-out songs; `began`, of time.monotonic(), is when the run's process began with
    it: what it has read since counts.
    """
    measuring = time.monotonic()

    def spent() -> float:
        return time.monotonic() - measuring

    def pace_of(tried: TrainOptions) -> Pace:
        return known(tried) or keep(tried, measure_rolls(tried, rolls, parts, began + spent()))

    if contract.minutes is None:
        pace, words = pace_of(options), ""
    else:
        plan = fit(options, contract.minutes, pace_of, spent)
        options, pace, words = plan.options, plan.pace, plan.words
    return options, dataclasses.replace(
        contract, words=words, pace=pace, seconds=spent() + pace.seconds(options.n_epochs)
    )
