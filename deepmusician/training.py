"""Training: an iterator of epochs that can stop at any step and go on from there exactly.

`Trainer` holds the model, its optimiser and the place in the work. All randomness of an epoch comes from the seed and
the epoch's number, so a resumed training takes the very steps an uninterrupted one would have. Devices and several
processes are Hugging Face accelerate's business. It knows nothing of files but its own checkpoints.
"""

from __future__ import annotations

import copy
import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from deepmusician import checkpoint
from deepmusician.errors import CheckpointError, OptionError
from deepmusician.metrics import rare_keys
from deepmusician.models.registry import new_model
from deepmusician.options import TrainOptions, to_dict
from deepmusician.precision import can_bf16, prefers_bf16
from deepmusician.resident import where_it_trains
from deepmusician.rolls import Rolls
from deepmusician.scoring import Score, level_counts, score
from deepmusician.windows import Windows

log = logging.getLogger(__name__)

TRAINER, PLACE = "trainer.safetensors", "trainer.json"
CLIP = 1.0  # largest norm of a step's gradient
FINAL_RATE = 0.05  # the cosine ends at this share of the learning rate
N_PRIMES = 8  # held-out openings kept in a checkpoint to guide composing
ENOUGH = 16_384  # frames scored after an epoch, of training and of held-out songs each
SPREAD = 32  # windows by which the size of random states is measured
WARM_UP = 50  # steps over which the learning rate rises to its full height; a tenth of a training of few
PLACES = ("epoch", "batch", "steps", "seconds", "threshold")
LEARNER = "learner."  # in a saved trainer: the weights being trained, where the model's are their average

OnBatch = Callable[[int, int, float], None]  # batches done, batches of the epoch, frames a second


def no_stop() -> bool:
    """The default answer to: has somebody asked to stop?"""
    return False


