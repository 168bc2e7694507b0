"""Time to quality: how soon ours predicts held-out music as well as the original ever does, and as copying does.

    python benchmarks/quality.py [-p PATH] [--division 1/8] [--seconds 400] [--recipes NAME:SECONDS …] [-s 32]

Networks learn the same songs in turn, a little each, so that all meet the same machine: the original's loop, with the
focal loss's weight as it should have been (the paper's, three to one for notes that sound), and recipes of ours. What
is compared is the F1 of all frames of held-out songs, each told the true frames before it, at the threshold that suits
it best, and for ours the honest likelihood. Only learning is timed, in CPU seconds of one thread; scoring is not. A
recipe plans its learning rate for its seconds, as it would for the epochs a person asks for; the original's never
changes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from math import ceil

import numpy as np
import torch
from measure import OriginalLoop, machine

from deepmusician.baselines import baselines
from deepmusician.losses import Loss, cell_loss
from deepmusician.metrics import BINS, CellCounts
from deepmusician.options import TrainOptions
from deepmusician.recipes import list_recipes, recipe_options
from deepmusician.rolls import Rolls, read_rolls
from deepmusician.scoring import score
from deepmusician.training import Trainer
from deepmusician.windows import Windows, split_rolls

STOPS = (1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 40, 60, 80, 120, 160, 240, 320, 400, 600, 1000)  # when F1 is asked
Scores = tuple[float, float | None]  # F1, nats a frame
TURN = 2.0  # CPU seconds that one learns before the other goes on


def main() -> None:
    """Measure, and print one table and what it means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-p", "--path", default="bach-chorales", help="music to learn")
    parser.add_argument("--division", default="1/8")
    parser.add_argument("--seconds", type=float, default=400, help="CPU seconds that the original learns")
    parser.add_argument("-s", "--seq-len", type=int, default=32, help="frames of a window, of all")
    parser.add_argument(
        "--recipes", nargs="+", default=[("deep-musician", 120.0), ("quick", 10.0), ("quick", 60.0)], type=planned,
        metavar="NAME:SECONDS", help="recipes of ours, and the CPU seconds that each plans to learn for",
    )  # fmt: skip
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(machine())
    shared = {"path": args.path, "division": args.division, "seq_len": args.seq_len}
    options = {plan: recipe_options(plan[0], **shared) for plan in args.recipes}
    _, rolls = read_rolls(next(iter(options.values())))
    train, held_out = split_rolls(rolls, TrainOptions.valid_fraction, TrainOptions.seed)
    copied = baselines(*([rolls.sounding(i) for i in songs] for songs in (train, held_out)))["repeat_last"]["f1"]
    print(f"{args.path} in frames of {args.division}: {len(train)} songs to learn, {len(held_out)} held out\n")
    learners = {"original": Learner(*original(rolls, train, held_out, args.seq_len), args.seconds)} | {
        f"{name} in {seconds:g} s": Learner(*ours(options[name, seconds], rolls, train, held_out, seconds), seconds)
        for name, seconds in args.recipes
    }
    print(f"{'':24}{'CPU s':>8}{'steps':>8}{'F1':>8}{'nats a frame':>14}")
    while any(not learner.done for learner in learners.values()):
        for name, learner in learners.items():
            for line in learner.turn():
                print(f"{name:24}{line}", flush=True)
    best = max(learners["original"].curve.values())
    print(f"\nCopying the last frame has {copied:.3f}; the original reached {best:.3f} in {args.seconds:.0f} s.")
    for name, learner in learners.items():
        past = "" if name == "original" else f", what the original reached {when(learner.curve, best)}"
        print(f"{name} passes copying {when(learner.curve, copied)}{past}.")


def planned(text: str) -> tuple[str, float]:
    """NAME:SECONDS."""
    name, _, seconds = text.partition(":")
    if name not in [recipe.name for recipe in list_recipes()]:
        raise argparse.ArgumentTypeError(f"there is no recipe called {name!r}; see `deepmusician recipes`")
    return name, float(seconds)


