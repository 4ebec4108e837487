"""How far an attempt came: weighted stages, partial credit, 0 to 100."""
