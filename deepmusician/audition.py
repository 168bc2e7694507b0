"""What a training composes to be heard and judged by: the same piece after every epoch, one of each baseline, and at
the end the verdict on the best model.

The pieces lie in the run's folder, `samples` and `baselines`. Knows nothing of the order in which a run does all this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from deepmusician.atomic import replace_file
from deepmusician.baselines import compose as compose_simply
from deepmusician.baselines import fit, judge
from deepmusician.checkpoint import milestone
from deepmusician.midi import write_midi
from deepmusician.milestones import calibrate_if_missing
from deepmusician.options import TEMPO_BPM, GenerateOptions
from deepmusician.roll import from_roll, parse_division, roll_from_frames

if TYPE_CHECKING:
    from deepmusician.baselines import Baseline
    from deepmusician.notes import Song
    from deepmusician.options import TrainOptions
    from deepmusician.runs import Run
    from deepmusician.training import Trainer

SAMPLE_FRAMES = 128
BOLDER = ((0.7, 0.8), (0.85, 0.9), (1.0, 1.0))  # temperature and top-p, tried in turn
ENOUGH = 0.6  # of the music's notes a frame, with which a piece is full enough
LEARNT = 2_000_000  # frames, spread over all songs, of which the baselines and the judges know at most, about


def compose(trainer: Trainer, options: TrainOptions, data: dict[str, Any]) -> tuple[Song, np.ndarray]:
    """The same piece after every epoch: the same start, the same random numbers. Also its sounding keys, bool [T, 88].

    It is drawn with care, and more boldly where that leaves it thin beside the music, for the likeliest frame of a
    network that has learnt little is silence; the fullest is kept where all are. `data` as in a card.
    """
    from deepmusician import generation

    card = {"options": {"division": options.division}, "threshold": trainer.threshold, "data": data}
    tries = []
    for temperature, top_p in BOLDER:
        choice = GenerateOptions(seq_len=SAMPLE_FRAMES, seed=options.seed, temperature=temperature, top_p=top_p)
        composed = generation.compose((trainer.model, card), choice)
        tries.append((composed.song, composed.roll.sounding))
        if tries[-1][1].sum(1).mean() >= ENOUGH * data["density"]:
            return tries[-1]
    return max(tries, key=lambda piece: piece[1].sum())


def keep_sample(run: Run, epoch: int, song: Song) -> None:
    """Keep the piece of an epoch."""
    samples = run.path / "samples"
    samples.mkdir(exist_ok=True)
    replace_file(samples / f"{milestone(epoch)}.mid", write_midi(song))


def references(run: Run, trainer: Trainer, options: TrainOptions, judged: np.ndarray) -> dict[str, dict[str, float]]:
    """What needs no learning reaches on the songs `judged`; each leaves a piece of its own, to be heard beside."""
    from deepmusician.scoring import references as of_expression
    from deepmusician.scoring import spread

    rolls = trainer.rolls
    train, judged = spread(rolls, trainer.train_songs, LEARNT), spread(rolls, judged, LEARNT)
    if not trainer.model.composes:
        return of_expression(trainer.model, rolls, train, judged)
    simple = fit(map(rolls.sounding, train))
    _keep_simple(run, simple, options)
    return judge(simple, map(rolls.sounding, judged), rolls.planes)


def _keep_simple(run: Run, simple: dict[str, Baseline], options: TrainOptions) -> None:
    folder = run.path / "baselines"
    folder.mkdir(exist_ok=True)
    for name, model in simple.items():
        frames = compose_simply(model, SAMPLE_FRAMES, options.seed).view(np.uint8)
        roll = roll_from_frames(frames, parse_division(options.division))
        replace_file(folder / f"{name}.mid", write_midi(from_roll(roll, tempo_bpm=TEMPO_BPM)))


def calibrate(run: Run) -> None:
    """Let the best model, and the one chosen by ear, compose music as full and as restless as it learnt."""
    for which in ("best", "chosen"):
        if folder := run.checkpoint(which):
            calibrate_if_missing(folder)


def judge_best(run: Run, trainer: Trainer) -> None:
    """Let the best model be judged in short; its card keeps the verdict."""
    from deepmusician.judging import judge_checkpoint
    from deepmusician.scoring import spread

    learnt = spread(trainer.rolls, trainer.train_songs, LEARNT)
    judge_checkpoint(run.checkpoint("best"), trainer.rolls, learnt, trainer.valid_songs)
