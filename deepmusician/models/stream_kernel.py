"""What composing does in every frame, compiled: a layer of gated recurrent units, and drawing keys.

Each key is drawn on its own, or after those below it. A frame of one piece is a matter of reading every weight once, so
weights lie in the order in which they are read. Each piece's numbers are summed in the same order however many pieces
are composed at once, so that none of them hears the others. Knows nothing of models; `streams` says what the arrays
are. B pieces, T frames, K keys, H units.
"""

from __future__ import annotations

import math

import numba
import numpy as np

_F = numba.float32
_MATRIX, _VECTOR, _CUBE = _F[:, ::1], _F[::1], _F[:, :, ::1]
_FAST = {"fastmath": {"contract"}, "error_model": "numpy", "cache": True, "nogil": True}
_PART = {"fastmath": {"contract"}, "error_model": "numpy"}  # goes into what calls it
_HALF, _STEEP = np.float32(0.5), np.float32(7.9)  # beyond it tanh is 1 in float32
_REACH = 80.0  # an offset of log-odds that makes any key certain


@numba.njit(inline="always", **_PART)
def _tanh(x):
    """By a quotient of two polynomials, right to 2e-7, which runs over many numbers at once (Eigen has the same)."""
    x = min(max(x, -_STEEP), _STEEP)
    s = x * x
    p = np.float32(-2.76076847742355e-16)
    p = p * s + np.float32(2.00018790482477e-13)
    p = p * s + np.float32(-8.60467152213735e-11)
    p = p * s + np.float32(5.12229709037114e-08)
    p = p * s + np.float32(1.48572235717979e-05)
    p = p * s + np.float32(6.37261928875436e-04)
    p = p * s + np.float32(4.89352455891786e-03)
    q = np.float32(1.19825839466702e-06)
    q = q * s + np.float32(1.18534705686654e-04)
    q = q * s + np.float32(2.26843463243900e-03)
    q = q * s + np.float32(4.89352518554385e-03)
    return x * p / q


@numba.njit(inline="always", **_PART)
def _add_eight(w, k, x, out):
    """out[j] += w[k : k + 8, j] · x[k : k + 8]."""
    a, b, c, d, e, f, g, h = x[k], x[k + 1], x[k + 2], x[k + 3], x[k + 4], x[k + 5], x[k + 6], x[k + 7]
    for j in range(w.shape[1]):
        low = out[j] + w[k, j] * a + w[k + 1, j] * b + w[k + 2, j] * c + w[k + 3, j] * d
        out[j] = low + w[k + 4, j] * e + w[k + 5, j] * f + w[k + 6, j] * g + w[k + 7, j] * h


@numba.njit(inline="always", **_PART)
def _add_twice_eight(w, k, x, y, out, other):
    """`_add_eight` for two pieces, so that w is loaded once."""
    a, b, c, d, e, f, g, h = x[k], x[k + 1], x[k + 2], x[k + 3], x[k + 4], x[k + 5], x[k + 6], x[k + 7]
    p, q, r, s, t, u, v, z = y[k], y[k + 1], y[k + 2], y[k + 3], y[k + 4], y[k + 5], y[k + 6], y[k + 7]
    for j in range(w.shape[1]):
        low = out[j] + w[k, j] * a + w[k + 1, j] * b + w[k + 2, j] * c + w[k + 3, j] * d
        out[j] = low + w[k + 4, j] * e + w[k + 5, j] * f + w[k + 6, j] * g + w[k + 7, j] * h
        low = other[j] + w[k, j] * p + w[k + 1, j] * q + w[k + 2, j] * r + w[k + 3, j] * s
        other[j] = low + w[k + 4, j] * t + w[k + 5, j] * u + w[k + 6, j] * v + w[k + 7, j] * z


@numba.njit(inline="always", **_PART)
def _add_one(w, k, x, out):
    for j in range(w.shape[1]):
        out[j] += w[k, j] * x[k]


