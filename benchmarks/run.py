"""Every benchmark of the package, written to benchmarks/results/*.json with the environment.

make bench                  # all of them, about ten minutes
.venv/bin/python benchmarks/run.py minimizer --repeat 5
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from markov_icl.environment import environment
from markov_icl.experiments.benchmarks.benchmarks import BENCHMARKS
from markov_icl.files import atomic

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(BENCHMARKS)}; all if none")
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    unknown = [n for n in arguments.names if n not in BENCHMARKS]
    if unknown:
        parser.error(f"expected benchmarks of {', '.join(BENCHMARKS)}; got {unknown[0]}")
    RESULTS.mkdir(exist_ok=True)
    for name in arguments.names or BENCHMARKS:
        rows = BENCHMARKS[name](repeat=arguments.repeat)
        result = {"benchmark": name, "repeat": arguments.repeat, "environment": environment()}
        with atomic(RESULTS / f"{name}.json") as temporary:
            temporary.write_text(json.dumps({**result, "rows": [asdict(row) for row in rows]}, indent=2) + "\n")
        for row in rows:
            print("  ".join(f"{k}={v:.4g}" if isinstance(v, float) else str(v) for k, v in asdict(row).items()))


if __name__ == "__main__":
    main()
