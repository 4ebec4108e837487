"""The tokenizers under comparison, with the closed form each was trained from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.rvq_codec import artefact_name, closed_form_of
from rvq_action.data.split import Split

if TYPE_CHECKING:
    from rvq_action.tokenizer import ActionTokenizer


@dataclass(frozen=True)
class LoadedTokenizer:
    """One artefact.

    Attributes:
        name: Name of its rows.
        kind: `rvq` or `closed-form`.
        tokenizer: The artefact.
    """

    name: str
    kind: str
    tokenizer: ActionTokenizer

    @property
    def embodiments(self) -> list[str]:
        """The embodiments it has statistics for."""
        return sorted(self.tokenizer.embodiments)


def load_tokenizers(paths: Sequence[Path], closed_forms: bool = True) -> list[LoadedTokenizer]:
    """Load artefacts; a closed form in or beside each becomes `NAME-closed-form`.

    Args:
        paths: Artefact directories.
        closed_forms: Whether to look for the closed forms.

    Raises:
        ValueError: Two artefacts would share a name.
    """
    if not paths:
        return []
    from rvq_action.tokenizer import ActionTokenizer

    loaded: list[LoadedTokenizer] = []
    for path in map(Path, paths):
        name = artefact_name(path)
        tokenizer = ActionTokenizer.from_pretrained(path)
        loaded.append(LoadedTokenizer(name, "rvq", tokenizer))
        closed = closed_form_of(path) if closed_forms else None
        if closed is not None:
            tokenizer = ActionTokenizer.from_pretrained(closed)
            loaded.append(LoadedTokenizer(f"{name}-closed-form", "closed-form", tokenizer))
    names = [entry.name for entry in loaded]
    if len(set(names)) < len(names):
        raise ValueError(f"Two tokenizers share a name: {names}. Rename a directory.")
    return loaded


def splits_of(loaded: Sequence[LoadedTokenizer]) -> dict[str, Split]:
    """The split of every dataset that the tokenizers were trained on.

    Raises:
        ValueError: Two tokenizers held out different episodes of one dataset.
    """
    splits: dict[str, Split] = {}
    for entry in loaded:
        for dataset, stored in (entry.tokenizer.metadata.get("split") or {}).items():
            split = Split.from_dict(stored)
            if splits.setdefault(dataset, split) != split:
                raise ValueError(
                    f"{entry.name} held out other episodes of {dataset!r} than a tokenizer before "
                    "it, so one of them has seen what it would be judged on. Train them with one "
                    "split seed, or compare them separately."
                )
    return splits


def check_robots(found: Sequence[str], loaded: Sequence[LoadedTokenizer]) -> None:
    """Refuse to measure for long where none of the tokenizers would be in the result.

    Args:
        found: The embodiments of the datasets.
        loaded: The tokenizers.

    Raises:
        ValueError: There are tokenizers, but none knows any of the embodiments.
    """
    known = sorted({name for entry in loaded for name in entry.embodiments})
    if loaded and not set(known).intersection(found):
        raise ValueError(
            f"The tokenizers know the embodiments {known}, but the datasets are of "
            f"{sorted(set(found))}: nothing could be compared. Give datasets of the same robots, "
            "or the --mapping that the tokenizers were trained with."
        )
