"""Runs as data: what is to be run, who computes it, where the rows live."""
