"""Migration files in a folder, as an image or a mounted ConfigMap holds them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from logcaster_guard.adapters import migration_folder
from logcaster_guard.adapters.migration_folder import MigrationFolder
from logcaster_guard.domain.database.migrations import MAX_FILE_BYTES
from logcaster_guard.domain.errors import ConfigurationError


def test_files_of_a_mounted_config_map_are_read_through_its_links(tmp_path: Path) -> None:
    (tmp_path / "..data-1").mkdir()
    (tmp_path / "..data-1" / "1_x.down.sql").write_bytes(b"DROP VIEW a")
    (tmp_path / "..data").symlink_to("..data-1")
    (tmp_path / "1_x.down.sql").symlink_to("..data/1_x.down.sql")
    folder = MigrationFolder(tmp_path)
    assert "1_x.down.sql" in folder.names()
    assert folder.read("1_x.down.sql") == b"DROP VIEW a"


@pytest.mark.parametrize("kind", ["link out", "link to a folder beside", "loop", "folder", "pipe", "absent"])
def test_what_is_no_file_of_the_folder_is_refused(tmp_path: Path, kind: str) -> None:
    inside, outside = tmp_path / "migrations", tmp_path / "migrations-of-others"
    for place in (inside, outside):
        place.mkdir()
        (place / "secret").write_text("s")
    file = inside / "1_x.down.sql"
    match kind:
        case "link out":
            file.symlink_to("/etc/passwd")
        case "link to a folder beside":
            file.symlink_to("../migrations-of-others/secret")
        case "loop":
            file.symlink_to(file.name)
        case "folder":
            file.mkdir()
        case "pipe":
            os.mkfifo(file)
        case _:
            pass
    with pytest.raises(ConfigurationError, match=r"1_x\.down\.sql"):
        MigrationFolder(inside).read("1_x.down.sql")


def test_no_more_is_read_than_may_be_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "1_x.down.sql").write_bytes(b"-" * (MAX_FILE_BYTES * 2))
    monkeypatch.setattr(migration_folder, "MOST_BYTES", MAX_FILE_BYTES * 2)
    monkeypatch.setattr(migration_folder, "MOST_FILES", 1)
    folder = MigrationFolder(tmp_path)
    assert len(folder.read("1_x.down.sql")) == MAX_FILE_BYTES + 1
    with pytest.raises(ConfigurationError, match="larger than"):
        folder.read("1_x.down.sql")
    (tmp_path / "2_x.down.sql").touch()
    with pytest.raises(ConfigurationError, match="more than 1 files"):
        folder.names()


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file or directory"):
        MigrationFolder(tmp_path / "absent").names()
