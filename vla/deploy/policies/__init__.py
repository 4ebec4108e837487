"""Whoever answers with chunks: a policy in this process, or behind `rvq-vla serve`."""
