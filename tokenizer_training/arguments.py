"""The arguments of `rvq-train fit`, as people type them -> as LightningCLI takes them.

LightningCLI knows paths of configurations, not names, and lists as one JSON word, not as several.
It takes words in turn, so that a configuration given after an option would undo it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

CONFIG = ("-c", "--config")
LISTS = ("--data.datasets",)


def prepare(args: Sequence[str]) -> list[str]:
    """Resolve `--config NAME` and put it first, and gather `--data.datasets A B C`.

    Returns:
        The configurations in their order, then all other words in theirs: an option always wins
        against a configuration, wherever that stands.

    Raises:
        ValueError: No packaged configuration has that name.
    """
    words = list(args)
    configs: list[str] = []
    prepared: list[str] = []
    while words:
        word = words.pop(0)
        option, equals, value = word.partition("=")
        if option in CONFIG and (equals or words):
            configs.append(f"--config={resolve_config(value if equals else words.pop(0))}")
        elif option in LISTS and not equals:
            values = []
            while words and not words[0].startswith("--"):
                values.append(words.pop(0))
            prepared.append(f"{option}={json.dumps(values)}")
        else:
            prepared.append(word)
    return [*configs, *prepared]


def packaged_configs() -> dict[str, Path]:
    """The packaged configurations by name."""
    folder = Path(str(files("tokenizer_training") / "configs"))
    return {file.stem: file for file in sorted(folder.glob("*.yaml"))}


def resolve_config(name: str) -> Path:
    """The file of a configuration, given by name or path.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: No packaged configuration has that name.
    """
    packaged = packaged_configs()
    if name in packaged:
        return packaged[name]
    if Path(name).suffix in (".yaml", ".yml"):
        if not Path(name).is_file():
            raise FileNotFoundError(f"There is no configuration file {name}.")
        return Path(name)
    raise ValueError(
        f"No packaged configuration is called {name!r}; there are {list(packaged)}. Give one of "
        "them, or the path of a YAML file."
    )
