"""Work that kills its worker once; a module of its own, so that workers can import it."""

import os
import signal
from pathlib import Path

from markov_icl.experiments.runs.engine import _work


def work(key, spec, _parent):
    flag = Path(os.environ["DIE_ONCE"])
    if spec.part == "depth=2" and flag.exists():
        flag.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    return _work(key, spec)
