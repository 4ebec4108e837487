"""Reading YAML files that people write by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def read_yaml(path: str | Path) -> Any:
    """What a YAML file holds.

    Raises:
        FileNotFoundError: The file is not there.
        ValueError: It is no YAML; names the line and what is wrong with it.
    """
    import yaml

    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f" in line {mark.line + 1}" if mark else ""
        problem = error.problem or error.context
        raise ValueError(f"{path} is no valid YAML: {problem}{place}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} is no valid YAML: {reason}") from error
