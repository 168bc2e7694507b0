"""The verbs of `deepmusician listening`: make a blind test, list the tests there are, tell what their votes say."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from deepmusician.errors import ListeningError
from deepmusician.flags import add_checkpoint, in_folder, verb, write
from deepmusician.plurals import count
from deepmusician.progress import Bar, composer_ready


def add_listening_verb(verbs: Any) -> None:
    """The verbs below `listening`."""
    top = verb(verbs, "listening", list_tests, "blind listening tests: human or machine, A or B")
    below = top.add_subparsers(title="what to do", metavar="VERB")
    new = verb(below, "new", new_test, "make a test of a model: its music among music by people, or two models in turn")
    add_checkpoint(new)
    new.add_argument("--against", metavar="CHECKPOINT|RUN", help="a second model: which of the two is preferred?")
    new.add_argument("-p", "--path", metavar="DATA|CORPUS", help="music by people (default: held out from the model)")
    new.add_argument("--title", default="", help="what the test is called")
    new.add_argument("--clips", type=int, default=12, help="clips to hear beside the catch trials (default: 12)")
    new.add_argument("--seconds", type=float, default=10.0, help="how long a clip lasts (default: 10)")
    new.add_argument("--catches", type=int, default=2, help="trials whose answer is plain (default: 2)")
    new.add_argument("--bound", type=float, default=0.1, help="what counts as the same as one half, ± (default: 0.1)")
    new.add_argument("--tempo-bpm", type=float, help="quarter notes a minute (default: what suits the model)")
    new.add_argument("--program", type=int, help="General MIDI instrument, 0..127 (default: what suits the model)")
    new.add_argument("--seed", type=int, default=0, help="another one draws other clips (default: 0)")
    verb(below, "list", list_tests, "the tests there are")
    name = ("test", {"metavar": "TEST", "help": "its id, or its title"})
    shown = verb(below, "results", results, "what the votes of a test say")
    shown.add_argument(name[0], **name[1])
    shown.add_argument("--json", action="store_true", help="print JSON instead of sentences")
    export_ = verb(below, "export", export, "write the votes of a test as CSV")
    export_.add_argument(name[0], **name[1])
    export_.add_argument("-o", "--output", metavar="FILE", help="where to (default: votes-ID.csv)")
    verb(below, "delete", delete, "remove a test, its clips and its votes").add_argument(name[0], **name[1])


def new_test(args: argparse.Namespace) -> int:
    """Make a test."""
    from deepmusician import listening, listening_store

    options = listening.ListeningOptions(
        model=args.checkpoint, against=args.against, music=args.path, title=args.title, clips=args.clips,
        seconds=args.seconds, catches=args.catches, bound=args.bound, tempo_bpm=args.tempo_bpm, program=args.program,
        seed=args.seed,
    )  # fmt: skip
    composer_ready()
    with Bar("making", "clips") as bar:
        test = listening.new_test(listening_store.open_store(), options, bar)
    print(f"{test.id}: {test.title}, about {max(options.minutes, 1):.0f} min")
    print(f"take it in the studio at /listen?test={test.id}")
    return 0


def list_tests(args: argparse.Namespace) -> int:
    """List the tests with how many listeners count."""
    from deepmusician import listening_results, listening_store

    engine = listening_store.open_store()
    tests = listening_store.list_tests(engine)
    for test in tests:
        counted = len(listening_results.results(engine, test).counted)
        day = time.strftime("%Y-%m-%d", time.localtime(test.created))
        print(f"{test.id}  {day}  {test.kind:10} {counted:4d} listeners  {test.title}")
    if not tests:
        print("no tests yet; make one with: deepmusician listening new -c MODEL")
    return 0


def results(args: argparse.Namespace) -> int:
    """Tell what a test found."""
    from deepmusician import listening_results, listening_store, listening_words

    engine = listening_store.open_store()
    found = listening_results.results(engine, listening_store.find_test(engine, args.test))
    if args.json:
        print(json.dumps(listening_words.to_dict(found), indent=2))
        return 0
    print(f"{found.test.title}: {listening_words.headline(found)}")
    print("\n".join(f"  {line}" for line in listening_words.findings(found)))
    print(listening_words.verdict(found))
    return 0


def votes_on(source: str) -> tuple[list[dict[str, Any]] | dict[str, str], list[str]]:
    """What listeners said of a checkpoint in every blind test of it, for JSON and in words.

    A database that cannot be reached is a sentence and no error: the other judges have spoken.
    """
    from deepmusician import listening_results, listening_store, listening_words
    from deepmusician.checkpoint import fingerprint

    try:
        found = listening_results.of_model(listening_store.open_store(), fingerprint(source))
    except ListeningError as error:
        return {"problem": str(error)}, [f"Human ears: {error}"]
    return [listening_words.to_dict(one) for one in found], listening_words.in_short(found, source)


def export(args: argparse.Namespace) -> int:
    """Write CSV."""
    from deepmusician import listening_results, listening_store

    engine = listening_store.open_store()
    test = listening_store.find_test(engine, args.test)
    output = in_folder(Path(args.output or f"votes-{test.id}.csv"))
    text = listening_results.export_csv(engine, test)
    write(output, text)
    print(f"{output}: {count(text.count(chr(10)) - 1, 'vote')}")
    return 0


def delete(args: argparse.Namespace) -> int:
    """Remove a test."""
    from deepmusician import listening, listening_store

    engine = listening_store.open_store()
    test = listening_store.find_test(engine, args.test)
    listening.delete_test(engine, test)
    print(f"{test.title} is deleted, with its votes")
    return 0
