"""Compiled kernels of the samplers, fed by a counter-based generator.

Word ``c`` of a run is the SplitMix64 finalizer of ``key + c * GAMMA`` (Steele, Lea, Flood 2014), and ``c`` is a
function of prompt, time and chain alone: neither threads nor the order of work change a draw. What the kernels
must return is written out in ``tasks/literal.py``. They release the GIL and handle the prompts ``lo .. hi`` of a
batch whose prompt 0 is prompt ``first`` of the run. All stand in one file, because numba's cache of a kernel does
not notice a change in another one. Imported lazily: numba takes half a second.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

__all__ = ["plain_chains", "plain_grams", "sliced_chains", "sliced_grams"]


def _compiled(function: Callable[..., Any]) -> Any:
    return numba.njit(cache=True, nogil=True, error_model="numpy")(function)


def _inlined(function: Callable[..., Any]) -> Any:
    return numba.njit(nogil=True, error_model="numpy", inline="always")(function)


_U = np.uint64
_GAMMA, _MIX1, _MIX2 = _U(0x9E3779B97F4A7C15), _U(0xBF58476D1CE4E5B9), _U(0x94D049BB133111EB)
_ZERO, _ONE, _11, _27, _30, _31, _53 = _U(0), _U(1), _U(11), _U(27), _U(30), _U(31), _U(53)
_SIGN = np.int64(63)
_BLOCK = 128  # prompts worked on side by side, in vector registers
_SIDE = 32  # the same for the Gram matrices of plain chains
_SIDE_NUMBERS = 1 << 17  # their columns stay in the cache
_PLANES = 9  # bit planes before lanes are looked at one by one: 2^-9 of them are then undecided
_SCAN = 128  # thresholds in a row up to which a scan beats bisection


@_inlined
def _word(x):
    x = (x ^ (x >> _30)) * _MIX1
    x = (x ^ (x >> _27)) * _MIX2
    return x ^ (x >> _31)


@_inlined
def _popcount(x):
    """Count the ones; LLVM recognizes the idiom and emits the machine's instruction, vectors included."""
    x = x - ((x >> _ONE) & _U(0x5555555555555555))
    x = (x & _U(0x3333333333333333)) + ((x >> _U(2)) & _U(0x3333333333333333))
    return (((x + (x >> _U(4))) & _U(0x0F0F0F0F0F0F0F0F)) * _U(0x0101010101010101)) >> _U(56)


@_inlined
def _threshold(p):
    """Return ``ceil(2^53 p)``: a 53-bit number ``U`` is below it exactly when ``2^-53 U < p``."""
    return _U(math.ceil(p * 9007199254740992.0))


@_inlined
def _spread(threshold, plane):
    """Return all ones if binary digit ``plane`` after the point is one, else zero."""
    return _U(np.int64(threshold << (_11 + plane)) >> _SIGN)


