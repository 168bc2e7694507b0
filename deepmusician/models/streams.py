"""Parts of a model as composing wants them: NumPy arrays and compiled loops in the place of modules and their graphs.

A part that has such a form hands it out itself (`Model.stream`, `Backbone.stream`, `FrameHead.drawer`); one that has
none answers None, and composing takes `step` and `sample`, which give the same notes. What is made here is made for
one composing and changed by it. Right for few pieces at once; many are faster as matrix products. Knows nothing of
arrangements. B pieces, T frames.
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from deepmusician.losses import KINDS, Loss
from deepmusician.models.contract import Sampling, State
from deepmusician.models.inputs import Inputs

COLUMNS = 96  # of a tile


class Stream(Protocol):
    """An arrangement that composes; see `Model.stream`."""

    def step(self, frame: np.ndarray, t: int) -> np.ndarray:
        """Context [B, C] of frame `t`, after `frame` [B, W], float32 both; asked for one frame after the other."""


class BackboneStream(Protocol):
    """A backbone that composes; see `Backbone.stream`."""

    def set(self, state: State) -> None:
        """Go on from a backbone's state."""

    def put(self, rows: np.ndarray, state: State) -> None:
        """Go on from a state in some of the pieces, int [n]."""

    def step(self, x: np.ndarray) -> np.ndarray:
        """What [B, size] is known after one more frame `x` [B, inputs]; the next step may overwrite it."""

    def read(self, x: np.ndarray) -> State:
        """The state after frames `x` [B, T, inputs], from their beginning."""


