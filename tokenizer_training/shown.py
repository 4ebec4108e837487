"""What a run reads of its datasets' features: narrow ones as they are, of wide ones what leads."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from tokenizer_training.export import load_checkpoint
from tokenizer_training.features.cache import DatasetFeatures
from tokenizer_training.features.narrow import Features, NarrowFeatures, Narrowing, is_wide
from tokenizer_training.heads import key
from tokenizer_training.sources import Source
from tokenizer_training.start import fitted_targets

logger = logging.getLogger(__name__)


def shown_features(
    sources: Sequence[Source], features: Mapping[str, DatasetFeatures], checkpoint: Path | None
) -> dict[str, Features]:
    """The features of each dataset that has some; wide ones are narrowed here, once.

    Processes of one run fit components of their own: equal ones, as equal processors round alike.

    Args:
        sources: The datasets.
        features: As they are in the cache, by dataset.
        checkpoint: What the run goes on from, if anything: it reads the same components again.

    Raises:
        ValueError: The cache or the checkpoint is damaged.
    """
    shown: dict[str, Features] = dict(features)
    wide = [s for s in sources if s.name in features and is_wide(features[s.name])]
    weights = load_checkpoint(checkpoint)["state_dict"] if checkpoint and wide else None
    for source in wide:
        name, seen = source.name, features[source.name]
        narrowing = fit_narrowing(source, seen) if weights is None else kept(weights, name)
        logger.info(
            "Narrowing the features of %s, %d frames, to their %d leading components.",
            *(name, seen.num_rows, narrowing.width),
        )
        shown[name] = NarrowFeatures(seen, narrowing)
    return shown


def narrowings(shown: Mapping[str, Features]) -> dict[str, Narrowing]:
    """By what features were narrowed, for those that were."""
    return {n: seen.narrowing for n, seen in shown.items() if isinstance(seen, NarrowFeatures)}


def fit_narrowing(source: Source, features: DatasetFeatures) -> Narrowing:
    """To the components that lead at the first and last frames of fitted windows."""
    targets = fitted_targets(source, features)
    return Narrowing.fitted(torch.cat([targets.first[targets.seen], targets.last[targets.seen]]))


def kept(weights: Mapping[str, Tensor], name: str) -> Narrowing:
    """The narrowing of a dataset that a checkpoint keeps.

    Raises:
        ValueError: It keeps none.
    """
    prefix = f"heads.{key(name)}.narrowing."
    try:
        return Narrowing(weights[prefix + "mean"], weights[prefix + "directions"])
    except KeyError as error:
        raise ValueError(
            f"The run's checkpoint does not say by which components of its features {name} is read "
            f"(it lacks {error}), so the run cannot go on. Start it afresh: --resume never."
        ) from error
