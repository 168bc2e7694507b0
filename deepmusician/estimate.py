"""How long a training will take on this machine.

A few steps are really taken, some songs scored, some frames composed and a checkpoint saved; from these follows what an
epoch and a training of any number of epochs take. What was measured is kept for an hour, by options and data. Knows
nothing of budgets, runs or pages. What measures loads torch; reading what was measured does not.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from deepmusician import __version__
from deepmusician.atomic import replace_file
from deepmusician.library import SAVED, split_paths
from deepmusician.options import TrainOptions, to_dict
from deepmusician.plurals import count
from deepmusician.workspace import cache_dir, workspace

if TYPE_CHECKING:
    import numpy as np

    from deepmusician.rolls import Rolls, Sources
    from deepmusician.training import Trainer

TRIAL_SECONDS = 3.0  # of training steps
SCORED = 1024, 3072  # frames scored to find what a frame costs and what scoring costs whatever it scores
COMPOSED = 16  # frames composed on trial
SAMPLE = 128  # frames of a run's samples, and of each piece by which it is calibrated
CALIBRATIONS = 12  # compositions that a calibration usually makes
START = 1.0  # seconds until a new process has begun
KEPT_SECONDS = 3600.0  # what was measured longer ago is measured again

# options that change nothing about what a step takes
TIMELESS = ("n_epochs", "recipe", "seed", "loss", "alpha", "gamma", "learning_rate", "weight_decay", "threshold")


@dataclass(frozen=True)
class Pace:
    """What a training costs on this machine: seconds, numbers, bytes.

    An epoch has `steps` of `step_seconds` each, then `judge_seconds` for scoring, a sample piece and saving. Before the
    first, `start_seconds`; after the last, `finish_seconds` of calibration. `model_bytes` is the file of the weights,
    `disk_bytes` a checkpoint with what resuming needs, `memory_bytes` the most that the process held.
    """

    steps: int
    step_seconds: float
    judge_seconds: float
    start_seconds: float
    finish_seconds: float
    weights: int
    model_bytes: int
    disk_bytes: int
    memory_bytes: int

    @property
    def epoch_seconds(self) -> float:
        """One epoch with all that belongs to it."""
        return self.steps * self.step_seconds + self.judge_seconds

    def seconds(self, n_epochs: int) -> float:
        """A training of so many epochs, from start to end."""
        return self.start_seconds + n_epochs * self.epoch_seconds + self.finish_seconds

    def epochs_in(self, seconds: float) -> int:
        """How many epochs fit; 0 where not even one does."""
        return max(0, int((seconds - self.start_seconds - self.finish_seconds) / self.epoch_seconds))


# ---- measuring


def measure(options: TrainOptions, data: Sources | None = None, began: float | None = None) -> Pace:
    """Take a few steps of that training, and what belongs to it, on its own music; a few seconds.

    `began`, of time.monotonic(), is when the process started to work on it. What is measured is kept; see `known`.
    """
    from deepmusician.rolls import read_rolls
    from deepmusician.windows import split_rolls

    began = time.monotonic() - START if began is None else began
    _, rolls = read_rolls(options, data)
    parts = split_rolls(rolls, options.valid_fraction, options.seed)
    return keep(options, measure_rolls(options, rolls, parts, began))


def measure_rolls(options: TrainOptions, rolls: Rolls, parts: tuple[np.ndarray, np.ndarray], began: float) -> Pace:
    """As `measure`, of music that is on the grid already; `parts` are the training and the held-out songs."""
    import numpy as np

    from deepmusician.scoring import references
    from deepmusician.training import Trainer, set_threads

    set_threads(options)
    train, valid = parts
    trainer = Trainer(options, rolls, train, valid)
    references(trainer.model, rolls, train, valid if len(valid) else train)
    started = time.monotonic() - began
    steps = trainer.trial(TRIAL_SECONDS)[1:]  # the first one also warms up
    composing, calibrating = _composing(trainer)
    saving, model_bytes, disk_bytes = _saving(trainer)
    judging = _scoring(trainer, np.concatenate([train, valid])) + composing + saving
    return Pace(
        trainer.batches_per_epoch(), median(steps), judging,
        started, calibrating, sum(p.numel() for p in trainer.model.parameters()), model_bytes, disk_bytes, _memory(),
    )  # fmt: skip


def _scoring(trainer: Trainer, songs: np.ndarray) -> float:
    """Seconds for the scores after an epoch, from two smaller scorings."""
    from deepmusician.scoring import score, spread
    from deepmusician.training import ENOUGH

    lengths = trainer.rolls.lengths
    held_out = min(int(lengths[trainer.valid_songs].sum()), ENOUGH)
    wanted = held_out + min(int(lengths[trainer.train_songs].sum()), held_out or ENOUGH)
    points = []
    for most in SCORED:
        some = spread(trainer.rolls, songs, most)
        began = time.monotonic()
        score(trainer.model, trainer.rolls, some, trainer.device, None, trainer.rare)
        points.append((int(lengths[some].sum()), time.monotonic() - began))
    (few, short), (many, long) = points
    each = max(long - short, 0.0) / (many - few) if many > few else 0.0
    each = min(max(each, 0.25 * long / many), long / many)  # two short times may be equal, or out of order, by chance
    passes = 2 if len(trainer.valid_songs) else 1
    return wanted * each + passes * max(long - many * each, 0.0)


def _composing(trainer: Trainer) -> tuple[float, float]:
    """Seconds for the sample after an epoch, and for the calibration at the end."""
    if not trainer.model.composes:
        return 0.0, 0.0
    from deepmusician.generation import compose_frames
    from deepmusician.models.contract import Sampling

    times = []
    for pieces in (1, 4 if trainer.model.head.draws else 16):
        compose_frames(trainer.model, 1, Sampling(), batch_size=pieces)  # loads what is compiled, once for a training
        began = time.monotonic()
        compose_frames(trainer.model, COMPOSED, Sampling(), batch_size=pieces)
        times.append((time.monotonic() - began) * SAMPLE / COMPOSED)
    return times[0], CALIBRATIONS * times[1]


def _saving(trainer: Trainer) -> tuple[float, int, int]:
    """Seconds to save a checkpoint, the bytes of its weights, and those of all of it."""
    with tempfile.TemporaryDirectory(dir=cache_dir()) as folder:
        began = time.monotonic()
        place = trainer.save(Path(folder) / "trial", {"title": "trial", "data": {}})
        seconds = time.monotonic() - began
        sizes = {file.name: file.stat().st_size for file in place.iterdir()}
    return seconds, sizes["model.safetensors"], sum(sizes.values())


def _memory() -> int:
    """The most bytes this process has held; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


