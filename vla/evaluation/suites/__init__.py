"""Suites: the same tasks and starts for every checkpoint, seen in training and not."""
