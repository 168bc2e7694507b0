"""The verb `ingest` of the command line: any tree of files to a data set, however large."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from typing import Any

from deepmusician.errors import LibraryError, OptionError
from deepmusician.flags import verb as add_verb
from deepmusician.plurals import count
from deepmusician.progress import IngestBar

TOLD = 5  # refused files that are named


def add_ingest_verb(verbs: Any) -> None:
    """The verb and its arguments."""
    verb = add_verb(verbs, "ingest", ingest, "any tree of music files, however large, to a data set")
    verb.add_argument("paths", nargs="*", metavar="PATH", help="folders, files, and archives (.zip .tar .tar.gz …)")
    text = "the data set to make, or to bring up to date: only what is new or changed is read"
    verb.add_argument("-o", "--output", required=True, metavar="NAME", help=text)
    verb.add_argument("--resume", action="store_true", help="go on with NAME and the paths it knows")
    add_ingest_options(verb)
    text = "the first folder below PATH names the style of its pieces (default: as PATH/styles.csv says)"
    verb.add_argument("--styles", action="store_true", help=text)


def add_ingest_options(verb: argparse.ArgumentParser) -> None:
    """How it is read, of all verbs that make such a data set."""
    verb.add_argument("--workers", type=int, metavar="N", help="processes that read (default: one for each core)")
    verb.add_argument("--scheduler", metavar="ADDRESS", help="let the workers of this Dask scheduler read instead")
    verb.add_argument("--without-copies", action="store_true", help="leave near-duplicates out; the Library undoes it")


def ingest(args: argparse.Namespace) -> int:
    """Read, with a bar, and say what came of it."""
    from deepmusician.ingest import by_folder
    from deepmusician.shelf import is_being_made, list_data_sets

    if args.resume and args.output not in list_data_sets() and not is_being_made(args.output):
        raise OptionError(f"there is nothing to go on with: no data set is called {args.output}; leave --resume out")
    if not args.paths and not args.resume:
        raise OptionError("ingest needs a PATH with music below it, or --resume to go on with the paths NAME knows")
    print(read(args.paths, args.output, args, by_folder if args.styles else None))
    return 0


def read(paths: list[str], name: str, args: argparse.Namespace, label: Any) -> str:
    """Ingest as `args` say; what came of it, in lines."""
    from deepmusician import ingest as ingesting
    from deepmusician.collected import refusals
    from deepmusician.shelf import folder_of

    workers = ingesting.cores() if args.workers is None else args.workers
    if workers < 1:
        raise OptionError(f"--workers must be at least 1, got {workers}")
    began, last = time.monotonic(), ingesting.State()

    def watch(state: Any) -> None:
        nonlocal last, began
        last, began = state, time.monotonic() if state.preparing else began
        bar(state)

    with IngestBar() as bar:
        totals = ingesting.ingest(paths, name, workers, args.scheduler or "", label, watch)
    seconds, fresh = time.monotonic() - began, last.done - last.known
    lines = [_sentence(name, totals), _rate(fresh, last.known, seconds)]
    lines += [f"refused {piece}: {reason}" for piece, reason in refusals(folder_of(name), TOLD)]
    if totals["refused"] > TOLD:
        lines.append(f"… and {totals['refused'] - TOLD:,} more: deepmusician library {name}")
    if args.without_copies:
        lines.append(_leave_copies_out(name))
    return "\n".join([*lines, f"train on it with: deepmusician train -p {name}"])


def _sentence(name: str, totals: dict[str, float]) -> str:
    kept = totals["kept"] + totals["repaired"]
    text = f"{name}: {count(kept, 'piece')} of {count(totals['files'], 'file')}"
    text += f", {totals['repaired']:,} of them repaired on reading, {totals['refused']:,} refused"
    text += f", {totals['twins']:,} nearly the same as another"
    text += f", {totals['toneless']:,} with no note to learn" if totals["toneless"] else ""
    return f"{text}; {totals['notes']:,} notes to learn, {totals['minutes'] / 60:,.1f} hours"


def _rate(fresh: int, known: int, seconds: float) -> str:
    if known and not fresh:
        return f"nothing new: {count(known, 'file')} as they had been"
    text = f"{count(fresh, 'file')} read in {seconds:,.1f} s, {fresh / max(seconds, 1e-9):,.0f} a second"
    return text + (f"; {known:,} were as they had been" if known else "")


def _leave_copies_out(name: str) -> str:
    from deepmusician.collected import twins
    from deepmusician.shelf import decide, folder_of, load_decisions

    decisions = load_decisions(name)
    changes = {twin: replace(decisions.of(twin), out=True) for twin in twins(folder_of(name))}
    if not changes:
        return "no near-duplicate is there to be left out"
    try:
        decide(name, f"left out {len(changes):,} nearly the same as another", changes)
    except LibraryError as error:
        return f"the near-duplicates could not be left out: {error}"
    return f"{len(changes):,} near-duplicates are left out; the Library undoes it"
