"""Dense layers: how much of their update is descent in the restricted form, and how much is something else.

A layer adds ``sum_h P_h S Q_h Z / n`` with ``S = Z M Z^T``. Split ``P_h`` into its last row and the rest, ``Q_h``
into its first ``J`` columns and the last:

- last row, first columns: the restricted form, a step of Theorem 4.1 (on the features as they stand by then);
- last row, last column: the label of a column moves with its own label, not only with its features;
- the other rows: the features themselves change.

The first part changes labels by a linear function of the features; the other two are the remainder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    from markov_icl.models.lsa import LinearSelfAttention

__all__ = ["Remainder", "remainder"]


@dataclass(frozen=True, eq=False)
class Remainder:
    """What of each layer's update is not in the restricted form.

    Energies are squared Frobenius norms of the update on the context columns, divided by ``n`` and averaged over
    prompts.

    Attributes:
        restricted: energy of the restricted form, ``[L]``.
        label: energy of labels driven by their own column's label, ``[L]``.
        features: energy of the change of the features, ``[L]``.
        share: ``(label + features) / (restricted + label + features)``, ``[L]``; 0 if nothing moves.
        effect: root mean square change of the prediction when this layer's remainder is dropped, over that of the
            prediction, ``[L]``. In the last layer a change of features is never read out.
        effect_all: the same with every remainder dropped, which leaves a restricted model.
    """

    restricted: Float[np.ndarray, "L"]
    label: Float[np.ndarray, "L"]
    features: Float[np.ndarray, "L"]
    share: Float[np.ndarray, "L"]
    effect: Float[np.ndarray, "L"]
    effect_all: float


def remainder(
    model: LinearSelfAttention, gram: Float[np.ndarray, "P D D"], query: Float[np.ndarray, "P J"]
) -> Remainder:
    """Split every layer's update into the restricted form and the rest, from Gram statistics.

    With ``Z_l = C_l Z_0`` and ``S = C_l G C_l^T`` a layer adds ``sum_h P_h S Q_h C_l`` to ``C_l`` (theory, section 2).

    Raises:
        ValueError: for a model that is not linear self-attention, or sizes that do not fit.
    """
    if getattr(model, "kind", "unknown") != "lsa":
        raise ValueError(f"expected linear self-attention; got kind {getattr(model, 'kind', 'unknown')}")
    P, Q = (v.detach().double().cpu().numpy() for v in model.projections())
    depth, _, D, _ = P.shape
    if gram.shape[1:] != (D, D) or query.shape != (len(gram), D - 1):
        raise ValueError(
            f"expected Gram matrices [P, {D}, {D}] and queries [P, {D - 1}]; got {gram.shape}, {query.shape}"
        )
    # Every prompt matrix is C Z_0, so a layer changes C alone, and G says how large that change is on the context.
    energies = np.zeros((3, depth))
    C = np.broadcast_to(np.eye(D), gram.shape)
    for layer in range(depth):
        parts = _parts(P[layer], Q[layer], C, gram)
        for k, part in enumerate(parts):
            energies[k, layer] = np.einsum("pij,pjk,pik->p", part, gram, part, optimize=True).mean()
        C = C + sum(parts)
    # What a part is worth is how far the prediction moves without it, through all later layers.
    full = _read(C, query)
    size = np.sqrt((full**2).mean()) or 1.0

    def effect(dropped: set[int]) -> float:
        other = _read(_run(P, Q, gram, dropped), query)
        return float(np.sqrt(((other - full) ** 2).mean()) / size)

    total = energies.sum(0)
    share = np.divide(energies[1] + energies[2], total, out=np.zeros(depth), where=total > 0)
    effects = np.array([effect({layer}) for layer in range(depth)])
    return Remainder(energies[0], energies[1], energies[2], share, effects, effect(set(range(depth))))


def _parts(
    P: Float[np.ndarray, "H D D"],
    Q: Float[np.ndarray, "H D D"],
    C: Float[np.ndarray, "B D D"],
    gram: Float[np.ndarray, "B D D"],
) -> tuple[Float[np.ndarray, "B D D"], Float[np.ndarray, "B D D"], Float[np.ndarray, "B D D"]]:
    """Return a layer's change of ``C``: restricted form, label by label, features."""
    J = C.shape[1] - 1
    PS = P @ (C @ gram @ C.swapaxes(1, 2))[:, None]
    restricted, label, features = (np.zeros(gram.shape) for _ in range(3))
    restricted[:, J] = ((PS[:, :, J:] @ Q[:, :, :J]) @ C[:, None, :J]).sum(1)[:, 0]
    label[:, J] = ((PS[:, :, J:] @ Q[:, :, J:]) @ C[:, None, J:]).sum(1)[:, 0]
    features[:, :J] = (PS[:, :, :J] @ Q @ C[:, None]).sum(1)
    return restricted, label, features


def _run(
    P: Float[np.ndarray, "L H D D"],
    Q: Float[np.ndarray, "L H D D"],
    gram: Float[np.ndarray, "B D D"],
    dropped: set[int],
) -> Float[np.ndarray, "B D D"]:
    C: Float[np.ndarray, "B D D"] = np.broadcast_to(np.eye(gram.shape[1]), gram.shape)
    for layer in range(len(P)):
        restricted, label, features = _parts(P[layer], Q[layer], C, gram)
        C = C + restricted + (0.0 if layer in dropped else label + features)
    return C


def _read(C: Float[np.ndarray, "B D D"], query: Float[np.ndarray, "B J"]) -> Float[np.ndarray, "B"]:
    """Return the bottom-right entries, up to the sign of the readout."""
    result: Float[np.ndarray, "B"] = np.einsum("pj,pj->p", C[:, -1, :-1], query)
    return result
