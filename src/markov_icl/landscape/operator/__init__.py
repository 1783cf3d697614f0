"""``H`` by its products alone, where the matrix would fit in no memory."""
