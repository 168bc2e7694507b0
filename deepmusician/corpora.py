"""The built-in corpora: music that comes within music21's own package, so nothing is downloaded.

A corpus is converted piece by piece the first time it is asked for, by worker processes, and cached in the form of
a stored data set; after that it loads at once. Listing never imports music21. Knows nothing of what is done with
the songs.

Source of the music and of what is said about licences: the `corpus` folder of music21, its licence files and the
headers of the pieces.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import math
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from filelock import FileLock

from deepmusician.errors import LibraryError, MidiError
from deepmusician.notes import Song
from deepmusician.store import Entry, read_entries, write_entries
from deepmusician.workspace import shared_cache

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]  # pieces done, pieces in all

MAX_WORKERS = 2  # leaves a small machine able to do something else
_BLOCK = 100  # pieces; what is lost at most by each worker when a conversion is broken off
_HEAD_BYTES = 30_000  # of a score; its part list comes after page layout and credits
_SCORE_NAME = re.compile(r"^(?!META-INF/).*xml$")
_CONVERSION = 1  # raise it when songs come out differently, and every cache is made anew
_BY_THE_ENCODERS = (
    "music21 distributes it with the encoders' permission; it names no licence, commercial use is unclear"
)


@dataclass(frozen=True)
class Corpus:
    """What is known of a corpus without converting it; `count` is the number of pieces found in music21."""

    name: str
    title: str
    description: str
    licence: str
    count: int


@dataclass(frozen=True)
class Collection:
    """Where in music21's corpus folder a corpus lies, and what is said about it."""

    title: str
    description: str
    licence: str
    files: tuple[str, ...]  # patterns under the corpus folder
    skip: tuple[str, ...] = ()  # file names without suffix
    parts: int | None = None  # keep only the scores (.mxl, .xml) with so many parts


CORPORA: dict[str, Collection] = {
    "bach-chorales": Collection(
        "Bach: chorales",
        "Four-part chorales for soprano, alto, tenor and bass; those with instruments of their own are left out.",
        f"Encoded by Margaret Greentree (jsbchorales.net); {_BY_THE_ENCODERS}.",
        ("bach/bwv*.mxl", "bach/bwv*.xml"),
        parts=4,
    ),
    "palestrina": Collection(
        "Palestrina: masses",
        "Movements of the masses, in three to eight voices.",
        "Encoded by John Miller, copyright 2000; rights to derivative electronic formats reserved, each file refers to "
        "the licensing agreement of the Humdrum Palestrina database.",
        ("palestrina/*.krn",),
    ),
    "mozart-quartets": Collection(
        "Mozart: string quartets",
        "K. 80, 155, 156 and 458, by movement.",
        f"The encoder is not named; {_BY_THE_ENCODERS}.",
        ("mozart/k80/*.mxl", "mozart/k155/*.mxl", "mozart/k156/*.mxl", "mozart/k458/*.mxl"),
    ),
    "haydn-quartets": Collection(
        "Haydn: string quartets",
        "Op. 1 no. 1 and op. 74 no. 1, by movement.",
        f"The encoder is not named; {_BY_THE_ENCODERS}.",
        ("haydn/*/*.mxl",),
    ),
    "beethoven-quartets": Collection(
        "Beethoven: string quartets",
        "Op. 18 nos. 1, 3, 4, 5, op. 59, 74, 132 and the Great Fugue; some by movement, some whole.",
        f"The encoder is not named; {_BY_THE_ENCODERS}.",
        ("beethoven/*.mxl", "beethoven/*/*.mxl"),
    ),
    "ryans-mammoth": Collection(
        "Ryan's Mammoth Collection",
        "Reels, jigs, hornpipes and strathspeys for the fiddle, Boston 1883; one melody each.",
        f"Contributed by Ray Davies and others, named in each tune; {_BY_THE_ENCODERS}.",
        ("ryansMammoth/*.abc",),
    ),
    "oneills": Collection(
        "O'Neill's Music of Ireland",
        "Irish airs and dances, Chicago 1903; one melody each. Where music21 has a tune twice, one is taken.",
        f"Transcribed by volunteers, named in each tune; {_BY_THE_ENCODERS}.",
        ("oneills1850/*.abc",),
        skip=("0626-0635", "0732-0758_mh", "1116-1135_mh", "1556-1576", "1577-1624", "1710-1750"),
    ),
    "airds": Collection(
        "Aird's Airs",
        "Scotch, English, Irish and foreign airs for fife, violin or flute, Glasgow, from 1778; one melody each.",
        f"Transcribed by Jack Campin, 2009; {_BY_THE_ENCODERS}.",
        ("airdsAirs/*.abc",),
    ),
    "essen": Collection(
        "Essen Folksong Collection",
        "Folk songs, most of them German, many Chinese; one melody each.",
        "Encoded under Helmut Schaffrath, ABC by Seymour Schlien; music21 has Ewa Dahlig-Turek's permission for "
        "non-commercial distribution and use, and calls the legal status of the database unclear.",
        ("essenFolksong/*.abc",),
        skip=("test0", "test1", "testd", "teste"),
    ),
    "nottingham": Collection(
        "Nottingham",
        "All that music21 holds of it: two reels, one melody each.",
        f"From the Nottingham Music Database; {_BY_THE_ENCODERS}.",
        ("nottingham-dataset/*.abc",),
    ),
}


