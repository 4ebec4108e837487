"""RvqVlaPolicy in LeRobot's hands: rows in and out, losses, receding horizon, real-time chunks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from lerobot.policies.factory import make_pre_post_processors
from lerobot_policy_rvq.modeling_rvq_vla import RvqVlaPolicy

from rvq_action import ActionTokenizer
from vla.deploy.policies.policy import Committed, Request
from vla.deploy.policies.vla_policy import DeployedVLA
from vla.deploy.robots.protocol import RobotObservation
from vla.flow import flow_loss, per_frame, seeded
from vla.lerobot_policy_rvq.tests import robots
from vla.lerobot_policy_rvq.tests.robots import CAMERA, FRAMES, ROWS, batch, config, observation
from vla.samples import Observation


def test_the_postprocessor_is_the_inverse_of_the_preprocessor(pipelines, tokenizer):
    before, behind = pipelines
    given = batch()
    channels = before(dict(given))["action"]
    read = (
        ActionTokenizer.from_pretrained(tokenizer).mapping().read_actions(given["action"].numpy())
    )
    assert torch.equal(channels, torch.from_numpy(read))
    assert not robots.equal(channels, given["action"])
    assert robots.equal(behind(channels), given["action"])
    assert robots.equal(behind(channels[:, 0]), given["action"][:, 0])


def test_the_pipelines_are_the_same_after_saving_and_as_lerobot_overrides_them(
    pipelines, tokenizer, tmp_path
):
    for pipeline in pipelines:
        pipeline.save_pretrained(tmp_path)
    known = config(tokenizer)
    features = {**known.input_features, **known.output_features}
    stats = {"action": {"mean": torch.ones(6), "std": 2 * torch.ones(6)}}
    norm = {"stats": stats, "features": features, "norm_map": known.normalization_mapping}
    loaded = make_pre_post_processors(
        known,
        str(tmp_path),
        preprocessor_overrides={
            "device_processor": {"device": "cpu"},
            "normalizer_processor": norm,
            "rename_observations_processor": {"rename_map": {}},
        },
        postprocessor_overrides={"unnormalizer_processor": norm},
    )
    given = batch()
    seen, again = pipelines[0](dict(given)), loaded[0](dict(given))
    assert all(torch.equal(seen[k], again[k]) for k in ("action", "observation.state", CAMERA))
    assert torch.equal(pipelines[1](seen["action"]), loaded[1](again["action"]))


def test_padded_frames_and_absent_channels_do_not_dilute_the_loss(policy, pipelines, monkeypatch):
    """What stands in padded frames changes nothing, and a row's mean is over real numbers alone."""
    real, errors, losses = torch.ones(ROWS, FRAMES, 6, dtype=torch.bool), [], []
    real[0, 5:], real[1, 10:], real[2, :, 4] = False, False, False

    def watched(velocity, actions, mask, draw, objective):
        left = 1 - per_frame(draw.time)
        noisy = (1 - left) * actions + left * draw.noise
        errors.append((noisy + left * velocity - actions).detach().square())
        return flow_loss(velocity, actions, mask, draw, objective)

    monkeypatch.setattr("vla.model.flow_loss", watched)
    policy.train()
    for filler in (0.0, 50.0):
        given = batch()
        padded = given["action_is_pad"] = ~real.any(-1)
        given["action"][padded] = filler
        ready = pipelines[0](given)
        ready["action"][~real & ~padded[..., None]] = torch.nan
        policy.config.trained_steps = 0
        losses.append(policy(ready)[1])
    assert losses[0] == losses[1]
    for error in errors:
        rows = [float(e[here].mean()) for e, here in zip(error, real, strict=True)]
        assert losses[0]["flow"] == pytest.approx(sum(rows) / ROWS, rel=1e-5)


def test_rows_without_reduction_average_to_the_loss(policy, pipelines):
    policy.train()
    given = pipelines[0](batch())
    policy.config.trained_steps = 3
    whole, terms = policy(given)
    policy.config.trained_steps = 3
    rows, _ = policy(given, reduction="none")
    assert rows.shape == (ROWS,) and robots.equal(rows.mean(), whole)
    assert set(terms) == {"flow", "action_ce", "multimodal_ce"} and terms["action_ce"] > 0


def test_training_draws_anew_at_every_step_and_looking_does_not(policy, pipelines):
    given = pipelines[0](batch())
    policy.train()
    policy.config.trained_steps = 0
    first, second = (float(policy(given)[0].detach()) for _ in range(2))
    assert first != second and policy.config.trained_steps == 2
    policy.eval()
    looks = {float(policy(given)[0].detach()) for _ in range(2)}
    assert len(looks) == 1 and policy.config.trained_steps == 2


def test_a_chunk_is_what_our_policy_says(policy, pipelines):
    seen = observation(2)
    torch.manual_seed(5)
    chunk = policy.predict_action_chunk(pipelines[0](dict(seen)))
    pictures = (seen[CAMERA] * 255).round().byte().permute(0, 2, 3, 1).numpy()
    states = seen["observation.state"] / robots.PERCENT
    now = [
        Observation({"front": p}, s, "pick up the tape", "so101", 30.0)
        for p, s in zip(pictures, states, strict=True)
    ]
    torch.manual_seed(5)
    ours = policy.policy.act(now, FRAMES)
    assert chunk.shape == (2, FRAMES, 6)
    assert all(robots.equal(c, torch.from_numpy(o)) for c, o in zip(chunk, ours, strict=True))


