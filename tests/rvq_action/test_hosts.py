"""Where FAST's processor is used today ours works too: the hosts' own arithmetic, stated anew.

*openpi* (`FASTTokenizer`) and *LeRobot 0.4.4* (`ActionTokenizerProcessorStep`, `pi0_fast`) write
action token i as PaliGemma's id `vocab_size - 1 - 128 - i`, between "Action: " and "|". openpi
calls the processor to decode; LeRobot decodes FAST's text by hand.
"""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from scipy.fft import idct

from rvq_action import ActionTokenizer
from tests.rvq_action.robots import arm_chunk, normalized

pytest.importorskip("transformers")

from rvq_action.processing import RvqActionProcessor  # noqa: E402

SIZE, SKIP = 257_152, 128
BOS, EOS = 2, 1


class PaliGemma:
    """Text <-> ids as far as the hosts go: a few pieces by name, all other ids as `<id>`."""

    vocab_size = SIZE
    bos_token_id = BOS
    pieces = {"Action": 10, ":": 11, " ": 12, "|": 13}

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        found = re.findall(r"<(\d+)>|(Action|:| |\|)", text)
        ids = [int(number) if number else self.pieces[piece] for number, piece in found]
        return ids + [EOS] * add_special_tokens

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        names = {number: piece for piece, number in self.pieces.items()}
        return [names.get(i, f"<{i}>") for i in ids]

    def convert_tokens_to_ids(self, tokens: list[str]) -> list[int]:
        return [i for token in tokens for i in self.encode(token, add_special_tokens=False)]

    def decode(self, ids: list[int]) -> str:
        return "".join(self.convert_ids_to_tokens(ids))


def chunks(tokenizer: ActionTokenizer, count: int) -> np.ndarray:
    return normalized(tokenizer, arm_chunk(count, seed=7)).numpy()


@pytest.fixture
def arm(one_arm) -> ActionTokenizer:
    return one_arm


@pytest.fixture(params=[None, 0.05])
def processor(request, arm) -> RvqActionProcessor:
    """With sequences of one length and of several."""
    return RvqActionProcessor(arm, time_horizon=20, tolerance=request.param)


# openpi


def openpi_postfix(processor: RvqActionProcessor, actions: np.ndarray) -> list[int]:
    """What openpi appends to the prompt for one chunk [T, D]."""
    text = PaliGemma()
    tokens = np.array(processor(actions[None])[0])
    placed = SIZE - 1 - SKIP - tokens
    head = text.encode("Action: ", add_special_tokens=False)
    return [*head, *placed.tolist(), *text.encode("|")]


def openpi_extract(processor: RvqActionProcessor, ids: np.ndarray, horizon: int, dim: int):
    """What openpi makes of the ids that its model sampled."""
    text = PaliGemma()
    decoded = text.decode(ids.tolist())
    if "Action: " not in decoded:
        return np.zeros((horizon, dim), dtype=np.float32)
    inner = decoded.split("Action: ")[1].split("|")[0].strip()
    raw = np.array(text.encode(inner, add_special_tokens=False), dtype=np.int64)
    tokens = SIZE - 1 - SKIP - raw
    return processor.decode([tokens.tolist()], time_horizon=horizon, action_dim=dim)[0]


def test_openpi_writes_and_reads_our_tokens(processor, arm):
    given = chunks(arm, 8)
    for chunk in given:
        ids = np.array(openpi_postfix(processor, chunk))
        back = openpi_extract(processor, ids, 20, 4)
        assert np.array_equal(back, processor.decode(processor(chunk))[0])
        assert np.mean((back - chunk) ** 2) < 0.2 * max(np.mean(chunk**2), 0.5)
        assert not processor.flags.repaired.any()


def test_openpi_reads_whatever_its_model_sampled(processor, arm):
    ids = openpi_postfix(processor, chunks(arm, 1)[0])
    rng = np.random.default_rng(0)
    for _ in range(50):
        spoiled = np.array(ids)
        where = rng.integers(3, len(ids), 3)
        spoiled[where] = rng.integers(0, SIZE, 3)
        assert np.isfinite(openpi_extract(processor, spoiled, 20, 4)).all()
    empty = np.array([*ids[:3], *PaliGemma().encode("|")])
    held = openpi_extract(processor, empty, 20, 4)
    assert np.array_equal(held, processor.decode([[]])[0]) and processor.flags.held.all()


def test_our_vocabulary_at_the_end_is_openpis(processor, arm):
    words = arm.vocabulary.at_end(SIZE, SKIP)
    for chunk in chunks(arm, 4):
        ids = openpi_postfix(processor, chunk)[3:-2]
        assert torch.equal(words.to_codes([ids]), arm.vocabulary.to_codes(processor(chunk)))


