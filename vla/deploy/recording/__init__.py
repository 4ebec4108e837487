"""What a run writes down while it goes on, and what becomes of it."""
