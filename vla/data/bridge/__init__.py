"""Embodied questions about a robot's own pictures, answered by its trajectory: no labels needed."""
