"""What goes from the blobs at night, and what never does."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from secrets import token_hex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard import saved_snapshots
from logcaster_guard.adapters.kubernetes.blobs import KubernetesBlobs
from logcaster_guard.adapters.kubernetes.stored import Place
from logcaster_guard.domain.configuration.kept import secrets_among
from logcaster_guard.domain.errors import BlobMissing, JournalUnavailable
from logcaster_guard.domain.rules import SnapshotPolicy
from logcaster_guard.domain.snapshots import SavedSecret, Snapshot
from logcaster_guard.engine.blob_retention import blobs_to_keep
from tests.fakes.blobs import MemoryBlobs
from tests.fakes.secrets import Secrets

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
_CONTENTS = st.integers(0, 3)


class Damaged(MemoryBlobs):
    """Blobs of which some cannot be read."""

    def __init__(self) -> None:
        super().__init__()
        self.damaged: set[str] = set()

    async def get(self, digest: str) -> bytes:
        if digest in self.damaged:
            raise BlobMissing("damaged")
        return await super().get(digest)


def taken(hours_ago: int, content: int, target: str = "shop/web") -> Snapshot:
    """One whose ConfigMap and Deployment are shared with others of this content."""
    return Snapshot(
        NOW - timedelta(hours=hours_ago),
        target,
        tuple(
            {"kind": kind, "metadata": {"name": f"web-{content}"}, "data": {"level": str(content)}}
            for kind in ("Deployment", "ConfigMap")
        ),
    )


@given(st.lists(st.tuples(st.integers(0, 50), _CONTENTS, st.booleans()), max_size=12), st.integers(1, 3))
async def test_no_part_of_what_is_needed_ever_goes(taken_at: list[tuple[int, int, bool]], keep: int) -> None:
    blobs = MemoryBlobs()
    release = await blobs.put(b'{"template": {}}')
    names = [(await saved_snapshots.save(blobs, taken(age, content)), needed) for age, content, needed in taken_at]
    needed = {release, *(name for name, wanted in names if wanted)}
    policy = SnapshotPolicy(keep, 24 * 3_600.0)
    await blobs.keep_only(await blobs_to_keep(blobs, needed, policy, NOW), older_than=0)
    assert await blobs.get(release)
    whole = [await saved_snapshots.load(blobs, name) for name in needed - {release}]
    assert len(whole) == len(needed) - 1
    left = set(await blobs.digests())
    indices = {name for name, _ in names if name in left}
    # By number and age: beside what is needed, at most so many, and none that is too old.
    optional = [await saved_snapshots.load(blobs, name) for name in indices - needed]
    assert len(optional) <= keep
    assert all(NOW - s.at <= timedelta(hours=24) for s in optional)
    # Nothing is left over: each blob is needed, or belongs to a snapshot that is there.
    made_of = {d for name in indices for d in (name, *await _parts(blobs, name))}
    assert left == made_of | {release}


async def _parts(blobs: MemoryBlobs, name: str) -> list[str]:
    return [await blobs.put(part) for part in (await saved_snapshots.load(blobs, name)).parts()]


async def test_what_the_secrets_of_a_snapshot_held_stays_as_long_as_the_snapshot() -> None:
    blobs = MemoryBlobs()
    places = {age: f"shop/{'0' * 16}/{age:064x}" for age in (1, 2, 3)}
    names = {
        age: await saved_snapshots.save(
            blobs, replace(taken(age, 0), secrets=(SavedSecret("shop", "db", place),))
        )
        for age, place in places.items()
    }  # fmt: skip
    policy = SnapshotPolicy(1, 24 * 3_600.0)
    kept = await blobs_to_keep(blobs, {names[3]}, policy, NOW)
    # The newest one, and what a good release or an open run needs.
    assert secrets_among(kept) == {places[1], places[3]}


async def test_each_target_has_its_own_bounds() -> None:
    blobs = MemoryBlobs()
    of_web = [await saved_snapshots.save(blobs, taken(age, age)) for age in (1, 2, 3)]
    of_db = await saved_snapshots.save(blobs, taken(9, 9, "shop/db"))
    kept = await blobs_to_keep(blobs, (), SnapshotPolicy(2, 24 * 3_600.0), NOW)
    assert kept & {*of_web, of_db} == {*of_web[:2], of_db}


async def test_nothing_goes_while_what_is_needed_cannot_be_read() -> None:
    blobs = Damaged()
    name = await saved_snapshots.save(blobs, taken(1, 1))
    blobs.damaged = {name}
    with pytest.raises(JournalUnavailable):
        await blobs_to_keep(blobs, {name}, SnapshotPolicy(), NOW)
    # One that nobody needs stays itself, and keeps nothing else from going.
    assert await blobs_to_keep(blobs, (), SnapshotPolicy(), NOW) == {name}


async def test_in_the_cluster_a_large_config_map_goes_into_pieces_and_whole_again() -> None:
    secrets = Secrets()
    blobs = KubernetesBlobs(secrets, Place("guards", "logcaster-guard"))
    large = {"kind": "ConfigMap", "metadata": {"name": "large"}, "binaryData": {"file": token_hex(700_000)}}
    snapshot = Snapshot(NOW, "shop/web", (*taken(0, 1).manifests, large))
    name = await saved_snapshots.save(blobs, snapshot)
    # An index, a part with the Deployment, and two ConfigMaps of which one does not fit into one Secret.
    assert len(secrets.objects) == 5
    assert await saved_snapshots.load(blobs, name) == snapshot
    await blobs.keep_only(await blobs_to_keep(blobs, {name}, SnapshotPolicy(), NOW), older_than=-60.0)
    assert await saved_snapshots.load(blobs, name) == snapshot
    later = NOW + timedelta(days=31)
    await blobs.keep_only(await blobs_to_keep(blobs, (), SnapshotPolicy(), later), older_than=-60.0)
    assert not secrets.objects
