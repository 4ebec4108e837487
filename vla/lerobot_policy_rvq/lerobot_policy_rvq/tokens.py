"""The action tokenizer that a configuration names, and which of its robots it is for."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from rvq_action.artifact.directory import locate
from vla import artifact
from vla.action_tokens import ActionTokens, load_tokens


@lru_cache(maxsize=2)
def tokens_of(tokenizer: str | None, policy: str | None) -> ActionTokens:
    """Load a tokenizer, or that of a policy of ours.

    Args:
        tokenizer: Folder or hub id.
        policy: The same, of a policy.

    Raises:
        ValueError: It is neither, or damaged: a file or a statistic is missing.
    """
    if policy is not None:
        return load_tokens(locate(policy, None, artifact.PATTERNS) / artifact.TOKENIZER)
    if tokenizer is None:
        raise ValueError(
            "Which action tokenizer? Give --policy.action_tokenizer_name=DIR (`rvq-train fit` "
            "makes one), or --policy.base_policy=DIR to go on with a policy and its own."
        )
    return load_tokens(Path(tokenizer) if Path(tokenizer).is_dir() else tokenizer)


def find_embodiment(tokens: ActionTokens, name: str | None, robot_type: str | None = None) -> str:
    """The robot that is meant.

    Args:
        tokens: The tokenizer.
        name: As it was given.
        robot_type: Of the dataset.

    Raises:
        ValueError: The tokenizer has no statistics of it, or knows several and none was named.
    """
    known = sorted(tokens.embodiments)
    if name is not None and name not in known:
        raise ValueError(
            f"The action tokenizer has no statistics of the robot {name!r}; it knows {known}. "
            "Train it on a dataset of that robot, or give another --policy.embodiment."
        )
    if name is not None:
        return name
    if robot_type in known:
        return str(robot_type)
    if len(known) > 1:
        raise ValueError(f"Which robot is this? Give --policy.embodiment, one of {known}.")
    return known[0]
