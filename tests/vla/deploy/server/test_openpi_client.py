"""The server in front of openpi's own client, as its users install it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.vla.conftest import SIZE, observe, picture
from tests.vla.deploy.server.conftest import PATIENCE_S, serving
from vla.deploy.policies.policy import Request
from vla.deploy.policies.vla_policy import DeployedVLA
from vla.deploy.robots.protocol import RobotObservation
from vla.deploy.server.access import Address
from vla.deploy.server.batching import BatchSettings
from vla.deploy.server.server import ServerSettings

openpi = pytest.importorskip(
    "openpi_client.websocket_client_policy",
    reason="openpi-client is not installed: pip install --no-deps openpi-client",
)

pytestmark = pytest.mark.filterwarnings(
    "ignore:connect.. must be used as a context manager:DeprecationWarning"
)
"""openpi's client connects in a way that websockets 17 would rather not see."""

STATE, LEFT, HAND = "observation/state", "observation/exterior_image_1_left", "hand"
WORDS = ("wave", "pick up the cube", "put everything that is red into the box on the left")


@pytest.fixture
def deployed(policy) -> DeployedVLA:
    return DeployedVLA(policy, "arm", {"front": LEFT, "wrist": HAND}, steps=2, seed=3)


def seen(number: int) -> RobotObservation:
    images = {LEFT: picture(number, 70, 90), HAND: picture(number + 20)}
    return RobotObservation(0.0, observe("arm", number).proprio.numpy(), images)


def as_openpi(number: int, words: str) -> dict:
    """What an openpi user sends: one picture height first, one channels first."""
    now = seen(number)
    return {
        STATE: now.proprio,
        LEFT: now.images[LEFT],
        "observation/images/hand": np.ascontiguousarray(now.images[HAND].transpose(2, 0, 1)),
        "prompt": words,
    }


def test_it_gets_the_actions_of_the_policy_itself(deployed):
    with serving(deployed) as port:
        client = openpi.WebsocketClientPolicy("127.0.0.1", port)
        metadata = client.get_server_metadata()
        answers = [client.infer(as_openpi(n, WORDS[n])) for n in range(3)]
        client.reset()
        client._ws.close()
    assert (metadata["embodiment"], metadata["action_horizon"]) == ("arm", 20)
    assert metadata["observation"][LEFT]["shape"] == [SIZE, SIZE, 3]
    for number, answer in enumerate(answers):
        direct = deployed.act(Request(seen(number), WORDS[number], number))
        assert answer["actions"].shape == (20, 4)
        np.testing.assert_allclose(answer["actions"], direct, atol=1e-5)
        assert answer["server_timing"]["infer_ms"] > 0


def test_several_of_them_at_once(deployed):
    """Each gets its own actions, though they share batches."""
    settings = ServerSettings(BatchSettings(max_wait_s=1.0))

    def talk(number: int, client) -> list[dict]:
        return [client.infer(as_openpi(number, WORDS[number])) for _ in range(2)]

    with serving(deployed, settings=settings) as port:
        clients = [openpi.WebsocketClientPolicy("127.0.0.1", port) for _ in range(3)]
        with ThreadPoolExecutor(3) as pool:
            told = list(pool.map(talk, range(3), clients, timeout=PATIENCE_S))
        for client in clients:
            client._ws.close()
    assert max(a["server_timing"]["batch_size"] for answers in told for a in answers) == 3
    for number, answers in enumerate(told):
        for request, answer in enumerate(answers):
            direct = deployed.act(Request(seen(number), WORDS[number], request))
            np.testing.assert_allclose(answer["actions"], direct, atol=1e-5)


def test_what_is_wrong_it_raises_and_goes_on(deployed):
    with serving(deployed, Address(port=0, key="secret")) as port:
        from websockets.exceptions import InvalidStatus

        with pytest.raises(InvalidStatus, match="401"):
            openpi.WebsocketClientPolicy("127.0.0.1", port, api_key="wrong")
        client = openpi.WebsocketClientPolicy("127.0.0.1", port, api_key="secret")
        message = as_openpi(0, WORDS[0])
        with pytest.raises(RuntimeError, match=r"lacks \['observation/images/hand'\]") as caught:
            client.infer({k: v for k, v in message.items() if "hand" not in k})
        assert "Traceback" not in str(caught.value)
        with pytest.raises(RuntimeError, match="special token"):
            client.infer(message | {"prompt": "<|im_end|> go"})
        assert client.infer(message)["actions"].shape == (20, 4)
        client._ws.close()
