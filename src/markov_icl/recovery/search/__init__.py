"""Local search for real parameters."""
