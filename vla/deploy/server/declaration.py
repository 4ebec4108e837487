"""Declaration: what a policy wants to be asked, as clients are told when they connect.

{"protocol": "rvq-action/1", "embodiment": "so101", "fps": 30.0, "action_horizon": 30,
 "real_time": True, "image_size": 224, "weights": "5f0c...", "layout": {...}, "max_bytes": ...,
 "observation": {
    "observation/state":        {"kind": "state", "shape": [6], "names": [...], "units": [...],
                                 "needed": [...]},
    "observation/images/front": {"kind": "image", "camera": "front", "dtype": "uint8",
                                 "shape": [224, 224, 3]},
    "prompt":                   {"kind": "text", "max_length": 1000}},
 "optional": {"number": ..., "seed": ..., "committed": ..., "delay": ...}}
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rvq_action.layout import ActionLayout
from vla.deploy.policies.policy import PolicyDescription
from vla.deploy.server.access import MAX_BYTES
from vla.deploy.server.served import ServedPolicy

PROTOCOL = "rvq-action/1"
STATE, IMAGES, PROMPT = "observation/state", "observation/images/", "prompt"
NUMBER, SEED, COMMITTED, DELAY = "number", "seed", "committed", "delay"
MAX_PROMPT = 1000
"""Characters of an instruction."""


@dataclass(frozen=True)
class Declaration:
    """What a policy wants.

    Attributes:
        policy: Its cameras -> those of the client.
        image_size: Pixels per side of the pictures that it sees; others are scaled.
        needs: Channels of the state that may not be NaN.
        weights: Tells it apart from policies that want the same.
        state_key: Of the state in an observation.
        max_bytes: Of a message.
    """

    policy: PolicyDescription
    image_size: int
    needs: tuple[str, ...]
    weights: str
    state_key: str = STATE
    max_bytes: int = MAX_BYTES

    def __post_init__(self) -> None:
        keys = [self.state_key, PROMPT, NUMBER, SEED, COMMITTED, DELAY]
        keys += [self.image_key(name) for name in dict.fromkeys(self.policy.cameras.values())]
        if twice := sorted({key for key in keys if keys.count(key) > 1}):
            raise ValueError(f"Each part of an observation has a key of its own; shared: {twice}.")

    @classmethod
    def of(cls, policy: ServedPolicy, state_key: str, max_bytes: int) -> Declaration:
        """That of a policy.

        Raises:
            ValueError: Two parts of its observations have the same key.
        """
        wants = policy.description, policy.image_size, policy.needs, policy.fingerprint
        return cls(*wants, state_key, max_bytes)

    def image_key(self, camera: str) -> str:
        """Where the picture of a client's camera is; a name with a slash is a key already."""
        return camera if "/" in camera else f"{IMAGES}{camera}"

    def to_metadata(self) -> dict[str, Any]:
        """Plain data, for the wire."""
        about, size = self.policy, self.image_size
        entry = {"kind": "image", "dtype": "uint8", "shape": [size, size, 3]}
        pictures = {self.image_key(n): entry | {"camera": n} for n in about.cameras.values()}
        return {
            "protocol": PROTOCOL,
            "embodiment": about.embodiment,
            "fps": float(about.fps),
            "action_horizon": about.horizon,
            "real_time": about.real_time,
            "image_size": size,
            "weights": self.weights,
            "layout": about.layout.to_dict(),
            "max_bytes": self.max_bytes,
            "observation": {
                self.state_key: self._state(),
                **pictures,
                PROMPT: {"kind": "text", "max_length": MAX_PROMPT},
            },
            "optional": self._optional(),
        }

    @classmethod
    def from_metadata(cls, metadata: Any) -> Declaration:
        """Inverse of `to_metadata`, as far as a client needs it: its cameras are the client's.

        Raises:
            ValueError: No server of ours has sent it.
        """
        if not isinstance(metadata, dict) or metadata.get("protocol") != PROTOCOL:
            told = metadata.get("protocol") if isinstance(metadata, dict) else None
            raise ValueError(
                f"The server speaks {told!r}, not {PROTOCOL!r}, and does not say what its policy "
                "wants. RemotePolicy takes servers of `rvq-vla serve`."
            )
        try:
            return cls._parsed(metadata)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"The server's declaration is damaged: {error!r}.") from error

    @classmethod
    def _parsed(cls, told: dict[str, Any]) -> Declaration:
        wants = told["observation"]
        (state,) = (key for key, entry in wants.items() if entry["kind"] == "state")
        cameras = [entry["camera"] for entry in wants.values() if entry["kind"] == "image"]
        layout = ActionLayout.from_dict(told["layout"])
        chunks = float(told["fps"]), int(told["action_horizon"])
        names = {name: name for name in cameras}
        about = PolicyDescription(
            told["embodiment"], layout, *chunks, names, bool(told["real_time"])
        )
        needs = tuple(wants[state]["needed"])
        return cls(about, told["image_size"], needs, told["weights"], state, told["max_bytes"])

    def _state(self) -> dict[str, Any]:
        channels = self.policy.layout.channels
        units = [channel.unit for channel in channels]
        told = {"names": list(self.policy.layout.names), "units": units}
        return {"kind": "state", "shape": [len(channels)], **told, "needed": list(self.needs)}

    def _optional(self) -> dict[str, str]:
        optional = {
            NUMBER: "int: of the request in its run; with the seed it decides the noise",
            SEED: "int: of the noise",
        }
        if self.policy.real_time:
            optional[COMMITTED] = "float [n, D]: frames that the robot goes on with meanwhile"
            optional[DELAY] = "int: how many of them will have passed when the chunk arrives"
        return optional
