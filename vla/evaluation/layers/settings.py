"""EvalSettings: what the four layers are measured with."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

if TYPE_CHECKING:
    from vla.deploy.playing.schedule_settings import ScheduleSettings
    from vla.deploy.server.access import Address

Pathway = Literal["flow", "ar"]
LAYERS = ("sanity", "open_loop", "low_speed", "full_speed")
OFFLINE, MOVING = LAYERS[:2], LAYERS[2:]
LOW = 0.5
"""Fraction of full speed that is still low."""


@dataclass(frozen=True)
class EvalSettings:
    """Everything that decides what is measured.

    Attributes:
        policy: Its folder.
        data: A LeRobotDataset of its robot: what layers 1 and 2 look at.
        robots: What layers 3 and 4 drive, as `load_robot` takes them; layer 1 looks at the first
            one where there is no dataset.
        embodiment: The robot the policy acts as, where it knows several and there is no dataset.
        mapping: Of the dataset; its own where None.
        pathway: `flow` or `ar`: by which of its two ways it acts offline. Robots are driven by the
            flow head alone, and by no policy that was looked at otherwise.
        windows: Held-out windows, evenly spread, in layer 2.
        trials: With every robot, in layers 3 and 4; simulated ones begin from another start each.
        seconds: Of a trial at full speed, from its first command on; at low speed it takes
            accordingly longer.
        low_speed: Fraction of full speed in layer 3.
        schedule: How chunks follow one another, see `vla.deploy.playing.schedule`; as
            `rvq-vla drive` plays those of our policies, unless told otherwise.
        execute_frames: Of every chunk before the next one; the schedule's own where None.
        latency_s: That a chunk takes on the clock of a simulated robot.
        instruction: What the robot is told; what is usually said in front of it where None.
        steps: Of the flow's sampler; the policy's own where None.
        seed: Of noise and starts.
        device: Of the network.
        stop_at: Where a call of /stop is listened for while a robot is driven; nowhere where None.
    """

    policy: Path
    data: str | None = None
    robots: tuple[str, ...] = ()
    embodiment: str | None = None
    mapping: str | None = None
    pathway: Pathway = "flow"
    windows: int = 64
    trials: int = 3
    seconds: float = 10.0
    low_speed: float = LOW
    schedule: str = "real_time"
    execute_frames: int | None = None
    latency_s: float = 0.0
    instruction: str | None = None
    steps: int | None = None
    seed: int = 0
    device: str = "cpu"
    stop_at: Address | None = None

    def __post_init__(self) -> None:
        if self.data is None and not self.robots:
            raise ValueError(
                "There is nothing to look at: give a dataset (--data), a robot (--robots), or both."
            )
        steps = 1 if self.steps is None else self.steps
        if min(self.windows, self.trials, steps) < 1 or self.seed < 0:
            raise ValueError("windows, trials and steps start at 1, seed at 0.")
        if not self.seconds > 0 or not 0 < self.low_speed <= LOW or self.latency_s < 0:
            raise ValueError(
                f"seconds must be positive, low_speed above 0 and at most {LOW}, latency_s not "
                f"negative; got {self.seconds}, {self.low_speed} and {self.latency_s}."
            )
        if self.pathway not in get_args(Pathway):
            raise ValueError(f"pathway is one of {get_args(Pathway)}, got {self.pathway!r}.")
        self.scheduling()

    def said_to(self, robot: str) -> str:
        """The instruction of a robot.

        Raises:
            ValueError: There is none.
        """
        from vla.deploy.robots.config import read_robot

        if not (told := self.instruction or read_robot(robot).instruction):
            raise ValueError(f"Say what {robot} is to do: --instruction.")
        return told

    def scheduling(self) -> ScheduleSettings:
        """How chunks follow one another.

        Raises:
            ValueError: There is no such schedule.
        """
        from vla.deploy.playing.schedule_settings import ScheduleSettings

        return ScheduleSettings(cast(Any, self.schedule), self.execute_frames)

    @property
    def layers(self) -> tuple[str, ...]:
        """Those that can be measured with it, in their order."""
        offline = OFFLINE if self.data is not None else OFFLINE[:1]
        return offline + (MOVING if self.robots else ())

    def decisive(self, layer: str) -> dict[str, Any]:
        """What decides the figures of a layer; plain data."""
        shared = ("embodiment", "steps", "seed")
        offline = ("data", "mapping", "pathway", "windows")
        moving = ("robots", "trials", "seconds", "schedule", "execute_frames", "latency_s")
        moving = (*moving, "instruction")
        names = {"sanity": (*offline[:3], "robots", "instruction"), "open_loop": offline}
        if layer == "low_speed":
            moving = (*moving, "low_speed")
        told = asdict(self) | {"robots": list(self.robots)}
        return {name: told[name] for name in (*shared, *names.get(layer, moving))}
