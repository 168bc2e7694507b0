"""Blind listening tests: is it human? Which of two is better? Made once, taken by anybody, and told with their limits.

    workspace/listening/TEST/CLIP.wav    the clips; all names are random, all files of one size
    workspace/listening/votes.sqlite     tests, trials, listeners and votes (see listening_store)

A test's trials come in an order of each listener's own, catch trials among them. What the votes say is counted in
listening_results. Knows nothing of pages.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepmusician import listening_store as store
from deepmusician.checkpoint import AtomicFolder, fingerprint, read_card
from deepmusician.errors import ListeningError, OptionError
from deepmusician.instruments import program_name
from deepmusician.listening_clips import (
    Excerpt,
    Grid,
    Passed,
    composed_excerpts,
    equally_loud,
    human_excerpts,
    human_music,
    shuffled,
    sound,
)
from deepmusician.listening_store import CATCH, HUMAN, PREFERENCE, ListeningTest, Trial
from deepmusician.options import TEMPO_BPM
from deepmusician.quota import check_room
from deepmusician.workspace import share, unshare, workspace

if TYPE_CHECKING:
    from sqlalchemy import Engine

MACHINE, PAIR = "machine", "pair"
FIRST, SECOND = "first", "second"
ANSWERS = {HUMAN: (HUMAN, MACHINE), PREFERENCE: (FIRST, SECOND)}
ANSWERING_SECONDS = 2.5  # what a choice takes beside listening
Progress = Callable[[int, int], None]  # clips done, clips in all


@dataclass(frozen=True)
class ListeningOptions:
    """What a test is made of. Raises OptionError outside the ranges.

    `model` is a checkpoint or run, RUN@EPOCH included; `against` a second one makes it a test of preference; `titles`
    are what they are called. `music` is a corpus or data set, None for the songs held out from the model. `clips` are
    heard beside the `catches`. `bound` is how far from one half still counts as the same.
    """

    model: str
    against: str | None = None
    music: str | None = None
    title: str = ""
    clips: int = 12
    seconds: float = 10.0
    catches: int = 2
    tempo_bpm: float | None = None
    program: int | None = None
    bound: float = 0.1
    seed: int = 0
    titles: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        ranges = (("clips", 4, 60), ("seconds", 3, 30), ("catches", 1, 6), ("bound", 0.02, 0.3), ("seed", 0, 2**30))
        for name, low, high in ranges:
            if not low <= getattr(self, name) <= high:
                raise OptionError(f"{name} must be {low:g} to {high:g}, got {getattr(self, name):g}")
        if self.clips % 2:
            raise OptionError(f"clips must be an even number, half of each kind, got {self.clips}")
        if self.program is not None and not 0 <= self.program <= 127:
            raise OptionError(f"program must be 0..127 (General MIDI), got {self.program}")
        if self.tempo_bpm is not None and not 20 <= self.tempo_bpm <= 400:
            raise OptionError(f"tempo_bpm must be 20 to 400, got {self.tempo_bpm:g}")

    @property
    def kind(self) -> str:
        """HUMAN or PREFERENCE."""
        return PREFERENCE if self.against else HUMAN

    @property
    def minutes(self) -> float:
        """About how long it takes to be taken."""
        heard = self.clips + self.catches * (2 if self.against else 1)
        return (heard * self.seconds + (heard / (2 if self.against else 1)) * ANSWERING_SECONDS) / 60


# ---- making a test


@dataclass(frozen=True)
class _Question:
    kind: str
    clips: tuple[Excerpt, ...]
    truth: str


def new_test(engine: Engine, options: ListeningOptions, progress: Progress | None = None) -> ListeningTest:
    """Compose, cut, render and keep a test.

    Raises ListeningError where there is too little music, RenderError where sound cannot be made, QuotaError where its
    clips would go beyond what a person may keep.
    """
    from deepmusician.render import find_soundfont

    check_room()
    card = read_card(options.model)
    grid = Grid.of(card)
    if options.against:
        grid = grid.coarsest(Grid.of(read_card(options.against)))
    suited = {"tempo_bpm": TEMPO_BPM, "program": 0, **card.get("composing", {})}
    tempo = suited["tempo_bpm"] if options.tempo_bpm is None else options.tempo_bpm
    program = suited["program"] if options.program is None else options.program
    n_frames = grid.frames(options.seconds, tempo)
    n_sounds = options.clips + options.catches * (2 if options.against else 1)
    steps = _Steps(progress, 2 * n_sounds)
    ask = _preferences if options.against else _humans
    questions, passed = ask(options, card, grid, n_frames, tempo, steps)

    clips = [excerpt for question in questions for excerpt in question.clips]
    sounds = []
    for excerpt in clips:
        sounds.append(sound(excerpt, grid, tempo, program, options.seconds))
        steps()
    test_id = store.new_id()
    names = _write(test_id, list(equally_loud(sounds)))
    trials, taken = [], iter(names)
    for question in questions:
        own = [next(taken) for _ in question.clips]
        told = " / ".join(excerpt.source for excerpt in question.clips)
        trials.append(Trial(store.new_id(), test_id, question.kind, own[0], "".join(own[1:]), question.truth, told))
    titles = options.titles or tuple(Path(name).name for name in (options.model, options.against) if name)
    about = {
        "models": [str(name) for name in (options.model, options.against) if name],
        "titles": list(titles),
        "weights": [fingerprint(name) for name in (options.model, options.against) if name],
        "music": None if options.against else options.music or "songs held out from the model",
        "seconds": options.seconds, "clips": options.clips, "catches": options.catches, "minutes": options.minutes,
        "grid": asdict(grid), "tempo_bpm": tempo, "program": program, "instrument": program_name(program),
        "soundfont": find_soundfont().name, "bound": options.bound, "seed": options.seed, "passed_over": passed,
    }  # fmt: skip
    default = f"{titles[0]} or {titles[1]}?" if options.against else f"Human or machine? ({titles[0]})"
    title = " ".join(options.title.split())[: store.TITLE_CHARS] or default[: store.TITLE_CHARS]
    test = ListeningTest(test_id, title, options.kind, about, time.time())
    try:
        store.add_test(engine, test, trials)
        share(test.id)
    except ListeningError:
        shutil.rmtree(folder_of(test_id), ignore_errors=True)
        raise
    return test


class _Steps:
    """Counts what is done, for who watches."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0

    def __call__(self) -> None:
        self.done = min(self.done + 1, self.total)
        if self.progress:
            self.progress(self.done, self.total)


