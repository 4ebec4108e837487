"""What policies do on robots: the outcomes of `rvq-vla suite`, `rollout` and `eval`, drawn."""
