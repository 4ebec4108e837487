"""The ways in which a tokenizer can be asked, and FAST beside them."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from analysis.benchmark.race import Runner
from analysis.evalset import Batch, EvalSet
from rvq_action.adaptive_length.tolerance import ToleranceWarning
from rvq_action.baselines.fast import FastTokenizer
from rvq_action.chunk import ActionChunk
from rvq_action.export.files import export
from rvq_action.export.modules import ChunkDecoder, ChunkEncoder
from rvq_action.fast_interface.chunk_space import ChunkSpace
from rvq_action.relative import to_absolute, to_relative
from rvq_action.tokenizer import ActionTokenizer

PUBLIC, MODEL, COMPILED, BF16 = "public", "model", "compiled", "bf16"
ADAPTIVE, TOLERANCE = "adaptive", 1e-3
"""Adaptive length at one of the tolerances that `compare` scores."""
IDS, ADAPTIVE_IDS, PROCESSOR = "ids", "adaptive-ids", "processor"
ONNX, INT8 = EXPORTED = "onnx", "onnx-int8"
WAYS = {
    PUBLIC: "`ActionTokenizer`: input checked, physical units in and out",
    IDS: "the same from chunks to flat lists of token ids and back, as far as FAST goes",
    PROCESSOR: "FAST's interface, as `AutoProcessor` loads it: normalised chunks to flat lists of "
    "token ids and back, without the anchor",
    ADAPTIVE: f"`public` with `tolerance={TOLERANCE:g}`: no more tokens than a chunk needs",
    ADAPTIVE_IDS: "the same to ids and back, closed by the end token",
    MODEL: "the network and its codebooks alone, in model space",
    COMPILED: "`ChunkEncoder` and `ChunkDecoder` under `torch.compile`, physical units",
    ONNX: "what `rvq-action export` writes, run by onnxruntime, physical units",
    INT8: "the same with `--int8`: the decoder's networks in 8 bits",
    BF16: "`ActionTokenizer` under bf16 autocast, quantising in float32",
}


@dataclass(frozen=True)
class Robot:
    """The chunks as one tokenizer takes them, on its device.

    Attributes:
        tokenizer: On the device.
        data: The dataset.
        batches: What is encoded, one entry per call.
    """

    tokenizer: ActionTokenizer
    data: EvalSet
    batches: list[Batch]

    def on(self, device: str) -> Robot:
        """The same on another device; a copy of the model, batches as they are."""
        model = copy.deepcopy(self.tokenizer.model).to(device)
        return replace(self, tokenizer=replace(self.tokenizer, model=model))

    @property
    def context(self) -> dict:
        return {"embodiment": self.data.embodiment, "fps": self.data.fps}

    def proprios(self) -> list[Tensor | None]:
        """Of each batch, NaN where unknown."""
        return [
            b.anchor
            if b.anchor is None or b.anchor_mask is None
            else torch.where(b.anchor_mask, b.anchor, torch.nan)
            for b in self.batches
        ]

    def told_proprios(self) -> list[Tensor]:
        """The same, NaN too where a dataset has none."""
        blank = [torch.full_like(batch.actions[:, 0], torch.nan) for batch in self.batches]
        return [b if p is None else p for b, p in zip(blank, self.proprios(), strict=True)]


def fast_runner(fast: FastTokenizer, batches: list[Batch]) -> Runner:
    """FAST on chunks in scored space, as it is published."""
    shape = batches[0].scored.shape[1:]
    chunks = [batch.scored for batch in batches]
    return Runner(
        lambda number: fast.encode(chunks[number]),
        lambda number, tokens: fast.decode(tokens, *shape),
        "cpu",
    )


def runner(robot: Robot, way: str) -> Runner:
    """One of the ways to ask a tokenizer."""
    ways = {PUBLIC: _public, BF16: _public, ADAPTIVE: _adaptive, MODEL: _model, COMPILED: _compiled}
    ways |= {IDS: partial(_ids, codes=_public), ADAPTIVE_IDS: partial(_ids, codes=_adaptive)}
    ways |= {PROCESSOR: _processor}
    ways |= {way: partial(_onnx, int8=way == INT8) for way in EXPORTED}
    return ways[way](robot, _precision(robot, way))


def _precision(robot: Robot, way: str) -> Callable[[], AbstractContextManager]:
    kind = robot.tokenizer.device.type
    return (lambda: torch.autocast(kind, torch.bfloat16)) if way == BF16 else nullcontext


def _adaptive(robot: Robot, precision: Callable[[], AbstractContextManager]) -> Runner:
    with warnings.catch_warnings():
        # It is said once and no more: that some chunks are off by more whatever they get.
        warnings.simplefilter("ignore", ToleranceWarning)
        asked = _public(robot, precision, tolerance=TOLERANCE)
        for number in range(len(robot.batches)):
            asked.encode(number)
    return asked


def _public(
    robot: Robot, precision: Callable[[], AbstractContextManager], tolerance: float | None = None
) -> Runner:
    tokenizer, context = robot.tokenizer, robot.context
    device, horizon = tokenizer.device, robot.data.horizon
    actions = [batch.actions.to(device) for batch in robot.batches]
    masks = [batch.mask.to(device) for batch in robot.batches]
    proprios = [None if p is None else p.to(device) for p in robot.proprios()]

    def encode(number: int) -> Tensor:
        with precision():
            given = actions[number], proprios[number]
            return tokenizer.encode(*given, mask=masks[number], tolerance=tolerance, **context)

    def decode(number: int, codes) -> Tensor:
        with precision():
            return tokenizer.decode(codes, horizon, proprios[number], **context)

    return Runner(encode, decode, device.type)


def _ids(
    robot: Robot,
    precision: Callable[[], AbstractContextManager],
    codes: Callable[[Robot, Callable[[], AbstractContextManager]], Runner],
) -> Runner:
    """One of the ways above, from there to a language model's ids and back."""
    asked = codes(robot, precision)
    words = robot.tokenizer.vocabulary_of(robot.data.embodiment).with_end()
    return Runner(
        lambda number: words.to_sequences(asked.encode(number)),
        lambda number, ids: asked.decode(number, words.to_codes(ids)),
        asked.device,
        words.to_codes,
    )