@_inlined
def _bernoulli(x, stride, lanes, active, thresholds, masks, rows, size, out, open_, digit, word):
    """Set a lane of ``out[b]`` to one iff its uniform is below ``thresholds[r, b]``, ``masks[r, b]`` having the lane.

    Binary digits of uniform and threshold are compared from the most significant one on, all lanes at a time, until
    every lane has met a difference. A random word holds ``64 // lanes`` digits of each lane.
    """
    planes = 64 // lanes
    for b in range(size):
        out[b] = _ZERO
    for r in range(rows):  # a threshold of one is above every uniform
        limit, mask = thresholds[r], masks[r]
        for b in range(size):
            out[b] |= mask[b] & (_ZERO - (limit[b] >> _53))
    for b in range(size):
        open_[b] = active & ~out[b]
    for k in range(_PLANES):
        plane, shift = _U(k), _U(k % planes * lanes)
        limit, mask = thresholds[0], masks[0]
        for b in range(size):
            digit[b] = mask[b] & _spread(limit[b], plane)
        for r in range(1, rows):
            limit, mask = thresholds[r], masks[r]
            for b in range(size):
                digit[b] |= mask[b] & _spread(limit[b], plane)
        if k % planes == 0:
            start = x + _U(k // planes) * _GAMMA
            for b in range(size):
                word[b] = _word(start + _U(b) * stride)
        for b in range(size):
            drawn = word[b] >> shift
            out[b] |= open_[b] & digit[b] & ~drawn
            open_[b] &= ~(digit[b] ^ drawn)
    for b in range(size):
        k = _PLANES
        while open_[b] != _ZERO and k < 53:
            drawn = _word(x + _U(b) * stride + _U(k // planes) * _GAMMA) >> _U(k % planes * lanes)
            wanted = _ZERO
            for r in range(rows):
                wanted |= masks[r, b] & _spread(thresholds[r, b], _U(k))
            out[b] |= open_[b] & wanted & ~drawn
            open_[b] &= ~(wanted ^ drawn)
            k += 1


@_inlined
def _tables(kernels, tree, lo, size, rows, thresholds, starts):
    for r in range(rows):
        for b in range(size):
            zero, one = kernels[lo + b, r, 0], kernels[lo + b, r, 1]
            thresholds[r, b] = _threshold(one / (zero + one))
    shared = tree.shape[0] == 1
    for r in range(rows - 1):
        for b in range(size):
            starts[r, b] = _threshold(tree[0 if shared else lo + b, r])


@_inlined
def _masks(words, t, w, depth, size, masks):
    """Set ``masks[r, b]`` to the lanes whose last ``depth`` states spell ``r``, the latest least significant."""
    for r in range(1 << depth):
        mask = masks[r]
        for b in range(size):
            mask[b] = ~_ZERO
        for lag in range(depth):
            state, flip = words[t - 1 - lag, w], ~_ZERO if (r >> lag) & 1 == 0 else _ZERO
            for b in range(size):
                mask[b] &= state[b] ^ flip


@_inlined
def _slices(key, first, lo, size, n, kernels, tree, query, words, scratch):
    """Draw ``size`` prompts into ``words [L, W, B]``: chain ``c`` is bit ``c % 64`` of word ``c // 64``."""
    length, width = words.shape[0], words.shape[1]
    rows = kernels.shape[1]
    thresholds, starts, masks = scratch[:rows], scratch[rows : 2 * rows], scratch[2 * rows : 3 * rows]
    open_, digit, word = scratch[3 * rows], scratch[3 * rows + 1], scratch[3 * rows + 2]
    _tables(kernels, tree, lo, size, rows, thresholds, starts)
    lanes = n + 1 if width == 1 else 64
    stride = _U(length * width * 64) * _GAMMA
    depth = 0  # states that the next one depends on
    for t in range(length):
        known = 1 << depth
        table = thresholds if known == rows else starts[known - 1 :]
        for w in range(width):
            left = n + 1 - 64 * w
            active = ~_ZERO if left >= 64 else (_ONE << _U(left)) - _ONE
            x = key + _U((((first + lo) * length + t) * width + w) * 64) * _GAMMA
            _masks(words, t, w, depth, size, masks)
            _bernoulli(x, stride, lanes, active, table, masks, known, size, words[t, w], open_, digit, word)
        if t == 0 and query.shape[0]:
            drawn, place = words[0, n // 64], _U(n % 64)
            for b in range(size):
                drawn[b] = (drawn[b] & ~(_ONE << place)) | (_U(query[lo + b]) << place)
        if known < rows:
            depth += 1


@_inlined
def _scratch(n, length, rows):
    return np.empty((length, n // 64 + 1, _BLOCK), np.uint64), np.empty((3 * rows + 3, _BLOCK), np.uint64)


@_compiled
def sliced_chains(key, first, lo, hi, kernels, tree, query, states):
    """Two states: write ``states [P, n + 1, L]``."""
    n, length = states.shape[1] - 1, states.shape[2]
    words, scratch = _scratch(n, length, kernels.shape[1])
    path = np.empty(length, np.uint64)
    for start in range(lo, hi, _BLOCK):
        size = min(_BLOCK, hi - start)
        _slices(key, first, start, size, n, kernels, tree, query, words, scratch)
        for b in range(size):
            out = states[first + start + b]
            for w in range(words.shape[1]):
                for t in range(length):
                    path[t] = words[t, w, b]
                for c in range(64 * w, min(64 * w + 64, n + 1)):
                    chain, lane = out[c], _U(c - 64 * w)
                    for t in range(length):
                        chain[t] = (path[t] >> lane) & _ONE


@_compiled
def sliced_grams(key, first, lo, hi, n, length, kernels, tree, query, slots, low, high, gram, asked):
    """Two states: write ``gram [D, D, P]`` and the query's column ``asked [D, P]`` from counts of ones.

    Column ``i`` shows time ``slots[i]``, states of value ``low[i]`` and ``high[i]``; at time ``length`` all are one.
    """
    words, scratch = _scratch(n, length + 1, kernels.shape[1])
    for w in range(words.shape[1]):
        for b in range(_BLOCK):
            words[length, w, b] = ~_ZERO
    size_d = len(slots)
    ones, both = np.empty((size_d, _BLOCK)), np.empty(_BLOCK)
    for start in range(lo, hi, _BLOCK):
        size = min(_BLOCK, hi - start)
        _slices(key, first, start, size, n, kernels, tree, query, words[:length], scratch)
        at = first + start
        for i in range(size_d):
            _agreements(words[slots[i]], words[slots[i]], n, size, ones[i])
            row, state = asked[i, at : at + size], words[slots[i], n // 64]
            for b in range(size):
                row[b] = high[i] if (state[b] >> _U(n % 64)) & _ONE else low[i]
        for i in range(size_d):
            for j in range(i, size_d):
                _agreements(words[slots[i]], words[slots[j]], n, size, both)
                upper, lower = gram[i, j, at : at + size], gram[j, i, at : at + size]
                _weigh(both, ones[i], ones[j], low[i], high[i], low[j], high[j], n, size, upper)
                for b in range(size):
                    lower[b] = upper[b]


@_inlined
def _weigh(both, mine, theirs, low, high, their_low, their_high, n, size, out):
    """Set ``out[b]`` to the mean product of two columns of two values each, from counts of ones."""
    if low == 0.0 and their_low == 0.0:
        for b in range(size):
            out[b] = both[b] * (high * their_high) / n
        return
    for b in range(size):
        mixed = (mine[b] - both[b]) * (high * their_low) + (theirs[b] - both[b]) * (low * their_high)
        neither = (n - mine[b] - theirs[b] + both[b]) * (low * their_low)
        out[b] = (both[b] * (high * their_high) + mixed + neither) / n


@_inlined
def _agreements(left, right, n, size, out):
    """Set ``out[b]`` to the number of context chains with ones in both words ``[W, B]``."""
    for b in range(size):
        out[b] = 0.0
    for w in range(n // 64 + 1):
        context = ~_ZERO if n >= 64 * w + 64 else (_ONE << _U(n - 64 * w)) - _ONE
        mine, theirs = left[w], right[w]
        for b in range(size):
            out[b] += _popcount(mine[b] & theirs[b] & context)


@_inlined
def _cumulate(weights, limits, at):
    """Write the thresholds of all but the last of the cumulative ``weights``, divided by their sum, from ``at`` on.

    A state of weight zero has its predecessor's threshold, so no uniform falls on it, whatever the rounding.
    """
    total = 0.0
    for s in range(len(weights)):
        total += weights[s]
    partial = 0.0
    for s in range(len(weights) - 1):
        partial += weights[s]
        limits[at + s] = _threshold(partial / total)


@_inlined
def _invert(uniform, limits, at, width):
    """Return how many of the ``width`` ascending ``limits`` from ``at`` on are at most ``uniform``."""
    state = _ZERO
    if width <= _SCAN:
        for s in range(width):
            state += _U(uniform >= limits[at + _U(s)])
        return state
    high = _U(width)
    while state < high:
        middle = (state + high) >> _ONE
        if uniform >= limits[at + middle]:
            state = middle + _ONE
        else:
            high = middle
    return state


@_inlined
def _walk(key, prompt, order, kernel, start, limits, row, uniform, states):
    """Draw the chains ``states [C, L]`` of a prompt: a uniform a transition, one for the first ``order`` states."""
    chains, length = states.shape
    rows, width = kernel.shape[0], kernel.shape[1] - 1
    symbols, all_rows = _U(kernel.shape[1]), _U(rows)
    for r in range(rows):
        _cumulate(kernel[r], limits, r * width)
    x = key + _U(prompt * chains * length) * _GAMMA
    for k in range(chains * length):
        uniform[k] = _word(x + _U(k) * _GAMMA) >> _11
    for c in range(chains):
        row[c] = _invert(uniform[_U(c * length)], start, _ZERO, rows - 1)
        rest = row[c]
        for t in range(order - 1, 0, -1):
            states[c, t] = rest % symbols
            rest //= symbols
        states[c, 0] = rest
    for t in range(order, length):
        now, oldest = _U(t), _U(t - order)
        for c in range(chains):
            state = _invert(uniform[_U(c * length + t)], limits, row[c] * _U(width), width)
            row[c] = row[c] * symbols + state - _U(states[_U(c), oldest]) * all_rows
            states[_U(c), now] = state


@_inlined
def _room(n, length, rows, symbols):
    start, limits = np.empty(rows - 1, np.uint64), np.empty(rows * (symbols - 1), np.uint64)
    return start, limits, np.empty(n + 1, np.uint64), np.empty((n + 1) * length, np.uint64)


@_compiled
def plain_chains(key, first, lo, hi, order, kernels, starts, states):
    """Any states and order: write ``states [P, n + 1, L]``."""
    start, limits, row, uniform = _room(states.shape[1] - 1, states.shape[2], kernels.shape[1], kernels.shape[2])
    for p in range(lo, hi):
        if p == lo or starts.shape[0] > 1:
            _cumulate(starts[p if starts.shape[0] > 1 else 0], start, 0)
        _walk(key, first + p, order, kernels[p], start, limits, row, uniform, states[first + p])


@_compiled
def plain_grams(key, first, lo, hi, n, length, order, kernels, starts, slots, values, gram, asked):
    """Any states and order: write ``gram [D, D, P]`` and the query's column ``asked [D, P]``; time ``length`` is 1."""
    start, limits, row, uniform = _room(n, length, kernels.shape[1], kernels.shape[2])
    side = max(1, min(_SIDE, _SIDE_NUMBERS // (len(slots) * (n + 1))))
    states, total, z = np.empty((n + 1, length), np.uint64), np.empty(side), np.empty((len(slots), n + 1, side))
    for block in range(lo, hi, side):
        size = min(side, hi - block)
        for b in range(size):
            p = block + b
            if p == lo or starts.shape[0] > 1:
                _cumulate(starts[p if starts.shape[0] > 1 else 0], start, 0)
            _walk(key, first + p, order, kernels[p], start, limits, row, uniform, states)
            for i in range(len(slots)):
                slot = _U(slots[i])
                for c in range(n + 1):
                    z[i, c, b] = 1.0 if slot == length else values[states[_U(c), slot]]
        at = first + block
        for i in range(len(slots)):
            for b in range(size):
                asked[i, at + b] = z[i, n, b]
            for j in range(i, len(slots)):
                _products(z[i], z[j], n, size, total)
                upper, lower = gram[i, j, at : at + size], gram[j, i, at : at + size]
                for b in range(size):
                    upper[b] = total[b]
                for b in range(size):
                    lower[b] = total[b]


@_inlined
def _products(left, right, n, size, total):
    """Set ``total[b]`` to the mean over context chains of the products of two columns ``[n + 1, B]``."""
    for b in range(size):
        total[b] = 0.0
    for c in range(n):
        for b in range(size):
            total[b] += left[c, b] * right[c, b]
    for b in range(size):
        total[b] /= n
