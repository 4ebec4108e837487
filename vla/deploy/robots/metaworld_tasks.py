"""Meta-World's 50 tasks as instructions a person would give."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from vla.deploy.robots.look_alike import check_look_alike

INSTRUCTIONS = {
    "assembly-v3": "Pick up the wrench-shaped nut and put it onto the peg.",
    "basketball-v3": "Pick up the ball and drop it through the hoop.",
    "bin-picking-v3": "Move the cube from the one bin into the other.",
    "box-close-v3": "Pick up the lid and put it on the box.",
    "button-press-topdown-v3": "Press the button from above.",
    "button-press-topdown-wall-v3": "Reach over the wall and press the button from above.",
    "button-press-v3": "Press the button on the front of the box.",
    "button-press-wall-v3": "Reach around the wall and press the button.",
    "coffee-button-v3": "Press the button of the coffee machine.",
    "coffee-pull-v3": "Pull the mug away from the coffee machine.",
    "coffee-push-v3": "Push the mug under the coffee machine.",
    "dial-turn-v3": "Turn the dial.",
    "disassemble-v3": "Lift the wrench-shaped nut off the peg.",
    "door-close-v3": "Close the cabinet door.",
    "door-lock-v3": "Turn the latch to lock the door.",
    "door-open-v3": "Open the cabinet door.",
    "door-unlock-v3": "Turn the latch to unlock the door.",
    "drawer-close-v3": "Push the drawer shut.",
    "drawer-open-v3": "Pull the drawer open.",
    "faucet-close-v3": "Turn the faucet off.",
    "faucet-open-v3": "Turn the faucet on.",
    "hammer-v3": "Pick up the hammer and drive the nail in.",
    "hand-insert-v3": "Put the block into the hole in the table.",
    "handle-press-side-v3": "Press the handle down from the side.",
    "handle-press-v3": "Press the handle down.",
    "handle-pull-side-v3": "Pull the handle up from the side.",
    "handle-pull-v3": "Pull the handle up.",
    "lever-pull-v3": "Pull the lever up.",
    "peg-insert-side-v3": "Pick up the peg and push it into the hole in the side of the box.",
    "peg-unplug-side-v3": "Pull the peg out of the box.",
    "pick-out-of-hole-v3": "Take the puck out of the hole.",
    "pick-place-v3": "Pick up the puck and bring it to the goal.",
    "pick-place-wall-v3": "Pick up the puck and bring it over the wall to the goal.",
    "plate-slide-back-side-v3": "Slide the plate out of the cabinet to the side.",
    "plate-slide-back-v3": "Slide the plate back out of the cabinet.",
    "plate-slide-side-v3": "Slide the plate sideways into the cabinet.",
    "plate-slide-v3": "Slide the plate into the cabinet.",
    "push-back-v3": "Pull the block back to the goal.",
    "push-v3": "Push the puck along the table to the goal.",
    "push-wall-v3": "Push the puck around the wall to the goal.",
    "reach-v3": "Move the gripper to the goal.",
    "reach-wall-v3": "Move the gripper over the wall to the goal.",
    "shelf-place-v3": "Pick up the block and put it on the shelf.",
    "soccer-v3": "Push the ball into the soccer goal.",
    "stick-pull-v3": "Pick up the stick and pull the container with it.",
    "stick-push-v3": "Pick up the stick and push the container with it.",
    "sweep-into-v3": "Sweep the block into the hole.",
    "sweep-v3": "Sweep the block off the table.",
    "window-close-v3": "Slide the window closed.",
    "window-open-v3": "Slide the window open.",
}
"""Task name -> instruction."""


def check_task(task: str) -> None:
    """Refuse a task that Meta-World does not have.

    Raises:
        ValueError: Names the closest ones, or all.
    """
    if task not in INSTRUCTIONS:
        close = get_close_matches(task, INSTRUCTIONS, n=3) or list(INSTRUCTIONS)
        raise ValueError(f"Meta-World has no task {task!r}. Perhaps: {', '.join(close)}.")


def check_tasks(tasks: Sequence[str], look_alike: bool = False) -> None:
    """Refuse tasks that Meta-World does not have, none at all, or one twice.

    Args:
        tasks: Their names.
        look_alike: Whether they are to look alike.

    Raises:
        ValueError: Says which and why.
    """
    for task in tasks:
        check_task(task)
        if look_alike:
            check_look_alike(task)
    if not tasks or len(set(tasks)) != len(tasks):
        raise ValueError(f"Name at least one task, each once; got {list(tasks)}.")
