"""The loss in the enlarged parameter space: its minimizer, convexity and slices."""
