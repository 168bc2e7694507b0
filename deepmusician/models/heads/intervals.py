"""Intervals: keys drawn from low to high, each hearing the chosen ones below it by their distance in semitones.

A chord's sound is in its intervals: a vector is learnt for each of them, the same from every key, and one for how many
keys are chosen already. No recurrence runs along the keys, so a known chord is judged in one matrix product.
Sources: the same weights for every key after Johnson, EvoMUSART 2017; relative distances after Huang et al., Music
Transformer, ICLR 2019. The network is ours.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deepmusician.losses import logits_for_posterior
from deepmusician.models.config import ModelConfig
from deepmusician.models.heads.autoregressive import Autoregressive
from deepmusician.models.keywise import OCTAVE, SharedDropout, by_key, size_of_key
from deepmusician.models.streams import meant
from deepmusician.roll import KEYS

MOST = 10  # chosen keys that are told apart by their number


class Intervals(Autoregressive):
    """context [..., K · h] of backbone `biaxial` -> two layers of `classifier_size`, shared by all keys."""

    leap_rows = 16
    compiled_rows = 128

    def __init__(self, size: int, c: ModelConfig, n_keys: int = KEYS) -> None:
        super().__init__(c, n_keys)
        n = c.classifier_size
        self.width, self.planes = size_of_key(size, c, n_keys)
        self.known = nn.Linear(self.width + self.planes, n)
        self.interval = nn.Parameter(torch.randn(n_keys, n) * 0.1)
        self.pitch_class = nn.Parameter(torch.randn(OCTAVE, n) * 0.1)
        self.number = nn.Parameter(torch.randn(MOST + 1, n) * 0.1)
        self.key = nn.Parameter(torch.zeros(n_keys, n))  # no two keys are quite alike: registers differ
        self.hidden, self.out = nn.Linear(n, n), nn.Linear(n, 1, bias=False)
        self.bias = nn.Parameter(torch.zeros(n_keys))
        self.thin, self.dropout = SharedDropout(c.dropout), SharedDropout(c.classifier_dropout)
        distance = torch.arange(n_keys) - torch.arange(n_keys)[:, None]  # from a chosen key up to the one asked about
        self.register_buffer("distance", distance.clamp(min=0), persistent=False)
        self.register_buffer("lower", (distance > 0).float()[..., None], persistent=False)
        self._kept: tuple[list, Tensor] | None = None

    @torch.no_grad()
    def start_at(self, frequencies: Tensor) -> None:
        """See Part."""
        self.out.weight.mul_(0.1)
        eta = frequencies.clamp(1e-4, 1 - 1e-4)  # a key never heard may still come
        self.bias.copy_(logits_for_posterior(eta, self.objective))

    def _voices(self) -> Tensor:
        """What a chosen key tells each key above it, [K, K, n]."""
        table = self.interval + self.pitch_class[torch.arange(self.n_keys, device=self.key.device) % OCTAVE]
        return table[self.distance] * self.lower

    def _numbers(self, count: Tensor) -> Tensor:
        """What the number of chosen keys tells, [...] -> [..., n]."""
        if not torch.is_grad_enabled():
            return self.number[count.clamp(max=MOST).long()]  # sooner, but its gradient later
        places = torch.arange(MOST + 1, device=count.device)
        return (count.clamp(max=MOST)[..., None] == places).to(self.number.dtype) @ self.number

    def _answer(self, z: Tensor) -> Tensor:
        """From what is known of a key, [..., n], to its logit, without the key's own bias."""
        a = self.dropout(torch.relu(z))
        return self.out(torch.relu(self.hidden(a)) + a)[..., 0]

    def conditionals(self, context: Tensor, sounding: Tensor) -> Tensor:
        """See Autoregressive."""
        known = self.known(self.thin(by_key(context, self.width, self.planes, self.n_keys))) + self.key
        below = (sounding @ self._voices().flatten(1)).unflatten(-1, (self.n_keys, -1))
        count = sounding.cumsum(-1) - sounding
        return self._answer(known + below + self._numbers(count)) + self.bias

    def leaps(self, context: Tensor) -> Callable[[Tensor, int, Tensor | None], Tensor]:
        """See Autoregressive: each key that is added tells those above it, once."""
        heard = self.known(self.thin(by_key(context, self.width, self.planes, self.n_keys))) + self.key
        voices, count = self._kept_voices(), heard.new_zeros(heard.shape[:2], dtype=torch.long)
        keys = torch.arange(self.n_keys, device=heard.device)

        def answer(rows: Tensor, first: int, new: Tensor | None) -> Tensor:
            if new is None:
                z, number = heard, count
            else:
                z = heard[rows, first:] + voices[new, first:]
                number = count[rows, first:] + (keys[first:] > new[:, None])
                heard[rows, first:], count[rows, first:] = z, number
            return self._answer(z + self._numbers(number)) + self.bias[first:]

        return answer

    def _kept_voices(self) -> Tensor:
        """`_voices`, made anew only where its weights have changed, or are learnt."""
        if torch.is_grad_enabled():
            return self._voices()
        parts = (self.interval, self.pitch_class)
        state = [(part.data_ptr(), part._version, part.dtype) for part in parts]
        if self._kept is None or self._kept[0] != state:
            self._kept = state, self._voices()
        return self._kept[1]

    def draw_compiled(
        self, compiled: ModuleType, context: Tensor, noise: Tensor, allowed: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """See Autoregressive."""
        heard = self.known(by_key(context, self.width, self.planes, self.n_keys)) + self.key
        may = torch.ones(self.n_keys, dtype=torch.bool) if allowed is None else allowed
        weights = self.number, self.hidden.weight.t(), self.hidden.bias, self.out.weight[0], self.bias
        given = [heard, self._kept_voices(), *weights, noise, may]
        chords, logits = torch.empty_like(noise), torch.empty_like(noise)
        arrays = [np.ascontiguousarray(tensor.detach().numpy()) for tensor in given]
        compiled.draw_intervals(*arrays, *meant(self.objective), chords.numpy(), logits.numpy())
        return chords, logits

    def begin(self, context: Tensor) -> dict[str, Any]:
        """See Autoregressive: what is known of each key, what those below tell it, how many there are."""
        known = self.known(by_key(context.float(), self.width, self.planes, self.n_keys)) + self.key
        count, voices = known.new_zeros(len(context)), self._kept_voices()
        return {"known": known, "voices": voices, "count": count, "chord": known.new_zeros(known.shape[:2])}

    def key_logit(self, k: int, memory: dict[str, Any]) -> Tensor:
        """See Autoregressive."""
        below = memory["chord"][:, :k] @ memory["voices"][:k, k]
        return self._answer(memory["known"][:, k] + below + self._numbers(memory["count"])) + self.bias[k]

    def chosen(self, k: int, x: Tensor, memory: dict[str, Any]) -> dict[str, Any]:
        """See Autoregressive."""
        memory["chord"][:, k] = x
        return {**memory, "count": memory["count"] + x}
