"""Training and teachers on a GPU."""

from __future__ import annotations

import pytest
import torch

from rvq_action import ActionTokenizer
from tests.tokenizer_training.features.conftest import networks
from tests.tokenizer_training.features.networks import WIDTH
from tokenizer_training.cli import main
from tokenizer_training.export import read_checkpoint
from tokenizer_training.features.cache import FeatureCache
from tokenizer_training.module import TokenizerModule

__all__ = ["networks"]

pytestmark = pytest.mark.cuda
GPU = ("--trainer.accelerator", "gpu")


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_run_trains_there_and_leaves_a_tokenizer_for_the_cpu(fit_tiny, precision):
    folder = fit_tiny(*GPU, "--trainer.precision", precision)
    tokenizer = ActionTokenizer.from_pretrained(folder / "tokenizer")
    assert tokenizer.device.type == "cpu"
    trained = read_checkpoint(folder / "checkpoints" / "last.ckpt").model.state_dict()
    assert all(torch.isfinite(t).all() for t in trained.values() if t.is_floating_point())


def test_a_run_that_was_cut_off_goes_on_there(fit_tiny, monkeypatch):
    """To the end that it would have had in one go, but for the order of sums."""
    straight = fit_tiny(*GPU, name="straight")
    step = TokenizerModule.training_step

    def cut(self, batch, batch_idx):
        if self.global_step == 6:
            raise RuntimeError("no power")
        return step(self, batch, batch_idx)

    monkeypatch.setattr(TokenizerModule, "training_step", cut)
    with pytest.raises(RuntimeError, match="no power"):
        fit_tiny(*GPU, name="resumed")
    monkeypatch.undo()
    resumed = fit_tiny(*GPU, name="resumed")
    ends = [read_checkpoint(f / "checkpoints" / "last.ckpt") for f in (straight, resumed)]
    assert [end.metadata["steps"] for end in ends] == [8, 8]
    one, other = (end.model.state_dict() for end in ends)
    for name, weight in one.items():
        torch.testing.assert_close(other[name], weight, atol=1e-4, rtol=1e-3, msg=name)


def test_all_terms_train_there(fit_tiny, seen):
    data, cache = seen
    options = ("--data.features", str(cache), "--config", "aligned")
    small = ("--closed_form.num_quantizers", "2", "--closed_form.codebook_size", "16")
    short = ("--trainer.max_steps", "4", "--trainer.enable_progress_bar", "false")
    folder = fit_tiny(*options, *small, *short, *GPU, data=data)
    assert (folder / "COMPLETE").is_file()


@pytest.mark.parametrize("name", ["dinov2", "siglip", "qwen"])
def test_teachers_see_in_bfloat16(networks, seen, tmp_path, name):
    data, _ = seen
    cache = tmp_path / name
    teacher = "qwen2_5_vl" if name == "qwen" else "vision"
    words = ["features", "--teacher", teacher, "--model", str(networks[name])]
    words += ["--data.datasets", str(data), "--out", str(cache)]
    assert main([*words, "--device", "cuda"]) == 0
    assert FeatureCache.open(cache).teacher.width == WIDTH
