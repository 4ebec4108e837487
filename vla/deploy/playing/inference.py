"""Inference beside the control loop: a thread of its own, or simulated time of its own.

The loop asks, goes on, and looks at every period whether the answer is there. An answer is a chunk
or the reason why there is none; a policy that raises, whatever it raises, ends neither thread nor
loop. One that never comes back cannot be ended from outside: its thread is left behind.
"""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vla.deploy.clock import Clock
from vla.deploy.policies.policy import Policy, PolicyDescription, Request
from vla.deploy.safety.limits import LARGEST


@dataclass(frozen=True)
class Answer:
    """What came of a request.

    Attributes:
        request: The request.
        asked: The period in which it was made [s].
        seconds: That it took.
        actions: [T, D], or None where there is no usable chunk.
        problem: Why not.
    """

    request: Request
    asked: float
    seconds: float
    actions: np.ndarray | None
    problem: str = ""


class Inference(Protocol):
    """Where chunks are computed."""

    @property
    def is_busy(self) -> bool:
        """Whether a request has not been answered yet."""
        ...

    def ask(self, request: Request, now: float) -> None:
        """Begin with a request; only where it is not busy."""
        ...

    def answer(self, now: float) -> Answer | None:
        """The answer, once, when it is there."""
        ...

    def close(self) -> bool:
        """Come to an end; whether that worked."""
        ...


def compute(policy: Policy, request: Request, asked: float) -> Answer:
    """Ask a policy and look at what it gives."""
    begin = time.monotonic()
    try:
        actions = np.asarray(policy.act(request), dtype=np.float64)
    except BaseException as error:  # whatever ends a policy must not end the loop unnoticed
        problem = f"{type(error).__name__}: {error}"
        return Answer(request, asked, time.monotonic() - begin, None, problem)
    problem = chunk_problem(actions, policy.description)
    return Answer(request, asked, time.monotonic() - begin, None if problem else actions, problem)


def chunk_problem(actions: np.ndarray, policy: PolicyDescription) -> str:
    """What is wrong with a chunk, empty where nothing is."""
    shape = policy.horizon, policy.layout.width
    if actions.shape != shape:
        return f"the policy gave a chunk {list(actions.shape)} instead of {list(shape)}"
    is_usable = np.abs(actions) <= LARGEST
    if not is_usable.all():
        frame, channel = np.argwhere(~is_usable)[0]
        name = policy.layout.names[channel]
        return f"the policy gave {actions[frame, channel]} for {name!r} at frame {frame}"
    return ""


class InferenceThread:
    """A thread that computes one chunk at a time.

    Args:
        policy: Whom it asks.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._requests: queue.SimpleQueue[tuple[Request, float] | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._pending = False
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

    @property
    def is_busy(self) -> bool:
        return self._pending

    def ask(self, request: Request, now: float) -> None:
        assert not self._pending
        self._pending = True
        self._requests.put((request, now))

    def answer(self, now: float) -> Answer | None:
        try:
            answer = self._answers.get_nowait()
        except queue.Empty:
            return None
        self._pending = False
        return answer

    def close(self, patience: float = 2.0) -> bool:
        """Wait for the thread so long [s]; False where it hangs and is left behind."""
        self._requests.put(None)
        self._thread.join(patience)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (asked := self._requests.get()) is not None:
            self._answers.put(compute(self._policy, *asked))


class SimulatedInference:
    """Chunks whose computation takes a stated time on a simulated clock.

    Args:
        policy: Whom it asks.
        clock: The clock.
        seconds: That an answer takes on it; infinite: there never is one.
    """

    def __init__(self, policy: Policy, clock: Clock, seconds: float = 0.0) -> None:
        self._policy, self._clock, self.seconds = policy, clock, seconds
        self._pending: tuple[Answer, float] | None = None

    @property
    def is_busy(self) -> bool:
        return self._pending is not None

    def ask(self, request: Request, now: float) -> None:
        assert self._pending is None
        answer = compute(self._policy, request, now)
        self._pending = answer, self._clock.now() + self.seconds

    def answer(self, now: float) -> Answer | None:
        if self._pending is None or self._clock.now() < self._pending[1] - 1e-9:
            return None
        answer, self._pending = self._pending[0], None
        return answer

    def close(self) -> bool:
        return True
