"""The folder of a policy. No pickle is ever read.

config.json         shape of the policy, with the format version
vocabulary.json     where text ends and action tokens are
vl_expert/          a Qwen2.5-VL as transformers writes it: any program that reads one reads this
action_expert/      weights of the Action Expert and of the maps around it, safetensors
action_tokenizer/   the tokenizer whose tokens it speaks
README.md           model card
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from rvq_action.artifact.replaceable import check_replaceable
from rvq_action.housekeeping.json_file import read_json, write_json
from vla.action_tokens import ActionTokens, load_tokens
from vla.backbone import Backbone, load_backbone
from vla.config import VLAConfig
from vla.vocabulary import VLAVocabulary

CONFIG, VOCABULARY = "config.json", "vocabulary.json"
VL_EXPERT, ACTION_EXPERT, TOKENIZER = "vl_expert", "action_expert", "action_tokenizer"
CARD = "README.md"
REQUIRED = (CONFIG, VOCABULARY, VL_EXPERT, ACTION_EXPERT, TOKENIZER)
KNOWN = (*REQUIRED, CARD)
OURS = (VL_EXPERT, ACTION_EXPERT, TOKENIZER)
"""What no other model's folder holds."""
PATTERNS = (CONFIG, VOCABULARY, CARD, *(f"{n}/*" for n in (VL_EXPERT, ACTION_EXPERT, TOKENIZER)))
"""The files of a repository that holds a policy."""
OUTLINE = (CONFIG, TOKENIZER)
OUTLINE_PATTERNS = (CONFIG, f"{TOKENIZER}/*")
"""Those that say whose policy it is and what it needs, without its weights."""


@dataclass(frozen=True)
class Outline:
    """What is known of a policy before its weights are read.

    Attributes:
        config: Its shape.
        tokenizer: Of actions.
    """

    config: VLAConfig
    tokenizer: ActionTokens


@dataclass(frozen=True)
class Contents:
    """What the folder holds.

    Attributes:
        config: Shape of the policy.
        backbone: The VL Expert with its rows for action tokens, its words and pictures.
        action_weights: The weights beside it, by name.
        tokenizer: Of actions.
        vocabulary: Where its tokens are.
        backbone_weights: The VL Expert's weights, where they are not those of `backbone`.
    """

    config: VLAConfig
    backbone: Backbone
    action_weights: dict[str, Tensor]
    tokenizer: ActionTokens
    vocabulary: VLAVocabulary
    backbone_weights: dict[str, Tensor] | None = None


def save(path: Path, contents: Contents, shard_size: str) -> None:
    """Write beside the target, then swap: a reader sees the old policy or the new one.

    Raises:
        ValueError: The path is a file, or a folder that holds anything but a policy.
    """
    path = path.resolve()
    check_replaceable(path, KNOWN, OURS, "policy")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as workplace:
        new, old = Path(workplace) / "new", Path(workplace) / "old"
        _write(new, contents, shard_size)
        if path.exists():
            path.rename(old)
        try:
            new.rename(path)
        except OSError:
            if old.exists():
                old.rename(path)
            raise


def _write(path: Path, contents: Contents, shard_size: str) -> None:
    from huggingface_hub import save_torch_state_dict

    path.mkdir()
    contents.config.save(path / CONFIG)
    write_json(_vocabulary(contents.vocabulary), path / VOCABULARY)
    contents.backbone.save(path / VL_EXPERT, shard_size, contents.backbone_weights)
    (path / ACTION_EXPERT).mkdir()
    save_torch_state_dict(contents.action_weights, path / ACTION_EXPERT, max_shard_size=shard_size)
    contents.tokenizer.save_pretrained(path / TOKENIZER)
    (path / CARD).write_text(model_card(contents), encoding="utf-8")
    for file in path.rglob("*.safetensors"):  # which safetensors lets only the owner read
        file.chmod((path / CONFIG).stat().st_mode)


