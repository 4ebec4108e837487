"""What the runs of an ablation are worth on held-out episodes, side by side."""
