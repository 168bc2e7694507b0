"""The verbs of `deepmusician runs` and `deepmusician workspace`: what a person keeps, compares, passes on, clears."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from deepmusician.errors import OptionError, RunError
from deepmusician.flags import in_folder, write


def add_runs(verb: argparse.ArgumentParser) -> None:
    """The verbs below `runs`; without one, the runs are listed."""
    verb.add_argument("--stop", metavar="NAME", help="ask a run to save and end")
    verb.set_defaults(run_command=list_or_stop)
    below = verb.add_subparsers(title="what to do", metavar="VERB")

    def add(name: str, command: Any, help: str, *arguments: tuple[str, dict[str, Any]]) -> argparse.ArgumentParser:
        sub = below.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
        sub.set_defaults(run_command=command)
        for flag, about in arguments:
            sub.add_argument(flag, **about)
        return sub

    run = ("name", {"metavar": "NAME", "help": "a run"})
    add("list", list_or_stop, "the runs there are and what they are doing").set_defaults(stop=None)
    add("show", show, "all about one run", run)
    several = ("names", {"metavar": "NAME", "nargs": "+", "help": "two runs or more"})
    add("compare", compare, "the options in which runs differ, and how they score", several)
    add("rename", rename, "give a run another name; the old one goes on leading to it", run,
        ("to", {"metavar": "NEW", "help": "its new name"}))  # fmt: skip
    add("note", note, "keep a note with a run; an empty one removes it", run, ("text", {"metavar": "TEXT"}))
    add("star", star, "mark a run as worth keeping: no clear-out touches it", run,
        ("--off", {"action": "store_true", "help": "take the star away"}))  # fmt: skip
    add("choose", choose, "make the model of an epoch the one a run composes with", run,
        ("epoch", {"metavar": "EPOCH", "help": "one that was kept, or best for validation's choice"}))  # fmt: skip
    add("delete", delete, "put a run into the bin", run)
    add("restore", restore, "bring a deleted run back", run)
    add("export", export, "write a run's capsule: its model, options, data hashes, metrics and samples", run,
        ("-o", {"dest": "output", "metavar": "FILE", "help": "where to (default: NAME.capsule.zip)"}))  # fmt: skip
    add("import", import_, "make a run of a capsule", ("file", {"metavar": "FILE", "help": "a capsule"}),
        ("--as", {"dest": "name", "metavar": "NAME", "help": "the run's name (default: the capsule's)"}))  # fmt: skip


def list_or_stop(args: argparse.Namespace) -> int:
    """List the runs, or stop one."""
    from deepmusician import runs

    if args.stop:
        runs.open_run(args.stop).stop()
        print(f"{args.stop} will save and stop after the step under way")
        return 0
    for run in runs.list_runs():
        status, about = run.status(), run.about()
        star, note = "*" if about.starred else " ", f"  ({about.note.splitlines()[0]})" if about.note else ""
        print(f"{star}{run.name:30} {status.state:12} {status.epoch:4d} epochs  {status.message}{note}")
    for run in runs.broken_runs():
        print(f" {run.name:30} {'broken':12} its options cannot be read: deepmusician runs delete {run.name!r}")
    return 0


def show(args: argparse.Namespace) -> int:
    """What a run is, did and can."""
    from deepmusician.branching import lineage
    from deepmusician.keeping import best_scores
    from deepmusician.milestones import timeline
    from deepmusician.recipes import train_command
    from deepmusician.runs import open_run

    run = open_run(args.name)
    status, about, options, scores = run.status(), run.about(), run.options(), best_scores(run)
    print(f"{run.name}{' *' if about.starred else ''}: {status.state}. {status.message}")
    print(f"  made by     deepmusician train {train_command(options)}")
    if began := lineage(options):
        print(f"  begun with  {' < '.join(began)}")
    if scores:
        known = [f"{name} {scores[name]:.3f}" for name in ("nll", "f1", "density") if scores.get(name) is not None]
        print(f"  epoch {scores.get('epoch', 0):4}  {', '.join(known)}")
    moments = timeline(run)
    print(f"  kept        models of epochs {', '.join(str(m.epoch) for m in moments if m.model) or 'none'}")
    for name in ("best", "chosen"):
        print(f"  {name:10}  {', '.join(str(m.epoch) for m in moments if getattr(m, name)) or 'none'}")
    if about.note:
        print(f"  note        {about.note}")
    return 0


def compare(args: argparse.Namespace) -> int:
    """A column for each run: the options that differ, then the scores."""
    from deepmusician.keeping import best_scores, differences, open_runs

    runs = open_runs(args.names)
    if len(runs) < 2:
        raise OptionError(f"comparing takes two runs or more, got {', '.join(args.names)}; name another")
    rows = {"": [run.name for run in runs]} | differences(runs)
    scores = [best_scores(run) for run in runs]
    for name in ("epoch", "nll", "f1", "density"):
        values = [s.get(name) for s in scores]
        rows[name] = [f"{v:.3f}" if isinstance(v, float) else v for v in values]
    widths = [max(12, *(len(_said(v[i])) for v in rows.values())) for i in range(len(runs))]
    for name, values in rows.items():
        print(f"{name:22}" + "  ".join(f"{_said(v):>{w}}" for v, w in zip(values, widths, strict=True)))
    return 0


def _said(value: Any) -> str:
    return "–" if value is None else str(value)


def rename(args: argparse.Namespace) -> int:
    """Rename a run."""
    from deepmusician import keeping, runs

    print(f"{args.name} is called {keeping.rename(runs.open_run(args.name), args.to).name} now")
    return 0


def note(args: argparse.Namespace) -> int:
    """Annotate a run."""
    from deepmusician import keeping, runs

    keeping.annotate(runs.open_run(args.name), args.text)
    print(f"{args.name}: {args.text.strip() or 'no note'}")
    return 0


def star(args: argparse.Namespace) -> int:
    """Star a run, or take its star away."""
    from deepmusician import keeping, runs

    keeping.star(runs.open_run(args.name), not args.off)
    print(f"{args.name} {'has no star' if args.off else 'is starred'} now")
    return 0


def choose(args: argparse.Namespace) -> int:
    """Choose the epoch whose model a run composes with."""
    from deepmusician import milestones, runs

    run = runs.open_run(args.name)
    if args.epoch == "best":
        milestones.let_validation_choose(run)
        print(f"{run.name} composes with the model that validation chose")
        return 0
    if not args.epoch.isascii() or not args.epoch.isdigit():
        raise OptionError(f"an epoch must be a whole number or best, got {args.epoch!r}")
    milestones.choose(run, int(args.epoch))
    print(f"{run.name} composes with its model of epoch {int(args.epoch)}")
    return 0


def delete(args: argparse.Namespace) -> int:
    """Put a run, even a broken one, into the bin."""
    from deepmusician import keeping, runs

    broken = {run.name: run for run in runs.broken_runs()}
    deleted = keeping.delete(broken[args.name] if args.name in broken else runs.open_run(args.name))
    print(f"{deleted.name} lies in the bin; bring it back with: deepmusician runs restore {deleted.name!r}")
    return 0


def restore(args: argparse.Namespace) -> int:
    """Take a run out of the bin."""
    from deepmusician import keeping

    print(f"{keeping.restore(args.name).name} is back")
    return 0


def export(args: argparse.Namespace) -> int:
    """Write a capsule."""
    from deepmusician import capsule, runs

    run = runs.open_run(args.name)
    output = in_folder(Path(args.output or f"{run.name}{capsule.SUFFIX}"))
    content = capsule.export_run(run)
    write(output, content)
    print(f"{output}: {len(content) / 1e6:.1f} MB")
    if any(song["held_out"] for song in run.songs()):
        print("it holds openings of held-out songs, for composing on from them", file=sys.stderr)
    return 0


def import_(args: argparse.Namespace) -> int:
    """Make a run of a capsule."""
    from deepmusician import capsule

    file = Path(args.file)
    if not file.is_file():
        raise RunError(f"there is no file {file}; name a capsule that was exported")
    run = capsule.import_run(file, args.name)
    print(f"{run.name}: {run.status().message}")
    print(f"compose with: deepmusician generate -c {run.name!r}")
    return 0


def add_workspace(verb: argparse.ArgumentParser) -> None:
    """The flags of `workspace`."""
    from deepmusician.workspace import HOME_VARIABLE

    text = (
        "clear out: bin (deleted runs and data sets), cache (converted corpora), milestones (models of single epochs), "
        "leftovers (of kills), unnamed (runs, into the bin); never what is named, starred, annotated or training"
    )
    verb.add_argument("--clear", nargs="+", default=[], metavar="KIND", help=text)
    verb.epilog = f"The workspace is ${HOME_VARIABLE}, else ./workspace."
    verb.set_defaults(run_command=workspace)


def workspace(args: argparse.Namespace) -> int:
    """What the workspace holds, after what was asked to be cleared out."""
    from deepmusician import housekeeping, keeping
    from deepmusician.workspace import workspace as place

    if args.clear:
        print(f"freed {housekeeping.clear(args.clear) / 1e6:.1f} MB")
    print(place())
    for share in housekeeping.usage():
        clearable = f"  --clear {share.name} frees {share.clearable / 1e6:.1f} MB" if share.clearable else ""
        print(f"{share.title:42}{share.count:7,}{share.bytes / 1e6:11,.1f} MB{clearable}")
    for deleted in keeping.list_deleted():
        print(f"in the bin: {deleted.name}, deleted {time.strftime('%Y-%m-%d %H:%M', time.localtime(deleted.time))}")
    return 0
