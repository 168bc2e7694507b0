"""The verbs of the command line that train: `train`, `estimate` and `lab`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from typing import Any

from deepmusician.errors import OptionError, RunError
from deepmusician.flags import add_options, chosen
from deepmusician.flags import verb as new_verb
from deepmusician.options import TrainOptions
from deepmusician.progress import Bar, TrainProgress
from deepmusician.recipes import recipe_options
from deepmusician.runs import QUIET_THREADS

POLITE = 10  # how far a training that the studio starts gives way to everything else


def add_train_verbs(verbs: Any) -> None:
    """The commands `train`, `estimate` and `lab`."""
    _train_parser(verbs)
    _estimate_parser(verbs)
    _lab_parser(verbs)


def _train_parser(verbs: Any) -> None:
    verb = new_verb(verbs, "train", train, "train a model on music, or go on with a run")
    add_options(verb, TrainOptions)
    _add_minutes(verb, "how long it may take: epochs, and if need be a smaller network, are chosen to fit")
    verb.add_argument("--run", metavar="NAME", help="name of the run (default: made from the source)")
    verb.add_argument("--resume", action="store_true", help="go on with the run NAME; -e may ask for more epochs")
    verb.add_argument("--polite", action="store_true", help="give way to other programs on this machine")
    verb.add_argument("--started", action="store_true", help=argparse.SUPPRESS)  # by a run that starts its own process


def _add_minutes(verb: argparse.ArgumentParser, help: str) -> None:
    verb.add_argument("--minutes", type=float, metavar="MINUTES", help=help)


def _settle_in(polite: bool) -> None:
    """Be a good neighbour on this machine."""
    for name, value in QUIET_THREADS.items():  # read when torch loads
        os.environ.setdefault(name, value)
    if polite:
        os.nice(POLITE)


def train(args: argparse.Namespace) -> int:
    """Train in this process; Ctrl-C saves and stops."""
    from deepmusician import runs
    from deepmusician.budget import Contract, write_contract

    _settle_in(args.polite)
    data = None
    if args.resume:
        run = _resumed(args)
    else:
        options, data = _train_options(args)
        _check_minutes(args)
        run = runs.new_run(options, args.run)
        write_contract(run.path, Contract(args.minutes))
    from deepmusician.runner import process_rank, train_run

    if process_rank() > 0:  # one of several processes, of which the first speaks
        train_run(run, resume=args.resume, data=data)
        return 0
    with TrainProgress(run) as progress:
        status = train_run(run, progress, args.resume, data)
    print(f"{run.name}: {status.message}{_kept(run)}")
    if run.checkpoint("best"):
        if run.options().arrangement == "expression":
            print(f"humanise a piece with: deepmusician humanise FILE -c {run.name} -o OUT.mid")
        else:
            print(f"compose with: deepmusician generate -c {run.name}")
    return 0


def _check_minutes(args: argparse.Namespace) -> None:
    """Refuse a budget that cannot be kept."""
    if args.minutes is None:
        return
    if args.n_epochs is not None:
        raise OptionError("--minutes chooses the epochs, so -e cannot be given, too; leave one of them out")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise OptionError("--minutes is measured in one process; with several give -e")
    if not args.minutes > 0:
        raise OptionError(f"--minutes must be above 0, got {args.minutes:g}; 5 is five minutes")


def _kept(run: Any) -> str:
    """How true the estimate was."""
    from deepmusician.budget import read_contract

    contract = read_contract(run.path)
    return f" {contract.verdict()}" if contract and contract.seconds else ""


def _train_options(args: argparse.Namespace) -> tuple[TrainOptions, Any]:
    """The options given and their music, which is refused before a run is made if it cannot be read."""
    if args.path is None:
        raise OptionError("train needs -p with a MIDI file, a folder, a zip or a corpus such as bach-chorales")
    given = chosen(args, TrainOptions)
    options = recipe_options(given.pop("recipe", TrainOptions.recipe), **given)
    from deepmusician.library import read_sources

    with Bar("reading", "files") as bar:
        sources = read_sources(options.path, bar)
    refused = [e for _, data in sources for e in data.entries if e.status == "refused"]
    for entry in refused[:5]:
        print(f"left out {entry.name}: {entry.reason}", file=sys.stderr)
    if len(refused) > 5:
        print(f"left out {len(refused) - 5} more", file=sys.stderr)
    return options, sources


def _resumed(args: argparse.Namespace) -> Any:
    """The run to go on with, given more epochs if asked."""
    from deepmusician import runs

    if args.minutes is not None:
        raise OptionError("a resumed run keeps its budget, so --minutes cannot be given; -e may ask for more epochs")
    if not args.run:
        raise OptionError("--resume needs --run with the name of the run to go on with")
    run = runs.open_run(args.run)
    given = chosen(args, TrainOptions)
    changed = sorted(k for k, v in given.items() if k != "n_epochs" and v != getattr(run.options(), k))
    if changed:
        raise OptionError(
            f"a resumed run keeps its options, so --{changed[0].replace('_', '-')} cannot change; start a new run"
        )
    if run.is_locked():
        return run  # train_run says that it is training already; of several processes the first holds the lock
    if "n_epochs" in given:
        run.write_options(dataclasses.replace(run.options(), n_epochs=given["n_epochs"]))
    if not args.started:  # else a request to stop is one made since, while this process began
        (run.path / "stop").unlink(missing_ok=True)
    return run


# estimate


def _estimate_parser(verbs: Any) -> None:
    verb = new_verb(verbs, "estimate", estimate, "how long a training would take here, by a few steps of it")
    add_options(verb, TrainOptions)
    _add_minutes(verb, "say what would be chosen to fit into this many minutes")
    verb.add_argument("--json", action="store_true", help="print JSON instead of a sentence")
    verb.add_argument("--polite", action="store_true", help="give way to other programs on this machine")


def estimate(args: argparse.Namespace) -> int:
    """Measure and print; what was measured is kept for an hour, and used by a run that begins within it."""
    _settle_in(args.polite)
    _check_minutes(args)
    options, data = _train_options(args)
    from deepmusician.budget import fit
    from deepmusician.estimate import known, measure, sentence

    def pace_of(tried: TrainOptions) -> Any:
        return known(tried) or measure(tried, data)

    words = ""
    if args.minutes is not None:
        plan = fit(options, args.minutes, pace_of)
        options, words = plan.options, plan.words
    pace = pace_of(options)
    if args.json:
        changed = {k: getattr(options, k) for k in ("n_epochs", "batch_size", "hidden_size", "classifier_size")}
        print(json.dumps({"seconds": pace.seconds(options.n_epochs), **changed, **dataclasses.asdict(pace)}, indent=2))
    else:
        print("\n".join(filter(None, [words, sentence(pace, options.n_epochs)])))
    return 0


# lab


def _lab_parser(verbs: Any) -> None:
    verb = new_verb(verbs, "lab", lab, "train the same under bce, focal and focal+, and compare")
    add_options(verb, TrainOptions)
    _add_minutes(verb, "how long all of it may take")
    verb.add_argument("--lab", metavar="NAME", help="name of the lab (default: lab-1, lab-2 …); its runs are NAME-LOSS")
    verb.add_argument("--resume", action="store_true", help="go on with the lab NAME where it was stopped")
    verb.add_argument("--compare", action="store_true", help="only print how the lab NAME compares")


def lab(args: argparse.Namespace) -> int:
    """Train the runs of a lab one after the other in this process, then print the comparison."""
    _settle_in(False)
    from deepmusician import lab as labs

    data, made = None, None
    if args.resume or args.compare:
        if not args.lab:
            raise OptionError("--resume and --compare need --lab with the name of the lab")
        made = labs.open_lab(args.lab)
    else:
        _check_minutes(args)
        if args.loss is not None:
            raise OptionError("a lab trains under every loss, so -c cannot be given; leave it out")
        options, data = _train_options(args)
        made = labs.new_lab(options, args.lab, args.minutes)
    if not args.compare:
        _train_lab(made, data)
    print(labs.table(labs.compare(made)))
    return 0


def _train_lab(made: Any, data: Any) -> None:
    from deepmusician.runner import train_run

    for loss, run in made.runs().items():
        if run.status().state == "finished":
            continue
        (run.path / "stop").unlink(missing_ok=True)
        print(f"{loss}: run {run.name}")
        with TrainProgress(run) as progress:
            status = train_run(run, progress, resume=True, data=data)
        if status.state == "stopped":
            raise RunError(
                f"the lab was stopped in {run.name}; go on with: deepmusician lab --lab {made.name} --resume"
            )
