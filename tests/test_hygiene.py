"""What every file of the project keeps to: size, and no path of anyone's machine."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("rvq_action", "tokenizer_training", "vla", "analysis")
MAX_FILE_LINES, MAX_FUNCTION_LINES = 300, 60
TEXT = {".py", ".yaml", ".toml", ".md", ".txt", ".html", ".css", ".js"}
TOP_LEVEL = (
    *("README.md", "CHANGELOG.md", "Makefile", "pyproject.toml"),
    *("constraints.txt", "constraints-lerobot.txt", "constraints-lerobot-latest.txt"),
)
ABSOLUTE_PATH = re.compile(r"(?<![\w./:*-])/(work|home|root|tmp|Users|mnt|opt|usr|var)/\w")


def python_files() -> list[Path]:
    return [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]


def text_files() -> list[Path]:
    folders = [ROOT / name for name in (*PACKAGES, "tests", "docs", ".ci")]
    inside = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    files = [f for f in inside if f.suffix in TEXT or f.parent.name == ".ci"]
    return files + [ROOT / name for name in TOP_LEVEL]


def test_files_are_short():
    sizes = {f.relative_to(ROOT).as_posix(): f.read_text().count("\n") for f in python_files()}
    assert not {name: size for name, size in sizes.items() if size > MAX_FILE_LINES}


def test_functions_are_short():
    long = []
    for file in python_files():
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    long.append(f"{file.relative_to(ROOT)}:{node.lineno} {node.name}: {lines}")
    assert not long


def test_no_file_carries_a_path_of_a_machine():
    wrong = []
    for file in text_files():
        for number, line in enumerate(file.read_text().splitlines(), 1):
            if ABSOLUTE_PATH.search(line) and not line.startswith("#!"):
                wrong.append(f"{file.relative_to(ROOT)}:{number}: {line.strip()}")
    assert not wrong
