"""Prompts as files: NumPy archive, safetensors, or a table of chains in Parquet. The ending decides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from markov_icl.files import atomic
from markov_icl.tasks.prompts import RegressionTask, Task
from markov_icl.tasks.sampling import Prompts
from markov_icl.tasks.spec import task_to_dict

if TYPE_CHECKING:
    import polars as pl

__all__ = ["FORMATS", "prompt_arrays", "prompt_table", "write_prompts"]

FORMATS = (".npz", ".safetensors", ".parquet")
"""Endings of the files that can be written."""


def prompt_arrays(prompts: Prompts) -> dict[str, NDArray[np.generic]]:
    """Return every array that there is: columns, query, target, Gram matrices, states, true kernels."""
    states = {"context_states": prompts.context_states, "query_states": prompts.query_states}
    every = {"context": prompts.context, "query": prompts.query, "target": prompts.target, "gram": prompts.gram}
    return {name: value for name, value in (every | states | {"kernels": prompts.kernels}).items() if value is not None}


def prompt_table(task: Task, prompts: Prompts) -> pl.DataFrame:
    """Return one row a chain: ``prompt`` and ``chain`` from 1, ``role``, then what the chain shows.

    Numeric values of the states ``t1 .. tL`` and, on the query's row, the true ``kernel`` as rows of probabilities;
    ``x1 .. xd, y`` for regression.
    """
    import polars as pl

    count, n = prompts.context.shape[:2]
    last = np.concatenate([prompts.query, prompts.target[:, None]], axis=1)
    z = np.concatenate([prompts.context, last[:, None]], axis=1).reshape(count * (n + 1), -1)
    role = np.tile(np.array(["context"] * n + ["query"]), count)
    table: dict[str, object] = {
        "prompt": np.repeat(np.arange(1, count + 1), n + 1),
        "chain": np.tile(np.arange(1, n + 2), count),
        "role": role,
    }
    if isinstance(task, RegressionTask):
        names = [*(f"x{j + 1}" for j in range(task.dim)), "y"]
        return pl.DataFrame(table | dict(zip(names, z.T, strict=True)))
    shown = np.delete(z, task.length - 1, axis=1) if task.bias else z
    if all(value.denominator == 1 for value in task.values):
        shown = shown.astype(np.int64)
    frame = pl.DataFrame(table | {f"t{t + 1}": column for t, column in enumerate(shown.T)})
    if prompts.kernels is None:
        return frame
    kernels = pl.Series("kernel", prompts.kernels, dtype=pl.Array(pl.Float64, prompts.kernels.shape[1:]))
    own = pl.DataFrame({"prompt": np.arange(1, count + 1), "chain": np.full(count, n + 1), "kernel": kernels})
    return frame.join(own, on=["prompt", "chain"], how="left", maintain_order="left")


def write_prompts(path: Path, task: Task, seed: int, prompts: Prompts) -> None:
    """Write prompts with the task as JSON and the seed: under a temporary name first, then renamed.

    Raises:
        ValueError: for an ending that is none of :data:`FORMATS`.
    """
    kind = path.suffix.lower()
    if kind not in FORMATS:
        raise ValueError(f"expected a file ending in {', '.join(FORMATS)}; got {path.name!r}")
    origin = {"task": json.dumps(task_to_dict(task)), "seed": str(seed)}
    with atomic(path) as temporary:
        if kind == ".parquet":
            prompt_table(task, prompts).write_parquet(temporary, metadata=origin)
            return
        arrays = prompt_arrays(prompts)
        if kind == ".npz":
            with temporary.open("wb") as file:
                np.savez_compressed(file, task=origin["task"], seed=seed, **arrays)  # type: ignore[arg-type]
            return
        from safetensors.numpy import save_file

        save_file({name: np.ascontiguousarray(value) for name, value in arrays.items()}, temporary, metadata=origin)
