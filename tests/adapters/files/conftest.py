from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest

from tests.adapters.files.samples import Site
from tests.real.file_systems import KINDS, mounted


class FileSystems:
    """The file systems of the session, each mounted when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mounts = ExitStack()
        self._made: dict[str, Path] = {}
        self._numbers = count(1)

    def site(self, kind: str) -> Site:
        """A folder of its own there, with a source and with production."""
        if kind not in self._made:
            self._made[kind] = self._mounts.enter_context(mounted(kind, self._folder, self._options(kind)))
        folder = self._made[kind] / str(next(self._numbers))
        folder.mkdir()
        return Site(kind, folder)

    def close(self) -> None:
        self._mounts.close()

    @staticmethod
    def _options(kind: str) -> str:
        return "size=512m" if kind == "tmpfs" else ""


@pytest.fixture(scope="session")
def file_systems(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FileSystems]:
    made = FileSystems(tmp_path_factory.mktemp("file-systems"))
    yield made
    made.close()


@pytest.fixture(params=KINDS)
def site(request: pytest.FixtureRequest, file_systems: FileSystems) -> Site:
    """A place on each kind of file system."""
    return file_systems.site(request.param)


@pytest.fixture
def quick_site(file_systems: FileSystems) -> Site:
    """A place on one kind, for what is the same on all."""
    return file_systems.site("tmpfs")
