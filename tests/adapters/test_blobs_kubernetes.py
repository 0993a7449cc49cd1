"""Blobs in the cluster against what happens to requests and objects."""

from __future__ import annotations

import base64
import json
import secrets as randomness
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from logcaster_guard.adapters.kubernetes import blobs as under_test
from logcaster_guard.adapters.kubernetes.blobs import LIMIT, KubernetesBlobs
from logcaster_guard.adapters.kubernetes.stored import Place
from logcaster_guard.domain.errors import BlobMissing, JournalUnavailable, Unavailable
from logcaster_guard.ports import Json, Kind
from tests.fakes.secrets import Fate, Secrets

PLACE = Place("guards", "logcaster-guard")
MISHAPS = (Fate.CUT_BEFORE, Fate.CUT_AFTER, Fate.LATE, Fate.FAILED, Fate.BUSY, Fate.TWICE, Fate.STALE)
LARGE = randomness.token_bytes(2_500)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "PART", 1_000)


def once(fate: Fate, at: int) -> Callable[[str], Fate]:
    """This fate for the request number `at`; the rest goes well."""
    numbers: Iterator[int] = iter(range(1_000))
    return lambda _: fate if next(numbers) == at else Fate.WELL


@pytest.mark.parametrize("content", [b"release", LARGE], ids=["one part", "three parts"])
@pytest.mark.parametrize("at", range(4))
@pytest.mark.parametrize("fate", MISHAPS)
async def test_a_mishap_on_the_way_is_looked_after(content: bytes, at: int, fate: Fate) -> None:
    secrets = Secrets()
    secrets.fate = once(fate, at)
    blobs = KubernetesBlobs(secrets, PLACE)
    digest = await blobs.put(content)
    secrets.fate = lambda _: Fate.WELL
    secrets.arrive(everything=True)
    assert await blobs.get(digest) == content
    assert len(secrets.objects) == (1 if content == b"release" else 3)


async def test_what_cannot_be_written_is_told_in_one_sentence() -> None:
    secrets = Secrets()
    secrets.fate = lambda _: Fate.CUT_BEFORE
    with pytest.raises(JournalUnavailable, match="the blobs of guards/logcaster-guard cannot be written"):
        await KubernetesBlobs(secrets, PLACE).put(b"release")
    secrets.fate = lambda _: Fate.FORBIDDEN
    with pytest.raises(JournalUnavailable, match="403"):
        await KubernetesBlobs(secrets, PLACE).put(b"release")
    with pytest.raises(JournalUnavailable, match=f"more than the limit of {LIMIT}"):
        await KubernetesBlobs(secrets, PLACE).put(bytes(LIMIT + 1))
    assert secrets.objects == {}


async def test_an_api_that_does_not_answer_says_nothing_about_a_blob() -> None:
    secrets = Secrets()
    blobs = KubernetesBlobs(secrets, PLACE)
    digest = await blobs.put(b"release")
    secrets.fate = lambda _: Fate.BUSY
    with pytest.raises(Unavailable):
        await blobs.get(digest)


async def test_a_blob_is_there_whole_or_not_at_all() -> None:
    secrets = Secrets()
    secrets.fate = once(Fate.FORBIDDEN, 3)
    blobs = KubernetesBlobs(secrets, PLACE)
    with pytest.raises(JournalUnavailable):
        await blobs.put(LARGE)
    assert len(secrets.objects) == 2
    assert await blobs.digests() == []


def set_content(content: bytes) -> Callable[[Json], None]:
    def edit(item: Json) -> None:
        item["data"]["content"] = base64.b64encode(content).decode()

    return edit


def set_header(**fields: object) -> Callable[[Json], None]:
    def edit(item: Json) -> None:
        header = json.loads(base64.b64decode(item["data"]["header"])) | fields
        item["data"]["header"] = base64.b64encode(json.dumps(header).encode()).decode()

    return edit


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (set_content(b""), "is damaged"),
        (set_content(b"garbage"), "is damaged"),
        (set_header(size=3), "is damaged"),
        (set_header(parts=9), "is not there"),
        (set_header(format=2), "a newer version .* format 2, and this version reads format 1"),
        (set_header(format=0), "an older version .* format 0, and this version reads format 1"),
        (set_header(journal="other"), "belongs to another guard"),
        (set_header(digest="0" * 64), "it holds another blob"),
        (lambda item: item.pop("data"), "was not written by a guard"),
    ],
)
async def test_a_damaged_blob_is_missing_until_it_is_put_again(edit: Callable[[Json], None], says: str) -> None:
    secrets = Secrets()
    blobs = KubernetesBlobs(secrets, PLACE)
    digest = await blobs.put(b"release")
    secrets.edit(f"logcaster-guard-blob-{digest}", edit)
    with pytest.raises(BlobMissing, match=says):
        await blobs.get(digest)
    await blobs.put(b"release")
    assert await blobs.get(digest) == b"release"


async def test_content_that_unpacks_to_more_than_it_says_is_not_unpacked() -> None:
    secrets = Secrets()
    blobs = KubernetesBlobs(secrets, PLACE)
    digest = await blobs.put(b"release")
    bomb = zlib.compress(bytes(500_000))
    secrets.edit(f"logcaster-guard-blob-{digest}", set_content(bomb))
    with pytest.raises(BlobMissing, match="is damaged"):
        await blobs.get(digest)


async def test_somebody_elses_object_is_not_replaced() -> None:
    secrets = Secrets()
    blobs = KubernetesBlobs(secrets, PLACE)
    digest = await blobs.put(b"release")
    name = f"logcaster-guard-blob-{digest}"
    secrets.objects.clear()
    theirs = {"kind": "Secret", "metadata": {"name": name, "namespace": "guards"}, "data": {"password": "eA=="}}
    await secrets.create(Kind.SECRET, "guards", theirs)
    with pytest.raises(JournalUnavailable, match="is not the guard's: move it"):
        await blobs.put(b"release")
    assert secrets.objects[name]["data"] == {"password": "eA=="}


async def test_what_is_put_again_counts_as_new_and_is_not_removed_in_that_moment() -> None:
    secrets = Secrets()
    hour = timedelta(hours=1)
    times = [datetime.now(UTC) + hour]
    blobs = KubernetesBlobs(secrets, PLACE, now=lambda: times[-1])
    digest = await blobs.put(LARGE)
    await blobs.put(LARGE)
    assert await blobs.keep_only([], older_than=600.0) == 0
    times.append(times[-1] + hour)
    secrets.fate = lambda verb: put_again(secrets, digest) if verb == "delete" else Fate.WELL
    assert await blobs.keep_only([], older_than=600.0) == 0
    secrets.fate = lambda _: Fate.WELL
    assert await blobs.get(digest) == LARGE
    assert await blobs.keep_only([], older_than=600.0) == 1
    assert secrets.objects == {}


def put_again(secrets: Secrets, digest: str) -> Fate:
    secrets.edit(f"logcaster-guard-blob-{digest}", lambda item: item["metadata"].update(annotations={"x": "y"}))
    return Fate.WELL
