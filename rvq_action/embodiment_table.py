"""The embodiments of a tokenizer, their rows in the embodiment table and their linear paths.

Row 0 stands for "none": the networks see it in training whenever the embodiment is dropped, and
robots that were added later use it for good. A linear path has every robot, in order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rvq_action.config import TokenizerConfig
from rvq_action.embodiment import Embodiment


def check(known: Mapping[str, Embodiment], config: TokenizerConfig) -> None:
    """Refuse embodiments that do not fit the model.

    Raises:
        ValueError: Another number of them than it was fitted on, or has linear paths for; or one
            is too wide.
    """
    fitted = sorted(name for name, entry in known.items() if entry.fitted)
    if len(fitted) != config.num_embodiments:
        raise ValueError(
            f"{len(fitted)} embodiments ({fitted}) for a model fitted on "
            f"{config.num_embodiments}. To add a robot, use `with_embodiment`, or fit on its data."
        )
    if len(known) != len(config.path_slots):
        raise ValueError(
            f"{len(known)} embodiments ({list(known)}) for {len(config.path_slots)} linear paths. "
            "To add a robot, use `with_embodiment`."
        )
    for name, entry in known.items():
        check_width(name, entry, config)


def check_width(name: str, entry: Embodiment, config: TokenizerConfig) -> None:
    """Refuse a robot with more channels than the model.

    Raises:
        ValueError: It has.
    """
    if entry.layout.width > config.width:
        raise ValueError(
            f"{name!r} has {entry.layout.width} channels, but this tokenizer takes at "
            f"most {config.width}. Fit one on that robot's data."
        )


def row(known: Mapping[str, Embodiment], name: str) -> int:
    """The row of an embodiment in the table; 0 = none."""
    if not known[name].fitted:
        return 0
    return 1 + [other for other, entry in known.items() if entry.fitted].index(name)


def path_number(known: Mapping[str, Embodiment], name: str) -> int:
    """The number of an embodiment's linear path."""
    return list(known).index(name)


def added(known: Mapping[str, Embodiment], name: str, new: Embodiment) -> dict[str, Embodiment]:
    """The embodiments and one more, which the model was not fitted on.

    Raises:
        ValueError: The name is taken.
    """
    if name in known:
        raise ValueError(
            f"This tokenizer knows an embodiment {name!r} already. Give the new robot another name."
        )
    return {**known, name: replace(new, fitted=False)}