class Trainer:
    """A model learning `rolls`, with `train` and `valid` the indices of its training and held-out songs."""

    def __init__(self, options: TrainOptions, rolls: Rolls, train: np.ndarray, valid: np.ndarray) -> None:
        self.options, self.rolls = options, rolls
        self.train_songs, self.valid_songs = train, valid
        self.accelerator = make_accelerator(options)
        self.chooses = options.precision == "auto"
        self.half = options.precision == "bf16" or self._agreed(self.chooses and prefers_bf16(options.accelerator))
        torch.manual_seed(options.seed)
        self.model = new_model(options, len(rolls.style_names))
        common = rolls.frequencies(train) if self.model.composes else level_counts(rolls, train)
        self.model.head.start_at(torch.from_numpy(common).float())
        self.rare = rare_keys(common) if self.model.composes else None
        self.windows = Windows(rolls, train, options.seq_len, options.step, self.model.source_frames, options.balance)
        self.cut = where_it_trains(self.windows, self.device)
        optimizer = torch.optim.AdamW(
            self.model.parameters(),
            lr=options.learning_rate,
            weight_decay=options.weight_decay,
            fused=self.device.type in ("cpu", "cuda"),
        )
        self.wrapped, self.optimizer = self.accelerator.prepare(self.model, optimizer)
        self.learner = self.accelerator.unwrap_model(self.wrapped)
        self.average = Average(self.learner, options.averaging) if options.averaging else None
        self.model = self.average.model if self.average else self.learner
        self.epoch = self.batch = 0  # finished epochs, finished batches of the next one
        self.steps = 0  # of the optimiser, since the first
        self.warm_up = min(WARM_UP, max(1, self.batches_per_epoch() * options.n_epochs // 10))
        self.seconds = 0.0  # spent on the epoch so far
        self.best = math.inf
        self.threshold = options.threshold or 0.5

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return self.accelerator.device

    def batches_per_epoch(self) -> int:
        """Steps of an epoch."""
        return -(-len(self.windows.places()) // self._global_batch)

    @property
    def _global_batch(self) -> int:
        return self.options.batch_size * self.accelerator.num_processes

    def epochs(self, stop: Callable[[], bool] = no_stop, on_batch: OnBatch | None = None) -> Iterator[dict[str, Any]]:
        """Train epoch after epoch, giving each one's report; ends early, in the middle of one, when `stop()`."""
        while self.epoch < self.options.n_epochs:
            if not self._train_epoch(stop, on_batch):
                return
            report = self._report()
            self.epoch, self.batch, self.seconds = self.epoch + 1, 0, 0.0
            yield report

    def _train_epoch(self, stop: Callable[[], bool], on_batch: OnBatch | None) -> bool:
        """One epoch from `self.batch` on; False if stopped."""
        rng = np.random.default_rng([self.options.seed, self.epoch])
        places = self.windows.places(rng)
        steps = self._steps(rng, len(places))
        n_batches = -(-len(places) // self._global_batch)
        if self.batch == 0:
            torch.manual_seed(self.options.seed * 1_000_003 + self.epoch + 1)
        self.wrapped.train()
        began, before = time.monotonic(), self.seconds
        frames = 0
        while self.batch < n_batches:
            if self._agreed(stop()):
                return False
            frames += self._step(places, steps, n_batches)
            self.batch += 1
            self.seconds = before + time.monotonic() - began
            if on_batch:
                on_batch(self.batch, n_batches, frames / max(self.seconds - before, 1e-9))
        self.frames_per_second = frames / max(time.monotonic() - began, 1e-9)
        return True

    def trial(self, seconds: float, most: int = 12) -> list[float]:
        """How long each of some first steps takes, in seconds, two at least; the model is then spoilt for training."""
        rng = np.random.default_rng([self.options.seed, 0])
        places = self.windows.places(rng)
        steps, n_batches = self._steps(rng, len(places)), self.batches_per_epoch()
        self.wrapped.train()
        times: list[float] = []
        while len(times) < 2 or (sum(times) < seconds and len(times) < most):
            self.batch = len(times) % max(n_batches - 1, 1)  # the last one may be smaller
            began = time.monotonic()
            self._step(places, steps, n_batches)
            times.append(time.monotonic() - began)
        return times

    def _agreed(self, says: bool) -> bool:
        """Whether any process says so; all of them then do the same."""
        if self.accelerator.num_processes == 1:
            return says
        return bool(self.accelerator.reduce(torch.tensor(float(says), device=self.device)) > 0)

    def _steps(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """By how many semitones each window is moved this epoch [n]."""
        return rng.integers(-self.options.transpose, self.options.transpose + 1, n)

    def _step(self, places: np.ndarray, steps: np.ndarray, n_batches: int) -> int:
        """One optimiser step over this process's share of the batch; returns the target frames of all."""
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        begin = self.batch * self._global_batch
        mine = slice(begin + rank, begin + self._global_batch, world)
        if begin + rank >= len(places):  # the last batch may leave this process nothing: it repeats one window
            mine = slice(len(places) - 1, len(places))
        batch = self.cut.batch(places[mine], steps[mine]).to(self.device)
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate((self.epoch + self.batch / n_batches) / self.options.n_epochs)
        self.optimizer.zero_grad()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            loss = self.wrapped(batch, self.options.teacher_forcing_ratio, guesses=self.options.guesses)
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(self.wrapped.parameters(), CLIP)
        self.optimizer.step()
        if self.average:
            self.average.update(self.learner, self.steps)
        self.steps += 1
        return int(batch.mask.sum()) * world

    def _rate(self, done: float) -> float:
        """Learning rate after a share `done` (0..1) of the training: a short rise, half a cosine down to FINAL_RATE."""
        low, rise = FINAL_RATE, min(1.0, (self.steps + 1) / self.warm_up)
        return self.options.learning_rate * rise * (low + (1 - low) * (1 + math.cos(math.pi * min(done, 1.0))) / 2)

    def _report(self) -> dict[str, Any]:
        """Training and held-out songs scored in the same way, without dropout and without transposition."""
        valid = score(self.model, self.rolls, self.valid_songs, self.device, ENOUGH, self.rare)
        most = min(int(self.rolls.lengths[self.valid_songs].sum()) or ENOUGH, ENOUGH)
        train = score(self.model, self.rolls, self.train_songs, self.device, most, self.rare)
        judged = valid or train
        self.is_best = judged.nll < self.best
        self.best = min(self.best, judged.nll)
        if self.model.composes:
            self.threshold = self.options.threshold or judged.counts.threshold_for_density()
            self._measure_states()
        return {
            "epoch": self.epoch + 1,
            "seconds": round(self.seconds, 3),
            "frames_per_second": round(self.frames_per_second, 1),
            "threshold": self.threshold,
            "highest": judged.counts.highest if judged.counts else None,
            "best": self.is_best,
            "train": _rounded(train, self.threshold),
            "valid": _rounded(valid, self.threshold) if valid else None,
        }

    @torch.inference_mode()
    def _measure_states(self) -> None:
        """Let `random` draw states as far from zero as music's are."""
        songs = self.valid_songs if len(self.valid_songs) else self.train_songs
        windows = Windows(self.rolls, songs, self.options.seq_len, self.options.seq_len, self.model.source_frames)
        batch = next(windows.batches(SPREAD)).to(self.device)
        self.model.eval()
        self.model.state_std.copy_(self.model.spread(batch).nan_to_num(0.3))

    def primes(self) -> torch.Tensor:
        """Openings of held-out songs (training ones where none is held out), uint8 [K, seq_len, W]."""
        songs = self.valid_songs if len(self.valid_songs) else self.train_songs
        n = self.options.seq_len
        openings = [self.rolls.frames(s)[:n] for s in songs[self.rolls.lengths[songs] >= n][:N_PRIMES]]
        if openings:
            return torch.from_numpy(np.stack(openings))
        longest = self.rolls.frames(songs[self.rolls.lengths[songs].argmax()])
        return torch.from_numpy(np.pad(longest, ((n - len(longest), 0), (0, 0)))[None])

    def begin_with(self, model: nn.Module) -> None:
        """Start from the weights of another model of the same shape."""
        self.learner.load_state_dict(model.state_dict())
        if self.average:
            self.average.model.load_state_dict(model.state_dict())

    def save(self, folder: Path, card: dict[str, Any]) -> Path:
        """Write model, optimiser and place in the work to the new `folder`."""
        card = {**card, "options": to_dict(self.options), "threshold": self.threshold, "epoch": self.epoch}
        with checkpoint.AtomicFolder(folder) as draft:
            checkpoint.save(draft / "parts", self.model, card, self.primes() if self.model.composes else None)
            for part in (draft / "parts").iterdir():
                part.rename(draft / part.name)
            (draft / "parts").rmdir()
            self._save_place(draft)
        return folder

    def _save_place(self, folder: Path) -> None:
        from safetensors.torch import save_file

        state = self.optimizer.state_dict()["state"]
        tensors = {f"{i}.{k}": v.cpu().contiguous() for i, slot in state.items() for k, v in slot.items()}
        if self.average:
            tensors |= {LEARNER + k: v.detach().cpu().contiguous() for k, v in self.learner.state_dict().items()}
        tensors["rng"] = torch.get_rng_state()
        if self.device.type == "cuda":
            tensors["rng.cuda"] = torch.cuda.get_rng_state()
        save_file(tensors, folder / TRAINER)
        place = {k: getattr(self, k) for k in PLACES}
        place["half"] = self.half
        place["best"] = self.best if math.isfinite(self.best) else None
        place["windows"] = self.batch * self._global_batch  # as many, however many processes go on
        place["sha256"] = {name: checkpoint.digest(folder / name) for name in (checkpoint.WEIGHTS, TRAINER)}
        (folder / PLACE).write_text(json.dumps(place) + "\n", "utf-8")

    def restore(self, folder: Path) -> None:
        """Go on from what `save` wrote; the next step is the one that would have followed.

        Raises CheckpointError, before anything is taken over, where a file is not what was saved.
        """
        try:
            place = json.loads((folder / PLACE).read_text("utf-8"))
            told = place.get("sha256", {})  # older ones have none
            if odd := [name for name in told if checkpoint.digest(folder / name) != told[name]]:
                raise ValueError(f"{odd[0]} is not what was saved")
            tensors = checkpoint.read_tensors(folder / TRAINER)
            model, _ = checkpoint.load(folder)
            self.model.load_state_dict(model.state_dict())
            learner = {k: tensors.pop(k) for k in list(tensors) if k.startswith(LEARNER)}
            if self.average:
                self.learner.load_state_dict({k.removeprefix(LEARNER): v for k, v in learner.items()})
        except (OSError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"{folder} cannot be resumed: {error}; start a new run") from None
        torch.set_rng_state(tensors.pop("rng"))
        if "rng.cuda" in tensors and self.device.type == "cuda":
            torch.cuda.set_rng_state(tensors.pop("rng.cuda"))
        tensors.pop("rng.cuda", None)
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in tensors.items():
            slot, key = name.split(".")
            state.setdefault(int(slot), {})[key] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        for key in PLACES:
            setattr(self, key, place.get(key, getattr(self, key)))
        if self.chooses and can_bf16(self.options.accelerator):  # measured anew it might come out otherwise
            self.half = bool(place.get("half", self.half))
        self.batch = place.get("windows", self.batch * self._global_batch) // self._global_batch
        self.best = math.inf if place["best"] is None else place["best"]


class Average:
    """A copy of a model whose weights are the running average of the ones being trained; they judge better.

    Early on, when there is little to average, the average is short. Source: Polyak & Juditsky, SIAM 1992.
    """

    def __init__(self, learner: nn.Module, decay: float) -> None:
        self.decay, self.model = decay, copy.deepcopy(learner)
        self.model.requires_grad_(False)

    @torch.no_grad()
    def update(self, learner: nn.Module, steps: int) -> None:
        """Move each weight a little towards the learner's after its `steps` + 1 steps."""
        decay = min(self.decay, (steps + 1) / (steps + 10))
        for mine, its in zip(self.model.parameters(), learner.parameters(), strict=True):
            mine.lerp_(its, 1 - decay)


def make_accelerator(options: TrainOptions) -> Any:
    """What computes, through accelerate. Raises OptionError where the machine has no such device."""
    from accelerate import Accelerator
    from accelerate.utils import is_torch_xla_available

    if options.accelerator == "gpu" and not (torch.cuda.is_available() or torch.backends.mps.is_available()):
        raise OptionError("accelerator gpu: this machine or this build of torch has no GPU; use cpu")
    if options.accelerator == "tpu" and not is_torch_xla_available(check_is_tpu=True):
        raise OptionError("accelerator tpu: no TPU is found; install torch_xla on a TPU machine, or use cpu")
    # half precision is torch's autocast, not accelerate's, whose choice binds the whole process
    return Accelerator(cpu=options.accelerator == "cpu", mixed_precision="no")


def set_threads(options: TrainOptions) -> int:
    """Use the threads asked for; 0 leaves one core to the studio. Returns how many."""
    threads = options.threads or max(1, (os.cpu_count() or 2) - 1)
    torch.set_num_threads(threads)
    return threads


def _rounded(scored: Score, threshold: float) -> dict[str, float]:
    return {k: round(v, 5) for k, v in scored.table(threshold).items()}
