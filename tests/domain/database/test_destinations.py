"""Where a database is to go: versions, and releases that name theirs."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from logcaster_guard.domain.database.destinations import (
    SCHEMA_VERSION,
    NoRelease,
    ReleaseName,
    ReleaseWithoutVersion,
    SeveralVersionsOfRelease,
    destination,
    version_of_release,
)
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.workload import Revision


def revision(number: int, version: str | None, image: str = "", earlier: tuple[int, ...] = ()) -> Revision:
    annotations = {} if version is None else {SCHEMA_VERSION: version}
    template = {"metadata": {"annotations": annotations}, "spec": {"containers": [{"image": image or f"web:{number}"}]}}
    return Revision(
        uid=str(number),
        name=f"web-{number}",
        template=template,
        number=number,
        earlier=earlier,
        created=datetime(2026, 1, 1, tzinfo=UTC),
        change_cause=None,
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("9", 9),
        ("0009", 9),
        ("0", 0),
        ("none", None),
        ("revision:9", ReleaseName("revision:9")),
        ("9a", ReleaseName("9a")),
        ("-1", ReleaseName("-1")),
        ("\u0669", ReleaseName("\u0669")),
        ("1" * 21, ReleaseName("1" * 21)),
        ("", ReleaseName("")),
    ],
)
def test_a_number_is_a_version_and_anything_else_a_release(text: str, expected: object) -> None:
    assert destination(text) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("revision:2", 9),
        ("revision:3", None),
        ("revision:1", 9),
        ("revision:4", ReleaseWithoutVersion("revision:4", SCHEMA_VERSION, "")),
        ("revision:5", ReleaseWithoutVersion("revision:5", SCHEMA_VERSION, "nine")),
        ("revision:6", NoRelease("revision:6", ())),
        ("", NoRelease("", ())),
        (revision(2, "9").hash[:9], 9),
    ],
)
def test_a_release_tells_its_version_by_its_template(name: str, expected: int | Message | None) -> None:
    revisions = [revision(2, "9", earlier=(1,)), revision(3, "none"), revision(4, None), revision(5, "nine")]
    found = version_of_release(ReleaseName(name), revisions)
    assert type(found) is type(expected)
    if isinstance(found, NoRelease):
        assert [known.partition(" ")[0] for known in found.known] == [
            "revision:5",
            "revision:4",
            "revision:3",
            "revision:2",
        ]
        assert found.name == name
    else:
        assert found == expected


def test_releases_of_one_name_must_agree_on_the_version() -> None:
    same = [revision(1, "9", "web:1"), revision(2, "10", "web:1")]
    found = version_of_release(ReleaseName(same[0].hash), same)
    assert found == SeveralVersionsOfRelease(same[0].hash, ("10", "9"))
    assert version_of_release(ReleaseName(same[0].hash), [same[0], revision(2, "9", "web:1")]) == 9
