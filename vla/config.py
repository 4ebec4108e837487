"""VLAConfig: the shape of a policy, frozen, strict, with a JSON round trip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from rvq_action.data.yaml_file import read_yaml
from rvq_action.housekeeping.json_file import read_json, write_json
from rvq_action.vocabulary import ActionVocabulary
from vla.action_tokens import ActionTokens

FORMAT_VERSION = 1
CONFIGS = Path(__file__).with_name("configs")
ProprioForm = Literal["text", "token", "both"]
FlowObjective = Literal["action", "velocity"]
TokenOrder = Literal["level_major", "slot_major"]
LATER = ("committed_frames",)
"""Fields that came after version 1: a folder without them is of a policy with their defaults."""
CHOICES = {"proprio": ProprioForm, "flow_objective": FlowObjective, "token_order": TokenOrder}


@dataclass(frozen=True)
class VLAConfig:
    """What a policy is built from, beside the backbone's own configuration.

    Attributes:
        backbone: The Qwen2.5-VL that the VL Expert starts from: a folder, an id of the hub, or the
            name of a packaged shape, which is started at random.
        cameras: Embodiment -> the cameras it has, in the order in which they are read.
        image_size: Pixels per side of a robot's pictures.
        max_pixels: Of other pictures, in all; larger ones are scaled down.
        action_width: D, channels of the tokenizer's model space.
        num_slots: S of the tokenizer.
        num_levels: K of the tokenizer.
        codebook_size: V of the tokenizer.
        token_order: Of the tokenizer.
        action_hidden: Width of the Action Expert.
        action_intermediate: Width of its MLPs.
        proprio: The robot's state as discretised text, as one projected token, or both.
        flow_objective: Where the flow loss is taken: on the `action` that the velocity leads to, or
            on the `velocity` itself.
        time_alpha: Of the Beta(time_alpha, 1) that 1 - flow_time / time_scale follows.
        time_scale: The largest flow_time.
        denoise_steps: Euler steps of the sampler.
        committed_frames: Up to how many first frames of a chunk training gives away, so that the
            flow goes on from what a robot is committed to (`real_time_chunking.py`); 0 = none.
        stop_gradient: Keep the flow loss out of the VL Expert (knowledge insulation).
    """

    backbone: str
    cameras: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    image_size: int = 224
    max_pixels: int = 448 * 448
    action_width: int = 26
    num_slots: int = 8
    num_levels: int = 4
    codebook_size: int = 2048
    token_order: TokenOrder = "level_major"
    action_hidden: int = 2048
    action_intermediate: int = 2048
    proprio: ProprioForm = "text"
    flow_objective: FlowObjective = "action"
    time_alpha: float = 1.5
    time_scale: float = 0.999
    denoise_steps: int = 10
    committed_frames: int = 0
    stop_gradient: bool = False

    def __post_init__(self) -> None:
        for entry in fields(self):
            _check(entry.name, str(entry.type), getattr(self, entry.name))
        if not self.backbone or not isinstance(self.backbone, str):
            raise ValueError(f"backbone must name a Qwen2.5-VL, got {self.backbone!r}.")
        if self.time_scale >= 1:
            raise ValueError(f"time_scale must lie below 1 (the data), got {self.time_scale}.")
        object.__setattr__(self, "cameras", _cameras(self.cameras))

    @property
    def proprio_text(self) -> bool:
        """Whether the prompt tells the state in numbers."""
        return self.proprio != "token"

    @property
    def proprio_token(self) -> bool:
        """Whether the prompt has a projected token of the state."""
        return self.proprio != "text"

    @classmethod
    def tiny(cls, **overrides: Any) -> VLAConfig:
        """A configuration for tests."""
        return replace(cls.named("mini"), **overrides)

    @classmethod
    def named(cls, name: str | Path) -> VLAConfig:
        """A packaged configuration, or that in a YAML file.

        Raises:
            ValueError: There is neither, or a key or value in it is none.
        """
        packaged = CONFIGS / f"{name}.yaml"
        path = packaged if packaged.is_file() else Path(name)
        if not path.is_file():
            known = sorted(file.stem for file in CONFIGS.glob("*.yaml"))
            raise ValueError(f"There is no configuration {str(name)!r}: give a YAML, or {known}.")
        return cls.from_dict(read_yaml(path), str(path))

    @classmethod
    def from_dict(cls, data: Any, where: str) -> VLAConfig:
        """A configuration from plain data; `where` names the source in errors.

        Raises:
            ValueError: An unknown key, no backbone, or a value that is none.
        """
        known = {entry.name for entry in fields(cls)}
        if not isinstance(data, dict) or not set(data) <= known or "backbone" not in data:
            raise ValueError(
                f"{where} must be a map with `backbone` and any of {sorted(known)}, got "
                f"{sorted(map(str, data)) if isinstance(data, dict) else data!r}."
            )
        try:
            return cls(**data)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error

    def for_tokenizer(
        self, tokenizer: ActionTokens, cameras: Mapping[str, tuple[str, ...]]
    ) -> VLAConfig:
        """The same policy for the tokens, channels and robots of a tokenizer.

        Raises:
            ValueError: `cameras` names other robots than the tokenizer knows.
        """
        if set(cameras) != set(tokenizer.embodiments):
            raise ValueError(
                f"Name the cameras of each robot of the tokenizer: {sorted(tokenizer.embodiments)},"
                f" not {sorted(cameras)}. A robot without cameras has ()."
            )
        return replace(self, cameras=cameras, **tokenizer_shape(tokenizer))

    def check_tokenizer(self, tokenizer: ActionTokens) -> None:
        """Refuse a tokenizer that this policy was not built for.

        Raises:
            ValueError: Names what differs.
        """
        wanted = {name: getattr(self, name) for name in tokenizer_shape(tokenizer)}
        found = tokenizer_shape(tokenizer)
        differs = {n: (wanted[n], found[n]) for n in wanted if wanted[n] != found[n]}
        robots = sorted(self.cameras), sorted(tokenizer.embodiments)
        if robots[0] != robots[1]:
            differs["robots"] = robots
        if differs:
            text = "; ".join(f"{n}: {a} here, {b} there" for n, (a, b) in differs.items())
            raise ValueError(
                f"The action tokenizer is not the one this policy was built for ({text}). Give "
                "that one, or VLAConfig.for_tokenizer and train anew."
            )

    def action_vocabulary(self, first_id: int) -> ActionVocabulary:
        """The tokenizer's vocabulary where this policy keeps it."""
        shape = self.num_slots, self.num_levels, self.codebook_size
        return ActionVocabulary(*shape, self.token_order, first_id)

    def save(self, path: str | Path) -> None:
        write_json({"format_version": FORMAT_VERSION, **asdict(self)}, path)

    @classmethod
    def load(cls, path: str | Path) -> VLAConfig:
        """Read a config.json.

        Raises:
            ValueError: Another format version, a key too many or too few, a value that is none.
        """
        data = read_json(path)
        version = data.pop("format_version", None)
        if version != FORMAT_VERSION:
            raise ValueError(
                f"{path} has format version {version}; this rvq-action reads {FORMAT_VERSION}. "
                "Install the version that wrote it."
            )
        missing = sorted({entry.name for entry in fields(cls)} - set(data) - set(LATER))
        if missing:
            raise ValueError(f"{path} lacks {missing}; it was not written by this version.")
        return cls.from_dict(data, str(path))


