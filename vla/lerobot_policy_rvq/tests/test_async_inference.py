"""LeRobot's asynchronous server and client, with our policy and our simulated arm."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from lerobot.async_inference import constants
from lerobot_policy_rvq.policy_server import register

from vla.lerobot_policy_rvq.tests.afternoon import commands, smaller


def test_registering_twice_adds_our_policy_once():
    register()
    register()
    assert constants.SUPPORTED_POLICIES.count("rvq_vla") == 1


@pytest.fixture
def port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def started(command: str, port: int, folder: Path, log: Path) -> subprocess.Popen:
    """One of the page's commands, on a free port, left running."""
    name, *words = smaller(command.replace("8080", str(port)))
    script = sys.executable if name == "python" else str(Path(sys.executable).parent / name)
    with log.open("w") as said:
        return subprocess.Popen([script, *words], cwd=folder, stdout=said, stderr=said)


def wait_for(log: Path, words: str, process: subprocess.Popen, seconds: float = 150) -> str:
    """What was said until something like the words was."""
    end = time.monotonic() + seconds
    while not re.search(words, said := log.read_text()):
        assert process.poll() is None and time.monotonic() < end, said[-4000:]
        time.sleep(0.5)
    return said


def test_the_client_drives_the_arm_with_chunks_of_our_policy(afternoon, port, tmp_path):
    """Every observation has the number of the last action that the arm took."""
    afternoon.until("lerobot-rvq-policy to-lerobot")
    server_words, client_words = (
        next(c for c in commands() if c.startswith(name))
        for name in ("lerobot-rvq-server", "python")
    )
    logs = tmp_path / "server.log", tmp_path / "client.log"
    server = started(server_words, port, afternoon.folder, logs[0])
    try:
        wait_for(logs[0], "started", server)
        client = started(client_words, port, afternoon.folder, logs[1])
        try:
            said = wait_for(logs[0], "Action chunk #", server)
            assert "Policy type: rvq_vla" in said and "not supported" not in said
            wait_for(logs[0], r"inference for observation #[1-9]\d", client)
            assert "Error" not in logs[1].read_text()
        finally:
            client.kill()
            client.wait()
    finally:
        server.kill()
        server.wait()