# ---- in words


def sentence(pace: Pace, n_epochs: int) -> str:
    """The estimate as people say it: how long, and how much room the model, its checkpoints and the training take."""
    memory = f"; training holds about {size(pace.memory_bytes)} of memory" if pace.memory_bytes else ""
    each, judging = (duration(s, fine=True) for s in (pace.epoch_seconds, pace.judge_seconds))
    return (
        f"About {duration(pace.seconds(n_epochs))} for {count(n_epochs, 'epoch')} on this machine ({each} each, "
        f"{judging} of it "
        f"for scoring, a sample and saving). The model is a file of {size(pace.model_bytes)}, {size(pace.disk_bytes)} "
        f"with what resuming needs{memory}."
    )


def duration(seconds: float, fine: bool = False) -> str:
    """As people say it: 40 s, 3 min 20 s, 1 h 5 min; with `fine` tenths of few seconds, too: 0.3 s."""
    if fine and seconds < 9.5:
        return f"{seconds:.1f} s"
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, rest = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min" + (f" {rest} s" if rest and minutes < 10 else "")
    return f"{minutes // 60} h" + (f" {minutes % 60} min" if minutes % 60 else "")


def size(n_bytes: int) -> str:
    """Bytes as people say them: 34 MB, 1.2 GB, 0.4 MB."""
    if n_bytes >= 1e9:
        return f"{n_bytes / 1e9:.1f} GB"
    return f"{n_bytes / 1e6:.0f} MB" if n_bytes >= 9.5e5 else f"{n_bytes / 1e6:.1f} MB"


# ---- keeping what was measured


def known(options: TrainOptions) -> Pace | None:
    """What was measured within the hour for such a training on such data, whatever its epochs and loss; else None."""
    place = _place(options)
    try:
        if time.time() - place.stat().st_mtime > KEPT_SECONDS:
            return None
        return Pace(**json.loads(place.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def keep(options: TrainOptions, pace: Pace) -> Pace:
    """Keep what was measured; returns it."""
    place = _place(options)
    place.parent.mkdir(exist_ok=True)
    write_json(place, asdict(pace))
    return pace


def _place(options: TrainOptions) -> Path:
    values = {k: v for k, v in to_dict(options).items() if k not in TIMELESS}
    values["data"] = [_stamp(source) for source in split_paths(options.path)]
    values["machine"] = [os.cpu_count(), __version__]
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:24]
    return cache_dir() / "paces" / f"{digest}.json"


def _stamp(source: str) -> list[Any]:
    """What tells whether the music of a source has changed: name, and when it was written (0 for a corpus)."""
    path = workspace() / "library" / source.removeprefix(SAVED)
    path = path if path.exists() else Path(source).expanduser()
    try:
        return [source, path.stat().st_mtime]
    except OSError:
        return [source, 0]


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Replace a file in one step."""
    replace_file(path, json.dumps(values) + "\n")