@dataclass(frozen=True)
class Piece:
    """One piece to convert: a file, or one tune of an ABC tune book."""

    name: str
    path: Path
    tune: int | None = None  # position in the book


# ---- what there is


def list_corpora() -> list[Corpus]:
    """Every built-in corpus, with the number of its pieces; nothing is converted, music21 is not imported."""
    return [
        Corpus(name, each.title, each.description, each.licence, len(pieces_of(name))) for name, each in CORPORA.items()
    ]


@cache
def pieces_of(name: str) -> tuple[Piece, ...]:
    """The pieces of a corpus in order; none if music21 was installed without its corpus."""
    collection, home = _collection(name), _corpus_folder()
    if home is None:
        return ()
    files = sorted(file for pattern in collection.files for file in home.glob(pattern))
    files = [file for file in files if file.stem not in collection.skip]
    if collection.parts:
        files = [file for file in files if _part_count(file) == collection.parts]
    return tuple(piece for file in files for piece in _pieces_in(file))


def _collection(name: str) -> Collection:
    if name not in CORPORA:
        raise LibraryError(f"no built-in corpus is called {name}; there are {', '.join(CORPORA)}")
    return CORPORA[name]


def _corpus_folder() -> Path | None:
    found = importlib.util.find_spec("music21")
    home = Path(found.origin).parent / "corpus" if found and found.origin else None
    return home if home and home.is_dir() else None


def _part_count(file: Path) -> int:
    """Parts named at the head of a MusicXML file, compressed or not."""
    if file.suffix == ".xml":
        with file.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
    else:
        with zipfile.ZipFile(file) as archive:
            score = next(name for name in archive.namelist() if _SCORE_NAME.search(name))
            with archive.open(score) as stream:
                head = stream.read(_HEAD_BYTES)
    return head.count(b"<score-part ")


def _pieces_in(file: Path) -> list[Piece]:
    folder = file.parent
    if file.suffix != ".abc":
        own_folder = folder.parent.name != "corpus"  # a work by movements: k80/movement1
        return [Piece(f"{folder.name}/{file.stem}" if own_folder else file.stem, file)]
    tunes = _tunes(file)
    if len(tunes) == 1:
        return [Piece(file.stem, file, 0)]
    return [Piece(f"{file.stem}/{_tune_name(tune)}", file, i) for i, tune in enumerate(tunes)]


@lru_cache(maxsize=4)
def _tunes(file: Path) -> tuple[str, ...]:
    """The tunes of an ABC tune book; each begins with its number, X:."""
    text = file.read_text("utf-8", errors="replace")
    return tuple(re.split(r"^(?=X:)", text, flags=re.MULTILINE)[1:])


def _tune_name(tune: str) -> str:
    number = re.match(r"X:\s*(\S*)", tune)
    title = re.search(r"^T:[ \t]*(.*?)\s*$", tune, re.MULTILINE)
    return f"{number[1] if number else ''} {title[1] if title else ''}".strip()


# ---- loading


def load_corpus(name: str, progress: Progress | None = None) -> list[tuple[str, Song]]:
    """The (name, song) pairs of a corpus; converted the first time, from the cache after that.

    Raises LibraryError for an unknown name, or where music21 lacks its corpus.
    """
    return [(entry.name, entry.song) for entry in load_corpus_entries(name, progress) if entry.song is not None]


