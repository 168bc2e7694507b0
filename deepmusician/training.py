"""Training: an iterator of epochs that can stop at any step and go on from there exactly.

`Trainer` holds the model, its optimiser and the place in the work. All randomness of an epoch comes from the seed and
the epoch's number, so a resumed training takes the very steps an uninterrupted one would have. Devices and several
processes are Hugging Face accelerate's business. It knows nothing of files but its own checkpoints.
"""

from __future__ import annotations

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

from deepmusician import checkpoint
from deepmusician.errors import CheckpointError, OptionError
from deepmusician.models.registry import new_model
from deepmusician.options import TrainOptions, to_dict
from deepmusician.scoring import Score, score
from deepmusician.windows import Rolls, Windows

log = logging.getLogger(__name__)

TRAINER, PLACE = "trainer.safetensors", "trainer.json"
CLIP = 1.0  # largest norm of a step's gradient
FINAL_RATE = 0.05  # the cosine ends at this share of the learning rate
N_PRIMES = 8  # held-out openings kept in a checkpoint to guide composing

OnBatch = Callable[[int, int, float], None]  # batches done, batches of the epoch, frames a second


def no_stop() -> bool:
    """The default answer to: has somebody asked to stop?"""
    return False


class Trainer:
    """A model learning `rolls`, with `train` and `valid` the indices of its training and held-out songs."""

    def __init__(self, options: TrainOptions, rolls: Rolls, train: np.ndarray, valid: np.ndarray) -> None:
        self.options, self.rolls = options, rolls
        self.train_songs, self.valid_songs = train, valid
        self.windows = Windows(rolls, train, options.seq_len, options.step)
        self.train_scored = Windows(rolls, train, options.seq_len, options.seq_len)
        self.held_out = Windows(rolls, valid, options.seq_len, options.seq_len)
        self.accelerator = make_accelerator(options)
        self.half = options.precision == "bf16" or (options.precision == "auto" and has_fast_bf16(options))
        torch.manual_seed(options.seed)
        self.model = new_model(options)
        self.model.head.start_at(torch.from_numpy(rolls.frequencies(train)).float())
        optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
        )
        self.wrapped, self.optimizer = self.accelerator.prepare(self.model, optimizer)
        self.model = self.accelerator.unwrap_model(self.wrapped)
        self.epoch = self.batch = 0  # finished epochs, finished batches of the next one
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

    def _agreed(self, stop: bool) -> bool:
        """Whether any process was asked to stop; all of them then end at the same step."""
        if self.accelerator.num_processes == 1:
            return stop
        return bool(self.accelerator.reduce(torch.tensor(float(stop), device=self.device)) > 0)

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
        batch = self.windows.batch(places[mine], steps[mine]).to(self.device)
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate((self.epoch + self.batch / n_batches) / self.options.n_epochs)
        self.optimizer.zero_grad()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            loss, _ = self.wrapped(batch, self.options.teacher_forcing_ratio)
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(self.wrapped.parameters(), CLIP)
        self.optimizer.step()
        return int(batch.mask.sum()) * world

    def _rate(self, done: float) -> float:
        """Learning rate after a share `done` (0..1) of the training: half a cosine down to FINAL_RATE."""
        low = FINAL_RATE
        return self.options.learning_rate * (low + (1 - low) * (1 + math.cos(math.pi * min(done, 1.0))) / 2)

    def _report(self) -> dict[str, Any]:
        """Training and held-out songs scored in the same way, without dropout and without transposition."""
        valid = score(self.model, self.held_out, self.device)
        most = len(self.held_out.places()) or 256  # as many training windows as held-out ones say enough
        train = score(self.model, self.train_scored, self.device, most)
        judged = valid or train
        self.threshold = self.options.threshold or judged.counts.threshold_for_density()
        self.is_best = judged.nll < self.best
        self.best = min(self.best, judged.nll)
        self._measure_states()
        return {
            "epoch": self.epoch + 1,
            "seconds": round(self.seconds, 3),
            "frames_per_second": round(self.frames_per_second, 1),
            "threshold": self.threshold,
            "highest": judged.counts.highest,
            "best": self.is_best,
            "train": _rounded(train, self.threshold),
            "valid": _rounded(valid, self.threshold) if valid else None,
        }

    @torch.inference_mode()
    def _measure_states(self) -> None:
        """Let `random` draw states as far from zero as music's are."""
        windows = self.held_out if len(self.valid_songs) else self.windows
        batch = next(windows.batches(64)).to(self.device)
        self.model.eval()
        states = self.model.encode(batch.source)
        self.model.state_std.copy_(states[:, states.abs().amax((0, 2)) > 0].std().nan_to_num(0.3))

    def primes(self) -> torch.Tensor:
        """Openings of held-out songs (training ones where none is held out), packed uint8 [K, seq_len, 11]."""
        songs = self.valid_songs if len(self.valid_songs) else self.train_songs
        n = self.options.seq_len
        starts = [(self.rolls.starts[s], self.rolls.lengths[s]) for s in songs]
        long_enough = [self.rolls.packed[a : a + n] for a, length in starts if length >= n][:N_PRIMES]
        if long_enough:
            return torch.from_numpy(np.stack(long_enough))
        a, length = max(starts, key=lambda s: s[1])
        packed = np.zeros((1, n, self.rolls.packed.shape[1]), np.uint8)
        packed[0, n - length :] = self.rolls.packed[a : a + length]
        return torch.from_numpy(packed)

    def save(self, folder: Path, card: dict[str, Any]) -> Path:
        """Write model, optimiser and place in the work to the new `folder`."""
        card = {**card, "options": to_dict(self.options), "threshold": self.threshold, "epoch": self.epoch}
        with checkpoint.AtomicFolder(folder) as draft:
            checkpoint.save(draft / "parts", self.model, card, self.primes())
            for part in (draft / "parts").iterdir():
                part.rename(draft / part.name)
            (draft / "parts").rmdir()
            self._save_place(draft)
        return folder

    def _save_place(self, folder: Path) -> None:
        from safetensors.torch import save_file

        state = self.optimizer.state_dict()["state"]
        tensors = {f"{i}.{k}": v.cpu().contiguous() for i, slot in state.items() for k, v in slot.items()}
        tensors["rng"] = torch.get_rng_state()
        if self.device.type == "cuda":
            tensors["rng.cuda"] = torch.cuda.get_rng_state()
        save_file(tensors, folder / TRAINER)
        place = {k: getattr(self, k) for k in ("epoch", "batch", "seconds", "threshold")}
        place["best"] = self.best if math.isfinite(self.best) else None
        (folder / PLACE).write_text(json.dumps(place) + "\n", "utf-8")

    def restore(self, folder: Path) -> None:
        """Go on from what `save` wrote; the next step is the one that would have followed."""
        tensors = checkpoint.read_tensors(folder / TRAINER)
        try:
            place = json.loads((folder / PLACE).read_text("utf-8"))
            model, _ = checkpoint.load(folder)
            self.model.load_state_dict(model.state_dict())
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
        for key in ("epoch", "batch", "seconds", "threshold"):
            setattr(self, key, place[key])
        self.best = math.inf if place["best"] is None else place["best"]


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


def has_fast_bf16(options: TrainOptions) -> bool:
    """Whether the device multiplies bf16 matrices faster than fp32 ones; elsewhere it would be emulated, slowly."""
    if options.accelerator == "gpu":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    flags = Path("/proc/cpuinfo")
    return flags.is_file() and any(f in flags.read_text() for f in (" avx512_bf16", " amx_bf16"))


def set_threads(options: TrainOptions) -> int:
    """Use the threads asked for; 0 leaves one core to the studio. Returns how many."""
    threads = options.threads or max(1, (os.cpu_count() or 2) - 1)
    torch.set_num_threads(threads)
    return threads


def _rounded(scored: Score, threshold: float) -> dict[str, float]:
    return {k: round(v, 5) for k, v in scored.table(threshold).items()}
