"""What every backbone answers: it carries time, and reads many frames at once or one at a time with the same result.

Knows nothing of keys, heads or styles. B batch, T frames.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from deepmusician.models.config import ModelConfig
from deepmusician.models.contract import State
from deepmusician.models.streams import BackboneStream

# a State as sizes of one song, without its batch
Shapes = list[tuple[tuple[int, ...], ...]]


def each(state: State, change: Callable[[Tensor], Tensor]) -> State:
    """The state with every tensor changed."""
    return tuple(tuple(change(tensor) for tensor in layer) for layer in state)


class Backbone(nn.Module, ABC):
    """Frames [B, T, inputs] -> [B, T, size] in `layers` layers; see `forward`."""

    size: int  # columns of what it gives

    def __init__(self, inputs: int, layers: int, c: ModelConfig) -> None:
        super().__init__()
        self.inputs, self.layers, self.size = inputs, layers, c.hidden_size

    @abstractmethod
    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Read `x` [B, T, inputs] on from `state`: y [B, T, size] and the state after the last frame.

        y[:, t] knows x[:, : t + 1] and the state, nothing later. Cut anywhere and read piece by piece, each from the
        state of the last, a song gives the same.
        """

    @abstractmethod
    def shapes(self) -> Shapes:
        """What a state before the first frame holds."""

    def start(self, batch_size: int, like: Tensor) -> State:
        """The state before the first frame, of the type and on the device of `like`."""
        return tuple(tuple(like.new_zeros(batch_size, *shape) for shape in layer) for layer in self.shapes())

    def noise(self, batch_size: int, std: float | Tensor, generator: torch.Generator | None, like: Tensor) -> State:
        """A random state, `std` from zero, to begin a piece with."""
        return each(self.start(batch_size, like), lambda tensor: randn(tensor, generator) * std)

    def times(self, state: State, heard: Tensor) -> State:
        """The state, but that before the first frame for the songs where `heard` [B] is 0."""
        return each(state, lambda tensor: tensor * heard.to(tensor.dtype).view(-1, *[1] * (tensor.dim() - 1)))

    def stream(self) -> BackboneStream | None:
        """The backbone as composing a few pieces wants it; None where it has no such form."""
        return None

    def adopt(self, state: State) -> State:
        """The state of a backbone of this kind with another number of layers: of its top ones.

        The topmost comes again where there are too few.
        """
        return state[-self.layers :] + state[-1:] * (self.layers - len(state))


def randn(like: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)
