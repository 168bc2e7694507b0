"""The n-grams of thousands of pieces, compiled: what `sketches` counts in NumPy where numba is not installed."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, nogil=True, boundscheck=True, error_model="numpy")
def grams(bounds, onset, pitch, sound, scale, powers, inverse, lowest, keys, drum, least, share, most, whole):
    """(piece of each n-gram that its sketch takes in, its hash, how many n-grams each piece has), a piece at a time.

    int64 [G], uint64 [G], int64 [P]. `powers` are g, g², g³ …, and `inverse` times g is 1 in 64 bits, so the sum of an
    n-gram comes of the one before. Taken in is what `sketches._thresholds` lets through of `least`, `share`, `most`.
    """
    size, longest = len(powers), 0
    for piece in range(len(bounds) - 1):
        longest = max(longest, bounds[piece + 1] - bounds[piece])
    owner, hashes = np.empty(2 * len(onset), np.int64), np.empty(2 * len(onset), np.uint64)
    counts, lines = np.zeros(len(bounds) - 1, np.int64), np.empty((2, longest), np.int64)
    count = 0
    for piece in range(len(bounds) - 1):
        begin = count
        for kind in range(2):
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
            total, moving = np.uint64(0), 0
            for i in range(moments - 1):
                step = lines[kind, i + 1] - lines[kind, i]
                if i >= size:
                    gone = lines[kind, i + 1 - size] - lines[kind, i - size]
                    total, moving = (total - np.uint64(gone) * powers[0]) * inverse, moving - (gone != 0)
                total, moving = total + np.uint64(step) * powers[min(i, size - 1)], moving + (step != 0)
                if i >= size - 1 and moving:
                    mixed = total * np.uint64(2) + np.uint64(kind)
                    mixed ^= mixed >> np.uint64(31)
                    owner[count] = piece
                    hashes[count] = mixed * np.uint64(0xBF58476D1CE4E5B9) + np.uint64(size)
                    count += 1
        counts[piece] = count - begin
        many = max(count - begin, 1)
        limit = np.uint64(min(min(max(share, least / many), most / many) * whole, whole - 4096))
        end, count = count, begin
        for i in range(begin, end):
            if hashes[i] <= limit:
                hashes[count] = hashes[i]
                count += 1
    return owner[:count].copy(), hashes[:count].copy(), counts
