"""Which episodes of a dataset may be trained on: what a tokenizer held out stays held out."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from rvq_action.data.dataset import RobotDataset
from rvq_action.data.split import Split, split_episodes

logger = logging.getLogger(__name__)


def check_names(datasets: Sequence[RobotDataset]) -> None:
    """Refuse datasets that could not be told apart.

    Raises:
        ValueError: Two share a folder name.
    """
    names = [dataset.name for dataset in datasets]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"Datasets share the folder names {twice}, by which a tokenizer remembers what it held "
            "out. Rename a folder, or name each dataset once."
        )


def choose_split(dataset: RobotDataset, metadata: Mapping[str, Any]) -> Split:
    """The split that a tokenizer recorded, by the dataset's folder name, else that of seed 0.

    Args:
        dataset: The dataset.
        metadata: Of the tokenizer; empty without one.

    Raises:
        ValueError: The recorded split names episodes that the dataset lacks.
    """
    recorded = (metadata.get("split") or {}).get(dataset.name)
    count = dataset.reader.num_episodes
    if recorded is None:
        if metadata:
            logger.info("The tokenizer has not seen %s; a fifth is held out.", dataset.name)
        return split_episodes(count)
    split = Split.from_dict(recorded)
    last = max(split.train + split.held_out)
    if last >= count:
        raise ValueError(
            f"The tokenizer's split of {dataset.name!r} names episode {last}, but {dataset.path} "
            f"has {count}. Give the dataset that it was trained on, or another folder name."
        )
    return split
