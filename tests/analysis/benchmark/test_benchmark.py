"""What is timed, what the page says of it; never how long it took."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from analysis.benchmark import page, study
from analysis.benchmark.runners import (
    ADAPTIVE,
    ADAPTIVE_IDS,
    IDS,
    INT8,
    MODEL,
    ONNX,
    PROCESSOR,
    PUBLIC,
    TOLERANCE,
    Robot,
    runner,
)
from analysis.evalset import load_eval_sets
from rvq_action.relative import to_relative


@pytest.fixture(scope="module")
def artefact(so101_tokenizer, tmp_path_factory):
    path = tmp_path_factory.mktemp("benchmark") / "mine"
    so101_tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def benchmark(artefact, so101):
    return study.compute(
        [artefact], [so101], threads=1, compiled=False, batches=(1, 64), passes=5, quiet=True
    )


def test_fast_is_timed_beside_every_way_at_every_batch(benchmark):
    (dataset,) = benchmark.datasets
    ways = {(e.batch, e.way) for e in dataset.entries if e.device == "cpu"}
    ours = (PUBLIC, IDS, PROCESSOR, ADAPTIVE, ADAPTIVE_IDS, MODEL, ONNX, INT8)
    assert {(b, w) for b in (1, 64) for w in (study.FAST, *ours)} <= ways
    fast = [e for e in dataset.entries if e.way == study.FAST]
    assert all(e.encode_ratio == e.decode_ratio == e.both_ratio == 1.0 for e in fast)


def test_fast_is_taken_at_the_scale_with_as_many_bits(benchmark):
    (dataset,) = benchmark.datasets
    assert dataset.bits["mine"] == 4 * 3 * 8
    (fast,) = (bits for name, bits in dataset.bits.items() if name.startswith("fast@"))
    assert 60 < fast < 150


def test_every_way_gives_the_same_codes(benchmark):
    (dataset,) = benchmark.datasets
    ours = [e for e in dataset.entries if e.way not in (study.FAST, ADAPTIVE, ADAPTIVE_IDS)]
    assert ours and all(e.same_codes >= 0.99 for e in ours)
    assert all(e.encode_us > 0 and e.decode_us > 0 for e in ours)


def test_what_every_way_decodes_is_as_near(benchmark):
    (dataset,) = benchmark.datasets
    errors = {entry.way: entry.error_ratio for entry in dataset.entries if entry.way != study.FAST}
    assert errors[ADAPTIVE] == errors.pop(ADAPTIVE_IDS) and errors[IDS] == errors[PUBLIC]
    assert errors.pop(ADAPTIVE) > 1 and errors.pop(MODEL) is None and errors[PUBLIC] == 1
    assert errors == pytest.approx(dict.fromkeys(errors, 1.0), abs=1e-3)


def test_adaptive_length_has_its_row(benchmark):
    (dataset,) = benchmark.datasets
    rows = [entry for entry in dataset.entries if entry.way == ADAPTIVE]
    assert len(rows) == 2 and all(e.same_codes is None and e.encode_us > 0 for e in rows)
    text = page.text(benchmark)
    assert "adaptive" in text and f"tolerance={TOLERANCE:g}" in page.render(benchmark)


def test_the_way_to_ids_goes_as_far_as_fast_does(so101_tokenizer, so101):
    (data,) = load_eval_sets([so101], (), None, {})
    robot = Robot(so101_tokenizer, data, [data.batch.take(range(8))])
    whole, short = (runner(robot, way).encode(0) for way in (IDS, ADAPTIVE_IDS))
    words = so101_tokenizer.vocabulary_of(data.embodiment).with_end()
    assert [len(row) for row in whole] == [words.tokens_per_chunk] * 8
    assert min(map(len, short)) < words.tokens_per_chunk
    for ids in short:
        assert type(ids) is list and all(type(token) is int for token in ids)
        assert (ids[-1] == words.end_id) == (words.end_id in ids)


def test_the_processor_is_asked_as_the_users_of_fast_ask(so101_tokenizer, so101, tmp_path):
    """By what AutoProcessor loads from the artefact, given chunks of its own space."""
    from transformers import AutoProcessor

    (data,) = load_eval_sets([so101], (), None, {})
    batch = data.batch.take(range(8))
    asked = runner(Robot(so101_tokenizer, data, [batch]), PROCESSOR)
    so101_tokenizer.save_pretrained(tmp_path)
    processor = AutoProcessor.from_pretrained(tmp_path, trust_remote_code=True)
    known = so101_tokenizer.embodiments[data.embodiment]
    moved = to_relative(batch.actions, batch.anchor, known.layout).numpy()
    chunks = (moved - known.actions.middle.numpy()) / known.actions.scale.numpy()
    ids = asked.encode(0)
    assert ids == processor(chunks) and type(ids) is list and type(ids[0][0]) is int
    assert len({len(row) for row in ids}) == 1
    decoded = asked.decode(0, ids)
    shape = {"time_horizon": data.horizon, "action_dim": known.layout.width}
    np.testing.assert_array_equal(decoded, processor.decode(ids, **shape))
    assert decoded.shape == chunks.shape and np.square(decoded - chunks).mean() < 0.01
    error = (asked.absolute(0, decoded) - batch.actions).numpy() / known.actions.scale.numpy()
    np.testing.assert_allclose(error, decoded - chunks, atol=1e-4)


def test_the_processor_is_not_told_the_anchor(so101_networked, so101):
    """Where networks know it, codes are those of motions by themselves, and not of `public`."""
    (data,) = load_eval_sets([so101], (), None, {})
    batch, tokenizer = data.batch.take(range(64)), so101_networked
    robot = Robot(tokenizer, data, [batch])
    public, asked = (r.codes(r.encode(0)) for r in (runner(robot, w) for w in (PUBLIC, PROCESSOR)))
    motion = to_relative(batch.actions, batch.anchor, tokenizer.layout())
    alone = tokenizer.encode(motion, fps=data.fps, relative=True)

    def same(codes):
        return (asked == codes).flatten(1).all(1).double().mean()

    assert same(alone) > 0.95 and same(public) < 0.9


def test_the_file_and_the_page_name_the_machine(benchmark, tmp_path):
    written = json.loads(study.write(benchmark, tmp_path).read_text())
    assert written["hardware"] == benchmark.hardware and written["threads"] == 1
    assert set(written["datasets"]) == {"so101_pick_tape"}
    html = page.write(benchmark, tmp_path).read_text()
    assert benchmark.hardware in html and not re.search(r"(src|href)=\"http", html)
    assert "fast@" in page.text(benchmark)


@pytest.mark.parametrize(("threads", "passes"), [(0, 5), (1, 4)])
def test_too_little_to_time_is_refused(artefact, so101, threads, passes):
    with pytest.raises(ValueError, match="at least 1 thread and 5 passes"):
        study.compute([artefact], [so101], threads, passes=passes, quiet=True)
