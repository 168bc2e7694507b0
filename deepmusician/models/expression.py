"""Expression: reads a whole piece, its keys and onsets both ways in time, and says how loud each key is struck.

It composes nothing, so hearing the future is right. One backbone reads from the first frame on, another of its kind
from the last one back; of the piece's own velocities neither hears anything.

Source: Jędrzejewska, Zjawiński & Stasiak, IEEE HSI 2018 (an LSTM that gives MIDI files their dynamics).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import softplus

from deepmusician.errors import OptionError
from deepmusician.models.backbones.base import Backbone
from deepmusician.models.base import CHUNK, Model, masked_mean, new_backbone
from deepmusician.models.config import ModelConfig
from deepmusician.models.contract import Batch
from deepmusician.models.dropping import Dropout
from deepmusician.models.frames import LOUDEST
from deepmusician.models.heads.strokes import LEVELS, Strokes, level_nll, level_of, velocity_of
from deepmusician.roll import KEYS

WIDEST, NARROWEST = 2.2, -2.8  # log-scales: 9 levels, beyond which a logistic is flat and teaches nothing; 1/16


class Velocities(Strokes):
    """context [..., size] -> how loud each struck key of a frame is; which keys those are is given and costs nothing.

    A level is as likely as the logistic of `heads.strokes` says, times how common it is (`prior`): written dynamics
    have few levels, with nothing between them, and a logistic alone would spend most of itself on the gaps.
    """

    def __init__(self, size: int, c: ModelConfig) -> None:
        super().__init__(size, c, onsets=False)
        self.register_buffer("prior", torch.zeros(LEVELS))

    def start_at(self, counts: Tensor) -> None:
        """Let it know how many keys are struck at each level [32] in the music it learns."""
        self.prior.copy_(torch.log(counts + 0.5) - torch.log(counts.sum() + 0.5 * LEVELS))

    def losses(self, context: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """(what training minimises, honest nats) of each frame [...]; they are the same."""
        nats = self.nll(context, target)
        return nats, nats

    def nll(self, context: Tensor, target: Tensor) -> Tensor:
        """Nats [...] of the velocities of the keys struck in `target` [..., W]."""
        return self.key_nats(context, target)[1].sum(-1)

    def key_nats(self, context: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """See FrameHead: notes cost nothing, velocities [..., K] make up `nll`."""
        struck, levels = self._levels(context, target)
        true = level_of(target.float()[..., 2 * KEYS :])[struck].long()
        nothing = torch.zeros(struck.shape, device=struck.device)
        return nothing, nothing.masked_scatter(struck, -levels.gather(-1, true[:, None]))

    def expected(self, context: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Which keys of `target` [..., W] are struck, [..., K] bool, and their velocities 0..127 as expected, with
        standard deviations, [..., K] both; 0 where nothing is struck."""
        struck, levels = self._levels(context, target)
        p, loud = levels.exp(), velocity_of(torch.arange(LEVELS, device=struck.device)) * LOUDEST
        mean = p @ loud
        spread = (p @ loud**2 - mean**2).clamp(min=0).sqrt()
        nothing = torch.zeros(struck.shape, device=struck.device)
        return struck, nothing.masked_scatter(struck, mean), nothing.masked_scatter(struck, spread)

    def _velocity(self, context: Tensor, sounding: Tensor, struck: Tensor) -> tuple[Tensor, Tensor]:
        """As of Strokes, but however wide or narrow, the scale can always be learnt to be otherwise."""
        known = torch.cat([context, sounding.to(context), struck.to(context)], -1)
        mean, narrow = self.velocity(known).float().chunk(2, -1)
        return (LEVELS - 1) / 2 * (1 + mean), (WIDEST - softplus(narrow)).clamp(min=NARROWEST)

    def _levels(self, context: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Which keys are struck, [..., K] bool, and for each of those n the log-probability of every level, [n, 32]."""
        sounding, onset = target.float()[..., : 2 * KEYS].unflatten(-1, (2, KEYS)).unbind(-2)
        struck = self._struck(sounding, onset, self._before(context))
        mean, log_scale = (part[struck > 0][:, None] for part in self._velocity(context, sounding, struck))
        logistic = -level_nll(mean, log_scale, torch.arange(LEVELS, device=mean.device))
        return struck > 0, (logistic + self.prior).log_softmax(-1)


class Expression(Model):
    """See the module. In training a window is told the one frame before it, to know what is held from there."""

    source_frames = 1
    composes = False

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        if config.planes != "velocity":
            raise OptionError(f"expression gives velocities, got planes {config.planes}; set planes to velocity")
        self.onward = new_backbone(config, self.inputs.size, config.num_layers)
        self.back = new_backbone(config, self.inputs.size, config.num_layers)
        self.dropout = Dropout(config.dropout)
        self.head = Velocities(2 * self.onward.size + config.frame_size, config)

    def contexts(
        self, batch: Batch, teacher_forcing_ratio: float = 1.0, generator: torch.Generator | None = None,
        guesses: str = "parallel",
    ) -> Tensor:  # fmt: skip
        """Contexts [B, T, C] of the target frames; there are no guesses to be told, so every ratio is the same."""
        age = batch.mask.new_zeros(len(batch.mask), dtype=torch.long) if batch.begin is None else batch.begin
        before = torch.cat([batch.source[:, -1:], batch.target[:, :-1]], 1)
        return _join(self._listen(batch.target, age, self._told(batch.style)), before)

    def forward(
        self, batch: Batch, teacher_forcing_ratio: float = 1.0, generator: torch.Generator | None = None,
        guesses: str = "parallel",
    ) -> Tensor:  # fmt: skip
        """The loss: nats of the velocities, a mean over the frames that count."""
        return masked_mean(self.head.nll(self.contexts(batch), batch.target), batch.mask)

    def _told(self, style: Tensor | None) -> Tensor | None:
        """In training half the windows are told of a mix of all styles: a piece to humanise may be in none of them."""
        if style is None or not self.training:
            return style
        known = torch.rand(len(style), 1, device=style.device) < 0.5
        return torch.where(known, style, 1 / style.shape[1])

    def walk(self, songs: Tensor, style: Tensor | None = None) -> Iterator[tuple[slice, Tensor]]:
        """See Model. A song is listened to as a whole, chunk by chunk, which keeps 2 · `size` numbers a frame."""
        hidden = self._listen(songs, torch.zeros(len(songs), dtype=torch.long, device=songs.device), style)
        before = torch.cat([torch.zeros_like(songs[:, :1]), songs[:, :-1]], 1)
        for begin in range(0, songs.shape[1], CHUNK):
            place = slice(begin, begin + CHUNK)
            yield place, _join(hidden[:, place], before[:, place])

    def _listen(self, frames: Tensor, age: Tensor, style: Tensor | None) -> Tensor:
        """What both backbones know of each of `frames` [B, T, W], the first of which is `age` [B] old."""
        heard = self.inputs(_flat(frames), age, style)
        back = _turned(_read(self.back, _turned(heard, frames)), frames)
        return self.dropout(torch.cat([_read(self.onward, heard), back], -1))


def _read(backbone: Backbone, heard: Tensor) -> Tensor:
    """[B, T, inputs] -> [B, T, size], some frames at a time, so that what a layer needs for itself stays small."""
    state, known = backbone.start(len(heard), heard), []
    for some in heard.split(CHUNK, 1):
        y, state = backbone(some, state)
        known.append(y)
    return torch.cat(known, 1)


def _turned(x: Tensor, frames: Tensor) -> Tensor:
    """`x` [B, T, n] back to front, each song from the last of its `frames` that sounds; its own inverse.

    The silence after it stays at the end, so that a song says the same however far it is padded.
    """
    steps = torch.arange(x.shape[1], device=x.device)
    sounds = frames[..., :KEYS].amax(-1) > 0
    last = (sounds * steps).amax(1, keepdim=True)
    places = (last - steps) % x.shape[1]
    return x.gather(1, places[..., None].expand_as(x))


def _flat(frames: Tensor) -> Tensor:
    """Frames without their velocities, which are what is asked for."""
    return torch.cat([frames[..., : 2 * KEYS], torch.zeros_like(frames[..., 2 * KEYS :])], -1)


def _join(hidden: Tensor, before: Tensor) -> Tensor:
    """Contexts as `Strokes` wants them: the frame before at their end."""
    return torch.cat([hidden, _flat(before).to(hidden)], -1)