class Drawer(Protocol):
    """A head that draws frames; see `FrameHead.drawer`."""

    noise: int  # as many random numbers a frame

    def __call__(self, context: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A frame [B, W] from a context [B, C] and random numbers [B, noise]; and the highest output of an allowed key.

        The latter, [B], is 0 where no threshold decides.
        """


def loops() -> ModuleType | None:
    """The compiled loops, loaded the first time they are needed; None where numba is not installed."""
    try:
        from deepmusician.models import stream_kernel
    except ImportError:
        return None
    return stream_kernel


def meant(objective: Loss) -> tuple[int, float, float]:
    """What the loops ask of a loss to know what a logit honestly means: kind, focus, and the odds of its weights."""
    return KINDS.index(objective.kind), objective.gamma, float(np.log((1 - objective.alpha) / objective.alpha))


class InputStream:
    """What a backbone is told in each of `n_frames` frames; only the frame itself is not known beforehand."""

    def __init__(self, inputs: Inputs, age: Tensor, n_frames: int, styles: Tensor | None) -> None:
        ages = (age + torch.arange(n_frames)[:, None]).view(-1, 1)  # [T · B, 1]
        style = None if styles is None else styles.repeat_interleave(len(age), 0)
        extras = inputs.extras(ages, style)
        self.extras = [_array(part).reshape(n_frames, len(age), -1) for part in extras]

    def __call__(self, frame: np.ndarray, t: int) -> np.ndarray:
        """Inputs [B, size] for `frame` [B, W], which frame `t` follows."""
        return np.concatenate([frame, *(part[t] for part in self.extras)], 1) if self.extras else frame


class GRUStream:
    """The layers of a torch GRU, and the units [B, H] of each, which `step` renews."""

    def __init__(self, network: nn.GRU, compiled: ModuleType) -> None:
        self.loops, self.size = compiled, network.hidden_size
        memory = _Memory()
        self.layers = [_GRULayer(*weights, i == 0, memory) for i, weights in enumerate(network.all_weights)]

    def set(self, state: State) -> None:
        """See BackboneStream."""
        self.units = [_array(layer[0]).copy() for layer in state]
        pieces = len(self.units[0])
        self.told = np.empty((1, pieces, 3 * self.size), np.float32)
        self.ys = [np.empty((1, pieces, self.size), np.float32) for _ in self.layers]

    def put(self, rows: np.ndarray, state: State) -> None:
        """See BackboneStream."""
        for units, layer in zip(self.units, state, strict=True):
            units[rows] = layer[0].numpy()

    def step(self, x: np.ndarray) -> np.ndarray:
        """See BackboneStream."""
        hear = self.loops.sparse  # nearly all keys are silent
        for layer, units, y in zip(self.layers, self.units, self.ys, strict=True):
            hear(layer.w_in, layer.bias, x, self.told[0])
            self.loops.gru(self.told, layer.w, layer.b_n, units, y)
            x, hear = y[0], self.loops.dense
        return x

    def read(self, x: np.ndarray) -> State:
        """See BackboneStream."""
        (pieces, frames), after = x.shape[:2], []
        for i, layer in enumerate(self.layers):
            told = np.empty((pieces, frames, 3 * self.size), np.float32)
            for piece in range(pieces):  # each by itself: products of another size would be rounded differently
                if i:
                    layer.product(x[piece], told[piece])
                else:
                    self.loops.sparse(layer.w_in, layer.bias, x[piece], told[piece])
            units, ys = np.zeros((pieces, self.size), np.float32), np.empty((frames, pieces, self.size), np.float32)
            self.loops.gru(_turned(told), layer.w, layer.b_n, units, ys)
            after.append((torch.from_numpy(units),))
            x = _turned(ys)
        return tuple(after)


class _GRULayer:
    """Weights in the order in which they are read."""

    def __init__(self, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor, first: bool, memory: _Memory) -> None:
        size = len(b_hh) // 3
        self.w_ih, self.bias, self.b_n = w_ih, _array(b_ih + b_hh), _array(b_hh[2 * size :])
        self.bias[2 * size :] = _array(b_ih[2 * size :])
        self.w_in = memory.keep(w_ih.t()) if first else memory.tiles(w_ih[None])
        self.w = memory.tiles(w_hh.view(3, size, size))

    def product(self, x: np.ndarray, out: np.ndarray) -> None:
        """What many inputs x [N, I] say: out [N, 3H]."""
        torch.addmm(torch.from_numpy(self.bias), torch.from_numpy(x), self.w_ih.t(), out=torch.from_numpy(out))


class _Memory:
    """Blocks to cut weights from, so large that the system gives them in large pages: they are quicker to read."""

    BLOCK = 1 << 20  # numbers; NumPy asks for large pages from there on
    LINE = 16  # numbers in a line of the cache

    def __init__(self) -> None:
        self.free = np.empty(0, np.float32)

    def _cut(self, *shape: int) -> Tensor:
        size = math.prod(shape)
        if size > len(self.free):
            block = np.empty(max(size, 3 * self.BLOCK) + self.LINE, np.float32)
            self.free = block[-(block.ctypes.data // block.itemsize) % self.LINE :]
        part, self.free = self.free[:size], self.free[-(-size // self.LINE) * self.LINE :]
        return torch.from_numpy(part).view(shape)

    def keep(self, weights: Tensor) -> np.ndarray:
        """The same, one row after the other."""
        return self._cut(*weights.shape).copy_(weights.detach()).numpy()

    def tiles(self, weights: Tensor) -> np.ndarray:
        """[gates, J, I] -> [tiles, I, gates · U]: what is read for U outputs after U, of all gates; see stream_kernel.

        The last ones are filled up with zeros.
        """
        gates, outputs, inputs = weights.shape
        units = min(COLUMNS // gates, outputs)
        tiles = -(-outputs // units)
        padded = nn.functional.pad(weights.detach(), (0, 0, 0, -outputs % units)).view(gates, tiles, units, inputs)
        tiled = self._cut(tiles, inputs, gates, units).copy_(padded.permute(1, 3, 0, 2))
        return tiled.view(tiles, inputs, gates * units).numpy()


def _turned(x: np.ndarray) -> np.ndarray:
    """Time before pieces, or pieces before time."""
    return np.ascontiguousarray(x.swapaxes(0, 1))


def _array(tensor: Tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.detach().float().numpy())


class KeysDrawer:
    """Two linear layers and K keys, each drawn on its own; see `heads.keys`."""

    def __init__(self, net: nn.Sequential, objective: Loss, how: Sampling, compiled: ModuleType) -> None:
        self.loops = compiled
        layers = [layer for layer in net if isinstance(layer, nn.Linear)]
        memory = _Memory()
        self.first, self.last = [(memory.tiles(layer.weight[None]), _array(layer.bias)) for layer in layers]
        self.noise = len(self.last[1])
        self.allowed = np.ones(self.noise, bool) if how.allowed is None else how.allowed.numpy()
        threshold = how.threshold if how.sampler == "threshold" else -1.0
        self.settings = (*meant(objective), threshold, how.temperature, how.top_p, how.fullness)

    def __call__(self, context: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See Drawer."""
        hidden = np.empty((len(context), len(self.first[1])), np.float32)
        logits, highest = np.empty((len(context), self.noise), np.float32), np.empty(len(context), np.float32)
        self.loops.dense(*self.first, context, hidden)
        np.maximum(hidden, 0, out=hidden)
        self.loops.dense(*self.last, hidden, logits)
        frames = np.empty_like(logits)
        self.loops.draw_keys(logits, self.allowed, noise, *self.settings, frames, highest)
        return frames, highest
