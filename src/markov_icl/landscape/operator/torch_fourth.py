"""Products with ``H`` on another device, in torch float64: whole rows and many kernels at once.

The scans of :mod:`markov_icl.landscape.operator.binary_kernels` are products with triangular matrices
``lambda^(b-c)`` here: more arithmetic, but a few large operations a row in place of many small ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from markov_icl.choices import DEVICES, unknown
from markov_icl.features import Numbers
from markov_icl.landscape.operator.fourth import BinaryFourth
from markov_icl.moments.long_nodes import LongNodes

if TYPE_CHECKING:
    import torch

__all__ = ["DeviceProduct", "require_device"]

_SHARE = 0.25
"""Part of the device's free memory that one batch of kernels may fill."""
_CPU_BYTES = 1e9
"""What a batch may fill where torch runs on the processor."""


def require_device(device: str) -> None:
    """Check that a device can be used.

    Raises:
        ValueError: for an unknown device, or for ``cuda`` where torch finds none.
    """
    if device == "cpu":
        return
    if device.partition(":")[0] != "cuda":
        raise unknown("device", device, DEVICES)
    import torch

    if not torch.cuda.is_available():
        raise ValueError(f"expected a CUDA device for device {device}; got none on this machine (use cpu)")


@dataclass(frozen=True, eq=False)
class DeviceProduct:
    """``X -> H X`` for binary chains, kernels in batches.

    Attributes:
        scaled: ``w_k S_k / n``, ``[K, J, J]``.
        mu: ``[K, m]``.
        powers: ``u_k``, ``[K, D]``.
        one: ``P(x_t = 1)``, ``[K, D]``.
        spectrum: ``lambda`` and ``s``, ``[2, K]``.
        context: ``n``.
        device: where all of these are.
    """

    scaled: torch.Tensor
    mu: torch.Tensor
    powers: torch.Tensor
    one: torch.Tensor
    spectrum: torch.Tensor
    context: int
    device: str

    @classmethod
    def of(cls, average: LongNodes, fourth: BinaryFourth, context: int, device: str) -> DeviceProduct:
        """Copy the nodes of an operator to a device."""
        import torch

        scaled = average.query * (average.weights / context)[:, None, None]
        arrays = (scaled, fourth.mu, fourth.powers, fourth.one, fourth.spectrum)
        S, mu, powers, one, spectrum = (torch.as_tensor(a, dtype=torch.float64, device=device) for a in arrays)
        return cls(S, mu, powers, one, spectrum, context, device)

    def apply(self, X: Numbers) -> Numbers:
        """Return ``H X``, ``[N]``."""
        import torch

        K, J, _ = self.scaled.shape
        Z = torch.as_tensor(X.reshape(J, -1).T.copy(), dtype=torch.float64, device=self.device)
        Y = torch.zeros_like(Z)
        batch = self._batch(Z.numel())
        for first in range(0, K, batch):
            self._add(Z @ self.scaled[first : first + batch], slice(first, first + batch), Y)
        seen = torch.bmm((self.mu @ Z)[:, None, :], self.scaled)[:, 0]
        Y += (self.context - 1) * (self.mu.T @ seen)
        return np.ascontiguousarray(Y.T.cpu().numpy()).reshape(-1)

    def _batch(self, numbers: int) -> int:
        import torch

        room = _CPU_BYTES
        if self.device != "cpu":
            room = _SHARE * torch.cuda.mem_get_info(self.device)[0]
        return max(1, int(room / (8 * 2 * numbers)))

    def _add(self, V: torch.Tensor, here: slice, Y: torch.Tensor) -> None:
        """Add ``sum_k T4_k V_k`` over a batch of kernels to ``Y``; ``V`` is ``[K, m, J]``.

        The recurrences of :func:`markov_icl.landscape.operator.binary_kernels.add_fourth`, a row at a time.
        """
        import torch

        u, one = self.powers[here], self.one[here]
        D = u.shape[1]
        lam, s = (row[:, None, None] for row in self.spectrum[:, here])
        c = 1 - s
        lags = torch.arange(D, device=self.device)
        gap = lags[:, None] - lags
        decay = torch.where(gap >= 0, lam ** gap.clamp(min=0), torch.zeros_like(lam))  # [K, b, c], c <= b
        ahead = s + c * decay
        ahead = torch.where(gap >= 0, ahead, torch.zeros_like(ahead))
        behind = torch.tril(ahead, -1).transpose(1, 2)  # u_(c-b) for c > b
        n0, n1 = (torch.zeros(V.shape[0], D, V.shape[2], dtype=V.dtype, device=V.device) for _ in range(2))
        r0, r1 = (torch.zeros_like(n0[:, :1]) for _ in range(2))
        starts = [i * D - i * (i + 1) // 2 + i for i in range(D)]
        for i in range(D - 1, -1, -1):
            row = slice(starts[i], starts[i] + D - i)
            size = D - i
            v, step = V[:, row], u[:, :size, None]
            after = behind[:, :size, :size] @ v
            z = ahead[:, :size, :size] @ (step * v) + step * after
            z[:, :1] += s * r0 + c * r1
            n0[:, i:] += z
            n1[:, i:] = lam * n1[:, i:] + z
            Y[row] += (one[:, i, None, None] * (s * n0[:, i:] + c * n1[:, i:])).sum(0)
            r = v[:, :1] + after[:, :1]
            r0, r1 = r0 + r, lam * (r1 + r)
        e0, e1 = torch.zeros_like(n0), torch.zeros_like(n0)
        l0, l1 = torch.zeros_like(r0), torch.zeros_like(r0)
        for a in range(D):
            row = slice(starts[a], starts[a] + D - a)
            size = D - a
            if a > 0:
                x = one[:, a - 1, None, None] * V[:, starts[a - 1] + 1 : starts[a - 1] + D - a + 1]
                e0[:, a:] += x
                e1[:, a:] = lam * (e1[:, a:] + x)
            g, step = s * e0[:, a:] + c * e1[:, a:], u[:, :size, None]
            x = step * g
            x[:, :1] += s * l0 + c * l1
            Y[row] += (step * (behind[:, :size, :size] @ g) + ahead[:, :size, :size] @ x).sum(0)
            h = g[:, :1] + one[:, a, None, None] * V[:, starts[a] : starts[a] + 1]
            l0, l1 = l0 + h, lam * (l1 + h)


def device_product(average: LongNodes, fourth: Any, context: int, device: str) -> DeviceProduct | None:
    """Return the product on a device; None for the processor.

    Raises:
        ValueError: for a device that is not there, or chains that have no fast product.
    """
    require_device(device)
    if device == "cpu":
        return None
    if not isinstance(fourth, BinaryFourth):
        raise ValueError(f"expected binary chains of order 1, values 0, 1 and no bias on device {device}; got others")
    return DeviceProduct.of(average, fourth, context, device)
