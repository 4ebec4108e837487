"""Our tokenizer inside LeRobot: its preprocessing step, `pi0_fast`, and its training command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from lerobot.configs.types import NormalizationMode
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from lerobot.policies.pi0_fast.modeling_pi0_fast import PI0FastPolicy
from lerobot.processor.tokenizer_processor import ActionTokenizerProcessorStep
from lerobot.scripts.lerobot_train_tokenizer import TokenizerTrainingConfig, apply_normalization
from lerobot.utils.constants import ACTION_TOKEN_MASK, ACTION_TOKENS
from lerobot_policy_rvq.train_tokenizer import train_tokenizer
from transformers import AutoProcessor

from rvq_action import ActionTokenizer
from rvq_action.processing import RvqActionProcessor
from tests.rvq_action.robots import ARM, arm_chunk, fit, normalized
from tests.rvq_action.test_hosts import SIZE, SKIP, PaliGemma
from vla.lerobot_policy_rvq.tests.versions import RELATIVE

HORIZON, WIDTH = 20, 4
MAKE_RELATIVE, DIMS, DIM_LIST = RELATIVE


@pytest.fixture(scope="module")
def tokenizer() -> ActionTokenizer:
    return fit({"arm": (ARM, arm_chunk(512))})


@pytest.fixture(scope="module")
def folder(tokenizer: ActionTokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("artefact") / "tokenizer"
    RvqActionProcessor(tokenizer, time_horizon=HORIZON).save_pretrained(path)
    return path


@pytest.fixture
def step(folder: Path, monkeypatch: pytest.MonkeyPatch) -> ActionTokenizerProcessorStep:
    """LeRobot's own step with our folder; PaliGemma's vocabulary is not to be had offline."""
    module = "lerobot.processor.tokenizer_processor.AutoTokenizer.from_pretrained"
    monkeypatch.setattr(module, lambda *_, **__: PaliGemma())
    return ActionTokenizerProcessorStep(action_tokenizer_name=str(folder), max_action_tokens=64)


def pi0_fast(folder: Path) -> PI0FastPolicy:
    """LeRobot's policy as far as decoding goes: its class and methods, without its weights."""
    policy = PI0FastPolicy.__new__(PI0FastPolicy)
    torch.nn.Module.__init__(policy)
    policy.action_tokenizer = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
    policy._paligemma_tokenizer = PaliGemma()
    settings = {"fast_skip_tokens": SKIP, "validate_action_token_prefix": True}
    policy.config = type("Config", (), settings)()
    return policy


def chunks(tokenizer: ActionTokenizer, count: int = 24) -> torch.Tensor:
    return normalized(tokenizer, arm_chunk(count, seed=7))


def test_lerobots_step_writes_our_tokens(step, tokenizer):
    action = chunks(tokenizer, 6)
    told = step({"action": action, "observation": None})["complementary_data"]
    ids, mask = told[ACTION_TOKENS], told[ACTION_TOKEN_MASK]
    words, lengths = tokenizer.vocabulary.at_end(SIZE, SKIP), mask.sum(1).tolist()
    written = [row[4 : n - 2].tolist() for row, n in zip(ids, lengths, strict=True)]
    ours = AutoProcessor.from_pretrained(step.action_tokenizer_name, trust_remote_code=True)
    assert written == words.to_sequences(tokenizer.vocabulary.to_codes(ours(action)))
    assert step.get_config()["action_tokenizer_name"] == step.action_tokenizer_name


def test_pi0_fast_decodes_what_we_decode(folder, tokenizer):
    policy = pi0_fast(folder)
    tokens = policy.action_tokenizer(chunks(tokenizer))
    through = policy.decode_actions_with_fast(tokens, HORIZON, WIDTH)
    ours = policy.action_tokenizer.decode(tokens)
    assert np.abs(through - ours).max() < 1e-3


def test_pi0_fast_reads_back_what_the_step_wrote(step, folder, tokenizer):
    action = chunks(tokenizer)
    ids = step({"action": action, "observation": None})["complementary_data"][ACTION_TOKENS]
    policy = pi0_fast(folder)
    back = policy.detokenize_actions(ids[:, 1:], HORIZON, WIDTH).numpy()
    ours = policy.action_tokenizer.decode(policy.action_tokenizer(action))
    assert np.abs(back - ours).max() < 1e-3


def test_pi0_fast_decodes_whatever_its_model_says(folder):
    policy = pi0_fast(folder)
    rng = np.random.default_rng(0)
    tokens = [rng.integers(0, SIZE, n).tolist() for n in range(40)]
    through = policy.decode_actions_with_fast(tokens, HORIZON, WIDTH)
    ours = policy.action_tokenizer.decode(tokens, time_horizon=HORIZON)
    assert np.abs(through - ours).max() < 1e-3


FLAGS = (
    *("--action_horizon=10", "--sample_fraction=1.0", "--encoded_dims=0:3"),
    *(f"--{MAKE_RELATIVE}=true", f"--{DIMS}=0,1", "--vocab_size=1024"),
)


@pytest.fixture(scope="module")
def trained(run, small_set, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "tokenizer"
    place = f"--repo_id=local/small --root={small_set} --output_dir={out}".split()
    run("lerobot-train-rvq-tokenizer", *place, *FLAGS)
    return out


def test_the_training_command_keeps_lerobots_account(trained):
    told = json.loads((trained / "metadata.json").read_text())
    assert told["repo_id"] == "local/small" and told[DIM_LIST] == [0, 1]
    assert told["total_encoded_dims"] == 3 and told["action_horizon"] == 10
    assert told["normalization_mode"] == "QUANTILES" and told[MAKE_RELATIVE] is True
    assert told["num_training_chunks"] == 89 - 3 * 9
    stats = told["compression_stats"]
    assert stats["mean_token_length"] * stats["compression_ratio"] == pytest.approx(30)
    assert told["seconds"] == 1.0


def test_what_the_command_trained_codes_relative_chunks(trained, small_set):
    """Chunks as LeRobot hands them over: relative to the state, normalised by its statistics."""
    data = LeRobotDataset("local/small", root=small_set)
    rows = data.hf_dataset.with_format("numpy")[:]
    action, state = np.stack(rows["action"]), np.stack(rows["observation.state"])
    relative = np.stack([action[i : i + 10] - state[i] * [1, 1, 0] for i in range(0, 20)])
    given = apply_normalization(relative, data.meta.stats["action"], NormalizationMode.QUANTILES)
    processor = AutoProcessor.from_pretrained(trained, trust_remote_code=True)
    tokens = processor(given)
    assert max(map(max, tokens)) < processor.vocab_size <= 1024
    error = np.mean((processor.decode(tokens) - given) ** 2)
    assert error < 0.05 * np.mean(given**2)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"action_horizon": 1}, "2..128|2 to 128"),
        ({MAKE_RELATIVE: True}, f"--{DIMS}"),
        ({"vocab_size": 3, "encoded_dims": "0:3"}, "vocab"),
    ],
)
def test_flags_that_cannot_be_used_are_named(small_set, tmp_path, flags, named):
    place = {"repo_id": "local/small", "root": str(small_set), "output_dir": str(tmp_path / "out")}
    with pytest.raises(ValueError, match=named):
        train_tokenizer(TokenizerTrainingConfig(**place, **flags))
    assert not (tmp_path / "out").exists()


def test_a_folder_with_something_in_it_is_left_alone(small_set, trained):
    place = {"repo_id": "local/small", "root": str(small_set), "output_dir": str(trained)}
    with pytest.raises(ValueError, match="not empty"):
        train_tokenizer(TokenizerTrainingConfig(**place))
