"""Attempts in several processes: each has a policy and robots of its own."""

from __future__ import annotations

import multiprocessing
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import closing
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from queue import Empty

from vla.evaluation.closed_loop.loop import Outcome
from vla.evaluation.closed_loop.stage import Stage, Staging
from vla.evaluation.closed_loop.starts import Start
from vla.processes import become_worker

PATIENCE = 0.2
"""Seconds from one look at the workers' health to the next."""


def play_all(staging: Staging, starts: Sequence[Start], workers: int) -> Iterator[Outcome]:
    """Attempt starts in one process or several; outcomes as they come.

    Raises:
        BrokenExecutor: A process died.
        ValueError: The policy cannot act there; says why.
    """
    shares = deal(starts, workers)
    if len(shares) == 1:
        with closing(Stage(staging).play(shares[0])) as outcomes:
            yield from outcomes
        return
    context = multiprocessing.get_context("spawn")  # a forked OpenGL context does not work
    told = context.Queue()
    processes = [context.Process(target=_work, args=(told, staging, share)) for share in shares]
    try:
        for process in processes:
            process.start()
        yield from _listen(told, processes)
        for process in processes:
            process.join()
    finally:
        for process in processes:
            process.terminate()
            process.join()


def deal(starts: Sequence[Start], workers: int) -> list[list[Start]]:
    """Starts for each process: as many of every task, the tasks by turns.

    A robot in front of every task is built first, and none for a task that is done.
    """
    by_task: dict[str, list[Start]] = defaultdict(list)
    for start in starts:
        by_task[start.task].append(start)
    shares = [
        sorted((s for own in by_task.values() for s in own[w::workers]), key=_turn)
        for w in range(workers)
    ]
    return [share for share in shares if share]


def _turn(start: Start) -> int:
    return start.number


def _listen(told: Queue, processes: Sequence[BaseProcess]) -> Iterator[Outcome]:
    """Outcomes until every process has said that it is done; an error of one is raised."""
    working = len(processes)
    while working:
        try:
            said = told.get(timeout=PATIENCE)
        except Empty:
            dead = [p.exitcode for p in processes if p.exitcode]
            if dead and told.empty():
                raise BrokenExecutor(
                    f"A process that simulates died (exit status {dead[0]}); was it out of memory? "
                    "The same command goes on; fewer --workers or --robots need less."
                ) from None
            continue
        if isinstance(said, Exception):
            raise said
        if said is None:
            working -= 1
        else:
            yield said


def _work(told: Queue, staging: Staging, starts: Sequence[Start]) -> None:
    """Tell every outcome, and None in the end, or the error that ended it."""
    import torch

    torch.set_num_threads(1)
    become_worker(lambda: None)
    try:
        with closing(Stage(staging).play(starts)) as outcomes:
            for outcome in outcomes:
                told.put(outcome)
        told.put(None)
    except Exception as error:
        told.put(error)