def model_card(contents: Contents) -> str:
    """README.md of the folder."""
    config, tokenizer = contents.config, contents.tokenizer
    robots = "\n".join(
        f"- `{name}`: {known.layout.width} channels at {known.fps:g} Hz, cameras "
        f"{', '.join(config.cameras[name]) or 'none'} ({config.image_size} x {config.image_size})"
        for name, known in tokenizer.embodiments.items()
    )
    return f"""# Vision-language-action policy

A Mixture-of-Transformers: VL Expert from `{config.backbone}`, Action Expert with a flow head, and
{tokenizer.tokens_per_chunk} action tokens per chunk at most. Robots:

{robots}

```python
from vla.policy import VLAPolicy

policy = VLAPolicy.from_pretrained("this-folder")
actions = policy.generate_flow_action(images, proprio, instruction, horizon, embodiment)  # [T, D]
```

`vl_expert/` alone is a Qwen2.5-VL as transformers reads it.
"""


def outline(path: Path) -> Outline:
    """The part of a folder that is small; strict.

    Raises:
        ValueError: It is missing, damaged, or does not fit together.
    """
    _check_parts(path, OUTLINE)
    config = VLAConfig.load(path / CONFIG)
    tokenizer = load_tokens(path / TOKENIZER)
    config.check_tokenizer(tokenizer)
    return Outline(config, tokenizer)


def load(path: Path, dtype: torch.dtype | None) -> Contents:
    """Read a folder; strict.

    Args:
        path: The folder.
        dtype: Of the VL Expert's weights; as they were saved where not given.

    Raises:
        ValueError: Something is missing, damaged, or does not fit the rest.
    """
    _check_parts(path, REQUIRED)
    known = outline(path)
    vocabulary = _read_vocabulary(path / VOCABULARY, known.config)
    weights = load_weights(path / ACTION_EXPERT)
    backbone = load_backbone(str(path / VL_EXPERT), "auto" if dtype is None else dtype)
    if backbone.language_size != vocabulary.rows:
        raise ValueError(
            f"{path / VL_EXPERT} has {backbone.language_size} rows, but {VOCABULARY} says "
            f"{vocabulary.rows}. The folder is a mixture of two; save the policy again."
        )
    return Contents(known.config, backbone, weights, known.tokenizer, vocabulary)


def _check_parts(path: Path, names: Sequence[str]) -> None:
    if missing := [name for name in names if not (path / name).exists()]:
        raise ValueError(
            f"{path} is no policy: {missing} missing. Give a folder that VLAPolicy.save_pretrained "
            "wrote."
        )


def load_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of the safetensors files in a folder.

    Raises:
        ValueError: There are none, or a file is damaged.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ValueError(f"{folder} holds no *.safetensors; copy the policy again.")
    weights: dict[str, Tensor] = {}
    for file in files:
        try:
            weights |= safetensors.torch.load_file(file)
        except SafetensorError as error:
            raise ValueError(f"{file} is damaged ({error}); copy it again.") from error
    return weights


def _vocabulary(vocabulary: VLAVocabulary) -> dict:
    """As vocabulary.json holds it: JSON types."""
    actions = {**asdict(vocabulary.actions), "table": list(vocabulary.actions.table)}
    size, proprio_id, rows = vocabulary.language_size, vocabulary.proprio_id, vocabulary.rows
    return {"language_size": size, "actions": actions, "proprio_id": proprio_id, "rows": rows}


def _read_vocabulary(path: Path, config: VLAConfig) -> VLAVocabulary:
    data = read_json(path)
    size = data.get("language_size")
    if type(size) is not int or size < 1:
        raise ValueError(f"{path}: language_size must be a whole number, got {size!r}.")
    vocabulary = VLAVocabulary.behind(size, config)
    if data != _vocabulary(vocabulary):
        raise ValueError(
            f"{path} places the action tokens elsewhere than {CONFIG} does: {data} instead of "
            f"{_vocabulary(vocabulary)}. The folder is a mixture of two; save the policy again."
        )
    return vocabulary
