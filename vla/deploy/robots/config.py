"""A robot as data: a YAML file, the name of a packaged one, or a short word.

    metaworld:drawer-close-v3      a simulated task; #7 behind it: another start
    replay:my_dataset              its first episode; #7 behind it: that one
    my_robot.yaml                  a file of your own
    so101                          a packaged example, see configs/

```yaml
kind: lerobot                      # metaworld, replay, lerobot or remote
rate: 30                           # commands per second [Hz]; the policy's own if left out
mapping: so101                     # what its numbers mean: packaged, a file, a map; the policy's
columns: {action: [...]}           # names of a feature's numbers in order, where they come unnamed
limits: {...}                      # or a file, see limits.py; {} where anything may be told
cameras: {front: front}            # the policy's camera: the robot's; all of them if left out
lerobot: {...}                     # what only this kind has
```

Files that it names are looked for beside it. A section of its own has

    metaworld   task, seed, image_size, look_alike; `cameras` is a list of Meta-World's
    replay      dataset, episode; `cameras` is a list of the dataset's, and no rate but its own
    lerobot     robot (as LeRobot writes its configuration), modules, motors
    remote      state and time (their keys), host, port, key_variable, patience_s; `cameras` are
                {front: {key: observation/image, size: [224, 224]}}
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rvq_action.data.strict import check_keys
from rvq_action.data.yaml_file import read_yaml
from vla.deploy.robots.kinds import Defaults, MetaWorldConfig, ReplayConfig, RobotConfig
from vla.deploy.robots.protocol import Robot
from vla.deploy.robots.sections import COMMON, SECTIONS, Source

EXAMPLES = Path(__file__).parent / "configs"
WORDS = ("metaworld", "replay")
LIMITS = "what it may be told, or {} where that is anything"


def load_robot(given: str | Path, defaults: Defaults | None = None) -> Robot:
    """A robot from a file or a word; not connected yet.

    Args:
        given: See above.
        defaults: What a policy brings along, where the robot's words are silent.

    Raises:
        FileNotFoundError: There is no such file, or none of those that it names.
        ValueError: It is no robot; says why.
    """
    return read_robot(given).build(defaults or Defaults())


def read_robot(given: str | Path) -> RobotConfig:
    """The same, not built yet; errors as `load_robot`."""
    kind, is_word, rest = str(given).partition(":")
    if is_word and kind in WORDS:
        name, number = _numbered(str(given), rest)
        return MetaWorldConfig(name, number) if kind == "metaworld" else ReplayConfig(name, number)
    path = _file(given)
    return parse_robot(read_yaml(path), path)


def robot_digest(given: str | Path) -> str:
    """Equal for equal robots: of the file and those that it names, or of the word.

    Raises:
        As `load_robot`, where there is no such file.
    """
    kind, is_word, _ = str(given).partition(":")
    if is_word and kind in WORDS:
        return hashlib.sha256(str(given).encode()).hexdigest()[:16]
    path = _file(given)
    named = (path.parent / word for word in _texts(read_yaml(path)))
    files = [path, *(file for file in named if file.is_file())]
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:16]


def _texts(data: Any) -> Iterator[str]:
    """Every string of nested data."""
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict | list):
        for value in data.values() if isinstance(data, dict) else data:
            yield from _texts(value)


def _file(given: str | Path) -> Path:
    """The file of a robot that is no short word."""
    path = Path(given)
    if path.suffix not in (".yaml", ".yml"):
        known = {file.stem: file for file in sorted(EXAMPLES.glob("*.yaml"))}
        if str(given) not in known:
            raise ValueError(
                f"There is no robot {str(given)!r}: give metaworld:TASK, replay:DATASET, a YAML "
                f"file, or one of the examples {list(known)}."
            )
        path = known[str(given)]
    if not path.is_file():
        raise FileNotFoundError(f"There is no robot file {path}.")
    return path


def parse_robot(data: Any, path: Path) -> RobotConfig:
    """A robot from the dict form; the path names it in errors, and its folder holds its files."""
    kind = data.get("kind") if isinstance(data, dict) else None
    if kind not in SECTIONS:
        found = data if kind is None else kind
        raise ValueError(f"{path}: `kind` is one of {list(SECTIONS)}, got {found!r}.")
    required = {"kind": "", kind: "what only this kind has"}
    if is_real := SECTIONS[kind].is_real:
        required["limits"] = LIMITS
    optional = [*COMMON, "columns" if is_real else "limits"]
    check_keys(data, str(path), required, optional)
    return SECTIONS[kind].read(Source(data, data[kind], str(path), path.parent))


def _numbered(given: str, rest: str) -> tuple[str, int]:
    """`name#7` -> name and 7; 0 where no number is given."""
    name, is_given, number = rest.partition("#")
    if not name or (is_given and not number.isdecimal()):
        kind = given.partition(":")[0]
        raise ValueError(f"A robot is written {kind}:NAME or {kind}:NAME#7, got {given!r}.")
    return name, int(number or 0)
