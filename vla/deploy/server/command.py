"""`rvq-vla serve`: its options, and what it does with them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vla.deploy.server.access import MAX_BYTES, Address

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

    from vla.deploy.server.declaration import Declaration

KEY_VARIABLE = "RVQ_ACTION_API_KEY"


def serve_parser() -> ArgumentParser:
    """The options of `rvq-vla serve`."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(description="Let robots ask a policy, in openpi's protocol.")
    add = parser.add_argument
    add("--policy", type=str, required=True, help="folder of the policy, or its id on the hub")
    add("--embodiment", type=str | None, default=None, help="robot, where it knows several")
    add("--host", type=str, default="127.0.0.1", help="address to listen on")
    add("--port", type=int, default=8000, help="0 for any that is free")
    add("--api_key_file", type=str | None, default=None, help=f"holds the key (${KEY_VARIABLE})")
    add("--cameras", nargs="+", type=str, default=[], help="POLICY=WIRE names, where they differ")
    add("--state_key", type=str, default="observation/state", help="of the state, on the wire")
    add("--max_batch", type=int, default=8, help="requests computed at once")
    add("--max_wait_ms", type=float, default=5.0, help="that a request waits for company")
    add("--max_bytes", type=int, default=MAX_BYTES, help="of a message")
    add("--max_clients", type=int, default=32, help="connected at once")
    add("--max_per_address", type=int, default=16, help="of them, from another machine")
    add("--seconds", type=float | None, default=None, help="of a chunk (the tokenizer's)")
    add("--steps", type=int | None, default=None, help="of the flow's sampler (the policy's own)")
    add("--seed", type=int, default=0, help="of the noise, where a request does not say")
    add("--device", type=str, default="cpu", help="of the network")
    add("--fast", action="store_true", help="act by the fast path, docs/inference.md")
    add("--guided", action="store_true", help="guide chunks in real time, docs/deploy.md")
    return parser


def serve(config: Namespace) -> None:
    """Run `rvq-vla serve` until SIGINT or SIGTERM.

    Raises:
        ValueError: An option is not usable, or the policy cannot act.
        KeyError: The policy does not know such a robot.
        OSError: The address cannot be listened on, or the policy hangs in the end.
    """
    address = Address(config.host, config.port, read_key(config.api_key_file, os.environ))
    cameras = read_pairs(config.cameras)

    from vla.deploy.policies.vla_policy import DeployedVLA
    from vla.deploy.server.batching import BatchSettings, PolicyFailed
    from vla.deploy.server.hosting import run_until_signal
    from vla.deploy.server.server import PolicyServer, ServerSettings
    from vla.policy import VLAPolicy

    batch = BatchSettings(config.max_batch, config.max_wait_ms / 1e3)
    crowd = config.max_clients, config.state_key, config.max_per_address
    settings = ServerSettings(batch, config.max_bytes, *crowd)
    loaded = VLAPolicy.from_pretrained(config.policy, config.device)
    loaded = loaded.accelerated() if config.fast else loaded
    robot = config.embodiment, cameras, config.seconds, config.steps, config.seed
    policy = DeployedVLA(loaded, *robot, committed_frames=0 if config.guided else None)
    server = PolicyServer(policy, address, settings)

    def listening(port: int) -> None:
        lines = told(server.declaration, address, port)
        print("\n".join([f"Serving {config.policy}", *lines]), flush=True)

    try:
        run_until_signal(server, listening)
    except PolicyFailed as error:
        raise ValueError(f"The policy cannot act: {error}") from error
    print("Closed.")


def told(declaration: Declaration, address: Address, port: int) -> list[str]:
    """Where a server is, what it wants, and how to connect to it."""
    about = declaration.policy
    host = f"[{address.host}]" if ":" in address.host else address.host
    channels = ", ".join(f"{channel.name} [{channel.unit}]" for channel in about.layout.channels)
    pictures = ", ".join(declaration.image_key(name) for name in about.cameras.values())
    theirs, ours = (", api_key=KEY", ", key=KEY") if address.key else ("", "")
    return [
        f"  at        ws://{host}:{port}, {'with' if address.key else 'without'} a key",
        f"  as        {about.embodiment}, {about.horizon} frames at {about.fps:g} Hz",
        f"  state     {declaration.state_key}: {channels}",
        f"  pictures  {pictures}",
        f"  openpi    WebsocketClientPolicy({host!r}, {port}{theirs}).infer(observation)",
        f"  rvq       RemotePolicy({host!r}, {port}{ours})",
        f"  health    http://{host}:{port}/healthz, /metrics",
    ]


def read_key(file: str | None, environment: Mapping[str, str]) -> str | None:
    """The key: a file's content, else a variable's, else none.

    Raises:
        ValueError: The file is empty.
        OSError: It cannot be read.
    """
    if file is None:
        return environment.get(KEY_VARIABLE)
    key = Path(file).read_text().strip()
    if not key:
        raise ValueError(f"{file} is empty. Write the key into it, on one line.")
    return key


def read_pairs(texts: Sequence[str]) -> dict[str, str]:
    """`POLICY=WIRE` -> policy's camera: name on the wire.

    Raises:
        ValueError: One is no pair, or a camera is named twice.
    """
    pairs = [text.partition("=") for text in texts]
    wrong = [text for text, pair in zip(texts, pairs, strict=True) if not all(pair)]
    names = {own: wire for own, _, wire in pairs}
    if wrong or len(names) < len(pairs):
        raise ValueError(f"--cameras takes POLICY=WIRE, once for each camera, got {list(texts)}.")
    return names
