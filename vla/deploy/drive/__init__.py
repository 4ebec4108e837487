"""Driving a robot from the shell: `rvq-vla drive`, `replay` and `show`."""
