"""What a robot may be told, and everything that holds or stops it."""
