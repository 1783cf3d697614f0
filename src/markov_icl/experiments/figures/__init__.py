"""One file a figure: its runs, and what finished runs say."""
