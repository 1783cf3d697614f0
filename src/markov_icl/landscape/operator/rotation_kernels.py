"""Jacobi rotations of many symmetric matrices at once (compiled)."""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["sweep"]


@njit(cache=True, nogil=True)
def sweep(stack, rotation):  # type: ignore[no-untyped-def]
    """Rotate every pair of coordinates once; return the largest sine of an angle."""
    J, _, count = stack.shape
    largest = 0.0
    for p in range(J - 1):
        for q in range(p + 1, J):
            apart = 0.0
            cross = 0.0
            for k in range(count):
                difference = stack[p, p, k] - stack[q, q, k]
                beside = 2.0 * stack[p, q, k]
                apart += difference * difference - beside * beside
                cross += 2.0 * difference * beside
            # The angle that makes the off-diagonal entries of all matrices together smallest, in closed form.
            angle = 0.25 * np.arctan2(cross, apart)
            cosine, sine = np.cos(angle), np.sin(angle)
            largest = max(largest, abs(sine))
            for r in range(J):
                for k in range(count):
                    x, y = stack[p, r, k], stack[q, r, k]
                    stack[p, r, k] = cosine * x + sine * y
                    stack[q, r, k] = cosine * y - sine * x
            for r in range(J):
                for k in range(count):
                    x, y = stack[r, p, k], stack[r, q, k]
                    stack[r, p, k] = cosine * x + sine * y
                    stack[r, q, k] = cosine * y - sine * x
                x, y = rotation[r, p], rotation[r, q]
                rotation[r, p] = cosine * x + sine * y
                rotation[r, q] = cosine * y - sine * x
    return largest
