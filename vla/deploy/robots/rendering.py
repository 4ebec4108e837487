"""Off-screen rendering: which of MuJoCo's OpenGL backends works on this machine.

MuJoCo reads the environment variable `MUJOCO_GL` once, when it is imported, so a backend is tried
in a process of its own. `python -m vla.deploy.robots.rendering` prints the one that works.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
from functools import cache

VARIABLE = "MUJOCO_GL"
DEBIAN_PACKAGES = ("libosmesa6", "libegl1", "libgl1-mesa-dri")
_BACKENDS = {"darwin": ("cgl",), "win32": ("wgl",)}
_PROBE = """
import mujoco
model = mujoco.MjModel.from_xml_string("<mujoco><worldbody><light/></worldbody></mujoco>")
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
renderer = mujoco.Renderer(model, 8, 8)
renderer.update_scene(data)
assert renderer.render().shape == (8, 8, 3)
"""


class RenderingUnavailable(RuntimeError):
    """No OpenGL backend can render off-screen on this machine."""


def select_backend() -> str:
    """Find a working backend and set `MUJOCO_GL` to it, for this process and its children.

    A backend that the user has set is tried alone; otherwise EGL goes before OSMesa.

    Returns:
        The backend's name.

    Raises:
        RenderingUnavailable: None works; names the packages to install.
    """
    if importlib.util.find_spec("mujoco") is None:
        raise RenderingUnavailable("MuJoCo is not installed: pip install rvq-action[sim]")
    chosen = os.environ.get(VARIABLE)
    candidates = (chosen,) if chosen else _BACKENDS.get(sys.platform, ("egl", "osmesa"))
    reasons = []
    for backend in candidates:
        reason = _try_backend(backend)
        if reason is None:
            os.environ[VARIABLE] = backend
            return backend
        reasons.append(f"{backend}: {reason}")
    raise RenderingUnavailable(
        f"Off-screen rendering does not work ({'; '.join(reasons)}). On Debian or Ubuntu install "
        f"{' '.join(DEBIAN_PACKAGES)} (other systems: Mesa's EGL or OSMesa library)"
        + (f", or unset {VARIABLE}." if chosen else ".")
    )


@cache
def _try_backend(backend: str) -> str | None:
    """Render one small image in a fresh process; None, or the reason why it failed."""
    environment = {**os.environ, VARIABLE: backend}
    command = [sys.executable, "-c", _PROBE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    lines = [line for line in done.stderr.splitlines() if line and not line.startswith(" ")]
    errors = [line for line in lines if "Error" in line]
    return (errors or lines or [f"exit status {done.returncode}"])[0].strip()


def main() -> int:
    """Print the working backend; 1 and the reason where there is none."""
    parser = argparse.ArgumentParser(description="Which backend renders off-screen here?")
    parser.add_argument("--quiet", action="store_true", help="only the exit status")
    quiet = parser.parse_args().quiet
    try:
        backend = select_backend()
    except RenderingUnavailable as error:
        if not quiet:
            print(error, file=sys.stderr)
        return 1
    if not quiet:
        print(backend)
    return 0


if __name__ == "__main__":
    sys.exit(main())
