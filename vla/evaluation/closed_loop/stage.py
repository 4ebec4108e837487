"""Stage: a policy and its robots in one process."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vla.deploy.robots.metaworld import MetaWorldRobot
from vla.evaluation.closed_loop.crew import Crew
from vla.evaluation.closed_loop.film import Film, film_of
from vla.evaluation.closed_loop.loop import Outcome, Planner, Robot, Rules, Watch, play
from vla.evaluation.closed_loop.planners import PolicyPlanner, ShuffledChunks
from vla.evaluation.closed_loop.settings import RolloutSettings
from vla.evaluation.closed_loop.starts import Start
from vla.evaluation.progress.rubrics import packaged_rubrics
from vla.evaluation.progress.tracker import ProgressTracker
from vla.policy import VLAPolicy


@dataclass(frozen=True)
class Staging:
    """What a process needs to know.

    Attributes:
        policy: Folder of the policy.
        settings: What is attempted, and how.
        out: Folder of the films.
        robots: At a time.
        films: Attempts of each task to film.
        device: Of the network.
        fast: Whether it acts by the fast path; of the flow head only.

    Raises:
        ValueError: The fast path is wanted where nothing takes it.
    """

    policy: Path
    settings: RolloutSettings
    out: Path
    robots: int = 10
    films: int = 0
    device: str = "cpu"
    fast: bool = False

    def __post_init__(self) -> None:
        if self.fast and (self.settings.pathway != "flow" or self.settings.control is not None):
            raise ValueError("Only the flow head has a fast path. Leave out --fast, or act by it.")


class Stage:
    """Where attempts take place.

    Args:
        staging: What is needed.

    Raises:
        ValueError: The policy cannot act there; says why.
    """

    def __init__(self, staging: Staging) -> None:
        self.staging, settings = staging, staging.settings
        policy = VLAPolicy.from_pretrained(staging.policy, staging.device)
        policy = policy.accelerated() if staging.fast else policy
        player = PolicyPlanner(policy, settings.pathway, settings.steps, settings.seconds)
        self.planner: Planner = player
        self.rules = rules_of(settings, player.horizon)
        if settings.control is not None:
            self.planner = ShuffledChunks(settings.data, player.horizon)
        self.fps = player.fps
        size = settings.image_size or policy.config.image_size
        shown = partial(MetaWorldRobot, image_size=size, cameras=player.cameras)
        build = partial(shown, look_alike=settings.look_alike)
        self.crew: Crew[Robot] = Crew(build, staging.robots)
        self.films: dict[Start, Film] = {}
        self.trackers: dict[Start, ProgressTracker] = {}

    def play(self, starts: Sequence[Start]) -> Generator[Outcome, None, None]:
        """Attempt every start; outcomes when they are known."""
        with ExitStack() as stack:
            stack.callback(self.crew.close)
            for outcome in play(starts, self.crew, self.planner, self.rules, self._watch):
                film = self.films.pop(outcome.start, None)
                if film is not None:
                    film.save()
                yield self._judged(outcome)

    def _judged(self, outcome: Outcome) -> Outcome:
        """With its progress, where the task has a rubric."""
        tracker = self.trackers.pop(outcome.start, None)
        if tracker is None:
            return outcome
        return outcome._replace(progress=tracker.progress.score, stage=tracker.progress.stage)

    def _watch(self, start: Start) -> Watch:
        watches: list[Watch] = []
        film = film_of(self.staging.out, start, self.staging.films, self.fps)
        if film is not None:
            self.films[start] = film
            watches.append(film.watch)
        rubric = packaged_rubrics().get(start.task)
        if rubric is not None:
            tracker = self.trackers[start] = ProgressTracker(rubric)
            watches.append(lambda robot: tracker.update(robot.signals()))
        return lambda robot: _all(watches, robot)


def _all(watches: Sequence[Watch], robot: Robot) -> None:
    for watch in watches:
        watch(robot)


def rules_of(settings: RolloutSettings, horizon: int) -> Rules:
    """The rules for a policy whose chunks have so many frames.

    Raises:
        ValueError: More frames of a chunk are to be executed than it has.
    """
    frames = settings.execute_frames or max(1, horizon // 2)
    if frames > horizon:
        raise ValueError(
            f"execute_frames is {frames}, but the policy's chunks have {horizon} frames. Give 1 to "
            f"{horizon}."
        )
    return Rules(settings.instruction_for, frames, settings.max_steps)
