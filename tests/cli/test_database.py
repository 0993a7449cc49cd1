"""`logcaster-guard database plan` against PostgreSQL, and where there is no way to it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from logcaster_guard import database_tools
from logcaster_guard.cli.main import app
from logcaster_guard.domain.database.destinations import SCHEMA_VERSION, ReleaseName, ReleaseWithoutVersion
from logcaster_guard.domain.signals import Target
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster
from tests.real.postgresql import PASSWORD, ROLE, RealDatabase
from tests.real.processes import free_port

SETTINGS = """\
database:
  host: 127.0.0.1
  port: {port}
  name: {name}
  user: {user}
  password: {{env: GUARD_TEST_PASSWORD}}
  migrations: {folder}
"""
SCHEMA = """
    CREATE TABLE schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL);
    INSERT INTO schema_migrations VALUES (12, false);
    CREATE TABLE logs (id int, level text);
    CREATE INDEX logs_id ON logs (id);
    INSERT INTO logs SELECT n, 'error' FROM generate_series(1, 5) n;
"""
FILES = {
    "11_init.up.sql": "CREATE TABLE logs (id int)",
    "11_init.down.sql": "DROP TABLE logs",
    "12_level.up.sql": "ALTER TABLE logs ADD level text",
    "12_level.down.sql": "DROP INDEX logs_id;\nALTER TABLE logs DROP COLUMN level;",
    "13-typo.down.sql": "DROP TABLE logs",
}


def call(folder: Path, *arguments: str, port: int, name: str = "lc", password: str = PASSWORD) -> Result:
    migrations = folder / "migrations"
    if not migrations.exists():
        migrations.mkdir()
        for migration, text in FILES.items():
            (migrations / migration).write_text(text)
    file = folder / "guard.yaml"
    file.write_text(SETTINGS.format(port=port, name=name, user=ROLE, folder=migrations))
    environment = {"COLUMNS": "200", "GUARD_TEST_PASSWORD": password}
    return CliRunner().invoke(app, ["database", "plan", "--config", str(file), *arguments], env=environment)


def test_the_plan_is_shown_and_nothing_is_changed(tmp_path: Path, real_database: RealDatabase) -> None:
    real_database.run(SCHEMA)
    place = {"port": real_database.server.port, "name": real_database.name}
    shown = call(tmp_path, "--to", "11", **place)  # type: ignore[arg-type] # a port and a name
    assert shown.exit_code == 0, shown.output
    lines = shown.stdout.splitlines()
    assert lines[0] == f"{real_database.name} (PostgreSQL 15.18): version 12 → 11"
    assert lines[1].startswith("1. 12_level.down.sql (sha256 ")
    assert lines[2:11] == [
        "Locks, taken in this order before the first file; whoever uses these tables waits:",
        "  public.logs: ACCESS EXCLUSIVE",
        "The tables of these indexes are locked too, ACCESS EXCLUSIVE, when their turn comes:",
        "  public.logs_id",
        "Lost:",
        "  12_level.down.sql:2: ALTER TABLE drops the column public.logs.level: 5 values now",
        "Not read, since golang-migrate does not read these names either:",
        "  13-typo.down.sql",
        "The database has 7 MiB. How long a backup of it takes is not known: none has been measured yet.",
    ]
    assert lines[11] == "This needs an approval: something is lost, or cannot be judged."
    told = json.loads(call(tmp_path, "--to", "11", "--json", **place).stdout)  # type: ignore[arg-type] # as above
    assert lines[12] == f"Plan {told['plan']['digest']}"
    assert (told["faults"], told["plan"]["needs_approval"], told["plan"]["losses"][0]["count"]) == ([], True, 5)
    assert told["backup"]["seconds"] is None
    assert real_database.value("SELECT count(level) FROM logs") == 5
    assert real_database.value("SELECT to_regnamespace('logcaster_guard') IS NULL"), "not even a schema is made"


def test_every_fault_is_told_at_once(tmp_path: Path, real_database: RealDatabase) -> None:
    real_database.run(SCHEMA)
    migrations = tmp_path / "migrations"
    migrations.mkdir()
    for name, text in {"12_x.down.sql": "BEGIN;\nSELEC", "11_x.up.sql": "", "10_x.down.sql": "VACUUM"}.items():
        (migrations / name).write_text(text)
    place = {"port": real_database.server.port, "name": real_database.name}
    shown = call(tmp_path, "--to", "9", "--json", **place)  # type: ignore[arg-type] # a port and a name
    assert shown.exit_code == 2
    told = json.loads(shown.stdout)
    assert told["plan"] is None
    assert [fault.split(":")[0] for fault in told["faults"]] == [
        *("no file has version 9; below the present one there are 11, 10", "11_x.up.sql"),
        *("12_x.down.sql", "10_x.down.sql"),
    ]
    assert shown.stderr.splitlines()[-1] == "error: 4 faults"


def test_a_server_that_is_not_there_and_a_wrong_password_are_told_without_it(
    tmp_path: Path, real_database: RealDatabase
) -> None:
    unreached = call(tmp_path, "--to", "9", port=free_port())
    assert (unreached.exit_code, unreached.stdout) == (3, "")
    place = {"port": real_database.server.port, "name": real_database.name, "password": "sesame"}
    wrong = call(tmp_path, "--to", "9", **place)  # type: ignore[arg-type] # a port and texts
    assert wrong.exit_code == 3
    assert "password" in wrong.stderr
    assert "sesame" not in unreached.output + wrong.output


def test_settings_without_a_database_are_told(tmp_path: Path) -> None:
    (tmp_path / "guard.yaml").write_text("log: {level: info}\n")
    told = CliRunner().invoke(app, ["database", "plan", "--config", str(tmp_path / "guard.yaml"), "--to", "1"])
    assert (told.exit_code, told.stderr.startswith("error: the settings name no database")) == (2, True)


def test_the_version_of_a_release_is_asked_of_the_cluster(
    tmp_path: Path, real_database: RealDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_database.run(SCHEMA)
    asked: list[tuple[ReleaseName, str]] = []

    async def version_of(settings: object, name: ReleaseName, target: object) -> int:
        del settings
        asked.append((name, getattr(target, "name", "")))
        return 12

    monkeypatch.setattr(database_tools, "version_of", version_of)
    shown = call(tmp_path, "--to", "revision:4", port=real_database.server.port, name=real_database.name)
    assert (shown.exit_code, asked) == (0, [(ReleaseName("revision:4"), "logcaster")])
    assert "It is there already" in shown.stdout


async def test_a_release_that_the_cluster_still_has_tells_its_version_by_its_own_template() -> None:
    cluster = FakeCluster(FakeClock())
    cluster.add_deployment("web", "web:1")
    cluster.restart("web", **{SCHEMA_VERSION: "9"})
    cluster.roll("web", "web:2")
    cluster.restart("web", **{SCHEMA_VERSION: "12"})
    target = Target("web", "default", "web")
    versions = [await database_tools.release_version(cluster, ReleaseName(f"revision:{n}"), target) for n in (1, 2, 4)]
    assert versions == [ReleaseWithoutVersion("revision:1", SCHEMA_VERSION, ""), 9, 12]


def test_only_who_asks_for_it_loads_the_client_and_the_parser() -> None:
    assert not hasattr(sys.modules["logcaster_guard.cli.database"], "database_tools")
