"""Flags of the command line, built from the tables in `options`; what all its verbs share."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deepmusician.atomic import write_output
from deepmusician.errors import OptionError


def verb(
    verbs: Any, name: str, command: Callable[[argparse.Namespace], int | None], help: str
) -> argparse.ArgumentParser:
    """A command of its own: what runs it, and its help in one line."""
    parser = verbs.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
    parser.set_defaults(run_command=command)
    return parser


def add_checkpoint(verb: argparse.ArgumentParser) -> None:
    """The flag that names a model."""
    text = "a run, a checkpoint folder, or a bundled one"
    verb.add_argument("-c", "--checkpoint", required=True, metavar="CHECKPOINT|RUN", help=text)


def add_options(verb: argparse.ArgumentParser, kind: type) -> None:
    """A flag for each field of an options table; left out, it is None and the table's default holds."""
    for f in dataclasses.fields(kind):
        m = f.metadata
        name = f"--{f.name.replace('_', '-')}"
        if isinstance(f.default, bool):
            verb.add_argument(*m["flags"], name, action=argparse.BooleanOptionalAction, help=m["help"])
            continue
        default = "" if f.default is None else f" (default: {f.default})"
        metavar = None if m["choices"] else f.name.upper()
        text = (m["help"] + default).replace("%", "%%")
        several = {"nargs": "+", "action": _Sources} if f.name == "path" else {}
        verb.add_argument(*m["flags"], name, type=_type(f), choices=m["choices"], metavar=metavar, help=text, **several)


class _Sources(argparse.Action):
    """Several sources are one path, joined as `library` parts them."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: list[str], flag: str | None = None) -> None:
        setattr(namespace, self.dest, "|".join(values))


def _type(f: dataclasses.Field) -> Callable[[str], Any]:
    kind = str(f.type)
    return int if kind.startswith("int") else float if kind.startswith("float") else str


def chosen(args: argparse.Namespace, kind: type) -> dict[str, Any]:
    """The options given on the command line."""
    names = [f.name for f in dataclasses.fields(kind)]
    return {n: getattr(args, n) for n in names if getattr(args, n) is not None}


def in_folder(path: Path) -> Path:
    """`path`, where something can be written to. Raises OptionError, before any work is done."""
    if not path.parent.is_dir():
        raise OptionError(f"the folder {path.parent} does not exist; make it first")
    return path


def write(path: Path, content: str | bytes) -> None:
    """Write what a command gives, whole or not at all. Raises OptionError."""
    try:
        write_output(in_folder(path), content)
    except OSError as error:
        raise OptionError(f"{path} cannot be written ({error.strerror}); choose another place") from error
