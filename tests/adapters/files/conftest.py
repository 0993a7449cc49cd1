from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

import pytest

from tests.adapters.files.samples import Site
from tests.real.file_systems import KINDS, may_mount, mounted


class FileSystems:
    """The file systems of the session, each mounted when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mounts = ExitStack()
        self._made: dict[str, Path] = {}
        self._numbers = count(1)

    @contextmanager
    def site(self, kind: str) -> Iterator[Site]:
        """A folder of its own there, with a source and with production."""
        if kind not in self._made:
            options = "size=512m" if kind == "tmpfs" else ""
            self._made[kind] = self._mounts.enter_context(mounted(kind, self._folder, options))
        folder = self._made[kind] / str(next(self._numbers))
        folder.mkdir()
        yield Site(kind, folder)
        shutil.rmtree(folder)

    def close(self) -> None:
        self._mounts.close()


@pytest.fixture(scope="session")
def file_systems(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FileSystems]:
    made = FileSystems(tmp_path_factory.mktemp("file-systems"))
    yield made
    made.close()


@pytest.fixture(params=KINDS)
def site(request: pytest.FixtureRequest, file_systems: FileSystems) -> Iterator[Site]:
    """A place on each kind of file system."""
    with file_systems.site(request.param) as made:
        yield made


@pytest.fixture
def quick_site(file_systems: FileSystems) -> Iterator[Site]:
    """A place on one kind, for what is the same on all."""
    with file_systems.site("tmpfs" if may_mount() else "disk") as made:
        yield made
