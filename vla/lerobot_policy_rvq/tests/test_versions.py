"""A LeRobot that nothing was tested with is announced before anything of it is missing."""

from __future__ import annotations

import re
import tomllib
import warnings
from importlib import reload
from pathlib import Path

import lerobot_policy_rvq
import pytest
from lerobot_policy_rvq import versions

FOLDER = Path(__file__).parents[1]


@pytest.mark.parametrize("found", ["0.4.3", "0.6.2", "1.0.0"])
def test_another_version_is_announced(found, monkeypatch):
    monkeypatch.setattr(versions, "version", lambda _: found)
    with pytest.warns(UserWarning, match=f"LeRobot {found} is installed.*0.4.4 and 0.6.1"):
        reload(lerobot_policy_rvq)


@pytest.mark.parametrize("found", [versions.OLDEST, "0.5.1", versions.NEWEST])
def test_nothing_is_said_of_those_between(found, monkeypatch):
    monkeypatch.setattr(versions, "version", lambda _: found)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        versions.check_version()


def test_the_oldest_is_what_the_package_asks_for():
    project = tomllib.loads((FOLDER / "pyproject.toml").read_text())["project"]
    assert f"lerobot>={versions.OLDEST}" in project["dependencies"]


def test_the_page_names_them():
    page = (FOLDER.parents[1] / "docs/lerobot.md").read_text()
    rows = re.findall(r"^\| (\d+\.\d+\.\d+) ", page, flags=re.MULTILINE)
    assert {versions.OLDEST, versions.NEWEST} <= set(rows)
