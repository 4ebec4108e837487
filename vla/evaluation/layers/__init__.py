"""Four layers between a checkpoint and a moving arm, each a gate for the next.

1 sanity       does it answer as its robot needs it?        from observations, nothing moves
2 open_loop    does it say what was done?                   held-out episodes, nothing moves
3 low_speed    does it drive without trouble?               the robot moves, slowly
4 full_speed   does it solve the task?                      the robot moves
"""
