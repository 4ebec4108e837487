"""Choosing an OpenGL backend."""

import subprocess

import pytest

from vla.deploy.robots import rendering


@pytest.fixture
def backends(monkeypatch):
    """Which backends work is up to the test; nothing is rendered."""
    working: set[str] = set()

    def run(command, env, **_):
        ok = env[rendering.VARIABLE] in working
        error = "  in a\nImportError: no library\n"
        return subprocess.CompletedProcess(command, 0 if ok else 1, "", "" if ok else error)

    monkeypatch.setattr(rendering.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(rendering.subprocess, "run", run)
    monkeypatch.setattr(rendering.sys, "platform", "linux")
    monkeypatch.setenv(rendering.VARIABLE, "")
    rendering._try_backend.cache_clear()
    yield working
    rendering._try_backend.cache_clear()


def test_the_first_backend_that_works_is_chosen_for_all_children(backends):
    backends.add("osmesa")
    assert rendering.select_backend() == "osmesa"
    assert rendering.os.environ[rendering.VARIABLE] == "osmesa"


def test_a_backend_that_the_user_set_is_tried_alone(backends, monkeypatch):
    backends.add("egl")
    monkeypatch.setenv(rendering.VARIABLE, "osmesa")
    with pytest.raises(rendering.RenderingUnavailable, match="unset MUJOCO_GL"):
        rendering.select_backend()


def test_without_a_backend_the_packages_to_install_are_named(backends):
    assert not backends
    with pytest.raises(rendering.RenderingUnavailable, match="ImportError.*libosmesa6 libegl1"):
        rendering.select_backend()
