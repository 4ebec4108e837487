"""Batcher: one thread that takes the requests that wait, and has the policy answer all at once.

    client a  request ──┐
    client b  request ──┼─ queue ─ up to max_batch, at most max_wait after the first ─ act_many
    client c  request ──┘

Nobody waits for clients that are not there: one that is alone is served at once.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from vla.deploy.inference import chunk_problem
from vla.deploy.policy import Request
from vla.deploy.server.served import ServedPolicy

logger = logging.getLogger(__name__)


class PolicyFailed(RuntimeError):
    """The policy gave no usable chunk; the cause says why."""


class Outcome(NamedTuple):
    """What came of a request.

    Attributes:
        actions: float32 [T, D].
        queue_s: Waited for its turn.
        inference_s: The batch took.
        batch: Requests in it.
    """

    actions: np.ndarray
    queue_s: float
    inference_s: float
    batch: int


@dataclass(frozen=True)
class Waiting:
    """A request in the queue."""

    request: Request
    arrived: float = field(default_factory=time.monotonic)
    future: Future[Outcome] = field(default_factory=Future)


@dataclass(frozen=True)
class BatchSettings:
    """How requests are put together.

    Attributes:
        max_batch: The most at once.
        max_wait_s: For company, from the first one on.
    """

    max_batch: int = 8
    max_wait_s: float = 0.005

    def __post_init__(self) -> None:
        if self.max_batch < 1:
            raise ValueError(f"max_batch starts at 1, got {self.max_batch}.")
        if not 0 <= self.max_wait_s <= 1:
            raise ValueError(f"max_wait_s is 0 to 1 second, got {self.max_wait_s}.")


class Batcher:
    """The thread that the policy lives in.

    Args:
        policy: Whom it asks.
        settings: How requests are put together.
        company: How many clients there are.
        computed: Told of every batch: its size, and the seconds that it took.
    """

    def __init__(
        self,
        policy: ServedPolicy,
        settings: BatchSettings | None = None,
        company: Callable[[], int] = lambda: 1,
        computed: Callable[[int, float], None] = lambda size, seconds: None,
    ) -> None:
        self._policy, self._company, self._computed = policy, company, computed
        self._settings = settings or BatchSettings()
        self._queue: queue.Queue[Waiting | None] = queue.Queue()
        self._since: float | None = None
        self._thread = threading.Thread(target=self._run, name="policy", daemon=True)
        self._thread.start()

    @property
    def busy_s(self) -> float:
        """For how long the policy has been at its present batch [s]."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    def submit(self, request: Request) -> Future[Outcome]:
        """Queue a request; cancelled before its turn it is never computed."""
        waiting = Waiting(request)
        self._queue.put(waiting)
        return waiting.future

    def close(self, patience: float) -> bool:
        """Answer what waits, and end.

        Args:
            patience: How long to wait for that [s].

        Returns:
            Whether it worked; False where the policy hangs and its thread is left behind.
        """
        self._queue.put(None)
        self._thread.join(patience)
        return not self._thread.is_alive()

    def _run(self) -> None:
        is_over = False
        while not is_over and (first := self._queue.get()) is not None:
            batch, is_over = self._gather(first)
            self._answer([w for w in batch if w.future.set_running_or_notify_cancel()])

    def _gather(self, first: Waiting) -> tuple[list[Waiting], bool]:
        """Those that are computed together, and whether none come after them."""
        batch, end = [first], time.monotonic() + self._settings.max_wait_s
        while len(batch) < min(self._settings.max_batch, self._company()):
            try:
                one = self._queue.get(timeout=max(end - time.monotonic(), 0.0))
            except queue.Empty:
                break
            if one is None:
                return batch, True
            batch.append(one)
        return batch, False

    def _answer(self, batch: Sequence[Waiting]) -> None:
        if not batch:
            return
        begin = self._since = time.monotonic()
        found = self._compute([waiting.request for waiting in batch])
        took, self._since = time.monotonic() - begin, None
        self._computed(len(batch), took)
        for waiting, chunk in zip(batch, found, strict=True):
            if isinstance(chunk, np.ndarray):
                told = begin - waiting.arrived, took, len(batch)
                waiting.future.set_result(Outcome(chunk, *told))
            else:
                waiting.future.set_exception(chunk)

    def _compute(self, requests: Sequence[Request]) -> list[np.ndarray | PolicyFailed]:
        """Chunks, or why there are none: whoever spoils a batch spoils it for himself alone."""
        try:
            chunks = self._policy.act_many(requests)
            return [self._checked(chunk) for _, chunk in zip(requests, chunks, strict=True)]
        except BaseException as error:  # whatever ends a policy must not end the server unnoticed
            if len(requests) > 1:
                return [self._compute([request])[0] for request in requests]
            failed = PolicyFailed(f"{type(error).__name__}: {error}")
            failed.__cause__ = error
            return [failed]

    def _checked(self, chunk: np.ndarray) -> np.ndarray | PolicyFailed:
        actions = np.asarray(chunk, dtype=np.float64)
        problem = chunk_problem(actions, self._policy.description)
        return PolicyFailed(problem) if problem else actions.astype(np.float32)
