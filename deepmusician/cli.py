"""The command line: every verb of the studio.

Flags of `train` and `generate` are built from the tables in `options`; what a command prints for people goes to
standard output, progress to standard error. An error of ours is one line and exit code 2.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from deepmusician import __version__
from deepmusician.atomic import no_room
from deepmusician.cli_runs import add_runs, add_workspace, list_or_stop, workspace
from deepmusician.errors import DeepMusicianError, OptionError
from deepmusician.fetch_verb import add_fetch_verb
from deepmusician.flags import add_checkpoint as _add_checkpoint
from deepmusician.flags import add_options as _add_options
from deepmusician.flags import chosen as _chosen
from deepmusician.flags import in_folder
from deepmusician.flags import verb as _verb
from deepmusician.ingest_verb import add_ingest_verb
from deepmusician.library_verbs import add_library_verb
from deepmusician.listening_verbs import add_listening_verb
from deepmusician.options import GenerateOptions, RewriteOptions, from_dict
from deepmusician.plurals import count
from deepmusician.progress import Bar, composer_ready
from deepmusician.recipes import list_recipes
from deepmusician.serve_verb import add_serve_verb
from deepmusician.train_verbs import add_train_verbs


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    args = parser().parse_args(argv)
    logging.basicConfig(
        level=logging.INFO if args.verbose else logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
    )
    try:
        return args.run_command(args) or 0
    except DeepMusicianError as error:
        return _told(error)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("deepmusician: stopped", file=sys.stderr)
        return 130
    except Exception as error:
        if full := no_room(error):
            return _told(full)
        raise


def _told(error: DeepMusicianError) -> int:
    print(f"deepmusician: {' '.join(str(error).split())}", file=sys.stderr)
    return error.exit_code


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage above it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = _Parser(
        prog="deepmusician",
        description="Train a small music model on your own MIDI, compose with it, find out how good it is.",
    )
    top.add_argument("--version", action="version", version=f"deepmusician {__version__}")
    top.add_argument("-v", "--verbose", action="store_true", help="say what is going on inside")
    verbs = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    add_train_verbs(verbs)
    _generate_parser(verbs)
    _rewrite_parser(verbs)
    _humanise_parser(verbs)
    _evaluate_parser(verbs)
    _render_parser(verbs)
    _inspect_parser(verbs)
    _runs_parser(verbs)
    add_library_verb(verbs)
    add_ingest_verb(verbs)
    add_fetch_verb(verbs)
    add_listening_verb(verbs)
    add_serve_verb(verbs)
    _verb(verbs, "corpora", corpora, "what music is built in, with counts")
    _verb(verbs, "recipes", recipes, "the kinds of model there are, and whose they are")
    return top


# generate


def _generate_parser(verbs: Any) -> None:
    verb = _verb(verbs, "generate", generate, "compose with a checkpoint or a run")
    _add_checkpoint(verb)
    _add_options(verb, GenerateOptions)
    verb.add_argument("--prime", metavar="FILE", help="the piece that guided composing goes on from")
    verb.add_argument(
        "--continue", metavar="FILE", dest="continued", help="as --prime FILE --keep: the piece, then what follows it"
    )
    _add_save(verb, "composed.mid", "; several variations are numbered")


def _add_save(verb: argparse.ArgumentParser, default: str, more: str = "") -> None:
    text = f"where to save: .mid, .wav, .mp3 or .ogg{more} (default: {default})"
    verb.add_argument("-s", "--save", default=default, metavar="FILE", help=text)


def generate(args: argparse.Namespace) -> int:
    """Compose, save, and say what was composed."""
    chosen = _chosen(args, GenerateOptions)
    prime = args.continued or args.prime
    if args.continued and args.prime:
        raise OptionError("--prime and --continue both name the piece to go on from; give one of them")
    if prime and chosen.setdefault("init", "guided") != "guided":
        raise OptionError(f"--prime is the piece that guided goes on from, but -i is {args.init}; leave -i out")
    if args.continued:
        chosen["keep"] = True
    options = from_dict(GenerateOptions, chosen)
    save = _save_place(args.save)
    from deepmusician.generation import compose_variations
    from deepmusician.reading import read_song

    composer_ready()
    pieces = compose_variations(args.checkpoint, options, read_song(prime) if prime else None)
    for i, piece in enumerate(pieces, 1):
        for warning in piece.warnings:
            print(warning, file=sys.stderr)
        place = save if len(pieces) == 1 else save.with_stem(f"{save.stem}-{i}")
        _save(piece.song, place)
        print(f"{place}: {count(len(piece.song), 'note')}, {piece.song.beats:g} beats, {piece.song.seconds:.0f} s")
    return 0


# rewrite


def _rewrite_parser(verbs: Any) -> None:
    verb = _verb(verbs, "rewrite", rewrite, "write some bars of a piece anew and keep the rest")
    verb.add_argument("file", metavar="FILE", help="MIDI, MusicXML, ABC or Humdrum")
    _add_checkpoint(verb)
    verb.add_argument("--bars", required=True, metavar="FIRST-LAST", help="which bars, such as 5-8; 1 is the first")
    _add_options(verb, RewriteOptions)
    _add_save(verb, "rewritten.mid")


def rewrite(args: argparse.Namespace) -> int:
    """Rewrite some bars of one file, save, and say what is new."""
    options = from_dict(RewriteOptions, _chosen(args, RewriteOptions))
    first, last = _bars(args.bars)
    save = _save_place(args.save)
    from deepmusician.reading import read_song
    from deepmusician.rewrite import rewrite as write_anew
    from deepmusician.splice import span_of_bars

    song = read_song(args.file)
    composer_ready()
    written = write_anew(args.checkpoint, song, *span_of_bars(song, first, last), options)
    for warning in written.warnings:
        print(warning, file=sys.stderr)
    _save(written.song, save)
    print(f"{save}: bars {first} to {last} written anew, {count(len(written.song), 'note')}")
    return 0


def _bars(text: str) -> tuple[int, int]:
    """ "5-8" or "5"."""
    first, _, last = text.partition("-")
    if not (first.isdecimal() and (last or first).isdecimal()):
        raise OptionError(f"bars are written as FIRST-LAST, got {text!r}; try 5-8")
    return int(first), int(last or first)


SOUND = (".wav", ".mp3", ".ogg")


def _save_place(name: str) -> Path:
    """Refuse an unknown kind or a missing folder before any work is done."""
    path = Path(name)
    if path.suffix.lower() not in (".mid", ".midi", *SOUND):
        raise OptionError(f"a piece is saved as .mid, .wav, .mp3 or .ogg, got {path.name}")
    return in_folder(path)


def _save(song: Any, path: Path) -> None:
    """As MIDI or as sound, by the name's end."""
    if path.suffix.lower() in SOUND:
        _write_sound(song, path)
    else:
        from deepmusician.midi import write_midi

        write_midi(song, path)


