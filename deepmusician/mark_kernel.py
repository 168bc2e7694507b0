"""Marks of thousands of files and pieces, compiled: as `marks` makes them in NumPy where numba is not installed."""

from __future__ import annotations

import numba
import numpy as np

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy")


@_compiled
def of_files(words, starts, ends, step, mix, spread):
    """uint64 [F], of the bytes from `starts` to `ends` [F] of what `words` uint64 hold."""
    marks = np.zeros(len(starts), np.uint64)
    for file in range(len(starts)):
        size, total, place = ends[file] - starts[file], np.uint64(0), np.uint64(0)
        first = starts[file] >> 3
        for i in range(first, first + (size >> 3)):
            place += step
            total += _mixed(words[i] + place, mix)
        if size & 7:
            mask = (np.uint64(1) << np.uint64(8 * (size & 7))) - np.uint64(1)
            total += _mixed((words[first + (size >> 3)] & mask) + place + step, mix)
        marks[file] = _ended(total, np.uint64(size), mix, spread)
    return marks


@_compiled
def of_music(bounds, onset, length, pitch, velocity, sound, ticks, step, mix, spread):
    """uint64 [P], of the notes of each piece."""
    marks = np.zeros(len(ticks), np.uint64)
    for piece in range(len(ticks)):
        total, place = np.uint64(0), np.uint64(0)
        for i in range(bounds[piece], bounds[piece + 1]):
            place += step
            time = np.uint64(onset[i]) | np.uint64(length[i]) << np.uint64(32)
            voice = np.uint64(pitch[i]) | np.uint64(velocity[i]) << np.uint64(8) | np.uint64(sound[i]) << np.uint64(16)
            total += _mixed(time + place ^ voice * spread, mix)
        marks[piece] = _ended(total, np.uint64(ticks[piece]), mix, spread)
    return marks


@_compiled
def _mixed(word, mix):
    word = (word ^ word >> np.uint64(32)) * mix
    return word ^ word >> np.uint64(29)


@_compiled
def _ended(total, size, mix, spread):
    total = (total + size * spread) * mix
    return total ^ total >> np.uint64(31)
