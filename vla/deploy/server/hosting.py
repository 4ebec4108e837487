"""Where a server runs: in the main thread until a signal, or in a thread beside whatever else."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable
from typing import Protocol

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Server(Protocol):
    """What can be run: `PolicyServer` and `Listener`."""

    async def run(
        self, ending: asyncio.Event, listening: Callable[[int], None] = lambda port: None
    ) -> None:
        """Serve until the event is set, and tell the port when there is somebody to answer."""
        ...


def run_until_signal(server: Server, listening: Callable[[int], None] = lambda port: None) -> None:
    """Serve until SIGINT or SIGTERM; what runs is finished. A second signal ends it at once.

    Raises what the server's `run` does.
    """

    async def serve() -> None:
        ending, loop = asyncio.Event(), asyncio.get_running_loop()

        def end() -> None:
            ending.set()
            for number in SIGNALS:
                loop.remove_signal_handler(number)

        for number in SIGNALS:
            loop.add_signal_handler(number, end)
        await server.run(ending, listening)

    asyncio.run(serve())


class ServerThread:
    """A server beside the rest of a program: `with ServerThread(server) as port: ...`.

    Args:
        server: The server.
        lost: Told at once why the server ended by itself, in its thread; where None, whoever closes
            it gets the error.
    """

    def __init__(self, server: Server, lost: Callable[[BaseException], None] | None = None) -> None:
        self._server, self._lost = server, lost
        self._loop = asyncio.new_event_loop()
        self._ending = asyncio.Event()
        self._ready = threading.Event()
        self._port = 0
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="server", daemon=True)

    def start(self) -> int:
        """The port, once there is somebody to answer; errors as the server's `run`."""
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            raise self._error
        return self._port

    def close(self) -> None:
        """Finish what runs, and close; errors as the server's `run`."""
        with contextlib.suppress(RuntimeError):  # it has ended by itself
            self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def __enter__(self) -> int:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._server.run(self._ending, self._listening))
        except BaseException as error:  # told to whoever starts or closes it
            if self._lost is not None and self._ready.is_set():
                self._lost(error)
            else:
                self._error = error
        finally:
            self._ready.set()

    def _listening(self, port: int) -> None:
        self._port = port
        self._ready.set()
