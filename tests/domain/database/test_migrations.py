"""Which files golang-migrate reads, and the way down between two of their versions."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.domain.database import migration_faults as faults
from logcaster_guard.domain.database.migration_faults import BadContent
from logcaster_guard.domain.database.migrations import (
    MAX_FILE_BYTES,
    Direction,
    MigrationName,
    destination_of,
    migration_set,
    parsed_name,
    read_file,
    way_down,
)
from logcaster_guard.domain.message import Message

VERSIONS = st.sets(st.integers(0, 2**63 - 1) | st.integers(0, 30), min_size=1, max_size=12)


def files(*versions: int) -> list[str]:
    return [f"{v}_change.{direction}.sql" for v in versions for direction in ("up", "down")]


@pytest.mark.parametrize(
    ("name", "version", "title", "direction"),
    [
        ("1_init.up.sql", 1, "init", "up"),
        ("000012_add_index.down.sql", 12, "add_index", "down"),
        ("0_zero.down.sql", 0, "zero", "down"),
        ("20240201131900_drop.down.sql", 20240201131900, "drop", "down"),
        ("1_.up.sql", 1, "", "up"),
        ("1_a.up.b.down.sql", 1, "a.up.b", "down"),
        ("1_a.down.sql.bak", 1, "a", "down"),
        ("18446744073709551615_max.up.sql", 2**64 - 1, "max", "up"),
        ("0" * 5000 + "7_zeros.up.sql", 7, "zeros", "up"),
    ],
)
def test_a_name_is_read_as_golang_migrate_reads_it(name: str, version: int, title: str, direction: str) -> None:
    assert parsed_name(name) == MigrationName(name, version, title, Direction(direction))


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "1-init.up.sql",
        "1_init.sql",
        "1_init.Down.sql",
        "-1_init.up.sql",
        "+1_init.up.sql",
        "\u0661_arabic.up.sql",
        "1_a.up.sql\n",
        "18446744073709551616_over.up.sql",
        "9" * 5000 + "_digits.up.sql",
        " 1_init.up.sql",
        "a/1_init.up.sql",
    ],
)
def test_a_name_that_golang_migrate_passes_over_is_passed_over(name: str) -> None:
    assert parsed_name(name) is None


def test_sql_files_that_are_passed_over_are_named() -> None:
    found = migration_set([*files(1), "2-typo.down.sql", "README.md", "3_x.DOWN.SQL"])
    assert found.others == ("2-typo.down.sql", "3_x.DOWN.SQL")
    assert found.versions == [1]


@given(versions=VERSIONS, data=st.data())
def test_exactly_the_versions_above_the_destination_are_undone_from_the_top(
    versions: set[int], data: st.DataObject
) -> None:
    ordered = sorted(versions)
    present = data.draw(st.sampled_from(ordered))
    destination = data.draw(st.sampled_from([None, *(v for v in ordered if v <= present)]))
    way = way_down(migration_set(data.draw(st.permutations(files(*ordered)))), present, destination)
    undone = [u.file.version for u in way.undone]
    assert way.faults == ()
    assert undone == [v for v in reversed(ordered) if v <= present and (destination is None or v > destination)]
    assert [u.leaves for u in way.undone] == ([*undone[1:], destination] if undone else [])
    assert all(u.file.direction is Direction.DOWN for u in way.undone)


@given(versions=VERSIONS, data=st.data())
def test_every_version_without_its_down_file_is_told_at_once(versions: set[int], data: st.DataObject) -> None:
    present = max(versions)
    missing = data.draw(st.sets(st.sampled_from(sorted(versions)), min_size=1))
    names = [n for n in files(*versions) if not (".down." in n and int(n.partition("_")[0]) in missing)]
    way = way_down(migration_set(names), present, None)
    assert {f.version for f in way.faults if isinstance(f, faults.NoDownFile)} == missing
    assert len(way.faults) == len(missing)


@given(versions=VERSIONS, zeros=st.integers(0, 25), data=st.data())
def test_zeros_that_lead_change_nothing_and_cannot_hide_a_second_file(
    versions: set[int], zeros: int, data: st.DataObject
) -> None:
    version = data.draw(st.sampled_from(sorted(versions)))
    padded = f"{'0' * zeros}{version}_other.down.sql"
    found = migration_set([*files(*versions), padded])
    assert found.faults == [faults.VersionTwice(version, tuple(sorted((f"{version}_change.down.sql", padded))))]
    alone = migration_set([n for n in files(*versions) if n != f"{version}_change.down.sql"] + [padded])
    assert alone.faults == []
    assert alone.versions == sorted(versions)


@pytest.mark.parametrize(
    ("names", "present", "destination", "expected"),
    [
        (files(1, 2), 9, 1, [faults.PresentWithoutFile(9)]),
        (files(1, 5, 9), 9, 4, [faults.NoSuchVersion("4", ("5", "1"))]),
        (files(1, 5), 5, 9, [faults.DestinationAbove(9, "5")]),
        (files(1), None, 1, [faults.DestinationAbove(1, "none")]),
        (["a.sql"], 3, 1, [faults.NoMigrations(("a.sql",))]),
        ([], 3, 1, [faults.NoMigrations(())]),
        ([f"{2**63}_x.down.sql", *files(1)], 1, None, [faults.VersionTooLarge(2**63, f"{2**63}_x.down.sql")]),
        (
            ["2_a.down.sql", "02_b.down.sql", "3_c.up.sql"],
            4,
            1,
            [
                faults.VersionTwice(2, ("02_b.down.sql", "2_a.down.sql")),
                faults.PresentWithoutFile(4),
                faults.NoSuchVersion("1", ("3", "2")),
                faults.NoDownFile(3, "3_c.up.sql"),
            ],
        ),
    ],
)
def test_all_faults_at_once(
    names: Sequence[str], present: int | None, destination: int | None, expected: Sequence[Message]
) -> None:
    assert list(way_down(migration_set(names), present, destination).faults) == expected


@pytest.mark.parametrize(("present", "destination"), [(3, 3), (None, None)])
def test_where_nothing_is_above_the_destination_nothing_is_undone(present: int | None, destination: int | None) -> None:
    way = way_down(migration_set(files(1, 3, 7)), present, destination)
    assert (way.undone, way.faults) == ((), ())


def test_files_above_the_present_version_are_no_business_of_the_way_down() -> None:
    way = way_down(migration_set([*files(1, 2), "3_later.up.sql"]), 2, 1)
    assert ([u.file.version for u in way.undone], way.faults) == ([2], ())


def test_zero_is_none_unless_a_file_has_it() -> None:
    assert destination_of(0, migration_set(files(1))) is None
    assert destination_of(0, migration_set(files(0, 1))) == 0


@pytest.mark.parametrize(
    ("content", "bad"),
    [
        (b"", BadContent.EMPTY),
        (b" \n\t\r\n", BadContent.EMPTY),
        (b"\xef\xbb\xbfDROP TABLE a", BadContent.BYTE_ORDER_MARK),
        ("DROP TABLE a".encode("utf-16"), BadContent.BYTE_ORDER_MARK),
        (b"DROP TABLE a;\0DROP TABLE b", BadContent.NUL),
        (b"DROP TABLE \xff", BadContent.NOT_TEXT),
        (b"-" * (MAX_FILE_BYTES + 1), BadContent.TOO_LARGE),
    ],
)
def test_a_file_that_is_no_text_is_told_by_what_it_is(content: bytes, bad: BadContent) -> None:
    name = migration_set(["1_x.down.sql"]).names[0]
    assert read_file(name, content) == faults.UnusableFile("1_x.down.sql", bad, MAX_FILE_BYTES)


def test_the_digest_is_that_of_the_bytes() -> None:
    name, content = migration_set(["1_x.down.sql"]).names[0], "DROP TABLE ü;\r\n".encode()
    found = read_file(name, content)
    assert not isinstance(found, faults.UnusableFile)
    assert (found.sha256, found.text) == (hashlib.sha256(content).hexdigest(), "DROP TABLE ü;\r\n")
