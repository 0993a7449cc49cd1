"""File systems that are mounted for the tests; a test is skipped, and says so, where one cannot be."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from tests.real.presence import required

KINDS = ("tmpfs", "disk", "xfs", "btrfs")
"""`disk` is where pytest keeps its folders; the last two can share blocks between files."""

SHARING = frozenset({"xfs", "btrfs"})
_SIZES = {"xfs": 300, "btrfs": 120}
"""MiB, of which only what is written is taken: the least that each has, and the margin that a second tree needs."""


@contextmanager
def mounted(kind: str, folder: Path, options: str = "") -> Iterator[Path]:
    """A file system of this kind; the test is skipped where nothing may be mounted."""
    place = folder / kind
    place.mkdir(exist_ok=True)
    if kind == "disk":
        yield place
        return
    source, given = "tmpfs", options
    if kind in _SIZES:
        make = required(f"mkfs.{kind}")
        image = folder / f"{kind}.img"
        with image.open("wb") as file:
            file.truncate(_SIZES[kind] << 20)
        subprocess.run([make, "-q", str(image)], check=True, capture_output=True)
        source, given = str(image), ",".join(filter(None, ("loop", options)))
    mount(kind, source, place, given)
    try:
        yield place
    finally:
        unmount(place)
        shutil.rmtree(place)


def mount(kind: str, source: str, place: Path, options: str = "") -> None:
    """Mount it there, or skip the test."""
    if os.geteuid():
        pytest.skip("only root may mount file systems")
    arguments = ["mount", "-t", kind, *(["-o", options] if options else []), source, str(place)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{kind} cannot be mounted here: {done.stderr.strip()}")


@cache
def may_mount() -> bool:
    """Whether anything may be mounted here."""
    with tempfile.TemporaryDirectory() as place:
        try:
            mount("tmpfs", "tmpfs", Path(place))
        except pytest.skip.Exception:
            return False
        unmount(Path(place))
        return True


def unmount(place: Path) -> None:
    """Take it away, even while something in it is open."""
    subprocess.run(["umount", "--lazy", str(place)], check=True, capture_output=True)
