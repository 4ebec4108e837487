"""The policy that a run starts from: an untrained one, or a policy that is to learn more."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import torch

from rvq_action.data.dataset import RobotDataset
from vla.action_tokens import ActionTokens, load_tokens
from vla.config import FlowObjective, ProprioForm, VLAConfig, tokenizer_shape
from vla.data.cameras import find_cameras
from vla.data.robot_source import check_robot
from vla.policy import VLAPolicy

logger = logging.getLogger(__name__)
CHANGES = ("image_size", "proprio", "flow_objective", "stop_gradient", "committed_frames")
"""Fields of VLAConfig that a run may set by itself."""


@dataclass(frozen=True)
class ShapeSettings:
    """The policy's shape; null leaves a field as the configuration, or the given policy, has it.

    Attributes:
        config: Packaged name (tiny, wall-oss) or a YAML of `VLAConfig`; not used with --policy.
        cameras: Names of the cameras, in the order in which they are read. If empty, a robot has
            those that the given policy knows it by, else those of its datasets.
        image_size: Pixels per side of a robot's pictures; only without --policy.
        proprio: The state as text, as a projected token, or both; only without --policy.
        flow_objective: Where the flow loss is taken.
        stop_gradient: Keep the flow loss out of the VL Expert.
        committed_frames: Up to how many first frames of a chunk are given away in training, so that
            the policy learns to go on from what a robot is committed to; 0 = none.
        dtype: Of the experts' weights, and so of AdamW's moments. `bfloat16` halves the memory;
            with --trainer.precision bf16-mixed weights stay float32 and only the sums are bf16.
    """

    config: str = "tiny"
    cameras: tuple[str, ...] = ()
    image_size: int | None = None
    proprio: ProprioForm | None = None
    flow_objective: FlowObjective | None = None
    stop_gradient: bool | None = None
    committed_frames: int | None = None
    dtype: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        object.__setattr__(self, "cameras", tuple(self.cameras))

    @property
    def changes(self) -> dict[str, Any]:
        """The fields of VLAConfig that are set here."""
        given = {name: getattr(self, name) for name in CHANGES}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def torch_dtype(self) -> torch.dtype:
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[self.dtype]


def start_policy(
    shape: ShapeSettings,
    tokenizer: str | None,
    policy: str | None,
    datasets: Sequence[str],
    mapping: str | None,
    seed: int,
) -> VLAPolicy:
    """Build what is to be trained.

    Args:
        shape: Of the policy.
        tokenizer: Folder or hub id; may be left out with a policy, whose own it is then.
        policy: Folder or hub id of a policy that learns more; None starts anew.
        datasets: What it will see; they say what cameras robots have.
        mapping: Of the datasets.
        seed: Of random weights.

    Raises:
        FileNotFoundError: Something that is named is not there.
        ValueError: It does not fit together; says what differs.
    """
    if not datasets:
        raise ValueError("No dataset to train on. Give --data.datasets DATASET [DATASET ...].")
    if policy is not None:
        return _continued(shape, tokenizer, policy, datasets, mapping)
    if tokenizer is None:
        raise ValueError(
            "Which action tokenizer? Give --tokenizer DIR (`rvq-train fit` makes one), or "
            "--policy DIR to go on with a policy and its own."
        )
    known = load_tokens(tokenizer)
    cameras = robot_cameras(datasets, mapping, known, shape.cameras)
    config = replace(VLAConfig.named(shape.config), **shape.changes)
    torch.manual_seed(seed)
    return VLAPolicy.start(config.for_tokenizer(known, cameras), known, shape.torch_dtype)


def robot_cameras(
    datasets: Sequence[str],
    mapping: str | None,
    tokenizer: ActionTokens,
    wanted: Sequence[str] = (),
    usual: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, tuple[str, ...]]:
    """Robot -> its cameras; a robot of the tokenizer that no dataset is of has none.

    Args:
        datasets: Folders.
        mapping: Of them.
        tokenizer: Whose robots they are of.
        wanted: Names, of whatever robot; the usual ones if empty.
        usual: Robot -> those that a policy knows it by; all that its datasets have if none.

    Raises:
        ValueError: A dataset lacks one, or two of one robot have different cameras.
    """
    cameras: dict[str, tuple[str, ...]] = {}
    usual = usual or {}
    for path in datasets:
        dataset = RobotDataset.open(path, mapping)
        check_robot(dataset, tokenizer)
        names = wanted or _usual_cameras(dataset, usual.get(dataset.embodiment, ()))
        found = tuple(find_cameras(dataset.reader, list(names) or None))
        earlier = cameras.setdefault(dataset.embodiment, found)
        if earlier != found:
            raise ValueError(
                f"{path} has the cameras {list(found)}, another dataset of "
                f"{dataset.embodiment!r} has {list(earlier)}. Name those that all have: "
                "--vla.cameras NAME [NAME ...]."
            )
    return {name: cameras.get(name, ()) for name in tokenizer.embodiments}


def _usual_cameras(dataset: RobotDataset, usual: Sequence[str]) -> Sequence[str]:
    """The cameras that a policy knows the dataset's robot by, which the dataset must have.

    Raises:
        ValueError: It lacks one.
    """
    there = find_cameras(dataset.reader)
    if missing := [name for name in usual if name not in there]:
        raise ValueError(
            f"{dataset.path} has no camera {missing}; it has {sorted(there)}. The policy has "
            f"looked through {list(usual)}: rename the dataset's features, or let it look through "
            "others from now on: --vla.cameras NAME [NAME ...]."
        )
    if usual and (unseen := [name for name in there if name not in usual]):
        logger.info(
            "%s: left out %s, which the policy has not looked through so far. To let it: "
            "--vla.cameras NAME [NAME ...].",
            *(dataset.path, unseen),
        )
    return usual


def _continued(
    shape: ShapeSettings,
    tokenizer: str | None,
    policy: str,
    datasets: Sequence[str],
    mapping: str | None,
) -> VLAPolicy:
    """A policy that goes on, for its own tokenizer or for another one of the same shape."""
    old = VLAPolicy.from_pretrained(policy, dtype=shape.torch_dtype)
    known = old.tokenizer if tokenizer is None else load_tokens(tokenizer)
    check_same_tokens(old.config, known, policy)
    fixed = sorted({"image_size", "proprio"} & set(shape.changes))
    wrong = [name for name in fixed if shape.changes[name] != getattr(old.config, name)]
    if wrong:
        raise ValueError(
            f"The policy {policy} has {wrong[0]} {getattr(old.config, wrong[0])!r}; what it sees "
            "cannot be changed afterwards. Leave the option out, or start without --policy."
        )
    kept = {name: old.config.cameras.get(name, ()) for name in known.embodiments}
    cameras = robot_cameras(datasets, mapping, known, shape.cameras, kept)
    cameras = {name: cameras[name] or kept[name] for name in cameras}
    config = replace(old.config, **shape.changes).for_tokenizer(known, cameras)
    old.model.config = config
    old.model.mot.set_stop_gradient(config.stop_gradient)
    return VLAPolicy.assemble(config, old.model, known, old.backbone, old.vocabulary)


def check_same_tokens(config: VLAConfig, tokenizer: ActionTokens, policy: str) -> None:
    """Refuse a tokenizer whose tokens or channels a trained policy has no place for.

    What must agree: channels of model space (`action_width`), slots, levels, codes and their
    order. What may differ: the robots, their statistics and cameras, and what codes mean.

    Raises:
        ValueError: Names what differs.
    """
    found = tokenizer_shape(tokenizer)
    names = [entry.name for entry in fields(config) if entry.name in found]
    differs = [
        f"{name}: {getattr(config, name)} there, {found[name]} here"
        for name in names
        if getattr(config, name) != found[name]
    ]
    if differs:
        raise ValueError(
            f"The tokenizer does not fit the policy {policy}: {'; '.join(differs)}. Channels, "
            "slots, levels and codes must agree; fit a tokenizer with those numbers, or start "
            "without --policy."
        )
