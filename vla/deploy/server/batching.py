"""Batcher: one thread that takes the requests that wait, and has the policy answer all at once.

    client a  request ──┐
    client b  request ──┼─ queue ─ up to max_batch, at most max_wait after the first ─ act_many
    client c  request ──┘

Nobody waits for clients that are not there: one that is alone is served at once. What spoils a
batch costs those who share it as much time as there are of them: so a client whose last request
failed is computed apart until one succeeds, in turn with the batches of the others.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from vla.deploy.playing.inference import chunk_problem
from vla.deploy.policies.policy import Request
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


@dataclass(eq=False)
class Asker:
    """Whoever sends requests.

    Attributes:
        has_failed: Whether the last one did.
    """

    has_failed: bool = False


@dataclass(frozen=True)
class Waiting:
    """A request in the queue."""

    request: Request
    asker: Asker
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
        self._news = threading.Condition()
        self._together: deque[Waiting] = deque()
        self._apart: deque[Waiting] = deque()
        self._was_apart = self._is_over = False
        self._since: float | None = None
        self._thread = threading.Thread(target=self._run, name="policy", daemon=True)
        self._thread.start()

    @property
    def busy_s(self) -> float:
        """For how long the policy has been at its present batch [s]."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    def submit(self, request: Request, asker: Asker | None = None) -> Future[Outcome]:
        """Queue a request; cancelled before its turn it is never computed."""
        waiting = Waiting(request, asker or Asker())
        with self._news:
            (self._apart if waiting.asker.has_failed else self._together).append(waiting)
            self._news.notify()
        return waiting.future

    def close(self, patience: float) -> bool:
        """Answer what waits, and end.

        Args:
            patience: How long to wait for that [s].

        Returns:
            Whether it worked; False where the policy hangs and its thread is left behind.
        """
        with self._news:
            self._is_over = True
            self._news.notify()
        self._thread.join(patience)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while batch := self._gather():
            self._answer([w for w in batch if w.future.set_running_or_notify_cancel()])

    def _gather(self) -> list[Waiting]:
        """Those that are computed together; none where it is over."""
        with self._news:
            self._news.wait_for(lambda: self._together or self._apart or self._is_over)
            self._was_apart = bool(self._apart) and not (self._together and self._was_apart)
            if self._was_apart:
                return [self._apart.popleft()]
            if self._together:
                self._news.wait_for(self._is_full, self._settings.max_wait_s)
            most = min(self._settings.max_batch, len(self._together))
            return [self._together.popleft() for _ in range(most)]

    def _is_full(self) -> bool:
        """Whether nothing more is waited for."""
        wanted = min(self._settings.max_batch, self._company())
        return self._is_over or len(self._together) >= wanted

    def _answer(self, batch: Sequence[Waiting]) -> None:
        if not batch:
            return
        begin = self._since = time.monotonic()
        found = self._compute([waiting.request for waiting in batch])
        took, self._since = time.monotonic() - begin, None
        self._computed(len(batch), took)
        for waiting, chunk in zip(batch, found, strict=True):
            waiting.asker.has_failed = not isinstance(chunk, np.ndarray)
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
