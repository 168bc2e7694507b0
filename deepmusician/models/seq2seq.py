"""The original's arrangement: an encoder reads one window, a decoder writes the next from the encoder's last state.

    source [B, S, 88] --encoder--> state --decoder, fed with each last frame--> context --head--> target [B, T, 88]

What is decided here beyond the original: a source in which nothing sounds is the zero state itself, so that `zero`
means "a piece begins" in training and composing alike; and composing reads its own last window again every S frames,
so music of any length is made exactly as the model was trained and judged. The model knows nothing of songs or files.

Source: Cho et al., EMNLP 2014 (encoder-decoder); Mihaylova & Martins, ACL SRW 2019 (parallel scheduled sampling).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from deepmusician.losses import Loss
from deepmusician.models.contract import Batch, Sampling
from deepmusician.models.heads import IndependentKeys


@dataclass(frozen=True)
class Seq2SeqConfig:
    """Sizes of the model, and the loss its outputs are to be read by; a checkpoint's card holds it."""

    n_keys: int = 88
    seq_len: int = 64
    hidden_size: int = 512
    num_layers: int = 2
    decoder_n_layers: int = 2
    dropout: float = 0.2
    classifier_size: int = 256
    classifier_dropout: float = 0.5
    loss: str = "focal"
    alpha: float = 0.75
    gamma: float = 2.0


@dataclass(frozen=True)
class Seq2SeqState:
    """Decoder state [layers, B, hidden] and the frames [B, n, 88] written since the source was last read.

    `fresh` until the first step, whose frame was not written but stood in the source.
    """

    hidden: Tensor
    written: Tensor
    fresh: bool = True


class Seq2Seq(nn.Module):
    """GRU encoder-decoder over 88-key frames; see the module."""

    kind = "seq2seq"

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__()
        c = self.config = config
        self.encoder = _gru(c.n_keys, c.hidden_size, c.num_layers, c.dropout)
        self.decoder = _gru(c.n_keys, c.hidden_size, c.decoder_n_layers, c.dropout)
        objective = Loss(c.loss, c.alpha, c.gamma)
        self.head = IndependentKeys(c.hidden_size, c.classifier_size, c.classifier_dropout, objective, c.n_keys)
        # how far encoded states lie from zero: `random` draws states of this size; measured after training
        self.register_buffer("state_std", torch.tensor(0.3))

    def card(self) -> dict:
        """What rebuilds this model without its weights."""
        return {"kind": self.kind, **asdict(self.config)}

    def encode(self, source: Tensor) -> Tensor:
        """Decoder state [decoder layers, B, hidden] after hearing `source` [B, S, 88]."""
        _, hidden = self.encoder(source)
        heard = (source.amax((1, 2)) > 0).to(hidden.dtype)
        return _fit_layers(hidden, self.config.decoder_n_layers) * heard[None, :, None]

    def forward(
        self, batch: Batch, teacher_forcing_ratio: float = 1.0, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """(loss, logits [B, T, 88]); the loss is a mean over the frames that count."""
        logits = self.logits(batch, teacher_forcing_ratio, generator)
        return masked_mean(self.head.loss(logits, batch.target), batch.mask), logits

    def logits(
        self, batch: Batch, teacher_forcing_ratio: float = 1.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Logits [B, T, 88]; a share of the decoder's inputs may be its own guesses instead of the truth.

        Parallel scheduled sampling: one pass over the true frames for the guesses, one over the mixture, so that no
        ratio needs a loop over frames.
        """
        state = self.encode(batch.source)
        inputs = torch.cat([batch.source[:, -1:], batch.target[:, :-1]], 1)
        if teacher_forcing_ratio < 1:
            inputs = self._mix_in_guesses(inputs, state, teacher_forcing_ratio, generator)
        context, _ = self.decoder(inputs, state)
        return self.head(context)

    @torch.no_grad()
    def _mix_in_guesses(self, inputs: Tensor, state: Tensor, ratio: float, generator: torch.Generator | None) -> Tensor:
        context, _ = self.decoder(inputs, state)
        guesses = self.head.sample(context[:, :-1], Sampling(), generator)
        told = torch.rand(guesses.shape[:2], generator=generator, device=inputs.device) < ratio
        later = torch.where(told[..., None], inputs[:, 1:], guesses.to(inputs.dtype))
        return torch.cat([inputs[:, :1], later], 1)  # the last source frame is always true

    def nll(self, batch: Batch) -> Tensor:
        """Nats a frame [B, T], each given the true frames before it; 0 where masked out."""
        return self.head.nll(self.logits(batch), batch.target) * batch.mask

    def start(
        self, init: str = "zero", *, prime: Tensor | None = None, batch_size: int = 1,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Seq2SeqState]:  # fmt: skip
        """The frame [B, 88] before the first and the state to compose from.

        `guided` reads the last `seq_len` frames of `prime` [B, n, 88]; `random` draws a state as far from zero as
        encoded music is.
        """
        c, like = self.config, self.state_std
        if init == "guided":
            source = prime.to(like)[:, -c.seq_len :]
            return source[:, -1], Seq2SeqState(self.encode(source), source[:, :0])
        shape = (c.decoder_n_layers, batch_size, c.hidden_size)
        hidden = torch.zeros(shape, device=like.device)
        if init == "random":
            hidden = torch.randn(shape, generator=generator, device=like.device) * like
        silence = torch.zeros(batch_size, c.n_keys, device=like.device)
        return silence, Seq2SeqState(hidden, silence[:, None][:, :0])

    def step(self, frame: Tensor, state: Seq2SeqState) -> tuple[Tensor, Seq2SeqState]:
        """Context [B, hidden] of the next frame after `frame` [B, 88].

        After `seq_len` frames the encoder reads them as its new source, as between two windows in training.
        """
        hidden, written = state.hidden, state.written
        if not state.fresh:
            written = torch.cat([written, frame[:, None]], 1)
            if written.shape[1] == self.config.seq_len:
                hidden, written = self.encode(written), written[:, :0]
        context, hidden = self.decoder(frame[:, None], hidden)
        return context[:, 0], Seq2SeqState(hidden, written, fresh=False)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of `values` where `mask` holds."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


def _gru(size: int, hidden_size: int, layers: int, dropout: float) -> nn.GRU:
    return nn.GRU(size, hidden_size, layers, dropout=dropout if layers > 1 else 0.0, batch_first=True)


def _fit_layers(hidden: Tensor, layers: int) -> Tensor:
    """The top `layers` of an encoder's states; its top one again where the decoder is deeper."""
    missing = layers - len(hidden)
    return torch.cat([hidden, *[hidden[-1:]] * missing]) if missing > 0 else hidden[-layers:]
