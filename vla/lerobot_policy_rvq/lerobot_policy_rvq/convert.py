"""`lerobot-rvq-policy`: a policy of ours as a checkpoint of LeRobot's, and back."""

from __future__ import annotations

import argparse
from pathlib import Path

from lerobot.configs.policies import PreTrainedConfig
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.utils.constants import ACTION, OBS_STATE

from lerobot_policy_rvq.configuration_rvq_vla import RvqVlaConfig
from lerobot_policy_rvq.modeling_rvq_vla import RvqVlaPolicy
from lerobot_policy_rvq.processor_rvq_vla import make_rvq_vla_pre_post_processors
from lerobot_policy_rvq.tokens import find_embodiment, tokens_of
from vla.data.cameras import PREFIX
from vla.policy import VLAPolicy
from vla.training.export import shipped_weights


def to_lerobot(policy: str, out: Path, embodiment: str | None = None) -> None:
    """Write a `pretrained_model` folder that lerobot-eval, lerobot-record and lerobot-train take.

    Args:
        policy: Folder or hub id of a policy of ours.
        out: A new folder.
        embodiment: Which of its robots; may be left out where it knows only one.

    Raises:
        ValueError: It is no policy, the folder holds something, or LeRobot cannot drive the robot.
    """
    _check_new(out)
    loaded, tokens = VLAPolicy.from_pretrained(policy), tokens_of(None, policy)
    name = find_embodiment(tokens, embodiment)
    columns = tokens.mapping(name).columns
    size = loaded.config.image_size
    inputs = {
        f"{PREFIX}{camera}": PolicyFeature(FeatureType.VISUAL, (3, size, size))
        for camera in loaded.config.cameras[name]
    }
    if OBS_STATE in columns:
        inputs[OBS_STATE] = PolicyFeature(FeatureType.STATE, (len(columns[OBS_STATE]),))
    config = RvqVlaConfig(
        base_policy=policy, embodiment=name, input_features=inputs, push_to_hub=False
    )
    if ACTION in columns:
        action = PolicyFeature(FeatureType.ACTION, (len(columns[ACTION]),))
        config.output_features = {ACTION: action}
    RvqVlaPolicy(config, policy=loaded).save_pretrained(out)
    for pipeline in make_rvq_vla_pre_post_processors(config):
        pipeline.save_pretrained(out)


def to_ours(checkpoint: Path, out: Path) -> None:
    """Write the policy of a checkpoint, adapters merged, as `VLAPolicy.from_pretrained` reads it.

    Args:
        checkpoint: A `pretrained_model` folder.
        out: A new folder.

    Raises:
        ValueError: It is no checkpoint of rvq_vla, or the folder holds something.
    """
    _check_new(out)
    if not (checkpoint / "adapter_config.json").is_file():
        RvqVlaPolicy.from_pretrained(checkpoint).policy.save_pretrained(out)
        return
    from peft import PeftConfig, PeftModel

    base = PeftConfig.from_pretrained(str(checkpoint)).base_model_name_or_path
    config = PreTrainedConfig.from_pretrained(checkpoint)
    adapted = PeftModel.from_pretrained(
        RvqVlaPolicy.from_pretrained(base, config=config), checkpoint
    )
    merged = adapted.merge_and_unload()
    merged.policy.save_pretrained(out, weights=shipped_weights(merged.model, None))


def _check_new(out: Path) -> None:
    if out.exists() and (out.is_file() or any(out.iterdir())):
        raise ValueError(f"{out} holds something. Choose a new folder; nothing was overwritten.")


def main() -> None:
    """The console script."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    there = commands.add_parser("to-lerobot", help="POLICY of ours -> pretrained_model folder")
    there.add_argument("policy", help="folder or hub id")
    there.add_argument("--embodiment", help="which of its robots, where it knows several")
    back = commands.add_parser("to-ours", help="pretrained_model folder -> policy of ours")
    back.add_argument("checkpoint", type=Path, help="pretrained_model folder; adapters are merged")
    for command in (there, back):
        command.add_argument("out", type=Path, help="a new folder")
    told = parser.parse_args()
    try:
        if told.command == "to-lerobot":
            to_lerobot(told.policy, told.out, told.embodiment)
        else:
            to_ours(told.checkpoint, told.out)
    except (ValueError, FileNotFoundError) as error:
        raise SystemExit(f"lerobot-rvq-policy: {error}") from error


if __name__ == "__main__":
    main()
