"""What a survey counts of thousands of pieces, compiled: as `survey` does it in NumPy where numba is not installed."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, nogil=True, error_model="numpy")
def count(bounds, onset, length, pitch, sound, track, part_at, lowest, keys, drum):
    """int64 [9, P] and [P, 12]: the fields of `survey.Counted`, `classes` last. Parts are below those that `part_at`
    gives a piece, pitches below 128."""
    pieces, most = len(bounds) - 1, 1
    found, classes = np.zeros((9, pieces), np.int64), np.zeros((pieces, 12), np.int64)
    for piece in range(pieces):
        most = max(most, part_at[piece + 1] - part_at[piece])
    used, sounds = np.full(most, -1, np.int64), np.zeros(128, np.int64)
    for piece in range(pieces):
        kept = drums = reached = sounding = whole = 0
        sounds[:] = 0
        for i in range(bounds[piece], bounds[piece + 1]):
            begin, lasts, key = np.int64(onset[i]), np.int64(length[i]), np.int64(pitch[i])
            end = begin + lasts
            whole = max(whole, end)
            if sound[i] >= drum:
                drums += 1
                continue
            sounds[key & 127] += lasts
            if key < lowest or key >= lowest + keys:
                continue
            sounding += max(end - max(begin, reached), 0)
            reached = max(reached, end)
            kept += 1
            used[min(np.int64(track[i]), most - 1)] = piece
        tracks = total = 0
        for part in range(part_at[piece + 1] - part_at[piece]):
            tracks += used[part] == piece
        low, high = 127, 0
        for key in range(128):
            classes[piece, key % 12] += sounds[key]
            if sounds[key] and key >= lowest and key < lowest + keys:
                low, high, total = min(low, key), key, total + sounds[key]
        found[0, piece], found[1, piece], found[2, piece] = kept, drums, tracks
        found[3, piece], found[4, piece] = whole, reached
        found[5, piece], found[6, piece] = total, sounding
        if kept:
            found[7, piece], found[8, piece] = low, high
    return found, classes
