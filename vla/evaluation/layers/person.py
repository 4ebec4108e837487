"""Whoever stands beside a real robot: lets it be connected, puts the scene in order, says whether
it was solved.
"""

from __future__ import annotations

import sys


def await_look(robot: str) -> None:
    """Wait until somebody lets a robot be connected and looked at.

    Args:
        robot: How it is named.

    Raises:
        ValueError: Nobody is there; the robot is not connected.
    """
    _check_terminal(robot)
    input(f"{robot} will be connected and looked at, told nothing. Enter does so, Ctrl-C ends: ")


def await_person(robot: str, trial: str, speed: float) -> None:
    """Wait until somebody has put the scene in order.

    Args:
        robot: How it is named.
        trial: What is about to begin.
        speed: Fraction of full speed.

    Raises:
        ValueError: Nobody is there; the robot does not move.
    """
    _check_terminal(robot)
    input(f"{trial} at {speed:g} of full speed. Scene in order? Enter connects, Ctrl-C ends: ")


def ask_solved(trial: str) -> bool:
    """Whether a trial was solved, as somebody saw it."""
    while (said := input(f"{trial}: was it solved? [y/n] ").strip().lower()) not in ("y", "n"):
        pass
    return said == "y"


def _check_terminal(robot: str) -> None:
    if not sys.stdin.isatty():
        raise ValueError(f"{robot} moves for real: run this in a terminal, beside the robot.")
