"""What every model answers, so that training, composing and judging never ask which one it is.

    model(batch, ...)                     -> scalar        the loss that training minimises
    model.contexts(batch, ...)            -> [B, T, C]     teacher-forced; what the head knows of each target frame
    model.nll(batch)                      -> [B, T]        nats a frame: the honest likelihood
    model.start(init, ...)                -> frame, state  zero, random, or guided by a piece
    model.step(frame, state, style)       -> context, state
    model.read(frames, last, state, style)-> contexts, last, state   many steps at once, over true frames
    model.head.losses(context, target)    -> loss, nll     of each frame
    model.head.key_nats(context, target)  -> notes, velocities   what nll is made up of, key by key
    model.head.sample(context, how, generator) -> frame [B, W]

State is a value: `step` returns a new one. B batch, T frames, W = 88 columns for each plane: sounding 0 or 1, onset 0
or 1, velocity / 127.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from deepmusician.errors import OptionError

# what a backbone knows of the frames before: some tensors [B, ...] for each layer, the lowest first; a value, never
# changed
State = tuple[tuple[Tensor, ...], ...]


@dataclass(frozen=True)
class Batch:
    """Windows of B songs: `source` [B, S, W] float, the `target` [B, T, W] that follows, `mask` [B, T] bool.

    A masked-out target frame lies after its song's end and counts nowhere. `style` [B, n] are the weights of the
    styles, summing to 1, where there are several; `begin` int64 [B] is the frame of its song at which a target begins,
    0 where nobody says.
    """

    source: Tensor
    target: Tensor
    mask: Tensor
    style: Tensor | None = None
    begin: Tensor | None = None

    def to(self, device: object) -> Batch:
        """The same windows on another device."""
        parts = (self.source, self.target, self.mask, self.style, self.begin)
        return Batch(*(None if part is None else part.to(device) for part in parts))


@dataclass(frozen=True)
class Sampling:
    """How a frame is drawn from its distribution.

    `sample` draws every key by its honest probability, sharpened by `temperature` and cut by `top_p`, with `fullness`
    times as many notes as the model expects; `threshold` plays each key whose output reaches `threshold`. Where
    `allowed` bool [K] is given, no other key ever sounds, whichever head draws.
    """

    sampler: str = "sample"
    temperature: float = 1.0
    top_p: float = 1.0
    threshold: float = 0.5
    fullness: float = 1.0
    allowed: Tensor | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.sampler not in ("sample", "threshold"):
            raise OptionError(f"sampler must be sample or threshold, got {self.sampler!r}")
        if self.temperature <= 0:
            raise OptionError(f"temperature must be above 0, got {self.temperature:g}; use 0.05 for the safest")
        if not 0 < self.top_p <= 1:
            raise OptionError(f"top_p must be above 0 and at most 1, got {self.top_p:g}")
        if self.fullness <= 0:
            raise OptionError(f"fullness must be above 0, got {self.fullness:g}; 1 leaves the music as full as it is")
        if self.allowed is not None and not bool(self.allowed.any()):
            raise OptionError("at least one key must be allowed to sound, got none; choose another scale")

    def only_allowed(self, keys: Tensor) -> Tensor:
        """`keys` [..., K], bool or probabilities, with 0 for those that may not sound."""
        return keys if self.allowed is None else keys * self.allowed.to(keys)