@numba.njit(**_PART)
def _add_products(w, x, sums):
    """sums [B, U] += x [B, I] w [I, U], in the same order for every piece, however many there are."""
    whole, pairs = len(w) // 8 * 8, len(x) // 2 * 2
    for piece in range(0, pairs, 2):
        for k in range(0, whole, 8):
            _add_twice_eight(w, k, x[piece], x[piece + 1], sums[piece], sums[piece + 1])
    if pairs < len(x):
        for k in range(0, whole, 8):
            _add_eight(w, k, x[pairs], sums[pairs])
    for piece in range(len(x)):
        for k in range(whole, len(w)):
            _add_one(w, k, x[piece], sums[piece])


@numba.njit([numba.void(_CUBE, _VECTOR, _MATRIX, _MATRIX)], **_FAST)
def dense(w, bias, x, out):
    """out [B, J] = bias [J] + x [B, I] · the weights; `w` [tiles, I, U] has them for U outputs after U."""
    tiles, units = len(w), w.shape[2]
    sums = np.empty((len(x), units), np.float32)
    for tile in range(tiles):
        first = tile * units
        n = min(units, len(bias) - first)
        for piece in range(len(x)):
            for j in range(units):
                sums[piece, j] = bias[first + j] if j < n else 0
        _add_products(w[tile], x, sums)
        for piece in range(len(x)):
            for j in range(n):
                out[piece, first + j] = sums[piece, j]


@numba.njit([numba.void(_MATRIX, _VECTOR, _MATRIX, _MATRIX)], **_FAST)
def sparse(w, bias, x, out):
    """out [B, J] = bias [J] + x [B, I] w [I, J], where nearly all of x is 0: only the rows of w that count are read."""
    for piece in range(len(x)):
        for j in range(len(bias)):
            out[piece, j] = bias[j]
        for k in range(len(w)):
            if x[piece, k] != 0:
                _add_one(w, k, x[piece], out[piece])


@numba.njit([numba.void(_CUBE, _CUBE, _VECTOR, _MATRIX, _CUBE)], **_FAST)
def gru(told, w, b_n, h, ys):
    """Units h [B, H], which are renewed, over frames: ys [T, B, H].

    `told` [T, B, 3H]: what the inputs say to r, z and n, with all biases but b_n. `w` [tiles, H, 3U]: for U units after
    U what h says to their r, z and n. Every second frame goes through the tiles backwards: those read last are still in
    the near cache.
    """
    frames, pieces, size = ys.shape
    tiles, units = len(w), w.shape[2] // 3
    sums = np.empty((pieces, 3 * units), np.float32)
    for t in range(frames):
        before = h if t == 0 else ys[t - 1]
        for i in range(tiles):
            tile = i if t % 2 == 0 else tiles - 1 - i
            first = tile * units
            n = min(units, size - first)
            for piece in range(pieces):
                for j in range(3 * units if n < units else 0):
                    sums[piece, j] = 0
                for j in range(n):
                    sums[piece, j] = told[t, piece, first + j]
                    sums[piece, units + j] = told[t, piece, size + first + j]
                    sums[piece, 2 * units + j] = b_n[first + j]
            _add_products(w[tile], before, sums)
            for piece in range(pieces):
                for j in range(n):
                    r = _HALF * _tanh(_HALF * sums[piece, j]) + _HALF
                    z = _HALF * _tanh(_HALF * sums[piece, units + j]) + _HALF
                    new = _tanh(told[t, piece, 2 * size + first + j] + r * sums[piece, 2 * units + j])
                    ys[t, piece, first + j] = new + z * (before[piece, first + j] - new)
    for piece in range(pieces):
        for j in range(size):
            h[piece, j] = ys[frames - 1, piece, j]


# Below there are no calls of the C library's exp and log: they run one number at a time, and slow down tenfold beside
# code that works on many. All numbers are float64, right to 1e-8.


