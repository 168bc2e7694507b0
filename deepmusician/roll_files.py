"""Roll files: .npz archives of polyphonic rolls, as the field keeps the sets that models are compared on.

A split is two arrays: `SPLIT` uint8 [frames, 11] packed, `SPLIT_lengths` int [sequences]. The archive is not trusted:
what an array's header says is looked at before anything is taken in, what inflates is counted, and no more memory is
taken than has come. Arrays of objects, which would be pickles, have no type that is read.

Source: Boulanger-Lewandowski et al., ICML 2012 (the sets).
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np

from deepmusician.archives import Archive
from deepmusician.arrays import read_header
from deepmusician.errors import LibraryError
from deepmusician.limits import Limits
from deepmusician.roll import KEYS
from deepmusician.rolls import Rolls

WITHIN = Limits(file_mb=500, zip_mb=1_000, zip_files=100)
WIDTH = KEYS // 8  # bytes of a packed frame
_NPY, _LENGTHS = ".npy", "_lengths"

Form = Callable[[np.dtype, tuple[int, ...]], bool]


def read_npz(path: str | Path, split: str) -> Rolls:
    """One split of a roll file. Raises LibraryError saying what is wrong with the file."""
    try:
        archive = Archive(Path(path), WITHIN)
        members = {info.filename.removesuffix(_NPY): info for info in archive.members}
        splits = [name for name in members if name + _LENGTHS in members]
        if split in splits:
            return _read_split(archive, members[split], members[split + _LENGTHS])
    except LibraryError as error:
        raise LibraryError(f"{path} cannot be read as an .npz file of rolls: {error}; give another") from None
    raise LibraryError(f"{path} has no split called {split}; it has {', '.join(splits) or 'none'}")


def _read_split(archive: Archive, rolls: zipfile.ZipInfo, ends: zipfile.ZipInfo) -> Rolls:
    packed = _read_array(
        archive, rolls, f"uint8 [frames, {WIDTH}], 88 keys packed",
        lambda dtype, shape: dtype == np.uint8 and len(shape) == 2 and shape[1] == WIDTH,
    )  # fmt: skip
    lengths = _read_array(
        archive, ends, "whole numbers, one a sequence",
        lambda dtype, shape: dtype.kind in "iu" and len(shape) == 1 and shape[0] > 0,
    )  # fmt: skip
    if lengths.min() < 1 or lengths.max() > len(packed) or lengths.sum() != len(packed):  # a sum may wrap around
        raise LibraryError(
            f"{ends.filename} must be above 0 and sum to its {len(packed)} frames, "
            f"got {lengths.min()} at least and a sum of {lengths.astype(float).sum():g}"
        )
    return Rolls(packed, lengths.astype(np.int64))


def _read_array(archive: Archive, info: zipfile.ZipInfo, wanted: str, fits: Form) -> np.ndarray:
    """The array in a member, if it is what is `wanted`, which its header tells before the rest is read."""
    content = bytearray()
    begin = size = 0
    for chunk in archive.chunks(info):
        content += chunk
        if not begin:
            dtype, shape, fortran, begin = _header(content, info.filename)
            if not fits(dtype, shape):
                raise LibraryError(f"{info.filename} must be {wanted}, got {dtype} {list(shape)}")
            size = math.prod(shape) * dtype.itemsize
        if len(content) > begin + size:
            break
    if not begin or len(content) != begin + size:
        raise LibraryError(f"{info.filename} is not of the length its header says")
    return np.frombuffer(content, dtype, math.prod(shape), begin).reshape(shape, order="F" if fortran else "C")


def _header(start: bytes, name: str) -> tuple[np.dtype, tuple[int, ...], bool, int]:
    """Type, shape, whether in Fortran's order, and where the data begins; by the first bytes of an array's file."""
    stream = BytesIO(start)
    try:
        return *read_header(stream), stream.tell()
    except ValueError as error:
        raise LibraryError(f"{name}: {error}") from None