def _processor(robot: Robot, precision: Callable[[], AbstractContextManager]) -> Runner:
    """The class that `AutoProcessor` loads, given what a policy's preprocessing gives to FAST."""
    from rvq_action.processing import RvqActionProcessor

    tokenizer, data = robot.tokenizer, robot.data
    processor = RvqActionProcessor(tokenizer, data.embodiment, data.fps)
    space = ChunkSpace(tokenizer.embodiments[data.embodiment])
    layout, horizon = space.layout, data.horizon
    chunks = [
        space.to_chunks(to_relative(batch.actions, batch.anchor, layout, batch.mask)).numpy()
        for batch in robot.batches
    ]

    def absolute(number: int, decoded: np.ndarray) -> Tensor:
        batch, motion = robot.batches[number], space.to_motion(torch.from_numpy(decoded))
        return to_absolute(motion, batch.anchor, layout, batch.mask)

    return Runner(
        lambda number: processor(chunks[number]),
        lambda number, ids: processor.decode(ids, time_horizon=horizon, action_dim=layout.width),
        tokenizer.device.type,
        tokenizer.vocabulary_of(data.embodiment).to_codes,
        absolute,
    )


def _model(robot: Robot, precision: Callable[[], AbstractContextManager]) -> Runner:
    tokenizer, horizon = robot.tokenizer, robot.data.horizon
    model, device = tokenizer.model, tokenizer.device
    given = [
        tokenizer.prepare(
            ActionChunk(
                batch.actions, batch.mask, batch.anchor, batch.anchor_mask, robot.data.fps,
                robot.data.embodiment,
            ).to(device)
        )
        for batch in robot.batches
    ]  # fmt: skip

    @torch.inference_mode()
    def encode(number: int) -> Tensor:
        return model.encode(given[number].x, given[number].mask, given[number].condition)

    @torch.inference_mode()
    def decode(number: int, codes) -> Tensor:
        return model.decode(codes, horizon, given[number].condition)

    return Runner(encode, decode, device.type)


def _compiled(robot: Robot, precision: Callable[[], AbstractContextManager]) -> Runner:
    data, device = robot.data, robot.tokenizer.device
    fixed = (robot.tokenizer, data.horizon, data.embodiment, data.fps)
    torch.compiler.reset()
    encoder, decoder = (
        torch.compile(module.to(device), fullgraph=True)
        for module in (ChunkEncoder(*fixed), ChunkDecoder(*fixed))
    )
    actions = [batch.actions.to(device) for batch in robot.batches]
    proprios = [proprio.to(device) for proprio in robot.told_proprios()]

    @torch.inference_mode()
    def encode(number: int) -> Tensor:
        return encoder(actions[number], proprios[number])

    @torch.inference_mode()
    def decode(number: int, codes) -> Tensor:
        return decoder(codes, proprios[number])

    return Runner(encode, decode, device.type)


def _onnx(robot: Robot, precision: Callable[[], AbstractContextManager], int8: bool) -> Runner:
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    data = robot.data
    with TemporaryDirectory() as folder:
        fixed = (data.horizon, data.embodiment, data.fps)
        files = export(robot.tokenizer, folder, "onnx", *fixed, int8=int8)
        encoder, decoder = (
            InferenceSession(file, options, providers=["CPUExecutionProvider"])
            for file in files[:2]
        )
    actions = [batch.actions.numpy() for batch in robot.batches]
    proprios = [proprio.numpy() for proprio in robot.told_proprios()]

    def encode(number: int) -> Tensor:
        given = {"actions": actions[number], "proprio": proprios[number]}
        return torch.from_numpy(encoder.run(None, given)[0])

    def decode(number: int, codes: Tensor) -> Tensor:
        given = {"codes": codes.numpy(), "proprio": proprios[number]}
        return torch.from_numpy(decoder.run(None, given)[0])

    return Runner(encode, decode, "cpu")