def test_a_new_chunk_is_asked_for_every_n_action_steps(policy, pipelines, monkeypatch):
    chunks = []
    asked = policy.policy.act

    def act(*given, **named):
        chunks.append(asked(*given, **named))
        return chunks[-1]

    monkeypatch.setattr(type(policy.policy), "act", lambda self, *a, **k: act(*a, **k))
    policy.reset()
    with torch.inference_mode():
        taken = [policy.select_action(pipelines[0](observation())) for _ in range(9)]
    assert len(chunks) == 3
    wanted = [torch.from_numpy(chunks[i // 4][0][i % 4]) for i in range(9)]
    assert all(torch.equal(t[0], w) for t, w in zip(taken, wanted, strict=True))


def test_one_slow_answer_does_not_end_a_run(policy, pipelines):
    """LeRobot tells the longest delay so far, which may be that of a cold start; it is said."""
    given = pipelines[0](observation())
    torch.manual_seed(0)
    left = policy.predict_action_chunk(given)[0, 5:12]
    with pytest.warns(UserWarning, match=f"inference_delay={2 * FRAMES}, but a chunk has {FRAMES}"):
        late = real_time(policy, given, left, 2 * FRAMES)
    assert torch.equal(late, real_time(policy, given, left, 7))


def test_a_new_task_ends_the_chunk_that_was_made_for_the_old_one(policy, pipelines):
    """As LeRobot's main asks for it when an operator gives another instruction."""
    given = pipelines[0](observation())
    policy.reset()
    torch.manual_seed(0)
    policy.select_action(given)
    policy.drop_queued_actions()
    torch.manual_seed(1)
    taken = policy.select_action(given)
    torch.manual_seed(1)
    assert torch.equal(taken, policy.predict_action_chunk(given)[:, 0])


@pytest.mark.parametrize("committed_frames", [0, 4])
def test_real_time_chunks_are_those_of_our_own_loop(
    policy, pipelines, committed_frames, monkeypatch
):
    """Asked for in LeRobot's words, also within `inference_mode`, where its programs call it.

    Frames are given to a policy that was trained so; else it is guided towards them.
    """
    own = policy.policy
    trained = replace(own, config=replace(own.config, committed_frames=committed_frames))
    monkeypatch.setattr(policy, "policy", trained)
    seen = observation()
    given = pipelines[0](dict(seen))
    torch.manual_seed(0)
    left = policy.predict_action_chunk(given)[:, 5:20]
    committed = Committed(left[0].numpy(), 4)
    picture = (seen[CAMERA][0] * 255).round().byte().permute(1, 2, 0).numpy()
    now = RobotObservation(0.0, given["observation.state"][0].numpy(), {"front": picture})
    ours = DeployedVLA(policy.policy).act(Request(now, "pick up the tape", 3, committed))
    chunks = []
    for told in ({}, {"inference_delay": 4, "prev_chunk_left_over": left[0]}):
        torch.manual_seed(seeded(0, 3).initial_seed())
        with torch.inference_mode():
            chunks.append(policy.predict_action_chunk(given, execution_horizon=15, **told)[0])
    free, going_on = chunks
    assert robots.equal(going_on, torch.from_numpy(ours)) and not robots.equal(free, going_on)
    assert robots.equal(going_on[:4], left[0][:4]) == (committed_frames == 4)
    with pytest.raises(ValueError, match="inference_delay=-1"):
        policy.predict_action_chunk(given, inference_delay=-1, prev_chunk_left_over=left[0])


def test_frames_are_given_away_in_training_where_it_is_asked_for(policy, tokenizer, tmp_path):
    policy.policy.save_pretrained(tmp_path / "policy")
    base = {"action_tokenizer_name": None, "base_policy": str(tmp_path / "policy")}
    for told, most in (
        (base, 0),
        (base | {"committed_frames": 3}, 3),
        ({"committed_frames": 2}, 2),
    ):
        started = RvqVlaPolicy(config(tokenizer, **told))
        assert started.policy.config.committed_frames == most
        assert started.model.config is started.policy.samples.config is started.policy.config


def real_time(policy, given, left: torch.Tensor, delay: int) -> torch.Tensor:
    """The chunk that goes on from these frames, from the same noise every time."""
    torch.manual_seed(1)
    return policy.predict_action_chunk(given, inference_delay=delay, prev_chunk_left_over=left)


def test_a_rest_filled_up_with_zeros_is_as_good_as_the_rest(policy, pipelines):
    """As LeRobot 0.6 hands it over; zeros are no places to go to."""
    given = pipelines[0](observation())
    torch.manual_seed(0)
    left = policy.predict_action_chunk(given)[0, 5:12]
    filled = torch.cat([left, torch.zeros(5, left.shape[-1])])
    assert torch.equal(real_time(policy, given, filled, 4), real_time(policy, given, left, 4))
    torch.manual_seed(1)
    free = policy.predict_action_chunk(given)
    assert torch.equal(real_time(policy, given, torch.zeros_like(left), 4), free)
    assert torch.equal(real_time(policy, given, left[:0], 0), free)


def test_no_more_frames_are_executed_meanwhile_than_are_left(policy, pipelines):
    given = pipelines[0](observation())
    torch.manual_seed(0)
    left = policy.predict_action_chunk(given)[0, 5:12]
    assert torch.equal(real_time(policy, given, left, 12), real_time(policy, given, left, 7))
    assert not torch.equal(real_time(policy, given, left, 7), real_time(policy, given, left, 2))
    assert policy.supports_rtc()


def test_pictures_of_another_size_are_brought_to_the_policys(policy, pipelines):
    seen = observation()
    seen[CAMERA] = torch.rand(1, 3, 48, 64)
    assert policy.predict_action_chunk(pipelines[0](seen)).isfinite().all()
