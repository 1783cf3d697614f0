"""``python -m markov_icl``."""

from markov_icl.interfaces.cli import main

main()
