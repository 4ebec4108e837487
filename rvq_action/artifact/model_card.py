"""The README.md of an artefact: what it is, what it knows, what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rvq_action.config import TokenizerConfig
    from rvq_action.tokenizer import ActionTokenizer

USAGE = """```python
from rvq_action import ActionTokenizer

tok = ActionTokenizer.from_pretrained("path-or-hub-id")
robot = dict(proprio=proprio, embodiment="{embodiment}", fps={fps:g})
codes = tok.encode(actions, **robot)
chunk = tok.decode(codes, horizon={horizon}, **robot)
```"""
PROCESSOR = """Where FAST's processor is expected, on chunks relative to proprio and normalised:

```python
from transformers import AutoProcessor

processor = AutoProcessor.from_pretrained("path-or-hub-id", trust_remote_code=True{which})
tokens = processor(chunks)  # [B, T, D] around [-1, 1] -> list[list[int]]
chunks = processor.decode(tokens, time_horizon={horizon}, action_dim={width})
```"""
LIMITS = (
    "Actions and proprio are in the layout's units: `tok.mapping(embodiment)` converts a robot's "
    "own rows and back, `rvq-action inspect` lists channels, units and ranges. Any codes decode, "
    "each channel within its training range, relative to proprio where its delta rule says so. A "
    "robot's absolute limits are for the layer that commands it."
)


def _up_to(config: TokenizerConfig) -> str:
    """For robots that differ in their number of tokens."""
    return "Up to " if len(set(config.path_slots)) > 1 else ""


def model_card(tokenizer: ActionTokenizer) -> str:
    """Markdown with a front matter that hubs understand."""
    c = tokenizer.config
    name, first = next(iter(tokenizer.embodiments.items()))
    rows = [
        f"| {n}{'' if e.fitted else ' (added)'} | {e.layout.name} | "
        f"{e.layout.width} | {e.fps:g} | {tokenizer.vocabulary_of(n).tokens_per_chunk} |"
        for n, e in tokenizer.embodiments.items()
    ]
    figures = tokenizer.metadata.get("figures", {})
    length = f" of {tokenizer.seconds:g} s" if tokenizer.seconds else ""
    horizon = max(2, round(first.fps))
    which = f', embodiment="{name}"' if len(tokenizer.embodiments) > 1 else ""
    measured = [f"- {key}: {value}" for key, value in figures.items()]
    parts = [
        "---\nlibrary_name: rvq-action\ntags: [robotics, action-tokenizer]\n---",
        "# Residual-VQ action tokenizer",
        f"{_up_to(c)}{tokenizer.tokens_per_chunk} tokens a chunk{length} ({c.num_slots} slots × "
        f"{c.num_quantizers} levels, {c.codebook_size} codes each, "
        f"{c.token_order.replace('_', '-')}). Every prefix decodes to a coarser chunk. No image is "
        "needed to encode or decode.",
        USAGE.format(embodiment=name, fps=first.fps, horizon=horizon),
        PROCESSOR.format(which=which, horizon=horizon, width=first.layout.width),
        LIMITS,
        "| embodiment | layout | channels | Hz | tokens |\n|---|---|---|---|---|\n"
        + "\n".join(rows),
    ]
    if measured:
        parts.append("Measured on validation episodes:\n\n" + "\n".join(measured))
    return "\n\n".join(parts) + "\n"
