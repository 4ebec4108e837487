"""The dependency law: who may import whom, and what `import rvq_action` may load."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("rvq_action", "tokenizer_training", "vla", "analysis")
PLUGIN = "vla/lerobot_policy_rvq/"

ALLOWED = {
    "rvq_action": {"rvq_action"},
    "tokenizer_training": {"tokenizer_training", "rvq_action"},
    "vla": {"vla", "rvq_action"},
    "analysis": set(PACKAGES),
}
"""The packages of ours that each package may import."""

ONLY_IN = {
    "vector_quantize_pytorch": ("rvq_action/quantizer.py",),
    "lightning": ("tokenizer_training/", "vla/training/"),
    "pytorch_lightning": (),
    "metaworld": ("vla/deploy/robots/metaworld.py",),
    "mujoco": ("vla/deploy/robots/metaworld.py", "vla/deploy/safety/kinematics.py"),
    "gymnasium": ("vla/deploy/robots/metaworld.py",),
    "lerobot": ("vla/deploy/robots/lerobot.py",),
    "matplotlib": ("analysis/",),
    "rerun": ("vla/deploy/drive/rerun_view.py",),
}
"""Third-party packages that only these files or folders may import."""

LIGHT = {
    "pyarrow": ("rvq_action/data/",),
    "av": ("rvq_action/data/",),
    "yaml": ("rvq_action/data/",),
    "transformers": ("rvq_action/processing.py",),
    "scipy": ("rvq_action/baselines/",),
    "tokenizers": ("rvq_action/baselines/",),
    "jsonargparse": (),
}
"""The same, for `rvq_action` alone."""

NOT_LOADED = [
    *("lightning", "transformers", "tokenizers", "huggingface_hub", "jsonargparse", "yaml"),
    *("pyarrow", "av", "lerobot", "mujoco", "matplotlib", "scipy", "vector_quantize_pytorch"),
]


@cache
def modules() -> dict[str, Path]:
    """Every module of the packages by its dotted name; the plugin is a host's adapter."""
    files = (f for package in PACKAGES for f in (ROOT / package).rglob("*.py"))
    files = (f for f in files if not f.relative_to(ROOT).as_posix().startswith(PLUGIN))
    return {_module_name(f.relative_to(ROOT)): f for f in files}


def _module_name(file: Path) -> str:
    parts = file.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(file: Path, for_types: bool = True) -> Iterator[str]:
    """The modules that a file imports, at whatever depth the statement stands.

    Args:
        file: A Python file.
        for_types: Count imports under `if TYPE_CHECKING:`, which nothing executes.
    """
    tree = ast.parse(file.read_text(), file.name)
    skipped = set() if for_types else {id(node) for node in _type_checking(tree)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: relative import"
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name if name in modules() else str(node.module) for name in names)


def _type_checking(tree: ast.Module) -> Iterator[ast.AST]:
    for block in ast.walk(tree):
        if isinstance(block, ast.If) and ast.unparse(block.test).endswith("TYPE_CHECKING"):
            yield from (node for statement in block.body for node in ast.walk(statement))


def every_import() -> Iterator[tuple[str, str]]:
    """Pairs of (file relative to the root, module it imports)."""
    for file in modules().values():
        path = file.relative_to(ROOT).as_posix()
        yield from ((path, name) for name in imports(file))


def test_packages_follow_the_dependency_law():
    wrong = [
        f"{path} imports {name}"
        for path, name in every_import()
        if name.split(".")[0] in PACKAGES and name.split(".")[0] not in ALLOWED[path.split("/")[0]]
    ]
    assert not wrong


def test_nobody_imports_a_command_line():
    """Only `__main__` may, so that `python -m` works: the command line of its own package."""
    wrong = [
        f"{path} imports {name}"
        for path, name in every_import()
        if name.split(".")[0] in PACKAGES and name.split(".")[-1] in {"cli", "__main__"}
        if path != name.replace(".", "/").removesuffix("cli") + "__main__.py"
    ]
    assert not wrong


@pytest.mark.parametrize("third_party", ONLY_IN)
def test_heavy_packages_stay_in_their_place(third_party):
    places = ONLY_IN[third_party]
    wrong = [
        path
        for path, name in every_import()
        if name.split(".")[0] == third_party and not path.startswith(places)
    ]
    assert not wrong, f"{third_party} belongs in {places}"


@pytest.mark.parametrize("third_party", LIGHT)
def test_the_library_imports_extras_in_their_place(third_party):
    places = LIGHT[third_party]
    wrong = [
        path
        for path, name in every_import()
        if path.startswith("rvq_action/")
        and name.split(".")[0] == third_party
        and not path.startswith(places)
    ]
    assert not wrong, f"{third_party} belongs in {places}"


def test_there_is_no_import_cycle():
    known = modules()
    graph = {m: set(imports(f, for_types=False)) & known.keys() for m, f in known.items()}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, "import cycle: " + " -> ".join((*path, name))
        if name not in done:
            for imported in graph[name] - {name}:
                visit(imported, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())
    assert done == graph.keys()


def test_importing_the_library_loads_little():
    code = "import sys; from rvq_action import *; "
    code += f"print([n for n in {NOT_LOADED!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
