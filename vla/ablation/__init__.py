"""What action tokens are worth to a policy: the same training with other tokens, or with none."""
