"""Theorem 4.1: the forward pass of restricted layers as preconditioned descent on several objectives."""
