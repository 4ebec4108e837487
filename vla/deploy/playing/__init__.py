"""Which frame of which chunk is due, and when the next chunk is asked for."""