def load_corpus_entries(name: str, progress: Progress | None = None) -> tuple[Entry, ...]:
    """As `load_corpus`, with the pieces that could not be converted as refused entries."""
    folder = _cache_folder(name)
    with FileLock(folder.with_name(f".{folder.name}.lock")):  # two may ask at once; one converts
        try:
            return read_entries(folder)
        except LibraryError as error:
            if folder.exists():
                log.warning("%s; converting it again", error)
        parts = folder.with_name(f".{folder.name}.parts")
        entries = _convert(name, parts, progress)
        write_entries(folder, entries)
        shutil.rmtree(parts)
        return tuple(entries)


def is_converted(name: str) -> bool:
    """Whether a corpus is in the cache, so that loading it takes no time."""
    return name in CORPORA and _cache_folder(name).is_dir()


def _cache_folder(name: str) -> Path:
    _collection(name)
    home = shared_cache() / "corpora"
    home.mkdir(exist_ok=True)
    return home / f"{name}-music21-{importlib.metadata.version('music21')}-{_CONVERSION}"


# ---- converting: workers write blocks of pieces under `parts`, so that a conversion broken off goes on from there


def _convert(name: str, parts: Path, progress: Progress | None) -> list[Entry]:
    pieces = pieces_of(name)
    if not pieces:
        raise LibraryError("music21 is installed without its corpus; install it again: pip install music21")
    parts.mkdir(exist_ok=True)
    _run_workers(name, parts, len(pieces), progress)
    count = _block_count(len(pieces))
    blocks = [read_entries(parts / str(block)) for block in range(count)]
    entries = [blocks[i % count][i // count] for i in range(len(pieces))]
    log.info("converted %s: %d of %d pieces", name, sum(e.song is not None for e in entries), len(entries))
    return entries


def _block_count(pieces: int) -> int:
    """Block b of n holds every n-th piece from b on; each worker gets as many blocks as the other."""
    return MAX_WORKERS * math.ceil(pieces / _BLOCK / MAX_WORKERS)


def _run_workers(name: str, parts: Path, total: int, progress: Progress | None) -> None:
    """Convert all blocks. The workers write a line for every piece into one pipe.

    Not a process pool: its workers would import __main__, which is the whole app when a page asks for a corpus.
    """
    count = min(MAX_WORKERS, os.cpu_count() or 1)
    reading, writing = os.pipe()
    workers: list[subprocess.Popen] = []
    try:
        with os.fdopen(writing, "wb") as pipe:
            for first in range(count):
                arguments = [name, str(parts), str(first), str(count)]
                workers.append(_start_worker(arguments, parts / f"{first}.log", pipe.fileno()))
        with os.fdopen(reading, "rb", buffering=0) as lines:
            for done, _ in enumerate(lines, 1):
                if progress:
                    progress(done, total)
        for first, worker in enumerate(workers):
            if worker.wait():
                raise LibraryError(f"converting {name} failed: {_last_line(parts / f'{first}.log')}")
    finally:
        for worker in workers:  # after an interruption
            worker.kill()
            worker.wait()


def _start_worker(arguments: list[str], errors: Path, pipe: int) -> subprocess.Popen:
    package_home = str(Path(__file__).resolve().parent.parent)  # the studio also runs uninstalled
    search = os.pathsep.join(filter(None, [package_home, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", __name__, *arguments]
    streams = {"stdin": subprocess.DEVNULL, "stdout": pipe}
    with errors.open("wb") as stream:
        return subprocess.Popen(command, stderr=stream, env=os.environ | {"PYTHONPATH": search}, **streams)


def _last_line(file: Path) -> str:
    lines = file.read_text("utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "its process was ended"


def _work(name: str, parts: Path, first: int, step: int) -> None:
    """What a worker process does: convert its blocks, and say a word after each piece."""
    told = sys.stdout
    pieces = pieces_of(name)
    count = _block_count(len(pieces))
    with redirect_stdout(sys.stderr):  # music21 likes to print
        for block in range(first, count, step):
            if (parts / str(block)).exists():
                print("\n" * len(pieces[block::count]), end="", file=told, flush=True)
                continue
            entries = []
            for piece in pieces[block::count]:
                entries.append(convert_piece(piece))
                print(file=told, flush=True)
            write_entries(parts / str(block), entries)


def convert_piece(piece: Piece) -> Entry:
    """Read one piece through music21; one that cannot be read is a refused entry."""
    from deepmusician.formats import read_song

    source = piece.path if piece.tune is None else _tunes(piece.path)[piece.tune].encode()
    try:
        return Entry.of(piece.name, read_song(source, f"{piece.name}{piece.path.suffix}"))
    except MidiError as error:
        return Entry.refused(piece.name, str(error))


if __name__ == "__main__":
    _work(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
