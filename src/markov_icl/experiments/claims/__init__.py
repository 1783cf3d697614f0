"""What the paper says, what we compute, the verdict."""
