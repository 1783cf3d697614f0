"""``H`` as an operator: products and losses at lengths where the matrix fits in no memory.

``H X = sum_k w_k S_k X (T4_k / n + (1 - 1/n) mu_k mu_k^T)`` over kernels ``k``, ``X`` as ``[J, m]``: a matrix
product with ``S_k`` and a product with ``T4_k`` a node, ``O(D^4)`` where the dense ``H`` has ``D^6 / 4`` entries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from markov_icl.landscape.operator.fourth import Fourth, fourth_of
from markov_icl.landscape.operator.torch_fourth import DeviceProduct, device_product, require_device
from markov_icl.moments.long_nodes import LongNodes, long_nodes
from markov_icl.tasks.prompts import MarkovTask
from markov_icl.threads import one_blas_thread, thread_pool

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator

__all__ = ["ChainOperator", "chain_operator"]

_SMALL = 1_000_000
"""Numbers below which threads cost more than they save."""
_SHARES = 16
"""Nodes are dealt into this many sums, added up in order: the result does not depend on the number of threads."""


@dataclass(frozen=True, eq=False)
class ChainOperator:
    """The quadratic ``E y^2 - 2 h^T X + X^T H X`` of a Markov task, ``H`` by its products alone.

    Stands wherever :class:`~markov_icl.moments.system.Moments` does and no entries of ``H`` are asked for.

    Attributes:
        average: kernels that stand for the prior, with their moments of degree two.
        fourth: products with their moments of degree four.
        context: ``n``.
        h: ``[N]``.
        y2: ``E y^2``, in squared states.
        threads: how many; None means all cores this process may use.
        remote: the product on another device; None here.
    """

    average: LongNodes
    fourth: Fourth
    context: int
    h: Float[np.ndarray, "N"]
    y2: float
    threads: int | None = None
    remote: DeviceProduct | None = None
    _scaled: Float[np.ndarray, "K J J"] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_scaled", self.average.query * (self.average.weights / self.context)[:, None, None])

    @property
    def blocks(self) -> int:
        """Return ``J``."""
        return int(self.average.query.shape[1])

    @property
    def dimension(self) -> int:
        """Return ``D``."""
        return self.blocks + 1

    @property
    def size(self) -> int:
        """Return ``N = J m``, the number of unknowns."""
        return int(self.h.shape[0])

    @property
    def shape(self) -> tuple[int, int]:
        """Return ``(N, N)``."""
        return self.size, self.size

    @property
    def nodes(self) -> int:
        """Return the number of kernels averaged over."""
        return self.average.size

    @property
    def method(self) -> str:
        """Return how the nodes were chosen."""
        return self.average.method

    @property
    def error(self) -> str:
        """Return what is known about the error of the average over kernels, in words."""
        return self.average.error

    def apply(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``H X`` for ``X`` of shape ``[N]`` or ``[N, c]``."""
        if X.ndim == 2:
            return np.stack([self.apply(column) for column in X.T], axis=1)
        if self.remote is not None:
            return self.remote.apply(X)
        with one_blas_thread():
            return self._apply(X)

    adjoint = apply  # H is symmetric

    def _apply(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        Z = np.ascontiguousarray(X.reshape(self.blocks, -1).T)
        Y = self._each_share(lambda share: self._share(Z, share))
        if self.context > 1:
            seen = np.matmul((self.average.mu @ Z)[:, None, :], self._scaled)[:, 0]
            Y += self.average.mu.T @ ((self.context - 1) * seen)
        return Y.T.reshape(-1)

    def _share(self, Z: NDArray[np.float64], share: range) -> NDArray[np.float64]:
        V, Y = np.empty_like(Z), np.zeros_like(Z)
        for k in share:
            np.matmul(Z, self._scaled[k], out=V)
            self.fourth.add(k, V, Y)
        return Y

    def _each_share(self, work: Callable[[range], NDArray[np.float64]]) -> NDArray[np.float64]:
        """Return the sum of ``work`` over shares of the nodes, in an order of its own."""
        shares = [range(first, self.nodes, _SHARES) for first in range(min(_SHARES, self.nodes))]
        if self.nodes * self.size <= _SMALL:
            return np.asarray(np.sum([work(share) for share in shares], axis=0))
        with thread_pool(self.threads) as pool:
            parts = pool.map(work, shares)
            total = next(parts)
            for part in parts:
                total += part
        return total

    def compressed(self, K: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``(I_J (x) K)^T H (I_J (x) K)`` for ``K`` of shape ``[m, p]``, ``[J p, J p]``."""
        nodes, n = self.average, self.context
        K = np.ascontiguousarray(K)
        p, J = K.shape[1], self.blocks
        each = np.empty((nodes.size, p, p))

        def work(share: range) -> NDArray[np.float64]:
            for k in share:
                Y = np.zeros_like(K)
                self.fourth.add(k, K, Y)
                each[k] = K.T @ Y
            return np.zeros(0)

        with one_blas_thread():
            self._each_share(work)
            seen = nodes.mu @ K
            each /= n
            each += (1 - 1 / n) * seen[:, :, None] * seen[:, None, :]
            F = (nodes.query * nodes.weights[:, None, None]).reshape(-1, J * J).T @ each.reshape(-1, p * p)
        F = F.reshape(J, J, p, p).transpose(0, 2, 1, 3).reshape(J * p, J * p)
        return np.asarray((F + F.T) / 2)

    def mean_block(self) -> NDArray[np.float64]:
        """Return the average of the diagonal blocks of ``H``, ``[m, m]``."""
        nodes, n = self.average, self.context
        weights = nodes.weights * np.einsum("kjj->k", nodes.query) / self.blocks
        (block,) = self.fourth.averages((weights / n)[:, None])
        return np.asarray(block + (nodes.mu * ((1 - 1 / n) * weights)[:, None]).T @ nodes.mu)

    def loss(self, X: NDArray[np.float64]) -> float:
        """Return ``f~(X)``, in squared states, for ``X`` of shape ``[N]``."""
        return float(self.y2 + X @ (self.apply(X) - 2 * self.h))

    def gradient(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``2 (H X - h)``, ``[N]``."""
        return np.asarray(2 * (self.apply(X) - self.h))

    def diagonal(self, index: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return ``H[c, c]`` for the coordinates ``c``, one product each."""
        units = np.zeros((self.size, len(index)))
        units[index, np.arange(len(index))] = 1.0
        return np.asarray((units * self.apply(units)).sum(0))

    def node_losses(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``E[(prediction - y)^2 | node]`` for ``X`` of shape ``[N]``, ``[K]``."""
        nodes, n = self.average, self.context
        Z = np.ascontiguousarray(X.reshape(self.blocks, -1).T)

        def work(share: range) -> NDArray[np.float64]:
            quartic = np.zeros(nodes.size)
            for k in share:
                Y = np.zeros_like(Z)
                self.fourth.add(k, Z, Y)
                quartic[k] = np.vdot(Z.T @ Y, nodes.query[k])
            return quartic

        with one_blas_thread():
            seen = nodes.mu @ Z
            quartic = self._each_share(work)
            square = np.einsum("kj,kji,ki->k", seen, nodes.query, seen)
            return np.asarray(nodes.square - 2 * (seen * nodes.label).sum(1) + quartic / n + (1 - 1 / n) * square)

    def linear_operator(self) -> LinearOperator:
        """Return ``H`` for SciPy's iterative methods."""
        from scipy.sparse.linalg import LinearOperator

        given: dict[str, Any] = {"matvec": self.apply, "rmatvec": self.adjoint, "matmat": self.apply, "dtype": float}
        return LinearOperator(self.shape, **given)

    def dense(self) -> NDArray[np.float64]:
        """Return the matrix ``H`` ``[N, N]``, a product for each column: for small tasks and tests."""
        return self.apply(np.eye(self.size))


def chain_operator(
    task: MarkovTask, points: int = 4096, seed: int = 0, threads: int | None = None, device: str = "cpu"
) -> ChainOperator:
    """Return the quadratic of a Markov task without its matrix.

    Args:
        task: any Markov task.
        points: Sobol kernels a replicate, where sampling runs.
        seed: of the Sobol scrambling.
        threads: None means all cores this process may use.
        device: ``cpu``, or ``cuda`` for products on binary chains of order 1; all else stays here.

    Raises:
        ValueError: for a device that is not there or does not serve the task.
    """
    require_device(device)
    with one_blas_thread():
        nodes = long_nodes(task, points, seed)
        h = (nodes.label * nodes.weights[:, None]).T @ nodes.mu
    y2 = float(nodes.weights @ nodes.square)
    fourth = fourth_of(task, nodes)
    remote = device_product(nodes, fourth, task.context, device)
    return ChainOperator(nodes, fourth, task.context, h.reshape(-1), y2, threads, remote)
