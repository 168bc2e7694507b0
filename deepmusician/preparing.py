"""Compiled code made ready, and what is heard meanwhile: once after installing it is compiled, which takes seconds.

What was compiled is kept beside its modules, or where that folder cannot be written in the person's cache. Knows
nothing of what is made ready, nor of who hears of it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

T = TypeVar("T")
PATIENCE = 1.0  # seconds without a word: what was compiled before is loaded by then
EVERY = 0.5


def prepared(make: Callable[[], T], tell: Callable[[float], None]) -> T:
    """What `make` gives, made in a thread of its own; `tell` hears again and again for how many seconds it has lasted.

    Raises what `make` raises.
    """
    answer: Future[T] = Future()
    began, patience = time.monotonic(), PATIENCE
    threading.Thread(target=_answer, args=(make, answer), daemon=True).start()
    while not wait([answer], patience).done:
        tell(time.monotonic() - began)
        patience = EVERY
    return answer.result()


def _answer(make: Callable[[], T], answer: Future[T]) -> None:
    try:
        answer.set_result(make())
    except BaseException as error:  # who waits raises it
        answer.set_exception(error)


def said(what: str, seconds: float) -> str:
    """What is being made ready, and since when, in words."""
    return f"preparing {what}, once after installing: {seconds:.0f} s"
