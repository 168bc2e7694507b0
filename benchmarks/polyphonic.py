"""The field's yardstick: nats a frame on the four standard sets of 88-key rolls, beside the published figures.

    python benchmarks/polyphonic.py jsb-chorales [--recipe studio] [--minutes 10] [--threads 1] [--with dropout=0.4 …]

Trains a recipe on the set's training part for about so many minutes, scoring included, and prints what its best
epoch reaches on the whole validation part, by the same call as `deepmusician evaluate --rolls`. The checkpoint stays
in workspace/polyphonic/, to be judged on other parts:

    deepmusician evaluate -c workspace/polyphonic/jsb-chorales-studio --rolls FILE.npz --split valid

The sets are those of Boulanger-Lewandowski et al., ICML 2012; the folder that holds them is given by --data. What was
tried and what it brought is kept in polyphonic.md.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from deepmusician import training
from deepmusician.evaluation import evaluate_rolls
from deepmusician.options import TrainOptions
from deepmusician.recipes import recipe_options
from deepmusician.roll_files import read_npz
from deepmusician.rolls import Rolls
from deepmusician.scoring import score
from deepmusician.training import Trainer, set_threads
from deepmusician.workspace import workspace

SETS = ("jsb-chorales", "nottingham", "piano-midi", "musedata")
PUBLISHED = {  # test part, nats a frame
    "RNN": (8.71, 4.46, 8.37, 8.13),
    "GRU": (8.43, 3.46, None, None),
    "LSTM": (8.45, 3.29, None, None),
    "TCN": (8.10, 3.07, None, None),
    "RNN-RBM": (6.27, 2.39, 7.09, 6.01),
    "RNN-NADE": (5.56, 2.31, 7.05, 5.60),
    "DMM-Aug-NADE": (5.12, 2.31, 7.05, 6.05),
}
DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "polyphonic"
TRIAL_STEPS = 12


def main() -> None:
    """Train, judge, print."""
    args = arguments()
    file = args.data / f"{args.set}.npz"
    if not file.is_file():
        sys.exit(f"{file} is not here; name the folder of the .npz files with --data")
    train, valid = read_npz(file, "train"), read_npz(file, "valid")
    rolls = join(train, valid)
    parts = np.arange(len(train)), np.arange(len(train), len(rolls))
    options = recipe_options(args.recipe, threads=args.threads, path=str(file), **dict(map(parsed, args.changes)))
    set_threads(options)
    training.ENOUGH = args.judged
    fitted = replace(options, n_epochs=args.epochs) if args.epochs else None
    options = fitted or fit(options, rolls, parts, args.minutes * 60)
    folder = workspace() / "polyphonic" / (args.name or f"{args.set}-{args.recipe}")
    began = time.monotonic()
    trainer = Trainer(options, rolls, *parts)
    size = sum(p.numel() for p in trainer.model.parameters())
    print(f"{args.set}, {args.recipe}: {size:,} weights, {options.n_epochs} epochs, {args.threads} core(s)", flush=True)
    for report in trainer.epochs():
        if report["best"]:
            shutil.rmtree(folder, ignore_errors=True)
            trainer.save(folder, {"title": folder.name, "data": {}})
        say(report, time.monotonic() - began)
    minutes = (time.monotonic() - began) / 60
    reached = evaluate_rolls(folder, file, "valid")["nats_per_frame"]
    column = SETS.index(args.set)
    print(f"\n{'':18}{'nats a frame':>14}")
    for name, figures in PUBLISHED.items():
        print(f"{name:18}{figures[column] if figures[column] else '–':>14}  published, test part")
    print(f"{args.recipe:18}{reached:14.3f}  validation part, {minutes:.1f} min on {args.threads} core(s)")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=SETS)
    parser.add_argument("--recipe", default="studio")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--epochs", type=int, help="this many epochs, whatever they take")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--judged", type=int, default=training.ENOUGH,
        help="frames of each part scored after an epoch, to choose the best epoch by; fewer leave more time to train",
    )  # fmt: skip
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of the .npz files")
    parser.add_argument("--name", help="folder of the checkpoint in workspace/polyphonic/")
    parser.add_argument("--with", dest="changes", nargs="*", default=[], metavar="OPTION=VALUE")
    return parser.parse_args()


def parsed(change: str) -> tuple[str, object]:
    """`dropout=0.4` as an option's name and a value of its kind."""
    name, _, text = change.partition("=")
    default = getattr(TrainOptions(), name)
    if isinstance(default, bool):
        return name, text == "true"
    return name, type(default)(text) if default is not None else int(text)


def join(first: Rolls, second: Rolls) -> Rolls:
    """One set of rolls with the songs of both."""
    return Rolls(np.concatenate([first.packed, second.packed]), np.concatenate([first.lengths, second.lengths]))


def fit(options: TrainOptions, rolls: Rolls, parts: tuple[np.ndarray, np.ndarray], seconds: float) -> TrainOptions:
    """As many epochs as fit into `seconds`, by the pace of a few steps and of one scoring."""
    trial = Trainer(replace(options, n_epochs=1), rolls, *parts)
    pace: list[tuple[float, int]] = []
    next(trial.epochs(lambda: len(pace) > TRIAL_STEPS, lambda *_: pace.append((time.monotonic(), 0))), None)
    step = (pace[-1][0] - pace[2][0]) / (len(pace) - 3)
    began = time.monotonic()
    score(trial.model, rolls, parts[1], most=2048)
    scoring = 2 * (time.monotonic() - began) / 2048 * min(training.ENOUGH, int(rolls.lengths[parts[1]].sum()))
    epoch = step * trial.batches_per_epoch() + scoring
    return replace(options, n_epochs=max(1, int(seconds / epoch)))


def say(report: dict, seconds: float) -> None:
    train, valid = report["train"]["nll"], report["valid"]["nll"]
    pace = report["frames_per_second"]
    print(
        f"{seconds / 60:6.1f} min  epoch {report['epoch']:4d}  training {train:.3f}  validation {valid:.3f}"
        f"  {pace:.0f} frames/s{'  best' if report['best'] else ''}",
        flush=True,
    )


if __name__ == "__main__":
    main()
