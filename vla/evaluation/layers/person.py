"""Whoever stands beside a real robot: puts the scene in order, and says whether it was solved."""

from __future__ import annotations

import sys


def await_person(robot: str, trial: str, speed: float) -> None:
    """Wait until somebody has put the scene in order.

    Args:
        robot: How it is named.
        trial: What is about to begin.
        speed: Fraction of full speed.

    Raises:
        ValueError: Nobody is there; the robot does not move.
    """
    if not sys.stdin.isatty():
        raise ValueError(f"{robot} moves for real: run this in a terminal, beside the robot.")
    input(f"{trial} at {speed:g} of full speed. Scene in order? Enter begins, Ctrl-C ends: ")


def ask_solved(trial: str) -> bool:
    """Whether a trial was solved, as somebody saw it."""
    while (said := input(f"{trial}: was it solved? [y/n] ").strip().lower()) not in ("y", "n"):
        pass
    return said == "y"
