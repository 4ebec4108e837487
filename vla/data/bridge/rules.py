"""What can be asked about an episode. Moments whose answer is open to doubt are left out.

    task       What is the robot doing?                   its task text; needs two tasks or more
    phase      Has the gripper closed yet, or reopened?   of grippers that close once in the episode
    change     What changed between two pictures?         a second apart
    gripper    Which way does the gripper go next?        within a second
    progress   How much of the task is done?              by time, in quarters

Thresholds are shares of a channel's range over the dataset, and stand beside each rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from vla.data.bridge.question import Question, choices
from vla.data.bridge.track import Track

MOST_TASKS = 8


def ask_task(track: Track, tasks: Sequence[str]) -> Iterator[Question]:
    """Which task: not in the first fifth of an episode, when it may not show yet.

    Args:
        track: The episode.
        tasks: Task texts of the dataset; with more than 8 the choice is not spelt out.
    """
    if len(tasks) < 2 or not track.task:
        return
    offered = f" {choices(tasks)}" if len(tasks) <= MOST_TASKS else ""
    text = f"What is the robot doing?{offered}"
    for frame in range(-(-track.length // 5), track.length):
        yield Question("task", text, track.task, track.episode, (frame,))


CLOSED, OPEN, DOUBT_S = 0.35, 0.65, 0.5
PHASES = ("it has not closed yet", "it is closed", "it has opened again")


def ask_phase(track: Track, _: Sequence[str]) -> Iterator[Question]:
    """Where in open - closed - open: closed is below .35, open above .65, not half a second around.

    Only of grippers that begin open and close once; they need not open again.
    """
    for name, opening in track.grippers.items():
        states = np.select([opening < CLOSED, opening > OPEN], [0, 1], -1)
        clear = np.flatnonzero(states >= 0)
        changes = clear[1:][np.diff(states[clear]) != 0]
        if not len(clear) or states[clear[0]] == 0 or len(changes) not in (1, 2):
            continue
        text = f"At what stage is {name}? {choices(PHASES)}"
        for frame in clear:
            if np.abs(frame - changes).min() > track.frames(DOUBT_S):
                phase = PHASES[int((frame >= changes).sum())]
                yield Question("phase", text, phase, track.episode, (int(frame),))


APART_S, MOVED, TURNED, REST = 1.0, 0.2, 0.5, 0.05
NOTHING = "nothing moved"


def ask_change(track: Track, _: Sequence[str]) -> Iterator[Question]:
    """All that moved in a second: limbs by a fifth of their range, grippers by half.

    What moved less has moved by less than .05, or the pair is left out.
    """
    able = [f"{name} moved" for name in track.limbs]
    for name in track.grippers:
        able += [f"{name} closed", f"{name} opened"]
    text = f"What changed from the first picture to the second? {choices([*able, NOTHING])}"
    text = text.replace("one of", "all that apply")
    gap = track.frames(APART_S)
    for frame in range(track.length - gap if able else 0):
        answer = _changed(track, frame, frame + gap)
        if answer is not None:
            yield Question("change", text, answer, track.episode, (frame, frame + gap))


def _changed(track: Track, first: int, last: int) -> str | None:
    """The answer of `ask_change`, or None in doubt."""
    moves = [
        (f"{name} moved", float(np.abs(x[last] - x[first]).max()), MOVED)
        for name, x in track.limbs.items()
    ]
    for name, x in track.grippers.items():
        turn = float(x[last] - x[first])
        moves.append((f"{name} {_way(turn, 'ed')}", abs(turn), TURNED))
    if any(REST <= size < enough for _, size, enough in moves):
        return None
    return "; ".join(words for words, size, enough in moves if size >= enough) or NOTHING


AHEAD_S, GOES, BACK, STAYS = 1.0, 0.4, 0.1, 0.05
WAYS = ("it opens", "it closes", "it stays")


def ask_gripper(track: Track, _: Sequence[str]) -> Iterator[Question]:
    """Which way within a second: by .4 one way and not .1 the other; staying is less than .05."""
    for name, opening in track.grippers.items():
        text = f"Which way does {name} go in the next second? {choices(WAYS)}"
        ahead = track.frames(AHEAD_S)
        for frame in range(track.length - ahead):
            future = opening[frame : frame + ahead + 1] - opening[frame]
            rise, fall = float(future.max()), float(-future.min())
            if max(rise, fall) < STAYS:
                answer = "it stays"
            elif max(rise, fall) > GOES and min(rise, fall) < BACK:
                answer = f"it {_way(rise - fall, 's')}"
            else:
                continue
            yield Question("gripper", text, answer, track.episode, (frame,))


NEAR = 0.04
QUARTERS = ("0 %", "25 %", "50 %", "75 %", "100 %")


def ask_progress(track: Track, _: Sequence[str]) -> Iterator[Question]:
    """How much of the episode has passed, within .04 of a quarter."""
    task = f"The task is: {track.task}. " if track.task else ""
    text = f"{task}How much of it is done? {choices(QUARTERS)}"
    for frame in range(track.length):
        share = 4 * frame / max(track.length - 1, 1)
        if abs(share - round(share)) <= 4 * NEAR:
            yield Question("progress", text, QUARTERS[round(share)], track.episode, (frame,))


def _way(change: float, ending: str) -> str:
    return f"open{ending}" if change > 0 else f"close{ending.removeprefix('e')}"


RULES: dict[str, Callable[[Track, Sequence[str]], Iterator[Question]]] = {
    "task": ask_task,
    "phase": ask_phase,
    "change": ask_change,
    "gripper": ask_gripper,
    "progress": ask_progress,
}
"""Kind of question -> what asks it, of an episode and the dataset's task texts."""
