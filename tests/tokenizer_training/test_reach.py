"""What each term teaches: the parts of a module in training that its gradient reaches alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from tests.tokenizer_training.conftest import TINY
from tokenizer_training.fit import fit
from tokenizer_training.fit_cli import FitCLI
from tokenizer_training.heads import AlignmentHead
from tokenizer_training.losses import LossWeights
from tokenizer_training.module import TokenizerModule
from tokenizer_training.visual import Sample

ROTATION = """
embodiment: turner
layout:
  name: turner
  groups: {arm/rotation: {channels: [a, b, c, d, e, f], unit: rot6d, delta: so3}}
action: {arm/rotation: {feature: action, take: [x, y, gripper], rotation: euler_xyz}}
proprio: {arm/rotation: {feature: observation.state, take: [x, y, gripper], rotation: euler_xyz}}
"""
TERMS = [field.name for field in fields(LossWeights)]
SEEN = {"alignment": 0.5, "next_frame": 0.2, "masked_modelling": 0.1}

MOTION = {"encoder", "semantic", "decoder"}
ALIGNMENT = {"alignment.chunk", "alignment.slots.0", "alignment.slots.1", "temperature"}
REACH = {
    "reconstruction": MOTION,
    "rotation": MOTION,
    "dct": MOTION,
    "smoothness": MOTION,
    "commitment": {"encoder", "semantic"},
    "alignment": {"semantic"} | ALIGNMENT,
    "next_frame": {"encoder", "semantic", "next_frame"},
    "masked_modelling": {"encoder", "semantic", "masked_modelling"},
}
"""Everything that a term teaches where the encoder learns; the codebooks (`quantizer`) no term."""

Trained = tuple[TokenizerModule, list[Sample]]


@pytest.fixture(scope="module")
def train(seen, tmp_path_factory) -> Callable[..., Trained]:
    """Eight steps with every term on chunks that are rotations: the module and a batch."""
    folder = tmp_path_factory.mktemp("reach")
    data = Path(shutil.copytree(seen[0], folder / seen[0].name))
    (data / "meta" / "rvq_mapping.yaml").write_text(ROTATION)

    def run(encoder_rate: float) -> Trained:
        words = ["--config", str(TINY), "--data.datasets", str(data), "--data.features"]
        words += [str(seen[1]), "--run_dir", str(folder / f"run{encoder_rate:g}")]
        words += ["--closed_form.semantic_slots", "2", "--closed_form.semantic_width", "4"]
        words += ["--model.encoder_rate", str(encoder_rate), "--model.masked_modelling_start", "0"]
        words += [w for n, v in SEEN.items() for w in (f"--model.weights.{n}", str(v))]
        cli = FitCLI(words)
        fit(cli.run_settings(), cli.model, cli.datamodule, cli.trainer)
        module, batch = cli.model.train(), cli.datamodule.train_dataloader().stream.batch(0)
        module.log = module.log_dict = lambda *args, **kwargs: None
        module.codebook_every_n_steps = 0
        return module, batch

    return run


@pytest.fixture(scope="module")
def trained(train) -> Trained:
    return train(encoder_rate=1.0)


def step(trained: Trained, **weights: float) -> torch.Tensor:
    """The total of a training step in which only these terms have weight; always the same one."""
    module, batch = trained
    module.weights = LossWeights(**{name: weights.get(name, 0.0) for name in TERMS})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return module.training_step(batch, 0)


def part(name: str) -> str:
    """The part that a parameter belongs to: a network, a head, or one map of the alignment's."""
    words = name.split(".")
    words = words[{"model": 1, "heads": 2}.get(words[0], 0) :]
    if words[0] == "alignment":
        words[:2] = ["temperature"] if words[1] == "log_temperature" else [".".join(words[:2])]
    return ".".join(words[: 2 if words[0] == "alignment.slots" else 1])


def reached(trained: Trained, **weights: float) -> set[str]:
    """The parts that have a gradient other than 0 after such a step."""
    module, _ = trained
    module.zero_grad()
    step(trained, **weights).backward()
    return {
        part(name)
        for name, parameter in module.named_parameters()
        if parameter.grad is not None and parameter.grad.any()
    }


def test_every_term_has_a_reach_and_every_part_a_name(trained):
    module, _ = trained
    learning = {part(name) for name, p in module.named_parameters() if p.requires_grad}
    assert set(TERMS) == set(REACH) and learning == set.union(*REACH.values())


@pytest.mark.parametrize("term", TERMS)
def test_a_term_teaches_what_it_should_and_nothing_else(trained, term):
    assert reached(trained, **{term: 1.0}) == REACH[term]


def test_as_recipes_have_it_no_term_teaches_the_encoder(train):
    """They leave it at its closed form."""
    frozen = train(encoder_rate=0.0)
    for term in TERMS:
        assert reached(frozen, **{term: 1.0}) == REACH[term] - {"encoder"}, term


def test_alignment_reads_points_and_the_next_frame_their_codes(trained):
    """Before and after quantisation: other semantic codebooks change what the codes stand for."""
    module, _ = trained
    quantizer = module.model.quantizer
    before, books = quantizer.state_dict(), quantizer.semantic.clone()
    before = {name: tensor.clone() for name, tensor in before.items()}
    step(trained, **SEEN)
    first = module.terms
    generator = torch.Generator().manual_seed(1)
    other = torch.nn.functional.normalize(torch.randn(books.shape, generator=generator), dim=-1)
    quantizer.set_semantic(other, torch.full(books.shape[:2], 1 / books.shape[1]))
    step(trained, **SEEN)
    second = module.terms
    quantizer.load_state_dict(before)
    assert torch.equal(first["alignment"], second["alignment"])
    for name in ("next_frame", "masked_modelling", "reconstruction", "commitment"):
        assert not torch.equal(first[name], second[name]), name
    step(trained, **SEEN)
    assert {n: t.item() for n, t in module.terms.items()} == {n: t.item() for n, t in first.items()}


def test_alignment_is_half_of_chunks_and_half_of_slots(trained, monkeypatch):
    for name, value in (("chunk_level", 3.0), ("slot_level", 5.0)):
        monkeypatch.setattr(AlignmentHead, name, lambda *_, value=value: torch.tensor(value))
    assert step(trained, alignment=1.0).item() == 4.0
