"""The verb `fetch` of the command line: a known collection, shown first, asked for, fetched and made a data set."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepmusician.errors import LibraryError, OptionError
from deepmusician.flags import verb as add_verb
from deepmusician.ingest_verb import add_ingest_options, read
from deepmusician.progress import Bar

if TYPE_CHECKING:
    from deepmusician.fetch import Known


def add_fetch_verb(verbs: Any) -> None:
    """The verb and its arguments."""
    verb = add_verb(verbs, "fetch", fetch, "a known collection to a data set: shown first, fetched when you say yes")
    verb.add_argument("name", nargs="?", metavar="NAME", help="which one; without it all are listed")
    verb.add_argument("--list", action="store_true", help="list the collections: size, licence, how to cite")
    verb.add_argument("-o", "--output", metavar="NAME", help="the data set to make (default: the collection's name)")
    verb.add_argument("--yes", action="store_true", help="do not ask")
    verb.add_argument("--from", metavar="PATH", dest="own", help="your own copy, a folder or an archive")
    verb.add_argument("--site", action="store_true", help="go through a site without a bulk file, slowly")
    verb.add_argument("--contact", metavar="ADDRESS", help="with --site: where its owner can write to you")
    verb.add_argument("--most", type=int, metavar="N", help="with --site: stop after so many files; again goes on")
    add_ingest_options(verb)


def fetch(args: argparse.Namespace) -> int:
    """List, or show, ask, fetch and read."""
    from deepmusician import fetch as fetching

    if args.list or not args.name:
        print("\n".join(line for each in fetching.known().values() for line in each.lines()))
        return 0
    collection = fetching.find(args.name)
    print("\n".join(collection.lines()))
    _check(collection, args)
    if not args.own and not args.yes and not _agreed():
        print("nothing was fetched")
        return 1
    place = Path(args.own) if args.own else _got(collection, args)
    if place.suffix.lower() in (".7z", ".rar"):
        raise LibraryError(f"{place} is here; unpack it (7z x), then: deepmusician fetch {args.name} --from FOLDER")
    label = fetching.label_of(collection, place)
    print(read([str(place)], args.output or collection.name, args, label))
    return 0


def _check(collection: Known, args: argparse.Namespace) -> None:
    """Refuse what cannot be before anything is asked."""
    if args.own:
        if not Path(args.own).exists():
            raise OptionError(f"--from must be a folder or an archive that is here, got {args.own}")
        return
    if collection.kind == "own":
        raise OptionError(f"{collection.name} is not fetched: get your own copy at {collection.home}, then --from PATH")
    if collection.kind == "site" and not (args.site and args.contact):
        raise OptionError(
            f"{collection.name} has no bulk file: --site --contact YOUR-ADDRESS goes through it page by page, "
            "--from PATH takes your own copy"
        )
    if collection.kind != "site" and args.site:
        raise OptionError(f"{collection.name} has a bulk file; leave --site out")


def _agreed() -> bool:
    if not sys.stdin.isatty():
        raise OptionError("nobody is there to say yes; read the above, and give --yes")
    return input("Fetch it? [y/N] ").strip().lower() in ("y", "yes")


def _got(collection: Known, args: argparse.Namespace) -> Path:
    from deepmusician import fetch as fetching

    if collection.kind == "bulk":
        with Bar("fetching", "MB") as bar:
            return fetching.flattened(fetching.download(collection, bar))
    from deepmusician.crawl import Crawler

    folder = fetching.downloads(collection)
    with Bar("looking at pages", "files") as bar:
        crawler = Crawler(collection.start, folder, args.contact, most=args.most)
        crawler.run(lambda files, left, url: bar(files, files + left))
    return folder
