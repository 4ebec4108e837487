"""Fetching a repository of the hub, and saying in one sentence why that was not possible."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def download(
    name: str, patterns: Sequence[str], revision: str | None = None, **options: Any
) -> Path:
    """The local copy of a repository, fetched where need be.

    Args:
        name: The repository's id.
        patterns: Of the files to fetch.
        revision: Of the repository; the newest where omitted.
        options: More for the hub's client (`cache_dir`, `token` ...).

    Raises:
        ValueError: There is no such repository, or the hub cannot be reached and no copy is here:
            the end of a sentence that names the repository.
        ImportError: The hub's client is not installed.
    """
    from huggingface_hub import snapshot_download

    wanted = {"revision": revision, "allow_patterns": list(patterns), **options}
    try:
        return Path(snapshot_download(name, **wanted))
    except (OSError, ValueError) as error:
        raise ValueError(_reason(error, revision)) from error


def _reason(error: Exception, revision: str | None) -> str:
    """What went wrong, in words of ours; the client's own messages have several lines."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return "the hub keeps its files for those who were given access. Ask for it, then log in."
    if isinstance(error, errors.RepositoryNotFoundError):
        return "the hub has no repository of that name, or shows it only to those logged in."
    if isinstance(error, errors.RevisionNotFoundError):
        return f"its repository on the hub has no revision {revision!r}."
    if isinstance(error, errors.HFValidationError):
        return "it is no valid id of a repository on the hub."
    told = str(error.__cause__ or error).strip().splitlines() or [type(error).__name__]
    nowhere = isinstance(error, errors.LocalEntryNotFoundError)  # an HTTP error too, before 1.0
    if isinstance(error, errors.HfHubHTTPError) and not nowhere:
        return f"the hub refused ({told[0]})."
    return f"the hub cannot be reached ({told[0]}), nor is a copy of it in the local cache."
