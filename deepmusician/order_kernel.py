"""Notes in order, compiled: tracks that are in order each, or nearly, are merged instead of sorted anew."""

from __future__ import annotations

import numba

NEAR = 8  # places that a note is moved forward by itself, as those of a chord are


@numba.njit(cache=True, nogil=True, error_model="numpy")
def ordered(rows, other, edges, size):
    """The first `size` whole numbers in order, in one of both arrays: runs that are in order are merged, two by two.

    `edges` has room for size + 1. A number a few places out of order, as in a chord, is put where it belongs first.
    """
    runs = 0
    edges[0] = 0
    for i in range(1, size):
        word, j = rows[i], i
        while j > edges[runs] and j > i - NEAR and rows[j - 1] > word:
            j -= 1
        if j > edges[runs] and rows[j - 1] > word:  # too far from its place: another run begins
            runs += 1
            edges[runs] = i
            continue
        for place in range(i, j, -1):
            rows[place] = rows[place - 1]
        rows[j] = word
    runs += 1
    edges[runs] = size
    while runs > 1:
        merged = 0
        for run in range(0, runs, 2):
            one, middle = edges[run], edges[run + 1]
            two, end = middle, edges[min(run + 2, runs)]
            place = one
            edges[merged] = one
            while one < middle and two < end:
                a, b = rows[one], rows[two]
                first = a <= b
                other[place] = a if first else b
                one += first
                two += not first
                place += 1
            while one < middle:
                other[place] = rows[one]
                one, place = one + 1, place + 1
            while two < end:
                other[place] = rows[two]
                two, place = two + 1, place + 1
            merged += 1
        edges[merged] = size
        rows, other, runs = other, rows, merged
    return rows
