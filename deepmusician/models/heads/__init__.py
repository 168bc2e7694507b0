"""Heads: from the context of a frame to a distribution over the frame.

A head is a part, deciding which keys sound, and strokes, deciding which of them are struck and how hard. To add a
part: write a module with a subclass of `base.Part` (or `autoregressive.Autoregressive`), and name it in HEADS.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deepmusician.errors import OptionError
from deepmusician.models.config import ModelConfig
from deepmusician.models.contract import Sampling
from deepmusician.models.heads.autoregressive import Autoregressive
from deepmusician.models.heads.axis import Axis
from deepmusician.models.heads.base import Part
from deepmusician.models.heads.chord import Chord
from deepmusician.models.heads.intervals import Intervals
from deepmusician.models.heads.keys import IndependentKeys
from deepmusician.models.heads.melody import Melody
from deepmusician.models.heads.sharpen import nucleus, sharpen
from deepmusician.models.heads.strokes import Strokes
from deepmusician.models.streams import Drawer
from deepmusician.roll import KEYS

__all__ = ["HEADS", "FrameHead", "IndependentKeys", "nucleus", "sharpen"]

HEADS: dict[str, type[Part]] = {
    "keys": IndependentKeys,
    "chord": Chord,
    "melody": Melody,
    "axis": Axis,
    "intervals": Intervals,
}


class FrameHead(nn.Module):
    """context [..., size] -> a distribution over a frame [..., W]; W = K · planes, velocities divided by 127."""

    def __init__(self, size: int, c: ModelConfig, n_keys: int = KEYS) -> None:
        super().__init__()
        if c.head not in HEADS:
            raise OptionError(f"head must be one of {', '.join(HEADS)}, got {c.head!r}")
        self.part = HEADS[c.head](size, c, n_keys)
        self.decided = self.part.n_planes * n_keys  # columns of a frame
        rest = c.n_planes > self.part.n_planes
        self.strokes = Strokes(size, c, onsets=self.part.n_planes == 1, n_keys=n_keys) if rest else None

    @property
    def draws(self) -> bool:
        """Whether `probability` has to draw chords, which takes longer than all else."""
        return isinstance(self.part, Autoregressive)

    def start_at(self, frequencies: Tensor) -> None:
        """Let the untrained head know how often each key sounds [K], so training starts there, not at 0.5."""
        self.part.start_at(frequencies)

    def losses(self, context: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """(what training minimises, honest nats) of each frame `target` [..., W]: [...] both, float32, in one pass."""
        loss, nll = self.part.losses(context, target[..., : self.decided])
        strokes = self._strokes(context, target)
        return loss + strokes, nll + strokes

    def loss(self, context: Tensor, target: Tensor) -> Tensor:
        """The first of `losses` alone."""
        return self.part.loss(context, target[..., : self.decided]) + self._strokes(context, target)

    def nll(self, context: Tensor, target: Tensor) -> Tensor:
        """The second of `losses` alone."""
        return self.part.nll(context, target[..., : self.decided]) + self._strokes(context, target)

    def key_nats(self, context: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """What `nll` is made up of: nats of each key's sounding and being struck, and of its velocity; [..., K] both.

        exp(-nats) of a key that sounds is how likely that was, given the frames before and the keys decided before it.
        """
        notes = self.part.key_nats(context, target[..., : self.decided])
        if self.strokes is None:
            return notes, torch.zeros_like(notes)
        onsets, velocities = self.strokes.key_nats(context, target)
        return notes + onsets, velocities

    def _strokes(self, context: Tensor, target: Tensor) -> Tensor | float:
        return 0.0 if self.strokes is None else self.strokes.nll(context, target)

    def probability(self, context: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """How likely each key sounds by the network's own output [..., K], which a threshold is compared with.

        Where keys depend on one another it is estimated, from a few chords drawn with `generator`.
        """
        return self.part.probability(context, generator)

    def sample(self, context: Tensor, how: Sampling, generator: torch.Generator | None = None) -> Tensor:
        """Draw a frame [..., W]; the generator's device must be the context's."""
        planes = self.part.sample(context, how, generator)
        return planes if self.strokes is None else self.strokes.sample(context, planes, how, generator)

    def drawer(self, how: Sampling) -> Drawer | None:
        """`sample` as composing a few pieces wants it; None where the head has no such form."""
        return self.part.drawer(how) if self.strokes is None else None
