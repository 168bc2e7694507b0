"""The verb `fetch` of the command line: the eight collections, and what to know before any of them is fetched."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepmusician.errors import OptionError
from deepmusician.flags import verb as add_verb
from deepmusician.ingest_verb import add_ingest_options
from deepmusician.ingest_verb import read as ingest
from deepmusician.progress import Bar, BytesBar

if TYPE_CHECKING:
    from deepmusician.download import Remote
    from deepmusician.fetch import Collection, Fetched

TOLD = 5  # refused files that are named


def add_fetch_verb(verbs: Any) -> None:
    """The verb and its arguments."""
    verb = add_verb(verbs, "fetch", fetch, "get one of the great collections of MIDI, if you say so")
    verb.add_argument("name", nargs="?", metavar="NAME", help="the collection; --list tells them")
    verb.add_argument("--list", action="store_true", help="what there is: files, size, licence, how to cite it")
    verb.add_argument("-o", "--output", metavar="FOLDER", help="where to (default: collections/NAME in the workspace)")
    verb.add_argument("--yes", action="store_true", help="do not ask, as a script needs it")
    verb.add_argument("--from", dest="own", metavar="PATH", help="take in your own copy: an archive or a folder")
    verb.add_argument("--crawl", action="store_true", help="go through a site without a bulk file, page by page")
    verb.add_argument("--contact", default="", metavar="ADDRESS", help="where the site's owner can write to you")
    verb.add_argument("--pause", type=float, metavar="SECONDS", help="between two requests (default: 2, at least 1)")
    verb.add_argument("--most", type=int, default=0, metavar="FILES", help="end the crawl after so many new files")
    verb.add_argument("--ingest", action="store_true", help="make a data set called NAME of it at once")
    add_ingest_options(verb)


def fetch(args: argparse.Namespace) -> int:
    """List, or tell, ask, fetch, and say what to do next."""
    from deepmusician.fetch import collection, list_collections, place_of, remotes_of

    if args.list or not args.name:
        names = [args.name] if args.name else [each.name for each in list_collections()]
        print("\n\n".join("\n".join(collection(name).about()) for name in names))
        return 0
    what = collection(args.name)
    folder = Path(args.output).expanduser().absolute() if args.output else place_of(what.name)
    print("\n".join(what.about()), flush=True)
    _check(args, what)
    remotes = () if args.own or args.crawl else remotes_of(what)
    if any(remote.bytes for remote in remotes):
        sizes = ", ".join(f"{remote.name} ({remote.bytes / 1e6:,.0f} MB)" for remote in remotes if remote.bytes)
        print(f"  files to download: {sizes}", flush=True)
    _agree(args, what, folder)
    print(_crawl(args, what, folder) if args.crawl else _told(what, _get(args, what, remotes, folder)))
    if args.ingest:
        print(ingest([str(folder)], what.name, args, None))
    return 0


def _check(args: argparse.Namespace, what: Collection) -> None:
    """Refuse what does not go together before anything is asked."""
    if args.own and args.crawl:
        raise OptionError("--from takes in your own copy, --crawl goes through the site; give one of them")
    if args.crawl and what.how != "crawl":
        raise OptionError(f"{what.name} is fetched without --crawl; leave it out")
    if not args.crawl and (args.contact or args.pause is not None or args.most):
        raise OptionError("--contact, --pause and --most are for --crawl; leave them out")
    if args.most < 0:
        raise OptionError(f"--most must be at least 0, got {args.most}")
    if args.crawl:
        _manners(args)


def _agree(args: argparse.Namespace, what: Collection, folder: Path) -> None:
    if args.yes:
        return
    if not sys.stdin.isatty():
        raise OptionError("fetch asks before it begins, and nobody is there to answer; add --yes")
    whence = args.own or what.site
    if input(f"Get it from {whence} into {folder}? [y/N] ").strip().lower() not in ("y", "yes"):
        raise OptionError("nothing was fetched")


def _get(args: argparse.Namespace, what: Collection, remotes: Sequence[Remote], folder: Path) -> Fetched:
    from deepmusician.fetch import bring
    from deepmusician.fetch import fetch as download

    with _Bars() as bars:
        if args.own:
            return bring(what, Path(args.own).expanduser(), folder, bars)
        return download(what, remotes, folder, bars)


class _Bars:
    """A bar for each thing that is done: bytes of downloads, files of all else."""

    def __init__(self) -> None:
        self.what, self.bar = "", None

    def __enter__(self) -> _Bars:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar:
            self.bar.close()

    def __call__(self, what: str, done: int, total: int) -> None:
        if what != self.what or self.bar is None:
            self.__exit__()
            files = what == "copying" or what.startswith("unpacking ")
            self.what, self.bar = what, Bar(what, "files") if files else BytesBar(what)
        self.bar(done, max(total, done) if isinstance(self.bar, Bar) and self.bar.unit == "files" else total)


def _told(what: Collection, got: Fetched) -> str:
    lines = [f"{got.folder}: {got.files:,} files of music, {got.styles:,} styles"]
    lines += [f"refused {name}: {reason}" for name, reason in got.refused[:TOLD]]
    if len(got.refused) > TOLD:
        lines.append(f"… and {len(got.refused) - TOLD:,} more")
    return "\n".join([*lines, _next(what, got.folder)])


def _next(what: Collection, folder: Path) -> str:
    from shlex import quote

    return f"make a data set of it with: deepmusician ingest {quote(str(folder))} -o {what.name}"


def _manners(args: argparse.Namespace) -> Any:
    from deepmusician.crawl import PAUSE, Manners

    return Manners(args.contact, PAUSE if args.pause is None else args.pause)


def _crawl(args: argparse.Namespace, what: Collection, folder: Path) -> str:
    from deepmusician.crawl import crawl
    from deepmusician.fetch import check_free, getting, label
    from deepmusician.limits import current

    record = getting(folder) / "crawl.jsonl"
    if not record.exists():
        check_free(folder)
    folder.mkdir(parents=True, exist_ok=True)
    record.parent.mkdir(exist_ok=True)
    files = styles = 0
    try:
        with Bar("files", "files") as bar:
            done = crawl(
                what.start, folder, record, _manners(args), current().file_bytes, args.most,
                lambda pages, kept, known: bar(kept, known),
            )  # fmt: skip
    finally:  # what is there can be used
        files, styles = label(what, folder)
    text = f"{folder}: {files:,} files of music, {styles:,} styles; {done.pages:,} pages seen"
    text += f", {done.missing:,} files not to be had" if done.missing else ""
    text += "" if done.done else "; call the same again to go on"
    return f"{text}\n{_next(what, folder)}"
