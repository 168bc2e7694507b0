"""The verb `library` of the command line: saved data sets listed, looked into, taken along, brought in and deleted."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepmusician.errors import LibraryError, OptionError
from deepmusician.flags import in_folder, write
from deepmusician.flags import verb as add_verb
from deepmusician.plurals import count

if TYPE_CHECKING:
    from deepmusician.doctor import Report

MOST = 20  # of styles and refused files that are named


def add_library_verb(verbs: Any) -> None:
    """The verb and its arguments."""
    verb = add_verb(verbs, "library", library, "saved data sets: what became of every file; export, import, delete")
    verb.add_argument("name", nargs="?", metavar="NAME", help="say what became of every file of this data set")
    verb.add_argument("--export", metavar="FILE.zip", help="write NAME as one zip: music, decisions, MIDI")
    verb.add_argument("--import", metavar="FILE.zip", dest="bring", help="keep an exported data set, as NAME if given")
    verb.add_argument("--rename", metavar="NEW", help="call NAME by another name")
    verb.add_argument("--delete", action="store_true", help="put NAME into the bin")
    verb.add_argument("--restore", action="store_true", help="bring NAME back from the bin")


def library(args: argparse.Namespace) -> int:
    """List the data sets, or do one thing with one of them."""
    asked = [f for f in ("export", "bring", "rename", "delete", "restore") if getattr(args, f)]
    if len(asked) > 1:
        raise OptionError("--export, --import, --rename, --delete and --restore do one thing each; give one of them")
    if asked and asked != ["bring"] and not args.name:
        raise OptionError(f"--{asked[0]} needs the NAME of a data set; `deepmusician library` lists them")
    do = _VERBS[asked[0]] if asked else _tell if args.name else _list
    print(do(args))
    return 0


def _list(args: argparse.Namespace) -> str:
    from deepmusician.shelf import list_data_sets, load_data_set

    lines = []
    for name in list_data_sets():
        try:
            data = load_data_set(name)
            lines.append(f"{name:30} {data.learnt:5d} of {len(data.entries)} files learnt from")
        except LibraryError as error:
            lines.append(f"{name:30} {error}")
    return "\n".join(lines) or "no data set is kept yet; upload music in the studio, or bring one with --import"


def _tell(args: argparse.Namespace) -> str:
    """The doctor's findings, and each file that is not simply kept."""
    from deepmusician import doctor
    from deepmusician.collected import is_collected
    from deepmusician.options import TrainOptions
    from deepmusician.shelf import folder_of, load_as_read, load_decisions

    if is_collected(folder_of(args.name)):
        return _tell_collected(args.name)
    data, decisions = load_as_read(args.name), load_decisions(args.name)
    reports = [doctor.examine(entry, decisions.of(entry.name)) for entry in data.entries]
    where = doctor.sides(reports, TrainOptions.valid_fraction, TrainOptions.seed)
    findings = doctor.findings(reports, where, doctor.copies(reports))
    totals = doctor.totals(reports)
    lines = [f"{'':10}{'read':>12}{'learnt':>12}"]
    for name in ("files", "tracks", "notes", "bars", "minutes"):
        before, after = getattr(totals, name)
        lines.append(f"{name:10}{before:12,.0f}{after:12,.0f}")
    lines += [f"- {finding.words.replace('**', '').replace('`', '')}" for finding in findings]
    lines += [_line(r) for r in reports if r.verdict != "kept" or r.reason]
    held = [r.name for r, side in zip(reports, where, strict=True) if side == doctor.HELD_OUT]
    return "\n".join([*lines, f"held out: {', '.join(held) or 'none'}"])


def _tell_collected(name: str) -> str:
    """A large data set in numbers, and the first of the files that could not be read."""
    from deepmusician.collected import refusals, styles, totals
    from deepmusician.shelf import folder_of, load_data_set

    folder = folder_of(name)
    counts, data = totals(folder), load_data_set(name)
    lines = [f"{what:10}{counts[what]:14,.0f}" for what in ("files", "pieces", "notes", "bars", "minutes")]
    lines.append(f"{'learnt':10}{data.learnt:14,} pieces")
    lines.append(f"{'lost':10}{counts['lost']:14,.0f} notes off the 88 keys, {counts['drums']:,.0f} of drums")
    lines.append(f"{'twins':10}{counts['twins']:14,.0f} pieces nearly the same as another")
    found = styles(folder)
    if found:
        named = ", ".join(f"{style} ({count:,})" for style, count in found[:MOST])
        lines.append(f"styles: {named}" + (f" and {len(found) - MOST:,} more" if len(found) > MOST else ""))
    lines += [f"refused  {piece}: {reason}" for piece, reason in refusals(folder, MOST)]
    if counts["refused"] > MOST:
        lines.append(f"… and {counts['refused'] - MOST:,.0f} more refused")
    return "\n".join(lines)


def _line(report: Report) -> str:
    return f"{report.verdict:9} {report.name}: {report.reason}"


def _export(args: argparse.Namespace) -> str:
    from deepmusician.parcels import export_data_set

    output = in_folder(Path(args.export))
    content = export_data_set(args.name)
    write(output, content)
    return f"{args.export}: {len(content):,} bytes"


def _import(args: argparse.Namespace) -> str:
    from deepmusician.parcels import import_data_set, parcel_name
    from deepmusician.shelf import list_data_sets

    try:
        content = Path(args.bring).read_bytes()
    except OSError as error:
        raise OptionError(f"{args.bring} cannot be read ({error.strerror}); choose another file") from error
    own = parcel_name(content)
    if own is None:
        raise LibraryError(f"{args.bring} is no exported data set; give other music to train with -p")
    name = args.name or own
    if name in list_data_sets():
        raise LibraryError(f"{name} is taken; give another NAME before --import")
    return f"{name}: {count(len(import_data_set(content, name).songs), 'piece')}"


def _rename(args: argparse.Namespace) -> str:
    from deepmusician.shelf import rename_data_set

    rename_data_set(args.name, args.rename)
    return f"{args.name} is now {args.rename}"


def _delete(args: argparse.Namespace) -> str:
    from deepmusician.shelf import BIN_DAYS, delete_data_set

    delete_data_set(args.name)
    return f"{args.name} is deleted; --restore brings it back for {BIN_DAYS} days"


def _restore(args: argparse.Namespace) -> str:
    from deepmusician.shelf import restore_data_set

    return f"{restore_data_set(args.name)} is here again"


_VERBS: dict[str, Any] = {
    "export": _export,
    "bring": _import,
    "rename": _rename,
    "delete": _delete,
    "restore": _restore,
}
