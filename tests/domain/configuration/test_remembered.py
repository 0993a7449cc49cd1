"""What is kept of a configuration through a restart: places, digests, and no values."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from logcaster_guard.domain.configuration.content import Concealed, DigestKey, NoContent, changed_keys
from logcaster_guard.domain.configuration.manifests import found_in, manifest_of
from logcaster_guard.domain.configuration.object_versions import first_seen
from logcaster_guard.domain.configuration.pod_starts import PodsSeen
from logcaster_guard.domain.configuration.references import ConfigKind
from logcaster_guard.domain.configuration.remembered import (
    MOST,
    Remembered,
    RememberedUnreadable,
    remembered_object,
)
from logcaster_guard.domain.configuration.spans import Look
from tests.domain.configuration.build import APP, KEY, config_map, edited, found, held, pod, secret

AT = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def remembered() -> Remembered:
    versions = edited(held("1", 10), "2", 12)
    missed = versions.seen(found(config_map({"k": "3"})), Look("14", 1.0, 2.0), unbroken=False)
    known = remembered_object(missed, {"10": "aa", "12": "bb", "14": "cc"}, [AT], 302.5)
    assert known is not None
    pods = PodsSeen().listed([pod("web-1", 11, annotations={"checksum/config": "x"})], Look("11", 1.0, 2.0))
    return Remembered({APP: known}, {"w": pods})


def test_what_is_kept_is_read_back_with_its_age_and_not_the_seconds_of_the_process_before() -> None:
    before, after = remembered(), Remembered.from_bytes(remembered().to_bytes())
    assert after.objects == before.objects
    assert after.pods["w"].carried_over(5.0) == before.pods["w"].carried_over(5.0)
    assert after.manifests == ("aa", "bb", "cc")
    assert [version.gap for version in after.objects[APP].versions] == [False, False, True]
    assert after.to_bytes() == before.to_bytes()
    # So long at least, whatever has passed since it was written down.
    assert after.objects[APP].versions[-1].came.carried_over(1_000.0, recorded=0.0).by_second == 700.0


def test_what_was_written_down_without_its_age_came_now_at_the_latest() -> None:
    body = json.loads(remembered().to_bytes())
    for one in body["objects"]:
        del one["ages"]
    kept = Remembered.from_bytes(json.dumps(body).encode())
    assert {v.came.by_second for v in kept.objects[APP].versions} == {0.0}


@pytest.mark.parametrize(
    ("saved", "kept"),
    [
        ({"10": "aa", "12": "bb", "14": "cc"}, ["aa", "bb", "cc"]),
        ({"10": "aa", "14": "cc"}, ["cc"]),
        ({"10": "aa", "12": "bb"}, None),
    ],
    ids=["all", "one in between is not saved", "the present one is not saved"],
)
def test_nothing_is_kept_from_before_what_is_not_saved(saved: dict[str, str], kept: list[str] | None) -> None:
    versions = edited(edited(held("1", 10), "2", 12), "3", 14)
    found = remembered_object(versions, saved, [], 9.0)
    assert (None if found is None else [v.blob for v in found.versions]) == kept


def test_the_versions_that_are_kept_are_bounded() -> None:
    versions, saved = held("0", 10), {"10": "d"}
    for place in range(11, 40):
        versions, saved[str(place)] = edited(versions, str(place), place), "d"
    found = remembered_object(versions, saved, [], 9.0)
    assert found is not None
    assert len(found.versions) == MOST
    assert found.versions[-1].resource_version == "39"


def test_what_may_not_be_read_is_not_kept() -> None:
    assert remembered_object(first_seen(NoContent.UNREADABLE, Look("", None, 0.0)), {}, [], 9.0) is None


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b'{"format": 2}', b'{"format": 1, "objects": [{}], "pods": {}}', b'{"format": 1, "pods": 1}'],
)
def test_a_blob_that_holds_something_else_is_named_as_that(content: bytes) -> None:
    with pytest.raises(RememberedUnreadable):
        Remembered.from_bytes(content)


@pytest.mark.parametrize(
    ("raw", "key"), [(config_map({"k": "1"}, resourceVersion="7"), None), (secret({"k": "1"}), KEY)]
)
def test_a_manifest_tells_what_the_object_held(raw: dict[str, Any], key: DigestKey | None) -> None:
    kind = ConfigKind(raw["kind"])
    manifest = manifest_of(kind, {field: value for field, value in raw.items() if field != "kind"})
    assert found_in(kind, manifest, key) == found(raw)
    assert json.loads(manifest.reveal())["metadata"] == raw["metadata"]
    with pytest.raises(ValueError, match=kind):
        found_in(kind, Concealed(b'{"kind": "Service"}'), key)


def test_an_edit_is_told_by_the_names_of_the_keys_that_it_changed() -> None:
    before, after = found(config_map({"a": "1", "b": "2", "c": "3"})), found(config_map({"a": "1", "b": "x", "d": "4"}))
    assert changed_keys(before, after) == ("b", "c", "d")
    assert changed_keys(before, NoContent.ABSENT) == ("a", "b", "c")
