"""Rows of a state: some songs of a batch, in any order, one perhaps several times, or those of several batches.

A state is a tensor [B, ...], a tuple of states, or a dataclass of states; see `contract`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


def pick(state: T, rows: Tensor) -> T:
    """The state of the songs `rows` int64 [N]."""
    if isinstance(state, Tensor):
        return state[rows]
    if isinstance(state, tuple):
        return tuple(pick(part, rows) for part in state)
    parts = {f.name: pick(getattr(state, f.name), rows) for f in dataclasses.fields(state)}
    return dataclasses.replace(state, **parts)


def join(states: Sequence[T]) -> T:
    """One state of all songs, from states of tensors and tuples."""
    if isinstance(states[0], Tensor):
        return torch.cat(list(states))
    return tuple(join(parts) for parts in zip(*states, strict=True))
