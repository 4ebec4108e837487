"""Training that goes on from a tokenizer: pretrain on many sets, then go on with one's own.

The tokenizer's slots, levels, linear paths and statistics stay as they are: what its tokens are
about does not change, only how well codebooks and networks serve the recordings at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rvq_action.data.mapping import Mapping
from rvq_action.tokenizer import ActionTokenizer
from tokenizer_training.sources import Source, read_unlike


def going_on(
    tokenizer: ActionTokenizer, sources: Sequence[Source], metadata: dict[str, Any]
) -> ActionTokenizer:
    """The tokenizer as the start of a run on datasets of robots that it was fitted on.

    Args:
        tokenizer: Trained or not.
        sources: What is trained on now.
        metadata: Of the run; the tokenizer's own stays where this says nothing, but for its
            figures: they are of another run's validation episodes.

    Raises:
        ValueError: A robot is unknown or read in another way, chunks have another duration, or
            the run would train on episodes that the tokenizer holds out, or the other way round.
    """
    for source in sources:
        _check_robot(tokenizer, source)
        _check_split(tokenizer, source)
    known = {name: entry for name, entry in tokenizer.metadata.items() if name != "figures"}
    if known.get("seconds") not in (None, metadata["seconds"]):
        raise ValueError(
            f"The tokenizer's chunks last {known['seconds']:g} s, those of this run "
            f"{metadata['seconds']:g} s. Give --data.seconds {known['seconds']:g}."
        )
    together = {name: {**known.get(name, {}), **metadata[name]} for name in ("split", "features")}
    before = {name: known.get(name) for name in ("config", "steps")}
    return replace(tokenizer, metadata={**known, **metadata, **together, "before": before})


def _check_robot(tokenizer: ActionTokenizer, source: Source) -> None:
    dataset = source.dataset
    name, known = dataset.embodiment, tokenizer.embodiments.get(dataset.embodiment)
    if known is None or not known.fitted:
        fitted = [n for n, entry in tokenizer.embodiments.items() if entry.fitted]
        raise ValueError(
            f"{source.name} is of the robot {name!r}, on which the tokenizer was not fitted (on "
            f"{fitted}). Fit a joint one first: rvq-train fit --data.datasets with this set, too; "
            "or give the --mapping that it was fitted with, if it is the same robot."
        )
    if (known.layout, known.fps) != (dataset.layout, dataset.fps):
        raise ValueError(
            f"The tokenizer reads {name!r} as {known.layout.names} at {known.fps:g} Hz, but "
            f"{source.name} holds {dataset.layout.names} at {dataset.fps:g} Hz. Give the --mapping "
            "that the tokenizer was fitted with."
        )
    if known.mapping is None:
        return
    stored = Mapping.from_dict(known.mapping, f"the tokenizer's mapping of {name!r}")
    if unlike := read_unlike(stored, dataset.mapping):
        raise ValueError(
            f"The tokenizer's mapping of {name!r} and that of {source.name} read numbers in "
            f"different ways ({unlike}), and the tokenizer keeps its own. Give the "
            "--mapping that it was fitted with; where the numbers are others, give the set another "
            "`embodiment` and fit a joint tokenizer."
        )


def _check_split(tokenizer: ActionTokenizer, source: Source) -> None:
    before = tokenizer.metadata.get("split", {}).get(source.name)
    if before is not None and set(before["held_out"]) != set(source.split.held_out):
        raise ValueError(
            f"The tokenizer holds out other episodes of {source.name} than this run would, so that "
            "nothing honest could be measured afterwards. Give --data.split_seed and "
            "--data.held_out as they were for the tokenizer."
        )
