"""Between LeRobot's rows and our channels: a step, and its exact inverse.

The policy takes states and actions in the channels of its layout, in physical units, absolute:
normalisation is the library's, inside the policy, with the tokenizer's statistics. LeRobot's own
normaliser stands in the pipelines because its programs address it by name; it leaves all as it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from lerobot.configs.types import PipelineFeatureType, PolicyFeature
from lerobot.processor import (
    AddBatchDimensionProcessorStep,
    DeviceProcessorStep,
    EnvTransition,
    NormalizerProcessorStep,
    PolicyAction,
    PolicyProcessorPipeline,
    ProcessorStep,
    ProcessorStepRegistry,
    RenameObservationsProcessorStep,
    TransitionKey,
    UnnormalizerProcessorStep,
)
from lerobot.processor.converters import policy_action_to_transition, transition_to_policy_action
from lerobot.utils.constants import (
    ACTION,
    OBS_STATE,
    POLICY_POSTPROCESSOR_DEFAULT_NAME,
    POLICY_PREPROCESSOR_DEFAULT_NAME,
)
from torch import Tensor

from lerobot_policy_rvq.configuration_rvq_vla import RvqVlaConfig
from lerobot_policy_rvq.tokens import find_embodiment, tokens_of
from rvq_action.data.mapping import Mapping
from rvq_action.data.rows import RowMapping

Features = dict[PipelineFeatureType, dict[str, PolicyFeature]]


class MappingStep(ProcessorStep):
    """A step that knows a robot's mapping.

    Args:
        mapping: As `Mapping.to_dict` writes it.
    """

    def __init__(self, mapping: dict[str, Any]) -> None:
        self.rows = RowMapping(Mapping.from_dict(mapping))

    def get_config(self) -> dict[str, Any]:
        """What the step is built from, for JSON."""
        return {"mapping": self.rows.mapping.to_dict()}

    def transform_features(self, features: Features) -> Features:
        """Said of LeRobot's features, which stay what they are."""
        return features


@ProcessorStepRegistry.register("rvq_rows_to_channels")
class RowsToChannels(MappingStep):
    """States and actions as the robot gives them -> the layout's channels, NaN where nothing is
    mapped."""

    def __call__(self, transition: EnvTransition) -> EnvTransition:
        new = transition.copy()
        observation = dict(new.get(TransitionKey.OBSERVATION) or {})
        if self.rows.mapping.proprio and OBS_STATE in observation:
            state = observation[OBS_STATE]
            values = self.rows.read_proprio({OBS_STATE: _array(state)})
            observation[OBS_STATE] = torch.from_numpy(values).to(state.device)
        new[TransitionKey.OBSERVATION] = observation
        action = new.get(TransitionKey.ACTION)
        if isinstance(action, Tensor):
            new[TransitionKey.ACTION] = self._actions(action)
        return new

    def _actions(self, action: Tensor) -> Tensor:
        rows, mapping = _array(action), self.rows.mapping
        flat = {ACTION: rows.reshape(-1, rows.shape[-1])}
        values, filled = mapping.read_actions(flat, self.rows.columns.__getitem__)
        values = np.where(filled, values, np.float32(np.nan))
        return torch.from_numpy(values).reshape(*rows.shape[:-1], -1).to(action.device)


@ProcessorStepRegistry.register("rvq_channels_to_rows")
class ChannelsToRows(MappingStep):
    """Actions in the layout's channels -> what the robot is commanded."""

    def __call__(self, transition: EnvTransition) -> EnvTransition:
        new = transition.copy()
        action = new.get(TransitionKey.ACTION)
        if isinstance(action, Tensor):
            written = self.rows.write_actions(_array(action))[ACTION]
            new[TransitionKey.ACTION] = torch.from_numpy(written)
        return new


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().to("cpu", torch.float32).numpy()


def make_rvq_vla_pre_post_processors(
    config: RvqVlaConfig, dataset_stats: dict[str, dict[str, Tensor]] | None = None
) -> tuple[
    PolicyProcessorPipeline[dict[str, Any], dict[str, Any]],
    PolicyProcessorPipeline[PolicyAction, PolicyAction],
]:
    """The pipelines before and behind the policy.

    Args:
        config: The policy's.
        dataset_stats: LeRobot's; not used, the statistics are the tokenizer's.

    Raises:
        ValueError: The configuration names no tokenizer, or one that does not know the robot.
    """
    tokens = tokens_of(config.action_tokenizer_name, config.base_policy)
    name = find_embodiment(tokens, config.embodiment)
    mapping = tokens.mapping(name).mapping.to_dict()
    features = {**(config.input_features or {}), **(config.output_features or {})}
    told = {"norm_map": config.normalization_mapping, "stats": dataset_stats}
    before = [
        RenameObservationsProcessorStep(rename_map={}),
        AddBatchDimensionProcessorStep(),
        RowsToChannels(mapping),
        DeviceProcessorStep(device=config.device),
        NormalizerProcessorStep(features=features, **told),
    ]
    behind = [
        UnnormalizerProcessorStep(features=config.output_features or {}, **told),
        DeviceProcessorStep(device="cpu"),
        ChannelsToRows(mapping),
    ]
    return (
        PolicyProcessorPipeline[dict[str, Any], dict[str, Any]](
            steps=before, name=POLICY_PREPROCESSOR_DEFAULT_NAME
        ),
        PolicyProcessorPipeline[PolicyAction, PolicyAction](
            steps=behind,
            name=POLICY_POSTPROCESSOR_DEFAULT_NAME,
            to_transition=policy_action_to_transition,
            to_output=transition_to_policy_action,
        ),
    )
