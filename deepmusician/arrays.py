"""What the header of a file of NumPy's says, read before memory is given to it. Arrays of objects are never loaded.

Source: NumPy, NEP 1 (the format).
"""

from __future__ import annotations

import tokenize
from typing import BinaryIO

import numpy as np

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
# what NumPy raises over a header, which it reads as Python's literals
_ERRORS = (ValueError, TypeError, SyntaxError, MemoryError, RecursionError, tokenize.TokenError, KeyError)


def read_header(stream: BinaryIO) -> tuple[np.dtype, tuple[int, ...], bool]:
    """Type, shape, and whether in Fortran's order; the stream stands at the data then. Raises ValueError."""
    try:
        shape, fortran, dtype = _HEADERS[np.lib.format.read_magic(stream)](stream)
    except _ERRORS as error:
        raise ValueError(f"it is no array of NumPy's ({' '.join(str(error).split())[:200]})") from None
    if min(shape, default=0) < 0:
        raise ValueError(f"it cannot have the shape {list(shape)}")
    return dtype, shape, fortran