@numba.njit(inline="always", **_PART)
def _exp(x):
    """For -300 to 300."""
    y = x * (1 / 1024)
    e = 1 + y * (1 + y / 2 * (1 + y / 3 * (1 + y / 4 * (1 + y / 5 * (1 + y / 6 * (1 + y / 7))))))
    e = e * e * e * e
    e = e * e * e * e
    e = e * e * e * e
    e = e * e * e * e
    return e * e * e * e


@numba.njit(inline="always", **_PART)
def _sigmoid(x):
    return 1 / (1 + _exp(min(max(-x, -_REACH), _REACH)))


@numba.njit(inline="always", **_PART)
def _log1p(x):
    """For 0 to 20: log y = 8 artanh((r - 1) / (r + 1)), r the fourth root of y."""
    root = math.sqrt(math.sqrt(1 + x))
    s = x / ((root + 1) * (root + 1) * (root * root + 1))  # (r - 1) / (r + 1), but nothing is lost where x is small
    q = s * s
    series = 1 / 3 + q * (1 / 5 + q * (1 / 7 + q * (1 / 9 + q * (1 / 11 + q * (1 / 13 + q * (1 / 15 + q / 17))))))
    return 8 * s * (1 + q * series)


@numba.njit(inline="always", **_PART)
def _honest(x, focus, kind, odds):
    """`losses.posterior_logits` of one logit; kind 0 bce, 1 focal, 2 focal+."""
    if kind == 0:
        return x
    x = min(max(x, -30.0), 30.0)
    above, below = max(x, 0.0), max(-x, 0.0)
    rest = _log1p(_exp(-above - below))
    silent = -x + _log1p(focus * (below + rest) * _exp(x))
    if kind == 2:
        return odds + focus * (above + rest) - silent
    return odds + focus * x + _log1p(focus * (above + rest) * _exp(-x)) - silent


@numba.njit(**_PART)
def _keep_nucleus(p, least, kept):
    """As `sharpen.nucleus`: kept [K] is set where an entry is one of the fewest that hold `least` of p [K] together."""
    for k in range(len(p)):
        kept[k] = False
    held = 0.0
    while held < least:
        best = -1
        for k in range(len(p)):
            if not kept[k] and p[k] > 0 and (best < 0 or p[k] > p[best]):
                best = k
        if best < 0:
            return
        kept[best] = True
        held += p[best]


@numba.njit(fastmath={"contract", "reassoc"}, error_model="numpy")
def _offset(against, n, notes):
    """As in `sharpen`: what to add to n log-odds for probabilities that sum to `notes`; by Newton's method.

    `against` are the odds of silence.
    """
    if notes >= n:
        return _REACH
    low, high, at = -_REACH, _REACH, 0.0
    for _ in range(60):  # a handful of rounds will do, or 40 halvings
        factor, total, slope = _exp(-at), 0.0, 0.0
        for k in range(n):
            p = 1 / (1 + against[k] * factor)
            total += p
            slope += p * (1 - p)
        if total < notes:
            low = at
        else:
            high = at
        after = at + (notes - total) / slope if slope > 0 else low - 1
        if not low <= after <= high:
            after = (low + high) / 2
        if abs(after - at) < 1e-9:
            break
        at = after
    return at


@numba.njit(**_PART)
def _sharpen(p, honest, temperature, top_p, fullness, kept, against):
    """As `sharpen.sharpen`, p [K] in its place; `kept` and `against` [K] are to work with."""
    keys, total = len(p), 0.0
    for k in range(keys):
        total += p[k]
        kept[k] = p[k] > 0
    if top_p < 1:
        _keep_nucleus(p, top_p * total, kept)
    n = 0
    for k in range(keys):
        if kept[k]:
            against[n] = _exp(min(max(-honest[k] / temperature, -300.0), 300.0))
            n += 1
    factor, n = _exp(-_offset(against, n, fullness * total)), 0
    for k in range(keys):
        p[k] = 0.0
        if kept[k]:
            p[k] = 1 / (1 + against[n] * factor)
            n += 1


