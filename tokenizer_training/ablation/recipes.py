"""What an ablation trains: recipes, each of them the few lines in which it differs.

A recipe is a YAML file that lies on top of `aligned` (the plain one on top of `base`). Four levels
and 1024 codes are those of `full`, so that no recipe stands for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

FULL, PLAIN = "full", "plain_rvq"
PARENT, PARENT_OF_PLAIN = "aligned", "base"
TEACHER = "teacher_"
"""What the names of recipes with another teacher begin with."""
ORDER = (FULL, PLAIN, "no_", "shuffled_", "levels_", "codebook_")
"""Beginnings of names, as tables go through them."""


@dataclass(frozen=True)
class Recipe:
    """One thing that is tried.

    Attributes:
        name: Of its rows.
        file: The lines that differ from the parent.
        cache: Features to train with; None for the plain recipe, which knows no pictures.
        teacher: Name given to the cache, where that is what differs.
    """

    name: str
    file: Path
    cache: Path | None
    teacher: str | None = None

    @property
    def parent(self) -> str:
        """The packaged configuration that it lies on top of."""
        return PARENT_OF_PLAIN if self.name == PLAIN else PARENT

    def differs(self) -> dict[str, Any]:
        """The options that differ from the parent's, by dotted name.

        Raises:
            ValueError: The file is no YAML mapping.
        """
        try:
            lines = yaml.safe_load(self.file.read_text(encoding="utf-8")) or {}
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ValueError(f"{self.file} is no valid YAML: {error}") from error
        if not isinstance(lines, dict):
            raise ValueError(f"{self.file} must hold options of `rvq-train fit`, not {lines!r}.")
        return dict(_dotted(lines)) | ({"teacher": self.teacher} if self.teacher else {})


def packaged_recipes() -> dict[str, Path]:
    """The packaged recipes by name: the full one first, the plain one second."""
    folder = Path(str(files("tokenizer_training") / "configs" / "ablation"))
    found = sorted(folder.glob("*.yaml"))
    return {f.stem: f for start in ORDER for f in found if f.stem.startswith(start)}


def choose(names: Sequence[str] | None, features: Sequence[str]) -> list[Recipe]:
    """The recipes asked for.

    Args:
        names: Packaged recipes, YAML files, or `teacher_NAME`; None for all that are known.
        features: `CACHE`, and `NAME=CACHE` for every other teacher to try.

    Raises:
        FileNotFoundError: A YAML file is missing.
        ValueError: A recipe is unknown or comes twice, or the caches are not one plain one and
            named ones.
    """
    cache, teachers = _caches(features)
    packaged = packaged_recipes()
    known = {name: Recipe(name, file, cache) for name, file in packaged.items()}
    known[PLAIN] = Recipe(PLAIN, packaged[PLAIN], None)
    for name, other in teachers.items():
        known[TEACHER + name] = Recipe(TEACHER + name, packaged[FULL], other, name)
    chosen = [_find(name, known, cache) for name in names or known]
    twice = sorted({r.name for r in chosen if [c.name for c in chosen].count(r.name) > 1})
    if twice:
        raise ValueError(f"The recipes {twice} come twice. Name each once.")
    return chosen


def _find(name: str, known: dict[str, Recipe], cache: Path) -> Recipe:
    if name in known:
        return known[name]
    file = Path(name)
    if file.suffix not in (".yaml", ".yml"):
        raise ValueError(
            f"No recipe is called {name!r}; there are {list(known)}. Give some of them, or paths "
            "of YAML files. A recipe teacher_NAME needs --features CACHE NAME=CACHE."
        )
    if not file.is_file():
        raise FileNotFoundError(f"There is no recipe {file}.")
    return Recipe(file.stem, file, cache)


def _caches(features: Sequence[str]) -> tuple[Path, dict[str, Path]]:
    """The cache of all recipes, and those of other teachers by name."""
    plain = [words for words in features if "=" not in words]
    named = [words.partition("=") for words in features if "=" in words]
    others = {name: Path(path) for name, _, path in named}
    if len(plain) != 1 or len(others) < len(named):
        raise ValueError(
            "Give one cache for all recipes, and every other teacher's under a name of its own: "
            f"--features CACHE [NAME=CACHE ...], not {' '.join(features)}."
        )
    return Path(plain[0]), others


def _dotted(lines: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in lines.items():
        if isinstance(value, dict) and value:
            yield from _dotted(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value
