"""The n-grams of thousands of pieces, compiled: what `sketches` counts in NumPy where numba is not installed."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, nogil=True, error_model="numpy")
def grams(bounds, onset, pitch, sound, scale, powers, inverse, lowest, keys, drum, least, share, most, whole):
    """(piece of each n-gram that its sketch takes in, its hash, how many n-grams each piece has), a piece at a time.

    int64 [G], uint64 [G], int64 [P]. `powers` are g, g², g³ …, and `inverse` times g is 1 in 64 bits, so the sum of an
    n-gram is the difference of two sums from the start, divided by a power. Taken in is what `sketches._thresholds`
    lets through of `least`, `share`, `most`.
    """
    size, longest = len(powers), 0
    for piece in range(len(bounds) - 1):
        longest = max(longest, bounds[piece + 1] - bounds[piece])
    owner, hashes = np.empty(2 * len(onset), np.int64), np.empty(2 * len(onset), np.uint64)
    counts, lines = np.zeros(len(bounds) - 1, np.int64), np.empty((2, longest), np.int64)
    up, down = np.empty(longest + 1, np.uint64), np.empty(longest + 1, np.uint64)  # gⁱ, and g to the (size - i)
    up[0], down[0] = 1, powers[size - 1]
    for i in range(longest):
        up[i + 1], down[i + 1] = up[i] * powers[0], down[i] * inverse
    sums = np.zeros(longest + size, np.uint64)  # of the intervals up to here, each times its power; `size` before any
    count = 0
    for piece in range(len(bounds) - 1):
        moments, last, begin = 0, -1.0, count
        for i in range(bounds[piece], bounds[piece + 1]):
            key = np.int64(pitch[i])
            if sound[i] >= drum or key < lowest or key >= lowest + keys:
                continue
            moment = np.rint(onset[i] * scale[piece])
            if moments and moment == last:
                lines[0, moments - 1] = max(lines[0, moments - 1], key)
                lines[1, moments - 1] = min(lines[1, moments - 1], key)
            else:
                lines[0, moments] = lines[1, moments] = key
                moments, last = moments + 1, moment
        for kind in range(2):
            total, moved = np.uint64(0), -size
            for i in range(moments - 1):
                step = lines[kind, i + 1] - lines[kind, i]
                total += np.uint64(step) * up[i]
                sums[size + i] = total
                if step:
                    moved = i
                if i >= size - 1 and i - moved < size:
                    mixed = (total - sums[i]) * down[i] * np.uint64(2) + np.uint64(kind)
                    mixed ^= mixed >> np.uint64(31)
                    hashes[count] = mixed * np.uint64(0xBF58476D1CE4E5B9) + np.uint64(size)
                    count += 1
        counts[piece] = count - begin
        many = max(count - begin, 1)
        limit = np.uint64(min(min(max(share, least / many), most / many) * whole, whole - 4096))
        end, count = count, begin
        for i in range(begin, end):
            if hashes[i] <= limit:
                owner[count], hashes[count] = piece, hashes[i]
                count += 1
    return owner[:count].copy(), hashes[:count].copy(), counts