class Learner:
    """Takes steps by `step` in turns until `seconds` of the CPU are spent, and asks for `scores` at STOPS."""

    def __init__(self, step: Callable[[], object], scores: Callable[[], Scores], seconds: float) -> None:
        self.step, self.scores, self.seconds = step, scores, seconds
        self.spent, self.steps = 0.0, 0
        self.curve: dict[float, float] = {}  # F1 after so many seconds
        self.stops = [stop for stop in STOPS if stop < seconds] + [seconds]

    @property
    def done(self) -> bool:
        return not self.stops

    def turn(self) -> list[str]:
        """Learn for TURN seconds; a line for each score on the way."""
        lines, until = [], self.spent + TURN
        while not self.done and self.spent < until:
            began = time.thread_time()
            self.step()
            self.spent, self.steps = self.spent + time.thread_time() - began, self.steps + 1
            if self.spent >= self.stops[0]:
                self.stops = [stop for stop in self.stops if stop > self.spent]
                f1, nats = self.scores()
                self.curve[self.spent] = f1
                lines.append(f"{self.spent:8.1f}{self.steps:8}{f1:8.3f}" + ("" if nats is None else f"{nats:14.2f}"))
        return lines


def when(curve: dict[float, float], goal: float) -> str:
    """The first score on the curve above `goal`, in words."""
    reached = next((seconds for seconds, f1 in curve.items() if f1 > goal), None)
    return "never" if reached is None else f"within {reached:.1f} s"


def best_f1(counts: CellCounts) -> float:
    return max(counts.at(bin / BINS)["f1"] for bin in range(1, BINS))


def ours(
    options: TrainOptions, rolls: Rolls, train: np.ndarray, held_out: np.ndarray, seconds: float
) -> tuple[Callable[[], object], Callable[[], Scores]]:
    """A step of a recipe that plans to learn for `seconds`, and its score."""
    trial = Trainer(options, rolls, train, held_out)
    began = time.thread_time()
    taken = len(trial.trial(seconds=3.0))
    each = (time.thread_time() - began) / taken
    epochs = max(1, ceil(seconds / each / trial.batches_per_epoch()))
    trainer = Trainer(TrainOptions(**{**vars(options), "n_epochs": epochs}), rolls, train, held_out)
    state: dict[str, np.ndarray] = {}

    def step() -> None:
        if trainer.batch == 0:
            rng = np.random.default_rng([options.seed, trainer.epoch])
            state["places"] = trainer.windows.places(rng)
            state["moves"] = trainer._steps(rng, len(state["places"]))
            trainer.wrapped.train()
        n_batches = ceil(len(state["places"]) / options.batch_size)
        trainer._step(state["places"], state["moves"], n_batches)
        trainer.batch = (trainer.batch + 1) % n_batches
        trainer.epoch += trainer.batch == 0

    def scores() -> Scores:
        scored = score(trainer.model, rolls, held_out)
        return best_f1(scored.counts), scored.nll

    return step, scores


def original(
    rolls: Rolls, train: np.ndarray, held_out: np.ndarray, seq_len: int
) -> tuple[Callable[[], object], Callable[[], Scores]]:
    """A step of the original's loop, over windows that begin at every frame, and its score."""
    torch.manual_seed(0)
    windows = Windows(rolls, train, seq_len, stride=1)
    places = windows.places(np.random.default_rng(0))
    model, loss, done = OriginalLoop(), Loss("focal", 0.75, 2.0), 0
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def step() -> None:
        nonlocal done
        some = places[done : done + 32]
        done = (done + 32) % (len(places) - 32)
        batch = windows.batch(some, np.zeros(len(some), int))
        optimizer.zero_grad()
        logits = model(batch.source.transpose(0, 1), batch.target.transpose(0, 1)).transpose(0, 1)
        cell_loss(logits, batch.target, loss)[batch.mask].mean().backward()
        optimizer.step()

    @torch.no_grad()
    def scores() -> Scores:
        counts = CellCounts()
        model.eval()
        for batch in Windows(rolls, held_out, seq_len, seq_len).batches(64):
            p = torch.sigmoid(model(batch.source.transpose(0, 1), batch.target.transpose(0, 1))).transpose(0, 1)
            counts.add(p[batch.mask].numpy(), batch.target[batch.mask].numpy())
        model.train()
        return best_f1(counts), None  # it knows no likelihood

    return step, scores


if __name__ == "__main__":
    main()
