"""What a snapshot is kept as, and which ones stay."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.domain.configuration.content import NoContent
from logcaster_guard.domain.rules import SnapshotPolicy
from logcaster_guard.domain.snapshots import (
    Index,
    Omission,
    Snapshot,
    SnapshotUnreadable,
    lasting,
    manifests_in,
    within_bounds,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MISSING = (
    Omission("ConfigMap", "shop", "gone", NoContent.ABSENT),
    Omission("ConfigMap", "shop", "theirs", NoContent.UNREADABLE, "403"),
)


def manifest(kind: str, name: str, **body: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": name, "namespace": "shop"}, **body}


WEB = manifest("Deployment", "web", spec={"replicas": 3})
SETTINGS = manifest("ConfigMap", "settings", data={"level": "debug"})


def kept(snapshot: Snapshot) -> tuple[Index, Mapping[str, bytes]]:
    """The index and the parts by digest, as a store would have them."""
    parts = {hashlib.sha256(p).hexdigest(): p for p in snapshot.parts()}
    return snapshot.index(hashlib.sha256(p).hexdigest() for p in snapshot.parts()), parts


def test_what_is_kept_tells_the_whole_snapshot_again() -> None:
    snapshot = Snapshot(NOW, "shop/web", (WEB, manifest("Service", "web"), SETTINGS), MISSING)
    index, parts = kept(snapshot)
    assert Snapshot.of(Index.from_bytes(index.to_bytes()), [parts[d] for d in index.parts]) == snapshot
    assert snapshot.find("ConfigMap", "settings") == SETTINGS
    assert snapshot.find("ConfigMap", "gone") is None


def test_two_snapshots_share_what_they_have_in_common() -> None:
    first, second = (Snapshot(NOW + timedelta(hours=h), "shop/web", (WEB, SETTINGS)) for h in (0, 1))
    edited = Snapshot(NOW, "shop/web", (WEB, manifest("ConfigMap", "settings", data={"level": "info"})))
    assert first.parts() == second.parts()
    assert first.index(["x"]).to_bytes() != second.index(["x"]).to_bytes()
    assert [a == b for a, b in zip(first.parts(), edited.parts(), strict=True)] == [True, False]


def test_the_first_format_is_read() -> None:
    body = {"format": 1, "at": NOW.isoformat(), "target": "shop/web", "manifests": [WEB]}
    assert Snapshot.of(Index.from_bytes(json.dumps(body).encode()), []) == Snapshot(NOW, "shop/web", (WEB,))


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"3", b'{"template": {}}', b'{"format": 3, "at": "2026-01-01", "target": "x"}',
        b'{"format": 2, "at": "no time", "target": "x", "parts": [], "omissions": []}',
        b'{"format": 2, "at": "2026-01-01", "target": "x", "parts": [], "omissions": [["ConfigMap"]]}',
    ],
)  # fmt: skip
def test_what_is_no_index_is_refused(content: bytes) -> None:
    with pytest.raises(SnapshotUnreadable):
        Index.from_bytes(content)


@pytest.mark.parametrize("content", [b"", b"{}", b"3", b"[3]", b'[{"metadata": {}}]'])
def test_what_is_no_part_is_refused(content: bytes) -> None:
    with pytest.raises(SnapshotUnreadable):
        manifests_in(content)


def test_nothing_that_moves_by_itself_is_kept() -> None:
    managers = [{"manager": "ci"}, {"manager": "kube-controller-manager", "subresource": "status", "time": "12:00"}]
    metadata = {"name": "web", "resourceVersion": "7", "generation": 3, "managedFields": managers}
    found = lasting({"metadata": metadata, "spec": {"replicas": 3}, "status": {"replicas": 2}})
    assert found == {
        "metadata": {"name": "web", "generation": 3, "managedFields": managers[:1]},
        "spec": {"replicas": 3},
    }


_TARGETS = st.sampled_from(["shop/web", "shop/db"])
_AGES = st.integers(0, 100)


@given(st.lists(st.tuples(_TARGETS, _AGES), max_size=30), st.integers(1, 5), st.integers(1, 100))
def test_of_each_target_the_newest_stay_while_they_are_young(
    taken: list[tuple[str, int]], keep: int, oldest: int
) -> None:
    found = {f"{n}": Index(NOW - timedelta(hours=age), target, ()) for n, (target, age) in enumerate(taken)}
    stays = within_bounds(found, SnapshotPolicy(keep, oldest * 3_600.0), NOW)
    for target in ("shop/web", "shop/db"):
        young = [age for t, age in taken if t == target and age <= oldest]
        assert sorted((NOW - found[d].at).seconds // 3600 + (NOW - found[d].at).days * 24 for d in stays
                      if found[d].target == target) == sorted(young)[:keep]  # fmt: skip
