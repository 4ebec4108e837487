"""`rvq-vla serve` as a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

from tests.vla.deploy.server.conftest import PATIENCE_S

ROOT = Path(__file__).parents[4]


class ServerProcess:
    """Runs from entering to leaving, or until it is told to end.

    Attributes:
        port: That it listens on.
        said: What it has printed.
    """

    def __init__(self, *words: str, **environment: str) -> None:
        command = [sys.executable, "-m", "vla", "serve", "--port", "0", *words]
        own = {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
        self._process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **own, **environment},
        )
        self.said, self.port = "", 0

    def __enter__(self) -> ServerProcess:
        """Once it says where it is."""
        assert self._process.stdout is not None
        late = threading.Timer(4 * PATIENCE_S, self._process.kill)
        late.start()
        for line in self._process.stdout:
            self.said += line
            if found := re.search(r"http://.*:(\d+)/healthz", line):
                self.port = int(found[1])
                break
        late.cancel()
        assert self.port, self.said
        return self

    def end(self, number: int = signal.SIGTERM) -> int:
        """Its exit status, after a signal."""
        if self._process.poll() is None:
            self._process.send_signal(number)
        self.said += self._process.communicate(timeout=PATIENCE_S)[0]
        return self._process.returncode

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()
