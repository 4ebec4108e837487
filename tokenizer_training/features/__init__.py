"""Visual teachers: what a robot's cameras show, as vectors, computed once and kept in a cache."""