# LeRobot 0.4.4


def lerobot_tokens(
    processor: RvqActionProcessor, action: torch.Tensor, most: int = 64
) -> tuple[torch.Tensor, torch.Tensor]:
    """Padded ids [B, most] and their mask, as the preprocessing step makes them of [B, T, D]."""
    text, rows, masks = PaliGemma(), [], []
    for index in range(len(action)):
        answer = processor(action[index : index + 1].cpu())
        tokens = torch.tensor(answer, dtype=torch.long).flatten()
        parts = [
            torch.tensor([BOS]),
            torch.tensor(text.encode("Action: ", add_special_tokens=False)),
            text.vocab_size - 1 - SKIP - tokens,
            torch.tensor(text.encode("|")),
        ]
        ids = torch.cat(parts)
        assert len(ids) <= most
        masks.append(torch.arange(most) < len(ids))
        rows.append(torch.nn.functional.pad(ids, (0, most - len(ids))))
    return torch.stack(rows), torch.stack(masks)


def lerobot_actions(processor, ids: torch.Tensor, horizon: int, dim: int) -> np.ndarray:
    """What `pi0_fast` makes of sampled ids [B, n], FAST's own text decoded by hand."""
    text = PaliGemma()
    head = text.convert_ids_to_tokens(text.encode("Action: ", add_special_tokens=False))
    chunks = []
    for row in ids:
        pieces = text.convert_ids_to_tokens(row.tolist())
        pieces = pieces[: pieces.index("|")] if "|" in pieces else pieces
        if pieces[:3] == head:
            pieces = pieces[3:]
        raw = torch.tensor(text.convert_tokens_to_ids(pieces), dtype=torch.long)
        tokens = text.vocab_size - 1 - SKIP - raw
        spelled = processor.bpe_tokenizer.decode(tokens)
        components = np.array([ord(c) for c in spelled]) + processor.min_token
        components = components[: horizon * dim]
        components = np.pad(components, (0, horizon * dim - len(components)))
        components = components.reshape(horizon, dim) / processor.scale
        chunks.append(idct(components, axis=0, norm="ortho"))
    return np.stack(chunks)


def test_lerobots_step_takes_our_processor(processor, arm):
    action = torch.from_numpy(chunks(arm, 6))
    ids, mask = lerobot_tokens(processor, action)
    assert ids.shape == mask.shape == (6, 64) and mask.dtype == torch.bool
    words, lengths = arm.vocabulary.at_end(SIZE, SKIP), mask.sum(1).tolist()
    sequences = [row[4 : n - 2].tolist() for row, n in zip(ids, lengths, strict=True)]
    assert sequences == words.to_sequences(arm.vocabulary.to_codes(processor(action)))


def test_pi0_fast_decodes_what_we_decode(processor, arm):
    action = torch.from_numpy(chunks(arm, 24))
    ids, _ = lerobot_tokens(processor, action)
    through = lerobot_actions(processor, ids[:, 1:], 20, 4)
    ours = processor.decode(processor(action))
    assert np.abs(through - ours).max() < 1e-3
    assert np.abs(through - ours).max() <= np.sqrt(20) / (2 * processor.scale) + 1e-5


@pytest.mark.parametrize("horizon", [2, 33, 128])
def test_pi0_fast_decodes_whatever_its_model_sampled(arm, horizon):
    processor = RvqActionProcessor(arm, time_horizon=horizon)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, SIZE, (40, 9), generator=generator)
    ids[:20] = (
        SIZE - 1 - SKIP - torch.randint(0, processor.vocab_size, (20, 9), generator=generator)
    )
    ids[:, 5:6][::3] = PaliGemma.pieces["|"]
    through = lerobot_actions(processor, ids, horizon, 4)
    assert np.isfinite(through).all()
    alone = processor.decode((SIZE - 1 - SKIP - ids[1]).tolist())
    assert np.abs(through[1] - alone[0]).max() < 1e-3


def test_the_text_of_a_single_id_is_that_of_a_sequence(processor):
    text = processor.bpe_tokenizer
    assert text.decode(5) == text.decode([5]) == text.decode(torch.tensor(5))
    assert len(text.decode([])) == 20 * 4


def test_the_scale_leaves_every_component_a_character(arm):
    from rvq_action.fast_interface.facade import LARGEST, MIN_TOKEN, scale_for

    for largest in (0.5, 1.5, 4.0, 40.0):
        scale = scale_for(largest)
        assert largest * np.sqrt(128) * scale <= LARGEST and 0 < scale <= 10_000
    assert -LARGEST - MIN_TOKEN > 0xDFFF and LARGEST - MIN_TOKEN < 0x110000