def _write_sound(song: Any, path: Path) -> None:
    from deepmusician.render import render, write_audio

    write_audio(render(song), path)


# humanise


def _humanise_parser(verbs: Any) -> None:
    verb = _verb(verbs, "humanise", humanise, "give the notes of a piece the velocities a model of expression expects")
    verb.add_argument("file", metavar="FILE", help="MIDI, MusicXML, ABC or Humdrum")
    _add_checkpoint(verb)
    places = "where to save: .mid, .wav, .mp3 or .ogg"
    verb.add_argument("-o", "--output", required=True, metavar="FILE", help=places)
    mixture = "0 keeps the piece's own velocities, 1 takes the model's (default: 1)"
    verb.add_argument("--strength", type=float, default=1.0, metavar="0..1", help=mixture)
    verb.add_argument("--seed", type=int, default=0, help="another one plays it another way (default: 0)")


def humanise(args: argparse.Namespace) -> int:
    """Humanise one file."""
    save = _save_place(args.output)
    from deepmusician.expression import humanise as play
    from deepmusician.reading import read_song

    song = play(args.checkpoint, read_song(args.file), args.strength, args.seed)
    _save(song, save)
    loud = song.notes["velocity"][~song.notes["drum"]]
    print(f"{save}: {count(len(loud), 'note')}" + (f", velocities {loud.min()} to {loud.max()}" if len(loud) else ""))
    return 0


# evaluate


def _evaluate_parser(verbs: Any) -> None:
    verb = _verb(verbs, "evaluate", evaluate, "how well a model predicts held-out music, beside baselines")
    _add_checkpoint(verb)
    verb.add_argument(
        "-p", "--path", metavar="PATH|CORPUS", help="music to judge it on (default: the songs held out in training)"
    )
    verb.add_argument("--rolls", metavar="FILE.npz", help="polyphonic rolls, as the field's benchmark sets are kept")
    verb.add_argument("--split", metavar="NAME", help="the part of the file to judge it on, such as valid or test")
    verb.add_argument("--piece", metavar="FILE", help="judge this piece, too: is it new, did the model expect it?")
    verb.add_argument("--style", metavar="STYLE", help="the style in which a model of several expects the piece")
    verb.add_argument("--full", action="store_true", help="let the judges hear three times as much music, in minutes")
    verb.add_argument("--json", action="store_true", help="print JSON instead of a table")
    verb.add_argument("--polite", action="store_true", help="give way to other programs on this machine")