_DRAW = numba.void(_MATRIX, numba.boolean[::1], _MATRIX, numba.int64, *[numba.float64] * 6, _MATRIX, _VECTOR)


@numba.njit([_DRAW], **_FAST)
def draw_keys(logits, allowed, noise, kind, focus, odds, threshold, temperature, top_p, fullness, frames, highest):
    """`frames` [B, K] of 0 and 1 from `logits` [B, K], as `heads.keys` draws them.

    `noise` [B, K] decides; where it is not negative the `threshold`, and then `highest` [B] is the highest output of an
    allowed key. `odds` are the log-odds by which the loss weighs silence.
    """
    pieces, keys = logits.shape
    p, honest, against, kept = np.empty(keys), np.empty(keys), np.empty(keys), np.empty(keys, np.bool_)
    for piece in range(pieces):
        highest[piece] = 0.0
        if threshold >= 0:
            for k in range(keys):
                output = _sigmoid(np.float64(logits[piece, k])) if allowed[k] else 0.0
                highest[piece] = max(highest[piece], output)
                frames[piece, k] = allowed[k] and output >= threshold
            continue
        for k in range(keys):
            honest[k] = _honest(np.float64(logits[piece, k]), focus, kind, odds)
        for k in range(keys):
            p[k] = _sigmoid(honest[k]) if allowed[k] else 0.0
        if not temperature == top_p == fullness == 1:
            _sharpen(p, honest, temperature, top_p, fullness, kept, against)
        for k in range(keys):
            frames[piece, k] = noise[piece, k] < np.float32(p[k])


@numba.njit(fastmath={"contract", "reassoc"}, error_model="numpy")
def _last_layer(sums, told, out):
    """(relu(sums) + told) · out, all [n]."""
    total = np.float32(0)
    for j in range(len(out)):
        total += (max(sums[j], np.float32(0)) + told[j]) * out[j]
    return total


_MEANT = (numba.int64, numba.float64, numba.float64)
_GIVEN = (_CUBE, _CUBE, _MATRIX, _MATRIX, *[_VECTOR] * 3, _MATRIX, numba.boolean[::1])


@numba.njit([numba.void(*_GIVEN, *_MEANT, _MATRIX, _MATRIX)], **_FAST)
def draw_intervals(heard, voices, number, w, b, out, bias, noise, allowed, kind, focus, odds, chords, logits):
    """`chords` [B, K] of 0 and 1 and their `logits`, key after key, as `heads.intervals` draws them.

    `heard` [contexts, K, n], as many chords of each; `voices` [K, K, n], `number` [., n]; `w` [n, n], `b` and `out` [n]
    the layers all keys share. A key sounds if its log-odds lie above its `noise` [B, K].
    """
    pieces, keys = chords.shape
    n, each = len(b), pieces // len(heard)
    told, sums = np.empty((pieces, n), np.float32), np.empty((pieces, n), np.float32)
    below, count = np.empty((pieces, keys), np.int64), np.zeros(pieces, np.int64)
    for k in range(keys):
        for piece in range(pieces):
            for j in range(n):
                told[piece, j] = heard[piece // each, k, j]
            for i in range(count[piece]):
                for j in range(n):
                    told[piece, j] += voices[below[piece, i], k, j]
            so_many = min(count[piece], len(number) - 1)
            for j in range(n):
                told[piece, j] = max(told[piece, j] + number[so_many, j], np.float32(0))
                sums[piece, j] = b[j]
        _add_products(w, told, sums)
        for piece in range(pieces):
            logit = _last_layer(sums[piece], told[piece], out) + bias[k]
            logits[piece, k] = logit
            sounds = allowed[k] and _honest(np.float64(logit), focus, kind, odds) > noise[piece, k]
            chords[piece, k] = sounds
            if sounds:
                below[piece, count[piece]] = k
                count[piece] += 1
