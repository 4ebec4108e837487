"""Where a robot's hand is when its joints are so: forward kinematics from its URDF, by MuJoCo.

Of a URDF only links, joints and their axes count here: shapes, meshes and masses are left aside, so
that no file but the URDF itself is needed. There is no inverse kinematics.
"""

from __future__ import annotations

import contextlib
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vla.deploy.robots.rendering import RenderingUnavailable, select_backend

ASIDE = ("visual", "collision", "inertial")
COMPILER = {"fusestatic": "false", "boundmass": "1", "boundinertia": "1", "angle": "radian"}
"""Links without a mass, and those that are fixed to others, stay links of their own."""


class ForwardKinematics:
    """From joint positions to the pose of a link, in the frame of the URDF's root.

    Args:
        urdf: The file.
        link: Whose pose is wanted.
        joints: Names of the joints that are given: all between root and link, or more. Others, such
            as those of fingers beyond the link, stand at 0.

    Raises:
        ModuleNotFoundError: MuJoCo is not installed.
        FileNotFoundError: There is no such file.
        ValueError: It is no URDF, it has no such link or joint, or a joint that moves the link is
            not given.
    """

    def __init__(self, urdf: Path, link: str, joints: Sequence[str]) -> None:
        with contextlib.suppress(RenderingUnavailable):
            select_backend()  # MuJoCo chooses once, when it is imported; a simulator may come later
        import mujoco

        if not urdf.is_file():
            raise FileNotFoundError(f"There is no URDF {urdf}.")
        try:
            self._model = mujoco.MjModel.from_xml_string(_bare(urdf))
        except (ValueError, ElementTree.ParseError) as error:
            raise ValueError(f"{urdf} is no URDF that can be read: {error}") from error
        self._data, self._solve = mujoco.MjData(self._model), mujoco.mj_kinematics
        bodies = [self._model.body(i).name for i in range(self._model.nbody)]
        moved = [self._model.joint(i).name for i in range(self._model.njnt)]
        if link not in bodies:
            raise ValueError(f"{urdf} has no link {link!r}; it has {bodies[1:]}.")
        if unknown := [name for name in joints if name not in moved]:
            raise ValueError(f"{urdf} has no joint {unknown} that moves; it has {moved}.")
        self._link = bodies.index(link)
        if missing := [name for name in self._chain() if name not in joints]:
            raise ValueError(
                f"{urdf}: {missing} move the link {link!r}, too, but only {list(joints)} are "
                "given. Where the link is takes all of them."
            )
        self._places = [int(self._model.joint(name).qposadr[0]) for name in joints]

    def position(self, angles: np.ndarray) -> np.ndarray:
        """float64 [3] in m, of joint positions [J] in rad (m where they slide)."""
        self._move(angles)
        return self._data.xpos[self._link].copy()

    def rotation(self, angles: np.ndarray) -> np.ndarray:
        """float64 [3, 3], of joint positions [J]."""
        self._move(angles)
        return self._data.xmat[self._link].reshape(3, 3).copy()

    def _chain(self) -> list[str]:
        """The joints between root and link, from the root on."""
        found, body = [], self._link
        while body:
            first, count = self._model.body_jntadr[body], self._model.body_jntnum[body]
            found += [self._model.joint(first + number).name for number in range(count)]
            body = int(self._model.body_parentid[body])
        return found[::-1]

    def _move(self, angles: np.ndarray) -> None:
        self._data.qpos[self._places] = angles
        self._solve(self._model, self._data)


def _bare(urdf: Path) -> str:
    """The URDF as MuJoCo takes it, without what does not move anything."""
    root = ElementTree.parse(urdf).getroot()
    if root.tag != "robot":
        raise ValueError(f"its root is <{root.tag}>, not <robot>")
    for link in root.iter("link"):
        for part in [part for part in link if part.tag in ASIDE]:
            link.remove(part)
    for extension in root.findall("mujoco"):
        root.remove(extension)
    ElementTree.SubElement(ElementTree.SubElement(root, "mujoco"), "compiler", COMPILER)
    return ElementTree.tostring(root, encoding="unicode")
