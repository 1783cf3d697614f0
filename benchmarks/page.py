"""docs/benchmarks.md and its picture, from the committed results: .venv/bin/python benchmarks/page.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from markov_icl.files import atomic
from markov_icl.interfaces.plots.style import new_figure

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
CURVES = {
    "minimizer": ("dense minimizer", "s"),
    "long-chains": ("minimizer without the matrix", "o"),
    "certify": ("certificate", "^"),
    "recovery": ("recovery from floats", "v"),
}
LENGTHS = (6, 11, 21, 33, 65)
INTRO = """# Benchmarks

Written by `benchmarks/page.py` from `benchmarks/results/*.json`; `make bench` measures again (about ten minutes on 2
cores), `markov-icl bench NAME` runs one. Medians on a shared machine, both arms in the same run: quote the ratio.
"Plain" is what anybody would write instead: the formula node by node, cvxpy with Clarabel, NumPy prompts with
token-space layers, torch's L-BFGS with autograd. Length 129, run once by hand: `benchmarks/results/operator_129.json`.

![Seconds against length](benchmarks.png)
"""


def main() -> None:
    found = {path.stem: json.loads(path.read_text()) for path in sorted((HERE / "results").glob("*.json"))}
    results = {name: result for name, result in found.items() if "rows" in result}
    with atomic(DOCS / "benchmarks.md") as temporary:
        temporary.write_text(INTRO + "".join(section(name, result) for name, result in results.items()))
    figure, axes = new_figure(1, 1, 6.4, 4.2)
    for name, (label, marker) in CURVES.items():
        rows = [r for r in results.get(name, {"rows": []})["rows"] if r["length"] and "beside" not in r["case"]]
        rows = [r for r in rows if not r["case"].startswith("moments")]
        axes[0, 0].loglog([r["length"] for r in rows], [r["fast"] for r in rows], marker + "-", label=label)
    axes[0, 0].set_xlabel("length of a chain")
    axes[0, 0].set_xticks(LENGTHS, [str(length) for length in LENGTHS])
    axes[0, 0].set_xticks([], minor=True)
    axes[0, 0].set_ylabel("seconds")
    axes[0, 0].legend(fontsize=8, frameon=False)
    with atomic(DOCS / "benchmarks.png") as temporary:
        figure.savefig(temporary, dpi=130)


def section(name: str, result: dict[str, Any]) -> str:
    environment = result["environment"]
    head = f"\n## {name}\n\n{environment['date']}, {environment['cores']} cores, Python {environment['python']}, "
    head += f"NumPy {environment['numpy']}, torch {environment['torch']}; median of {result['repeat']}.\n\n"
    head += "| case | fast | plain | ratio | unit | note |\n|---|---|---|---|---|---|\n"
    rows = []
    for row in result["rows"]:
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.3g}"
        fast, plain = amount(row["fast"]), amount(row["literal"])
        rows.append(f"| {row['case']} | {fast} | {plain} | {ratio} | {row['unit']} | {row['note']} |\n")
    return head + "".join(rows)


def amount(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


if __name__ == "__main__":
    main()
