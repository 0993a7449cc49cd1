"""The section `database` of the settings: where the database is, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from logcaster_guard.config.loading import Loaded, load

LINE = "database: {{host: {host}, password: {password}, migrations: /m{more}}}\n"


def told(folder: Path, **written: str) -> list[str]:
    values = {"host": "db", "password": "{file: /p}", "more": "", **written}
    (folder / "guard.yaml").write_text(LINE.format(**values))
    found = load(folder / "guard.yaml")
    return [] if isinstance(found, Loaded) else [str(fault) for fault in found]


@pytest.mark.parametrize("host", ["postgres.logcaster.svc", "10.0.0.7", '"::1"', "fe80::1", "/var/run/postgresql"])
def test_a_host_is_a_name_an_address_or_the_folder_of_a_socket(tmp_path: Path, host: str) -> None:
    assert told(tmp_path, host=host) == []


@pytest.mark.parametrize("host", ['"a,b"', '"a b"', '""', '"user@db"', '"db/name"', "pg://db", '"/a,b"', '"-db"'])
def test_anything_else_is_refused(tmp_path: Path, host: str) -> None:
    (fault,) = told(tmp_path, host=host)
    assert "one host name, IP address or absolute folder of a socket" in fault


@pytest.mark.parametrize(
    ("more", "allowed"),
    [
        (", port: 0", "at least 1"),
        (", port: 65536", "at most 65535"),
        (', name: ""', "at most 63 letters"),
        (", user: a b", "at most 63 letters"),
        (", version_schema: " + "a" * 64, "at most 63 letters"),
        (", sslmode: verify", "verify-full"),
        (", dsn: host=a", "version_schema"),
    ],
)
def test_other_keys_are_bounded(tmp_path: Path, more: str, allowed: str) -> None:
    (fault,) = told(tmp_path, more=more)
    assert allowed in fault


def test_the_password_never_stands_in_the_settings(tmp_path: Path) -> None:
    (fault,) = told(tmp_path, password="sesame")  # noqa: S106 - it is refused
    assert "sesame" not in fault
    assert "{file: PATH}" in fault


def test_what_cannot_be_guessed_is_needed(tmp_path: Path) -> None:
    (tmp_path / "guard.yaml").write_text("database: {name: logcaster}\n")
    found = load(tmp_path / "guard.yaml")
    assert isinstance(found, list)
    assert {key for key in ("host", "password", "migrations") if any(key in str(fault) for fault in found)} == {
        *("host", "password", "migrations")
    }
