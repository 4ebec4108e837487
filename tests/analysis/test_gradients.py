"""rvq-analysis gradients: what a run saw, drawn."""

from __future__ import annotations

import json

import pytest

from analysis import gradients
from analysis.cli import main


def write(folder, rows: list[dict], torn: str = ""):
    folder.mkdir()
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / gradients.FILE).write_text(text + torn)
    return folder


@pytest.fixture
def run(tmp_path):
    rows = [
        {
            "step": 100 * n,
            "norms": {"flow": 1.0, "action_ce": 0.5},
            "shares": {"flow": 0.9 - 0.1 * n, "action_ce": 0.1 + 0.1 * n},
            "cosines": {"flow~action_ce": 0.2 * n} if n else {},
        }
        for n in range(5)
    ]
    return write(tmp_path / "mine", rows, torn='{"step": 500, "no')


def test_a_run_is_read_without_its_torn_line(run):
    found = gradients.compute(run)
    assert found.steps.tolist() == [0, 100, 200, 300, 400] and found.name == "mine"
    assert gradients.medians(found) == {
        "shares": pytest.approx({"flow": 0.6, "action_ce": 0.4}),
        "cosines": pytest.approx({"flow~action_ce": 0.6}),
    }


def test_the_command_writes_figures_and_a_page(run, tmp_path, capsys):
    assert main(["gradients", "--runs", str(run), "--out", str(tmp_path / "out")]) == 0
    assert "flow~action_ce" in capsys.readouterr().out
    page = (tmp_path / "out" / "index.html").read_text()
    assert "<svg" in page and "cosine of flow and action_ce" in page and ">0.600<" in page
    assert "mine" in json.loads((tmp_path / "out" / "gradients.json").read_text())


@pytest.mark.parametrize(
    ("rows", "message"), [(None, "is missing"), ([], "holds nothing yet"), ([{}], "is damaged")]
)
def test_what_is_no_run_is_refused(tmp_path, rows, message, capsys):
    folder = tmp_path / "run" if rows is None else write(tmp_path / "run", rows)
    out = tmp_path / "out"
    assert main(["gradients", "--runs", str(folder), "--out", str(out)]) == 1
    assert message in capsys.readouterr().err and not out.exists()
