"""The loss lab: the same music, seed and budget under several losses, as runs that belong together.

The runs of a lab are runs like any other, called after it: they queue, stop, resume and compose as all do. What makes
them a lab is `lab.json` in each one's folder: {"lab": its name, "loss": ...}. Where they have a budget, the first to
begin chooses sizes and epochs for all. Knows nothing of what happens inside a run.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from filelock import FileLock

from deepmusician.atomic import replace_file
from deepmusician.budget import Contract, read_contract, write_contract
from deepmusician.errors import RunError
from deepmusician.losses import KINDS
from deepmusician.options import TrainOptions
from deepmusician.runs import Run, list_runs, new_run, runs_dir

MARK = "lab.json"
COLUMNS = (  # of the comparison: key, heading, form; all of the best epoch, on held-out songs
    ("epoch", "best epoch", "d"),
    ("nll", "nats/frame", ".2f"),
    ("f1", "F1", ".3f"),
    ("recall", "recall", ".3f"),
    ("rare_recall", "of rare notes", ".3f"),
    ("composed", "notes/frame composed", ".2f"),
    ("data_density", "in the data", ".2f"),
)


@dataclass(frozen=True)
class Lab:
    """A lab by name; its runs are read from disk at each call."""

    name: str

    def runs(self) -> dict[str, Run]:
        """Its runs that are there, by loss, in the order of `losses.KINDS`."""
        found = {mark["loss"]: run for run in list_runs() if (mark := _mark(run)) and mark["lab"] == self.name}
        return {loss: found[loss] for loss in KINDS if loss in found}


def new_lab(
    options: TrainOptions, name: str | None = None, minutes: float | None = None, losses: Sequence[str] = KINDS
) -> Lab:
    """Make a run for each of the losses, all else as `options` have it; `minutes` is the budget of all together.

    Raises RunError where a name is taken, before any run is made.
    """
    name = name or _free_name()
    taken = [run_name for loss in losses if (runs_dir() / (run_name := f"{name}-{_word(loss)}")).exists()]
    if taken or name in (lab.name for lab in list_labs()):
        raise RunError(f"there is {taken[0] if taken else 'a lab'} already; give the lab another name than {name!r}")
    for loss in losses:
        run = new_run(dataclasses.replace(options, loss=loss), f"{name}-{_word(loss)}")
        write_contract(run.path, Contract(None if minutes is None else minutes / len(losses)))
        replace_file(run.path / MARK, json.dumps({"lab": name, "loss": loss}) + "\n")
    return Lab(name)


def start_lab(lab: Lab) -> Lab:
    """Let the runs that are neither finished nor at work train, each in a process of its own, one after the other."""
    for run in lab.runs().values():
        status = run.status()
        if status.state != "finished" and not run.is_locked():
            run.resume()
    return lab


def list_labs() -> list[Lab]:
    """All labs, that of the newest run first."""
    names = [mark["lab"] for run in list_runs() if (mark := _mark(run))]
    return [Lab(name) for name in dict.fromkeys(names)]


def open_lab(name: str) -> Lab:
    """The lab of that name. Raises RunError where there is none."""
    labs = {lab.name: lab for lab in list_labs()}
    if name not in labs:
        raise RunError(f"there is no loss lab called {name!r}; there are: {', '.join(labs) or 'none yet'}")
    return labs[name]


def lab_of(run: Run) -> Lab | None:
    """The lab a run belongs to, if any."""
    mark = _mark(run)
    return Lab(mark["lab"]) if mark else None


def compare(lab: Lab) -> list[dict[str, Any]]:
    """One row a loss: {"loss", "run", "state", and COLUMNS' keys} of the epoch that its run keeps as the best.

    What was not measured is left out, and so is everything before the first epoch.
    """
    return [
        {"loss": loss, "run": run.name, "state": run.status().state, **_best(run)} for loss, run in lab.runs().items()
    ]


def _best(run: Run) -> dict[str, Any]:
    reports = run.metrics()
    if not reports:
        return {}
    best = min(reports, key=lambda r: (r["valid"] or r["train"])["nll"])
    judged, values = best["valid"] or best["train"], {"epoch": best["epoch"]}
    values |= {key: judged[key] for key, _, _ in COLUMNS if key in judged}
    return values | ({"composed": best["composed"]["density"]} if "composed" in best else {})


def table(rows: list[dict[str, Any]]) -> str:
    """The comparison for people."""
    widths = [max(len(heading), 7) + 2 for _, heading, _ in COLUMNS]
    lines = [f"{'loss':8}" + "".join(f"{h:>{w}}" for (_, h, _), w in zip(COLUMNS, widths, strict=True))]
    for row in rows:
        cells = [f"{row[k]:{form}}" if k in row else "–" for k, _, form in COLUMNS]
        lines.append(f"{row['loss']:8}" + "".join(f"{c:>{w}}" for c, w in zip(cells, widths, strict=True)))
    return "\n".join(lines)


# ---- one choice for all


@contextmanager
def in_turn(run: Run) -> Iterator[None]:
    """Hold the lab's lock, if the run belongs to one, so that only one of its runs chooses sizes."""
    mark = _mark(run)
    if mark is None:
        yield
        return
    folder = runs_dir() / ".labs"
    folder.mkdir(exist_ok=True)
    with FileLock(folder / f"{mark['lab']}.lock"):
        yield


def settled(run: Run) -> tuple[TrainOptions, Contract] | None:
    """The options and the contract that another run of the same lab has settled on, with this run's loss; else None."""
    lab = lab_of(run)
    for other in lab.runs().values() if lab else ():
        contract = read_contract(other.path)
        if other.name != run.name and contract and contract.pace:
            options = dataclasses.replace(other.options(), loss=run.options().loss)
            return options, dataclasses.replace(contract, spent=0.0)
    return None


def _mark(run: Run) -> dict[str, str] | None:
    try:
        mark = json.loads((run.path / MARK).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return mark if isinstance(mark, dict) and {"lab", "loss"} <= set(mark) else None


def _word(loss: str) -> str:
    """A loss as part of a run's name, which stands in addresses."""
    return loss.replace("+", "-plus")


def _free_name() -> str:
    """lab-1, lab-2 …"""
    taken = {lab.name for lab in list_labs()}
    return next(name for i in range(1, 100_000) if (name := f"lab-{i}") not in taken)
