"""The n-grams of thousands of pieces, compiled: what `sketches` counts in NumPy where numba is not installed."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, nogil=True, boundscheck=True, error_model="numpy")
def grams(bounds, onset, pitch, sound, scale, powers, lowest, keys, drum):
    """(piece of each n-gram, its hash) of the upper line, then of the lower one: int64 [G], uint64 [G]."""
    size = len(powers)
    owner, hashes = np.empty(2 * len(onset), np.int64), np.empty(2 * len(onset), np.uint64)
    lines = np.empty((2, len(onset)), np.int64)
    count = 0
    for kind in range(2):
        for piece in range(len(bounds) - 1):
            moments, last = 0, -1.0
            for i in range(bounds[piece], bounds[piece + 1]):
                key = np.int64(pitch[i])
                if sound[i] >= drum or key < lowest or key >= lowest + keys:
                    continue
                moment = np.rint(onset[i] * scale[piece])
                if moments == 0 or moment != last:
                    lines[kind, moments] = key
                    moments, last = moments + 1, moment
                elif kind == 0:
                    lines[kind, moments - 1] = max(lines[kind, moments - 1], key)
                else:
                    lines[kind, moments - 1] = min(lines[kind, moments - 1], key)
            for i in range(moments - size):
                total, moving = np.uint64(0), False
                for j in range(size):
                    step = lines[kind, i + j + 1] - lines[kind, i + j]
                    moving |= step != 0
                    total += np.uint64(step) * powers[j]
                if moving:
                    total = total * np.uint64(2) + np.uint64(kind)
                    total ^= total >> np.uint64(31)
                    owner[count] = piece
                    hashes[count] = total * np.uint64(0xBF58476D1CE4E5B9) + np.uint64(size)
                    count += 1
    return owner[:count].copy(), hashes[:count].copy()
