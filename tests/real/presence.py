"""Which real parts this machine offers to the tests, and in whose words their absence is told."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

import pytest

from tests.real import control_plane, postgresql
from tests.real.processes import version_of


@dataclass(frozen=True)
class RealPlane:
    """How a real control plane is reached, or `why` there is none."""

    way: Literal["assets", "kubeconfig", "none"]
    path: Path
    why: str


def real_plane() -> RealPlane:
    assets, kubeconfig = os.environ.get("KUBEBUILDER_ASSETS"), os.environ.get("KUBECONFIG")
    if assets:
        why = control_plane.missing(Path(assets))
        return RealPlane("none" if why else "assets", Path(assets), why or "")
    if kubeconfig:
        # Of a list of files the first counts, as it does for the current context.
        return RealPlane("kubeconfig", Path(kubeconfig.split(os.pathsep)[0]), "")
    return RealPlane("none", Path(), "neither KUBEBUILDER_ASSETS nor KUBECONFIG is set")


def prometheus_binary() -> str | None:
    return shutil.which("prometheus")


def required(program: str) -> str:
    """Where `program` of Debian is; without it the test is skipped, and fails in CI."""
    found = shutil.which(program)
    return found if found is not None else absent(f"`{program}` is not on PATH")


def absent(reason: str) -> NoReturn:
    """Skip the test, and fail it in CI."""
    if continuous_integration():
        pytest.fail(reason)
    pytest.skip(reason)


def continuous_integration() -> bool:
    return os.environ.get("CI", "").lower() == "true"


def prometheus_line() -> str:
    binary = prometheus_binary()
    if binary is None:
        return "Prometheus: absent (no `prometheus` on PATH)"
    return f"Prometheus: present, {_version(binary)}"


def postgresql_line() -> str:
    binary = postgresql.BINARIES / "postgres"
    return f"PostgreSQL: {f'present, {_version(binary)}' if binary.exists() else f'absent (no {binary})'}"


def control_plane_line(used: str | None) -> str:
    """`used` is the version of the control plane that this session started or entered."""
    plane = real_plane()
    if plane.way == "none":
        return f"control plane: absent ({plane.why})"
    if used is None and plane.way == "assets":
        return f"control plane: present, not needed by these tests, {_version(plane.path / 'kube-apiserver')}"
    source = "KUBEBUILDER_ASSETS" if plane.way == "assets" else "KUBECONFIG"
    return f"control plane: {f'used, {used}' if used else 'not entered'} ({source})"


def _version(binary: Path | str) -> str:
    try:
        return version_of(binary)
    except (OSError, subprocess.SubprocessError, IndexError) as error:
        return f"of unknown version ({error})"
