"""Training that goes on from a tokenizer."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rvq_action import ActionTokenizer
from rvq_action.data import RobotDataset, Windows
from tests.synthetic import write_v3
from tests.tokenizer_training.conftest import LENGTHS, write_mapping
from tokenizer_training.export import export_checkpoint


@pytest.fixture
def known(fit_tiny):
    """A tokenizer trained on the dataset."""
    return fit_tiny(name="known") / "tokenizer"


def test_it_starts_from_the_tokenizer_and_trains_it_further(fit_tiny, known):
    folder = fit_tiny("--tokenizer", str(known), name="on")
    before, start, last = (
        ActionTokenizer.from_pretrained(path)
        for path in (known, folder / "closed_form", folder / "tokenizer")
    )
    weights = before.model.state_dict()
    for name, tensor in start.model.state_dict().items():
        assert torch.equal(weights[name], tensor), name
    assert start.embodiments.keys() == before.embodiments.keys()
    assert last.metadata["before"] == {"config": "tiny", "steps": before.metadata["steps"]}
    assert last.metadata["steps"] > 0
    assert any(not torch.equal(weights[n], t) for n, t in last.model.state_dict().items())


def test_without_steps_it_is_the_tokenizer(fit_tiny, known):
    folder = fit_tiny("--tokenizer", str(known), "--trainer.max_steps", "0", name="on")
    before, after = (ActionTokenizer.from_pretrained(p) for p in (known, folder / "tokenizer"))
    weights = before.model.state_dict()
    assert all(torch.equal(weights[n], t) for n, t in after.model.state_dict().items())
    assert "figures" in before.metadata
    assert "figures" not in after.metadata, "nothing was measured in this run"


def test_a_robot_that_is_not_among_its_own_is_refused(fit_tiny, known, tmp_path):
    other = write_v3(tmp_path / "others", LENGTHS, robot="other_arm")
    with pytest.raises(ValueError, match="'other_arm', on which the tokenizer was not fitted"):
        fit_tiny("--tokenizer", str(known), data=other)


def test_a_set_that_is_read_by_another_mapping_than_is_kept_is_refused(fit_tiny, mapped, tmp_path):
    known = fit_tiny(name="known", data=mapped) / "tokenizer"
    other = write_mapping(Path(shutil.copytree(mapped, tmp_path / "other")), scale=0.5)
    with pytest.raises(ValueError, match="mapping of 'waver' and that of other.*None -> .0.5"):
        fit_tiny("--tokenizer", str(known), name="on", data=other)
    fit_tiny("--tokenizer", str(known), name="on", data=mapped)


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--data.split_seed", "3", "holds out other episodes of waves.*--data.split_seed"),
        ("--data.seconds", "2", "last 1 s, those of this run 2 s.*--data.seconds 1"),
        ("--data.validation", "0.1", "training does not go on"),
    ],
)
def test_what_would_not_be_honest_or_alike_is_refused(fit_tiny, known, option, value, said):
    more = ("--validation.least_episodes", "3") if "validation" in option else ()
    with pytest.raises(ValueError, match=said):
        fit_tiny("--tokenizer", str(known), option, value, *more)


def test_another_tokenizer_is_another_run(fit_tiny, known):
    fit_tiny()
    with pytest.raises(ValueError, match="tokenizer"):
        fit_tiny("--tokenizer", str(known))


def test_another_tokenizer_behind_the_same_path_is_another_run(fit_tiny, known):
    words = ("--tokenizer", str(known))
    fit_tiny(*words, name="on")
    tokenizer = ActionTokenizer.from_pretrained(known)
    with torch.no_grad():
        tokenizer.model.encoder.mean.add_(0.1)
    tokenizer.save_pretrained(known)
    with pytest.raises(ValueError, match=r"contents.tokenizer: '\w+' -> '\w+'"):
        fit_tiny(*words, name="on")


def test_a_run_from_a_tokenizer_with_an_added_robot_exports_that_robot_too(
    fit_tiny, known, dataset, tmp_path
):
    tokenizer = ActionTokenizer.from_pretrained(known)
    name, robot = next(iter(tokenizer.embodiments.items()))
    seen = Windows(RobotDataset.open(dataset).episodes, 10).chunk(slice(0, 50))
    grown = tokenizer.with_embodiment("added", robot, replace(seen, embodiment="added"))
    grown.save_pretrained(tmp_path / "grown")

    folder = fit_tiny("--tokenizer", str(tmp_path / "grown"), name="on")
    exported = export_checkpoint(folder, tmp_path / "exported")
    assert [entry.fitted for entry in exported.embodiments.values()] == [True, False]
    assert list(exported.embodiments) == [name, "added"]
