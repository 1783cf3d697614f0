"""Several heads: what they reach, and how many a point needs."""
