"""Every recipe by every way in: a corpus, a folder and an upload; from the command line and from the Train page.

    python benchmarks/walk.py [--recipes NAME …] [--sources corpus folder upload] [--doors cli page]

Each pair is trained for two epochs in the second of which it is resumed, evaluated, loaded again and made to compose
(the expression recipe: to humanise), all in a workspace that is thrown away. Networks are as small as their parts
allow; what a recipe is made of stays. Prints a line for each: what it did, or the sentence with which it failed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from deepmusician import audition, calibration, checkpoint
from deepmusician.cli import main as command
from deepmusician.errors import DeepMusicianError
from deepmusician.library import SAVED, read_uploads, save_data_set
from deepmusician.midi import read_midi, write_midi
from deepmusician.notes import Song
from deepmusician.recipes import list_recipes, read_recipe, recipe_options
from deepmusician.runs import Run, list_runs, open_run, start_run

ROOT = Path(__file__).resolve().parents[1]
CORPUS = "haydn-quartets"
KINDS = ("corpus", "folder", "upload")
SMALL = {
    "n_epochs": 1, "seq_len": 16, "hidden_size": 16, "num_layers": 1, "decoder_n_layers": 1, "classifier_size": 16,
    "attention_heads": 2, "memory": 16, "batch_size": 32, "division": "1/4", "threads": 1,
}  # fmt: skip
PATIENCE = 300  # seconds for one training


def main() -> None:
    """Walk and tell."""
    args = arguments()
    failed = 0
    audition.SAMPLE_FRAMES = calibration.FRAMES = 16  # of trainings in this process, those of the command line
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DEEPMUSICIAN_HOME"] = f"{folder}/home"
        music = args.music or tunes(Path(folder) / "tunes")
        for recipe in args.recipes or [recipe.name for recipe in list_recipes()]:
            for kind, source in sources(music):
                if kind not in args.sources:
                    continue
                for door in args.doors:
                    began = time.monotonic()
                    said = outcome(DOORS[door], recipe, source, Path(folder))
                    failed += said != "well"
                    print(f"{recipe:22}{kind:8}{door:6}{time.monotonic() - began:6.1f} s  {said}", flush=True)
    print(f"{failed} failed")
    sys.exit(failed > 0)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="*", help="all of them where none is named")
    parser.add_argument("--doors", nargs="*", default=["cli", "page"], choices=["cli", "page"])
    parser.add_argument("--sources", nargs="*", default=KINDS, choices=KINDS)
    parser.add_argument("--music", type=Path, help="a folder of MIDI files, instead of a few made tunes")
    return parser.parse_args()


def tunes(folder: Path) -> Path:
    """Six short tunes over held chords, with accents."""
    folder.mkdir()
    for i, start in enumerate((48, 50, 52, 53, 55, 57)):
        tune = [(t / 2, 0.5, start + 12 + (0, 2, 4, 5, 7, 9, 11, 12)[t * (i + 1) % 8]) for t in range(64)]
        song = Song.from_notes([*tune, *((beat, 4, start + k) for beat in range(0, 32, 4) for k in (0, 4, 7))])
        song.notes.flags.writeable = True
        song.notes["velocity"] = [50 + 60 * (float(n["onset"]) % 4 == 0) for n in song.notes]
        write_midi(song, folder / f"tune-{i}.mid")
    return folder


def sources(music: Path) -> Iterator[tuple[str, str]]:
    """A corpus, a folder, and an upload as the Library keeps it."""
    yield "corpus", CORPUS
    yield "folder", str(music)
    files = [(path.name, path.read_bytes()) for path in sorted(music.rglob("*.mid"))]
    save_data_set(read_uploads(files, "an upload"), "an upload")
    yield "upload", f"{SAVED}an upload"


def outcome(door: Callable[[str, str], Run], recipe: str, source: str, folder: Path) -> str:
    """Train through a door, then do all that one does with a model; "well", or what went wrong."""
    try:
        run = door(recipe, source)
        says("train", "--run", run.name, "--resume", "-e", "2")
        assert [report["epoch"] for report in run.metrics()] == [1, 2], "it did not resume where it stood"
        assert "nats" in says("evaluate", "-c", run.name), "evaluate told no nats"
        model, _ = checkpoint.load(run.path)
        made = folder / "made.mid"
        if model.composes:
            says("generate", "-c", run.name, "-l", "32", "--seed", "7", "-s", str(made))
        else:
            flat = folder / "flat.mid"
            write_midi(Song.from_notes([(t, 1, 60 + t % 12) for t in range(16)]), flat)
            says("humanise", str(flat), "-c", run.name, "-o", str(made))
        read_midi(made)
    except (DeepMusicianError, AssertionError) as error:
        return str(error)
    return "well"


def says(*words: str) -> str:
    """What a command prints; it must end well."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = command(list(words))
    assert not code, f"{words[0]} ended with {code}: {err.getvalue()[-200:]}"
    return out.getvalue()


def changes(recipe: str) -> dict[str, object]:
    """The small sizes, where a recipe's own do not go with them."""
    return {**SMALL, **({"division": read_recipe(recipe).options["division"]} if recipe.endswith("-time") else {})}


def by_command(recipe: str, source: str) -> Run:
    """As a person would at a terminal."""
    flags = [word for k, v in changes(recipe).items() for word in (f"--{k.replace('_', '-')}", str(v))]
    name = f"walk-{len(list_runs())}"
    says("train", "--recipe", recipe, "-p", source, "--run", name, *flags)
    return open_run(name)


def by_page(recipe: str, source: str) -> Run:
    """What the Train page does at a click on Start: the same options, in a process of its own."""
    run = start_run(recipe_options(recipe, path=source, **changes(recipe)))
    until = time.monotonic() + PATIENCE
    while run.status().live and time.monotonic() < until:
        time.sleep(0.2)
    assert run.status().state == "finished", run.status().message
    return run


DOORS = {"cli": by_command, "page": by_page}

if __name__ == "__main__":
    main()
