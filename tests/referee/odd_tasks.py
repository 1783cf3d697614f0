"""Certify odd tasks and hold every proof against losses that are attained, in fractions.

Run: ``python -m tests.referee.odd_tasks 200`` from the repository root; ``--seed`` for others.
"""

import argparse
import time
from collections import Counter
from fractions import Fraction

from threadpoolctl import threadpool_limits

from markov_icl.recovery.certificate.verify import verify
from markov_icl.recovery.solver.certify import certify
from markov_icl.tasks.spec import task_from_header
from tests.referee import oracle


def judge(task: dict, limit: float, starts: int = 30) -> tuple[str, str]:
    """Return a verdict, and what stands beside it: right only if the bound is not above what is attained."""
    with threadpool_limits(1):
        best = oracle.hard_search(task, starts=starts).loss
        try:
            found = certify(task_from_header(task), time_limit=limit)
            again = verify(found)
        except ValueError as error:
            return ("always 0" if "always 0" in str(error) else "refused"), str(error)
    own = oracle.attained(task, found.b.tolist(), found.A.tolist())
    if Fraction(found.lower) > best or Fraction(again.lower) > best or Fraction(found.lower) > own:
        return "WRONG", f"lower {found.lower!r} above {float(best)!r}"
    if Fraction(found.upper) < own:
        return "WRONG", f"upper {found.upper!r} below {float(own)!r}"
    y2 = oracle.exact_moments(task)[2]
    if found.status == "certified" and Fraction(found.upper) - best > Fraction(2, 10**6) * y2:
        return "WRONG", "certified above what is attained"
    if found.status == "estimate" or again.status != found.status:
        return "WRONG", f"status {found.status}, then {again.status}"
    gap = float((Fraction(found.upper) - Fraction(found.lower)) / y2) if y2 else 0.0
    return found.status, f"{found.verified}, gap {gap:.1e} of E y^2"


def main() -> int:
    """Print each task that is not certified, and the counts."""
    parser = argparse.ArgumentParser()
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=5.0)
    chosen = parser.parse_args()
    counts, began = Counter(), time.monotonic()
    for number, task in enumerate(oracle.odd_tasks(chosen.count, seed=chosen.seed)):
        verdict, words = judge(task, chosen.limit)
        counts[verdict] += 1
        if verdict != "certified":
            print(number, verdict, words[:110], task if verdict in ("WRONG", "refused") else "", flush=True)
    print(dict(counts), f"{time.monotonic() - began:.0f} s")
    return counts["WRONG"]


if __name__ == "__main__":
    raise SystemExit(main())
