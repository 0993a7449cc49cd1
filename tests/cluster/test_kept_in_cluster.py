"""Journal and blobs in the cluster: the contracts of both, and what only an API server can show."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import pytest

from logcaster_guard.adapters.kubernetes import journal as under_test
from logcaster_guard.adapters.kubernetes import journal_copy
from logcaster_guard.adapters.kubernetes.blobs import KubernetesBlobs
from logcaster_guard.adapters.kubernetes.cluster import KubernetesCluster
from logcaster_guard.adapters.kubernetes.connect import connect
from logcaster_guard.adapters.kubernetes.journal import KubernetesJournal
from logcaster_guard.adapters.kubernetes.segments import LIMIT, name_of
from logcaster_guard.adapters.kubernetes.stored import Place
from logcaster_guard.domain.errors import BlobMissing, JournalConflict, JournalOutOfReach, JournalUnavailable
from logcaster_guard.domain.events import Event, SignalSeen
from logcaster_guard.ports import Blobs, Journal, Kind
from logcaster_guard.stores import CODEC
from tests.adapters import test_blobs_contract, test_journal_contract
from tests.cluster.harness import Cluster

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAME = "logcaster-guard"


# Every test of the two contracts that asks for nothing but what it tests.
for module, subject in ((test_journal_contract, "journal"), (test_blobs_contract, "blobs")):
    found = {n: f for n, f in vars(module).items() if n.startswith("test_") and subject in f.__annotations__}
    globals().update(found)


def seen(*signals: str) -> list[Event]:
    return [SignalSeen(NOW, signal) for signal in signals]


@pytest.fixture
async def api(cluster: Cluster) -> AsyncIterator[KubernetesCluster]:
    made = await connect(kubeconfig=cluster.kubeconfig("admin"), context=None, timeout=10.0)
    yield made
    await made.aclose()


@pytest.fixture
def place(cluster: Cluster) -> Place:
    return Place(cluster.namespace, NAME)


@pytest.fixture
async def journal(api: KubernetesCluster, place: Place) -> Journal:
    return KubernetesJournal(CODEC, api, place)


@pytest.fixture
async def blobs(api: KubernetesCluster, place: Place) -> Blobs:
    return KubernetesBlobs(api, place)


async def writes(cluster: Cluster) -> Counter[tuple[str, int]]:
    return Counter((r.verb, r.code) for r in await cluster.audit() if r.resource == "secrets")


async def test_an_append_is_one_request(cluster: Cluster, journal: Journal) -> None:
    for n in range(4):
        await journal.append("run/1", seen("a", "b"), 2 * n)
    assert await writes(cluster) == {("create", 201): 1, ("patch", 200): 3}


async def test_what_one_guard_wrote_the_next_one_reads_and_goes_on_with(api: KubernetesCluster, place: Place) -> None:
    first = KubernetesJournal(CODEC, api, place)
    for n in range(3):
        await first.append("target/shop/web", seen(f"{n}"), n)
        await first.append("run/1", seen(f"run {n}"), n)
    second = KubernetesJournal(CODEC, api, place)
    expected = [e for n in range(3) for e in seen(f"{n}", f"run {n}")]
    assert [e.event for e in await second.read_all()] == expected
    assert await second.append("run/1", seen("on"), 3) == 4
    with pytest.raises(JournalConflict):
        await first.append("run/1", seen("late"), 3)
    assert [e.event for e in await first.read("run/1")][3:] == seen("on")


async def test_of_writers_that_race_one_wins_each_time(api: KubernetesCluster, place: Place) -> None:
    writers = [KubernetesJournal(CODEC, api, place) for _ in range(4)]
    for n in range(6):
        results = await asyncio.gather(*(w.append("run/1", seen(f"{n}"), n) for w in writers), return_exceptions=True)
        assert results.count(n + 1) == 1
        assert sum(isinstance(r, JournalConflict) for r in results) == 3
        await asyncio.gather(*(w.read("run/1") for w in writers))
    assert [e.event for e in await writers[0].read("run/1")] == seen(*map(str, range(6)))


async def test_a_long_stream_lies_in_several_objects(
    api: KubernetesCluster, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "SEGMENT", 1_000)
    journal = KubernetesJournal(CODEC, api, place)
    for n in range(12):
        await journal.append("run/1", seen(f"{n}"), n)
    names = sorted(item["metadata"]["name"] for item in await api.list(Kind.SECRET, place.namespace))
    mine = [name for name in names if name.startswith(NAME)]
    assert mine == [name_of(place, "run/1", n) for n in range(1, len(mine) + 1)]
    assert len(mine) == 3
    assert [e.event for e in await KubernetesJournal(CODEC, api, place).read("run/1")] == seen(*map(str, range(12)))
    middle = await api.get(Kind.SECRET, place.namespace, mine[1])
    await api.delete(
        Kind.SECRET, place.namespace, mine[1], uid=middle["metadata"]["uid"], resource_version=None
    )  # fmt: skip
    with pytest.raises(JournalUnavailable, match=rf"{mine[1]} is damaged \(it is missing"):
        await KubernetesJournal(CODEC, api, place).read_all()


async def test_the_largest_append_fits_into_an_object(api: KubernetesCluster, place: Place) -> None:
    journal = KubernetesJournal(CODEC, api, place)
    text = "x" * (LIMIT - 1_000)
    await journal.append("run/1", seen(text), 0)
    assert [e.event for e in await KubernetesJournal(CODEC, api, place).read_all()] == seen(text)


async def test_a_changed_value_is_found(cluster: Cluster, api: KubernetesCluster, place: Place) -> None:
    await KubernetesJournal(CODEC, api, place).append("run/1", seen("a", "b"), 0)
    name = name_of(place, "run/1", 1)
    stored = await api.get(Kind.SECRET, place.namespace, name)
    text = base64.b64decode(stored["data"]["0000000001"]).replace(b'\\"a\\"', b'\\"c\\"')
    path = f"/api/v1/namespaces/{place.namespace}/secrets/{name}"
    await cluster.admin.patch(path, {"data": {"0000000001": base64.b64encode(text).decode()}})
    with pytest.raises(JournalUnavailable, match="is damaged"):
        await KubernetesJournal(CODEC, api, place).read_all()


async def test_an_api_server_that_is_not_there_is_out_of_reach(cluster: Cluster, place: Place) -> None:
    made = await connect(kubeconfig=cluster.kubeconfig("admin"), context=None, timeout=2.0)
    made._requests._configuration.host = "http://127.0.0.1:9"
    journal = KubernetesJournal(CODEC, made, place)
    with pytest.raises(JournalOutOfReach):
        await journal.read_all()
    with pytest.raises(JournalOutOfReach):
        await journal.append("run/1", seen("a"), 0)
    await made.aclose()


async def test_a_large_blob_lies_in_several_objects_and_a_cut_one_is_missing(
    cluster: Cluster, api: KubernetesCluster, place: Place
) -> None:
    blobs = KubernetesBlobs(api, place)
    content = secrets.token_bytes(1_300_000)
    digest = await blobs.put(content)
    assert await blobs.put(content) == digest
    assert await blobs.get(digest) == content
    parts = [i for i in await api.list(Kind.SECRET, place.namespace) if i["metadata"]["name"].startswith(NAME)]
    assert len(parts) == 3
    assert all(i["immutable"] for i in parts)
    await cluster.admin.delete(f"/api/v1/namespaces/{place.namespace}/secrets/{NAME}-blob-{digest}-1")
    with pytest.raises(BlobMissing, match="is not there"):
        await blobs.get(digest)
    await blobs.put(content)
    assert await blobs.get(digest) == content
    assert await blobs.keep_only([], older_than=-5.0) == 1
    assert await own_names(api, place) == []


async def test_a_small_blob_is_one_request_and_cannot_be_changed(
    cluster: Cluster, api: KubernetesCluster, place: Place
) -> None:
    digest = await KubernetesBlobs(api, place).put(b"release")
    assert await writes(cluster) == {("create", 201): 1}
    path = f"/api/v1/namespaces/{place.namespace}/secrets/{NAME}-blob-{digest}"
    with pytest.raises(Exception, match="immutable"):
        await cluster.admin.patch(path, {"data": {"content": base64.b64encode(b"other").decode()}})


async def own_names(api: KubernetesCluster, place: Place) -> Sequence[str]:
    items = await api.list(Kind.SECRET, place.namespace)
    return [i["metadata"]["name"] for i in items if i["metadata"]["name"].startswith(NAME)]


async def test_a_copy_of_all_of_it_is_created_again_as_it_was(
    api: KubernetesCluster, place: Place, journal: Journal, blobs: Blobs
) -> None:
    digest = await blobs.put(secrets.token_bytes(700_000))
    for n, name in enumerate("abc"):
        await journal.append("run/1", seen(name), n)
    await journal.compact({("run/1", 1)})
    await journal.append("run/1", seen("d"), 3)
    before = list(await journal.read_all())
    kept = await journal_copy.copies(api, place)
    assert (journal_copy.inspect(CODEC, place, kept).entries, journal_copy.inspect(CODEC, place, kept).flaws) == (
        before,
        [],
    )
    for item in kept:
        found = (await api.get(Kind.SECRET, place.namespace, item["metadata"]["name"]))["metadata"]
        await api.delete(Kind.SECRET, place.namespace, found["name"], uid=found["uid"], resource_version=None)
    assert list(await KubernetesJournal(CODEC, api, place).read_all()) == []
    for item in kept:
        await api.create(Kind.SECRET, place.namespace, item)
    restored = KubernetesJournal(CODEC, api, place)
    assert list(await restored.read_all()) == before
    assert await restored.append("run/1", seen("e"), 4) == 5
    content = await journal_copy.blobs_in(place, await journal_copy.copies(api, place)).get(digest)
    assert content == await blobs.get(digest)
