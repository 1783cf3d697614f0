"""The objectives that a restricted layer descends, group by group, with their derivatives [R1, R2].

Over a prompt's context ``(x_j, y_j)``, with ``J`` features and ``r_j = y_j - w.x_j``, ``u_j = r_j + x_jJ w_J``:

    R1_k = -(1/n) sum_j x_jk w.x_j,                     R1_D = (1/2n) sum_j r_j^2,
    R2_k = -(1/n) sum_j (x_jk u_j w_J - x_jk x_jJ w_J^2 / 2),
    R2_D = (1/n) sum_j c_j,    c_j = r_j^3 / (3 x_jJ) where x_jJ != 0, and -u_j^2 w_J where it is 0.

``R1`` is differentiated by all of ``w``, ``R2`` by its last entry ``w_J`` alone:

    dR1/dw = -[Gxx gxr],    dR2/dw_J = -[gxr^T grr],    with the blocks of ``(1/n) sum (x_j, r_j)(x_j, r_j)^T``,

so that one layer moves ``w`` by ``-Abar^T (dR1/dw) b - a (dR2/dw_J) b``, summed over heads. Leading axes broadcast.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from markov_icl.choices import unknown
from markov_icl.depth.descent import Step

__all__ = [
    "GROUPS",
    "Decomposition",
    "decompose",
    "first_derivatives",
    "first_group",
    "group_values",
    "second_derivatives",
    "second_group",
    "unbounded_below",
]

GROUPS = ("R1", "R2", "both")


def first_group(w: Float[np.ndarray, "*P J"], gram: Float[np.ndarray, "*G D D"]) -> Float[np.ndarray, "*Q D"]:
    """Return ``R1_1 .. R1_D``; the last is half the mean squared error on the context."""
    J = w.shape[-1]
    Gw = (gram[..., :J] @ w[..., None])[..., 0]
    fit = (w * Gw[..., :J]).sum(-1) - 2 * Gw[..., J] + gram[..., J, J]
    return np.concatenate([-Gw[..., :J], fit[..., None] / 2], axis=-1)


def first_derivatives(w: Float[np.ndarray, "*P J"], gram: Float[np.ndarray, "*G D D"]) -> Float[np.ndarray, "*Q J D"]:
    """Return ``dR1_k/dw``, one objective a column."""
    J = w.shape[-1]
    Gw = (gram[..., :J, :J] @ w[..., None])[..., 0]
    gxr = gram[..., :J, J] - Gw
    Gxx = np.broadcast_to(gram[..., :J, :J], (*gxr.shape[:-1], J, J))
    return -np.concatenate([Gxx, gxr[..., None]], axis=-1)


def second_group(w: Float[np.ndarray, "*P J"], context: Float[np.ndarray, "*G n D"]) -> Float[np.ndarray, "*Q D"]:
    """Return ``R2_1 .. R2_D``, chain by chain as the paper defines them.

    The last one is a mean of cubes over the context, so it needs more than the Gram matrix; its derivative does not.
    Where ``x_jJ`` is tiny but not 0 its value is huge: ``r^3/(3x)`` is the tame ``-u^2 w_J + u x w_J^2 - x^2 w_J^3/3``
    plus ``u^3/(3x)``, which does not depend on ``w_J``.
    """
    x, y = context[..., :-1], context[..., -1]
    last, x_last = w[..., -1:], x[..., -1]
    u = y - (x[..., :-1] @ w[..., :-1, None])[..., 0]
    r = u - x_last * last
    mixed = u * last - x_last * last**2 / 2
    linear = -(mixed[..., None, :] @ x)[..., 0, :] / x.shape[-2]
    zero = x_last == 0
    cubes = np.where(zero, -(u**2) * last, r**3 / (3 * np.where(zero, 1.0, x_last)))
    return np.concatenate([linear, cubes.mean(-1, keepdims=True)], axis=-1)


def second_derivatives(w: Float[np.ndarray, "*P J"], gram: Float[np.ndarray, "*G D D"]) -> Float[np.ndarray, "*Q D"]:
    """Return ``dR2_k/dw_J``, by the last entry of ``w`` alone."""
    J = w.shape[-1]
    Gw = (gram[..., :J] @ w[..., None])[..., 0]
    gxr = gram[..., :J, J] - Gw[..., :J]
    grr = gram[..., J, J] - 2 * Gw[..., J] + (w * Gw[..., :J]).sum(-1)
    return -np.concatenate([gxr, grr[..., None]], axis=-1)


def group_values(
    group: str, w: Float[np.ndarray, "*P J"], context: Float[np.ndarray, "*G n D"]
) -> Float[np.ndarray, "*Q K"]:
    """Return the values of ``R1``, ``R2`` or both, in this order.

    Raises:
        ValueError: for an unknown group.
    """
    if group not in GROUPS:
        raise unknown("a group of objectives,", group, GROUPS)
    parts = []
    if group != "R2":
        parts.append(first_group(w, context.swapaxes(-1, -2) @ context / context.shape[-2]))
    if group != "R1":
        parts.append(second_group(w, context))
    return np.concatenate(parts, axis=-1)


def unbounded_below(group: str, gram: Float[np.ndarray, "D D"]) -> tuple[str, ...]:
    """Name the objectives of one prompt that are unbounded below in ``w``.

    ``R1_k`` is linear, ``R2_k`` bilinear in ``(w_{:J-1}, w_J)`` plus a square, ``R2_D`` a cubic in ``w_J``;
    ``R1_D`` is at least 0.
    """
    J = len(gram) - 1
    Gxx, gxy = gram[:J, :J], gram[:J, J]
    first = [f"R1_{k + 1}" for k in range(J) if Gxx[k].any()]
    square, bilinear = Gxx[:, -1], Gxx[:, :-1].any(axis=1)
    falls = bilinear | (square < 0) | ((square == 0) & (gxy != 0))
    second = [f"R2_{k + 1}" for k in range(J) if falls[k]]
    if Gxx[-1, -1] > 0 or gram[J, J] > 0 or Gxx[:-1, :-1].any():
        second.append(f"R2_{J + 1}")
    return tuple({"R1": first, "R2": second, "both": first + second}[group])


@dataclass(frozen=True, eq=False)
class Decomposition:
    """One step as the sum of what each objective contributes.

    Attributes:
        parts: ``-b_k Abar^T dR1_k/dw`` (group 0) and ``-b_k a dR2_k/dw_J`` (group 1), ``[P, 2, D, J]``; they sum to the
            step.
        shares: part along the step, ``sum_p <part, step> / sum_p |step|^2``, ``[2, D]``; they sum to 1, and a negative
            one pulls back. nan if no prompt moves.
        sizes: root mean square length of each part over the prompts, ``[2, D]``.
    """

    parts: Float[np.ndarray, "P 2 D J"]
    shares: Float[np.ndarray, "2 D"]
    sizes: Float[np.ndarray, "2 D"]


def decompose(step: Step) -> Decomposition:
    """Say how much of a step each objective contributes [Theorem 4.1, term by term]."""
    J = step.w.shape[1]
    first = first_derivatives(step.w, step.gram)
    second = second_derivatives(step.w, step.gram)
    preconditioned = np.einsum("hk,hij,pik->pkj", step.b, step.A[:, :J], first)
    along = np.einsum("hk,hj,pk->pkj", step.b, step.A[:, J], second)
    parts = -np.stack([preconditioned, along], axis=1)
    squared = float((step.move**2).sum())
    inner = np.einsum("pgkj,pj->gk", parts, step.move)
    shares = inner / squared if squared > 0 else np.full_like(inner, np.nan)
    return Decomposition(parts, shares, np.sqrt((parts**2).sum(-1).mean(0)))