def tokenizer_shape(tokenizer: ActionTokens) -> dict[str, Any]:
    """The fields of VLAConfig that a tokenizer decides."""
    words = tokenizer.vocabulary
    return {
        "action_width": tokenizer.config.width,
        "num_slots": words.num_slots,
        "num_levels": words.num_levels,
        "codebook_size": words.codebook_size,
        "token_order": words.token_order,
    }


def _check(name: str, kind: str, value: Any) -> None:
    least = 0 if name == "committed_frames" else 1
    if kind == "int" and (type(value) is not int or value < least):
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}.")
    if kind == "float" and (not isinstance(value, float) or value <= 0):
        raise ValueError(f"{name} must be a positive number, got {value!r}.")
    if kind == "bool" and type(value) is not bool:
        raise ValueError(f"{name} must be true or false, got {value!r}.")
    if name in CHOICES and value not in get_args(CHOICES[name]):
        raise ValueError(f"{name} must be one of {get_args(CHOICES[name])}, got {value!r}.")


def _cameras(given: Any) -> dict[str, tuple[str, ...]]:
    """Checked, with tuples for lists."""
    if not isinstance(given, Mapping) or any(isinstance(names, str) for names in given.values()):
        raise ValueError(f"cameras must map each robot to a list of names, got {given!r}.")
    for robot, names in given.items():
        if len(set(names)) != len(names):
            raise ValueError(f"cameras of {robot!r} holds a name twice: {list(names)}.")
    return {robot: tuple(names) for robot, names in given.items()}