def evaluate(args: argparse.Namespace) -> int:
    """Print the report of `evaluation.evaluate` or `evaluate_rolls`."""
    if bool(args.rolls) != bool(args.split):
        raise OptionError("--rolls names a file and --split a part of it; give both or neither")
    if args.rolls and args.path:
        raise OptionError("-p and --rolls both name the music to judge on; give one of them")
    if args.rolls and args.full:
        raise OptionError("--full is for the judges, which hear no --rolls; leave one of them out")
    if args.style and not args.piece:
        raise OptionError("--style says in which style a piece is expected; name it with --piece")
    if args.polite:
        os.nice(5)
    from deepmusician.evaluation import evaluate_rolls, table
    from deepmusician.listening_verbs import votes_on
    from deepmusician.pieces import judge_piece, piece_words
    from deepmusician.reading import read_song
    from deepmusician.verdicts import judged

    piece = judge_piece(args.checkpoint, read_song(args.piece), args.style) if args.piece else None
    if not args.rolls:
        composer_ready()
    with Bar("judging", "steps") as bar:
        if args.rolls:
            report = evaluate_rolls(args.checkpoint, args.rolls, args.split)
        else:
            report = judged(args.checkpoint, args.path, "full" if args.full else "quick", bar.step)
    if piece:
        report = {**report, "piece": {"file": args.piece, **piece}}
    report["listening"], ears = votes_on(args.checkpoint)
    print(json.dumps(report, indent=2) if args.json else "\n".join([table(report), *ears]))
    if piece and not args.json:
        print("\n".join([args.piece, *piece_words(piece)]))
    return 0


# inspect, render, runs, corpora, recipes


def _inspect_parser(verbs: Any) -> None:
    verb = _verb(verbs, "inspect", inspect, "read files and say what was read, repaired or refused, and why")
    verb.add_argument("files", nargs="+", metavar="FILE", help="music, a zip of it, or a folder of it")
    verb.add_argument("--json", action="store_true", help="print JSON instead of lines")


def inspect(args: argparse.Namespace) -> int:
    """Print the import report; 1 where something was refused."""
    from deepmusician.library import read_paths
    from deepmusician.report import reports, summary, totals

    with Bar("reading", "files") as bar:
        found = reports(read_paths(args.files, bar).entries)
    if args.json:
        print(json.dumps({"files": [report.to_dict() for report in found], "totals": totals(found)}, indent=2))
    else:
        print("\n".join(line for report in found for line in report.lines()))
        print(summary(found))
    return int(any(report.state == "refused" for report in found))


def _render_parser(verbs: Any) -> None:
    verb = _verb(verbs, "render", render, "turn a piece into sound")
    verb.add_argument("file", metavar="FILE", help="MIDI, MusicXML, ABC or Humdrum")
    verb.add_argument("-o", "--output", required=True, metavar="FILE", help="where to save: .wav, .mp3 or .ogg")


def render(args: argparse.Namespace) -> int:
    """Render one file."""
    from deepmusician.reading import read_song

    output = Path(args.output)
    if output.suffix.lower() not in SOUND:
        raise OptionError(f"sound is saved as .wav, .mp3 or .ogg, got {output.name}")
    song = read_song(args.file)
    _write_sound(song, in_folder(output))
    print(f"{output}: {song.seconds:.0f} s")
    return 0


def _runs_parser(verbs: Any) -> None:
    add_runs(_verb(verbs, "runs", list_or_stop, "the trainings there are: list, compare, keep and pass them on"))
    add_workspace(_verb(verbs, "workspace", workspace, "what is kept here and how much room it takes"))


def corpora(args: argparse.Namespace) -> int:
    """List the built-in corpora."""
    from deepmusician.corpora import list_corpora

    for corpus in list_corpora():
        print(f"{corpus.name:20} {corpus.count:5d}  {corpus.title}: {corpus.description} ({corpus.licence})")
    return 0


def recipes(args: argparse.Namespace) -> int:
    """List the recipes."""
    for recipe in list_recipes():
        print(f"{recipe.name:20} {recipe.title}\n{'':20} {recipe.reference}")
    return 0
