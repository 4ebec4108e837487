"""What policies do on robots: what `rvq-vla suite | rollout | eval | schedules` leaves, drawn."""
