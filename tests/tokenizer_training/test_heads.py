"""The heads of the visual terms and of masked modelling: what each looks at, and what is hidden."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from rvq_action.config import TokenizerConfig
from tests.tokenizer_training.conftest import made_up
from tokenizer_training import losses
from tokenizer_training.heads import MaskedModellingHead, VisualHeads
from tokenizer_training.visual import VisualTargets

CHUNKS = 2000


@pytest.mark.parametrize(
    ("frame", "moved"),
    [
        ("first", {"chunk", "slot 0", "slot 1"}),
        ("last", {"chunk", "slot 2", "slot 3"}),
        ("following", {"next frame"}),
    ],
)
def test_every_term_looks_at_frames_of_its_own(frame, moved):
    """What was seen in one frame of every chunk changes; the other terms stay as they were."""
    config = TokenizerConfig.tiny(num_slots=4, semantic_slots=4, semantic_width=4)
    torch.manual_seed(0)
    targets, points, latents = made_up(24, 6), torch.randn(24, 4, 4), torch.randn(24, 4, 6)
    heads = VisualHeads(config, targets).eval()

    def told(targets: VisualTargets) -> dict[str, Tensor]:
        """What every term says; of a slot, where it is drawn to."""
        asked = points.clone().requires_grad_()
        heads.alignment.slot_level(asked, targets).backward()
        slots = {f"slot {number}": asked.grad[:, number] for number in range(4)}
        chunk = heads.alignment.chunk_level(points, targets)
        next_frame = heads(points, latents, targets)["next_frame"]
        return {**slots, "chunk": chunk, "next frame": next_frame}

    before = told(targets)
    after = told(replace(targets, **{frame: getattr(targets, frame).roll(1, dims=0)}))
    assert {name for name in before if not torch.equal(before[name], after[name])} == moved


def test_codes_to_guess_are_hidden_swapped_or_kept_as_often_as_stated(monkeypatch):
    """Told by whose vector a guess at the first slot follows: its own, another chunk's, or none."""
    torch.manual_seed(0)
    head = MaskedModellingHead(TokenizerConfig.tiny()).eval()
    vectors, places = torch.randn(CHUNKS, 2, 6), torch.arange(2 * CHUNKS).view(CHUNKS, 2)
    monkeypatch.setattr(losses, "masked_modelling", lambda logits, places: (logits, places))

    @torch.no_grad()
    def guesses(moved: slice) -> tuple[Tensor, Tensor]:
        """[N, V] guesses at the first slot, where it moves in some chunks; [N] their chunks."""
        shown = vectors.clone()
        shown[moved, 0] += 1
        logits, asked = head(shown, places, torch.Generator().manual_seed(0))
        return logits[asked % 2 == 0], asked[asked % 2 == 0] // 2

    before, chunk = guesses(slice(0))
    even, odd = ((guesses(slice(n, None, 2))[0] != before).any(dim=1) for n in (0, 1))
    own, others = torch.where(chunk % 2 == 0, even, odd), torch.where(chunk % 2 == 0, odd, even)
    assert len(chunk) / CHUNKS == pytest.approx(0.15, abs=0.02)
    assert not (own & others).any()
    shares = [fate.float().mean().item() for fate in (~own & ~others, others, own)]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.05)
