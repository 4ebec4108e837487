"""What action tokens are worth to a policy: the rows of `rvq-vla ablate`, held together."""
