"""Ways to play chunks, side by side: deadlines, seams between chunks, success."""
