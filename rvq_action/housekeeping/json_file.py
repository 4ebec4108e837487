"""Reading the JSON files of an artefact: a clear error for whatever is not one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_json(path: str | Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        ValueError: It is no JSON, or no object; names the file.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}); export it again.") from error
    if not isinstance(data, dict):
        raise ValueError(
            f"{path} must hold a JSON object, not a {type(data).__name__}; export it again."
        )
    return data


def write_json(data: dict[str, Any], path: str | Path) -> None:
    """Write an object so that `read_json` gives it back.

    Raises:
        ValueError: It holds something JSON has no type for; names the file.
    """
    try:
        text = json.dumps(data, indent=2)
    except TypeError as error:
        raise ValueError(f"{Path(path).name} takes JSON types only: {error}.") from error
    Path(path).write_text(text + "\n", encoding="utf-8")
