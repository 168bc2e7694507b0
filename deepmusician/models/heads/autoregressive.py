"""Chords drawn key after key, from low to high, each key knowing those below it: the likelihood of a whole chord is
exact, and what is drawn fits together.

A subclass says how a key depends on those below it, twice: `conditionals` for all keys of a known chord at once, and
`begin`, `key_logit` and `chosen` for one key after the other; both give the same logits. How a chord is drawn from
them stands here. Sources: Larochelle & Murray, The Neural Autoregressive Distribution Estimator, AISTATS 2011;
Boulanger-Lewandowski et al., ICML 2012 (music).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from deepmusician.losses import posterior_logits
from deepmusician.models.contract import Sampling
from deepmusician.models.heads.base import Part
from deepmusician.models.streams import loops

Choice = Callable[[Any, Any, Tensor], Tensor]  # rows, keys and their logits -> which of them sound
CANDIDATES = 16  # chords of which one is picked where temperature or top_p ask for safer or bolder ones
MARGINAL_CHORDS = 8  # chords over which the outputs for each key are averaged


class Autoregressive(Part):
    """A part whose keys are decided from low to high; see the module."""

    leap_rows = 1  # up to how many chords at once drawing by leaps is the quicker way, on a CPU
    compiled_rows = 0  # up to how many the compiled loops are quicker still

    def conditionals(self, context: Tensor, sounding: Tensor) -> Tensor:
        """Logits [..., K] of each key, given `context` [..., size] and the keys below it in `sounding` [..., K]."""
        raise NotImplementedError

    def leaps(self, context: Tensor) -> Callable[[Tensor, int, Tensor | None], Tensor]:
        """What answers, of N silent chords after `context` [N, size], while keys are added to them from low to high:

        (rows [n], first, new [n]) -> logits [n, K - first] of the keys from `first` on, in the chords `rows` of the N,
        to which the keys `new` were added just now, or none. A subclass may keep what it worked out before.
        """
        chords = torch.zeros(len(context), self.n_keys, dtype=context.dtype, device=context.device)

        def answer(rows: Tensor, first: int, new: Tensor | None) -> Tensor:
            if new is not None:
                chords[rows, new] = 1
            return self.conditionals(context[rows], chords[rows])[:, first:]

        return answer

    def begin(self, context: Tensor) -> Any:
        """What drawing N chords from `context` [N, size] has to keep in mind, before the first key."""
        raise NotImplementedError

    def key_logit(self, k: int, memory: Any) -> Tensor:
        """Logits [N] of key `k`, when all keys below it are chosen; asked once for each key, in order."""
        raise NotImplementedError

    def chosen(self, k: int, x: Tensor, memory: Any) -> Any:
        """The memory after key `k` was chosen to sound, 1, or not, 0: `x` [N]. May write into the old one."""
        raise NotImplementedError

    def draw_compiled(
        self, compiled: ModuleType, context: Tensor, noise: Tensor, allowed: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Chords and logits, a whole number for each of `context`: an allowed key sounds above its `noise` [N, K].

        Asked of parts with `compiled_rows`.
        """
        raise NotImplementedError

    def logits(self, context: Tensor, target: Tensor) -> Tensor:
        """See Part."""
        return self.conditionals(context, target.to(context.dtype)).float()

    @torch.no_grad()
    def probability(self, context: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """See Part: each key's output given the keys below it, averaged over a few chords drawn in parallel."""
        rows = context.reshape(-1, context.shape[-1])
        _, logits = self._chords(rows, Sampling(), generator, MARGINAL_CHORDS)
        mean = torch.sigmoid(logits).view(-1, MARGINAL_CHORDS, self.n_keys).mean(1)
        return mean.view(*context.shape[:-1], self.n_keys)

    @torch.no_grad()
    def sample(self, context: Tensor, how: Sampling, generator: torch.Generator | None = None) -> Tensor:
        """See Part. `fullness` multiplies every key's odds given the keys below it.

        Sharper keys would not make likelier chords, as an early key decides before it knows what follows: a
        `temperature` or `top_p` other than 1 draws some chords as they are, leaves the likeliest share `top_p` of
        them, and picks one with weight p^(1/temperature - 1).
        """
        rows = context.reshape(-1, context.shape[-1])
        if how.sampler == "threshold":
            least, may = _log_odds(how.threshold), _only(how)
            chords, _ = self._draw(rows, lambda _, keys, logits: may(keys, logits >= least))
        elif how.temperature == how.top_p == 1:
            chords, _ = self._chords(rows, how, generator)
        else:
            chords = self._pick(rows, how, generator)
        return chords.view(*context.shape[:-1], self.n_keys)

    def _pick(self, context: Tensor, how: Sampling, generator: torch.Generator | None) -> Tensor:
        """One of CANDIDATES chords for each context [N, size]: [N, K]."""
        chords, logits = self._chords(context, how, generator, CANDIDATES)
        honest = posterior_logits(logits, self.objective) + math.log(how.fullness)
        log_p = -binary_cross_entropy_with_logits(honest, chords, reduction="none").sum(-1)
        ranked, order = log_p.view(-1, CANDIDATES).sort(-1, descending=True)
        kept = max(1, math.ceil(how.top_p * CANDIDATES - 1e-6))
        weights = torch.softmax((1 / how.temperature - 1) * ranked[:, :kept], -1)
        pick = order.gather(-1, torch.multinomial(weights, 1, generator=generator))
        rows = torch.arange(len(context), device=context.device)
        return chords.view(-1, CANDIDATES, self.n_keys)[rows, pick[:, 0]]

    def _chords(
        self, context: Tensor, how: Sampling, generator: torch.Generator | None, each: int = 1
    ) -> tuple[Tensor, Tensor]:
        """Draw chords by their honest probabilities, `each` of every context [N, size].

        [N · each, K], with the network's logits on the way.
        """
        noise = torch.rand((len(context) * each, self.n_keys), generator=generator, device=context.device)
        noise, may = torch.logit(noise) - math.log(how.fullness), _only(how)
        compiled = loops() if self._may_compile(context, each) else None
        if compiled is not None:
            return self.draw_compiled(compiled, context, noise, how.allowed)
        context = context.repeat_interleave(each, 0)

        def choose(rows: Any, keys: Any, logits: Tensor) -> Tensor:
            return may(keys, posterior_logits(logits, self.objective) > noise[rows][:, keys])

        return self._draw(context, choose)

    def _may_compile(self, context: Tensor, each: int) -> bool:
        """Whether compiled loops draw these chords, and sooner: few at once on a CPU, and nothing is learnt."""
        few = len(context) * each <= self.compiled_rows and context.device.type == "cpu"
        return few and not self.training and context.dtype == torch.float32

    def _draw(self, context: Tensor, choose: Choice) -> tuple[Tensor, Tensor]:
        """Decide all keys by `choose`, which is told rows, keys and their logits: chords and logits, [N, K] both."""
        few = len(context) <= self.leap_rows and not self.training  # dropout would change from leap to leap
        return self._leap(context, choose) if few else self._walk(context, choose)

    def _walk(self, context: Tensor, choose: Choice) -> tuple[Tensor, Tensor]:
        """Key after key."""
        memory, chord, logits = self.begin(context), [], []
        for k in range(self.n_keys):
            logit = self.key_logit(k, memory).float()
            x = choose(slice(None), k, logit).float()
            memory = self.chosen(k, x, memory)
            chord.append(x)
            logits.append(logit)
        return torch.stack(chord, -1), torch.stack(logits, -1)

    def _leap(self, context: Tensor, choose: Choice) -> tuple[Tensor, Tensor]:
        """From one sounding key to the next: the same chords in as many passes as there are notes, and one.

        With nothing sounding above the keys decided so far, the logits of all keys are right up to the next that
        sounds: those between were known to be silent. What is decided in all chords, and chords that are whole, are
        not asked about again.
        """
        keys, answer = torch.arange(self.n_keys, device=context.device), self.leaps(context)
        chord = torch.zeros(len(context), self.n_keys, device=context.device)
        rows, decided = torch.arange(len(context), device=context.device), keys.new_zeros(len(context))
        first, new = 0, None
        logits = torch.empty_like(chord)
        while first < self.n_keys:
            some = answer(rows, first, new).float()
            logits[rows, first:] = some
            sounds = choose(rows, keys[first:], some) & (keys[first:] >= decided[:, None])
            goes_on = sounds.any(-1)
            if not goes_on.any():
                break
            rows, new = rows[goes_on], first + sounds[goes_on].byte().argmax(-1)
            chord[rows, new] = 1
            decided = new + 1
            first = int(decided.min())
        return chord, logits


def _only(how: Sampling) -> Callable[[Any, Tensor], Tensor]:
    """A choice [...] among `keys`, one or all, without those that may not sound."""
    allowed = how.allowed
    return lambda keys, sounds: sounds if allowed is None else sounds & allowed[keys]


def _log_odds(p: float) -> float:
    return math.log(p / (1 - p)) if 0 < p < 1 else math.copysign(math.inf, p - 0.5)
