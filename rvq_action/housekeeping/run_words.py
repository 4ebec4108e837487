"""The arguments of a training command, as people type them -> as LightningCLI takes them.

LightningCLI knows paths of configurations, not names, and lists as one JSON word, not as several.
It takes words in turn, so that a configuration given after an option would undo it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CONFIG = ("-c", "--config")


@dataclass(frozen=True)
class RunWords:
    """The words of one command.

    Attributes:
        configs: Folder of its packaged configurations.
        lists: Its options that take several words.
    """

    configs: Path
    lists: tuple[str, ...]

    @property
    def packaged(self) -> dict[str, Path]:
        """The packaged configurations by name."""
        return {file.stem: file for file in sorted(self.configs.glob("*.yaml"))}

    def prepare(self, args: Sequence[str]) -> list[str]:
        """Resolve `--config NAME` and put it first, and gather `--data.datasets A B C`.

        Returns:
            The configurations in their order, then all other words in theirs: an option always
            wins against a configuration, wherever that stands.

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
                configs.append(f"--config={self.resolve(value if equals else words.pop(0))}")
            elif option in self.lists and not equals:
                values = []
                while words and not words[0].startswith("--"):
                    values.append(words.pop(0))
                prepared.append(f"{option}={json.dumps(values)}")
            else:
                prepared.append(word)
        return [*configs, *prepared]

    def resolve(self, name: str) -> Path:
        """The file of a configuration, given by name or path.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: No packaged configuration has that name.
        """
        packaged = self.packaged
        if name in packaged:
            return packaged[name]
        if Path(name).suffix in (".yaml", ".yml"):
            if not Path(name).is_file():
                raise FileNotFoundError(f"There is no configuration file {name}.")
            return Path(name)
        raise ValueError(
            f"No packaged configuration is called {name!r}; there are {list(packaged)}. Give one "
            "of them, or the path of a YAML file."
        )


def given_configs(words: Sequence[str]) -> list[str]:
    """The configuration files among prepared words, in order."""
    return [word.removeprefix("--config=") for word in words if word.startswith("--config=")]