def _humans(
    options: ListeningOptions, card: dict[str, Any], grid: Grid, n_frames: int, tempo: float, steps: _Steps
) -> tuple[list[_Question], dict[str, int]]:
    rng = np.random.default_rng(options.seed)
    half, counts = options.clips // 2, (Passed(), Passed())
    names, rolls = human_music(card, options.music)
    human = human_excerpts(names, rolls, grid, n_frames, half + options.catches, rng, counts[0])
    machine = composed_excerpts(options.model, grid, n_frames, tempo, half, options.seed, counts[1], steps)
    questions = [
        *(_Question(HUMAN, (e,), HUMAN) for e in human[:half]),
        *(_Question(MACHINE, (e,), MACHINE) for e in machine),
        *(_Question(CATCH, (shuffled(e, rng),), MACHINE) for e in human[half:]),
    ]
    return questions, {"human": counts[0].count, "machine": counts[1].count}


def _preferences(
    options: ListeningOptions, card: dict[str, Any], grid: Grid, n_frames: int, tempo: float, steps: _Steps
) -> tuple[list[_Question], dict[str, int]]:
    rng = np.random.default_rng(options.seed)
    half, counts = options.clips // 2, (Passed(), Passed())
    first, second = (
        composed_excerpts(str(model), grid, n_frames, tempo, half, options.seed, passed, steps)
        for model, passed in zip((options.model, options.against), counts, strict=True)
    )
    pairs = [_Question(PAIR, pair, "") for pair in zip(first, second, strict=True)]
    # the music of a catch is the first model's: whoever prefers shuffled notes to it was not listening
    catches = [
        _Question(CATCH, (first[i % half], shuffled(first[i % half], rng)), FIRST) for i in range(options.catches)
    ]
    return [*pairs, *catches], {FIRST: counts[0].count, SECOND: counts[1].count}


def _write(test: str, sounds: Sequence[np.ndarray]) -> list[str]:
    """Keep the clips under random names; returns those."""
    from deepmusician.listening_clips import SAMPLE_RATE_HZ
    from deepmusician.render import Audio, encode

    names = [store.new_id() for _ in sounds]
    with AtomicFolder(folder_of(test)) as draft:
        for name, samples in zip(names, sounds, strict=True):
            (draft / f"{name}.wav").write_bytes(encode(Audio(samples, SAMPLE_RATE_HZ), "wav"))
    return names


def folder_of(test: str) -> Path:
    """Where the clips of a test lie."""
    return workspace() / "listening" / test


def read_clip(trial: Trial, which: str = FIRST) -> bytes:
    """A WAV file. Raises ListeningError where it is gone."""
    name = trial.clip if which == FIRST else trial.other
    try:
        return (folder_of(trial.test) / f"{name}.wav").read_bytes()
    except OSError:
        raise ListeningError("the sound of this clip is gone from the workspace; make the test anew") from None


def delete_test(engine: Engine, test: ListeningTest) -> None:
    """Remove a test, its votes and its clips; its address leads nowhere then."""
    unshare(test.id)
    store.delete_test(engine, test.id)
    shutil.rmtree(folder_of(test.id), ignore_errors=True)


# ---- taking a test


def order_for(listener: str, trials: Sequence[Trial]) -> list[Trial]:
    """The trials in this listener's own order, the same after every reload."""
    return sorted(trials, key=lambda trial: _dice(listener, trial.id))


def left_side(listener: str, trial: Trial) -> str:
    """Which of two clips this listener hears as A, FIRST or SECOND."""
    return FIRST if _dice(listener, trial.id, "side")[0] % 2 else SECOND


def _dice(*words: str) -> bytes:
    return hashlib.blake2b("\0".join(words).encode(), digest_size=16).digest()


def vote(engine: Engine, test: ListeningTest, listener: str, trial: str, answer: str, seconds: float = 0.0) -> bool:
    """Keep an answer; False where the first one to this question stands. Raises ListeningError for no such answer."""
    if answer not in ANSWERS[test.kind]:
        raise ListeningError(f"an answer must be {' or '.join(ANSWERS[test.kind])}, got {answer!r}")
    return store.cast_vote(engine, listener, trial, answer, seconds)
