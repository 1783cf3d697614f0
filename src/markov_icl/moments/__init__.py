"""Expectations under a task. Nothing here knows a model parameter."""
