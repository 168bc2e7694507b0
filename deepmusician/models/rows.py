"""Rows of a state: some songs of a batch, in any order, one perhaps several times.

A state is a tensor [B, ...], a tuple of states, or a dataclass of states; see `contract`.
"""

from __future__ import annotations

import dataclasses
from typing import TypeVar

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
