"""The folder that holds the migration files of the release that is being left."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from logcaster_guard.domain.database.migrations import MAX_FILE_BYTES
from logcaster_guard.domain.errors import ConfigurationError
from logcaster_guard.messages.texts import phrase

MOST_FILES = 10_000
MOST_BYTES = 8 << 20
"""Of all files that are read together."""


class MigrationFolder:
    """Reads one folder. A link in it may lead to elsewhere in it, as in a mounted ConfigMap, and nowhere else."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._left = MOST_BYTES

    def names(self) -> Sequence[str]:
        """The names of its files; raises `ConfigurationError`."""
        try:
            with os.scandir(self._folder) as entries:
                names = [entry.name for entry, _ in zip(entries, range(MOST_FILES + 1), strict=False)]
        except OSError as error:
            raise self._unreadable(self._folder, error) from None
        if len(names) > MOST_FILES:
            raise ConfigurationError(phrase("fault.too_many_migrations", folder=str(self._folder), most=MOST_FILES))
        return names

    def read(self, name: str) -> bytes:
        """What a file holds, or a little more than may be run of it; raises `ConfigurationError`."""
        path = self._folder / name
        try:
            real, folder = (Path(os.path.realpath(place, strict=True)) for place in (path, self._folder))
            if not real.is_relative_to(folder):
                raise ConfigurationError(phrase("fault.migration_elsewhere", file=str(path)))
            # A pipe must not be waited for.
            descriptor = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
            with os.fdopen(descriptor, "rb") as stream:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise ConfigurationError(phrase("fault.migration_no_file", file=str(path)))
                content = stream.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise self._unreadable(path, error) from None
        self._left -= len(content)
        if self._left < 0:
            raise ConfigurationError(phrase("fault.migrations_too_large", folder=str(self._folder), most=MOST_BYTES))
        return content

    @staticmethod
    def _unreadable(path: Path, error: OSError) -> ConfigurationError:
        return ConfigurationError(phrase("fault.migration_unreadable", path=str(path), why=error.strerror or ""))
