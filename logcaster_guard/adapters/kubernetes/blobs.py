"""Blobs in the cluster itself: immutable Secrets of one namespace (`stored` says why), named after their SHA-256.

The content is compressed. What is larger than one object takes goes into several; the first part is written last and
removed first, so that what is found under a digest is whole.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from logcaster_guard.adapters.kubernetes.stored import Place, Untrusted, damaged
from logcaster_guard.domain.errors import (
    BlobMissing,
    ClusterError,
    Conflict,
    JournalUnavailable,
    NotFound,
    Unavailable,
)
from logcaster_guard.domain.message import Reason
from logcaster_guard.domain.workload import instant
from logcaster_guard.messages.journal_faults import (
    BlobAbsent,
    BlobDamaged,
    BlobsUnreached,
    BlobTooLarge,
    ForeignSecret,
    NoDigest,
)
from logcaster_guard.messages.record_faults import HoldsAnotherBlob
from logcaster_guard.messages.texts import failure
from logcaster_guard.ports import Cluster, Json, Kind

KEEPS = "blob"

PART = 512 * 1024
"""Compressed bytes in one object; the API takes about 1 MiB."""

LIMIT = 32 * 1024 * 1024
"""Bytes of one blob, before compression."""

ATTEMPTS = 3

_DIGEST = re.compile(r"[0-9a-f]{64}")
_CONTENT = "content"
_PUT_AT = "guard.logcaster.io/put-at"


def sha256(content: bytes) -> str:
    """What a blob is called by."""
    return hashlib.sha256(content).hexdigest()


def utc_now() -> datetime:
    """Now, by this machine's clock."""
    return datetime.now(UTC)


class KubernetesBlobs:
    """The `Blobs` port on Secrets of `place`. The cluster is not closed with it.

    `put` raises `JournalUnavailable` if the content could not be made durable: the journal must not name what is not
    there. `now` is what `keep_only` counts from. Other things than blobs are kept the same way, labelled as what is
    in `keeps`, and called by another digest (64 hexadecimal digits).
    """

    def __init__(
        self,
        cluster: Cluster,
        place: Place,
        *,
        now: Callable[[], datetime] = utc_now,
        keeps: str = KEEPS,
        digest_of: Callable[[bytes], str] = sha256,
    ) -> None:
        self._cluster = cluster
        self._place = place
        self._now = now
        self._keeps = keeps
        self._digest_of = digest_of

    async def put(self, content: bytes) -> str:
        """Keep `content` durably; see the port. One request where it is new and fits into one object."""
        content = bytes(content)
        digest = self._digest_of(content)
        if len(content) > LIMIT:
            raise self._unusable(BlobTooLarge(len(content), LIMIT))
        parts = self._parts(digest, content)
        failed: ClusterError | None = None
        for attempt in range(ATTEMPTS):
            try:
                if (attempt or len(parts) > 1) and await self._kept_already(digest):
                    return digest
                for part in reversed(parts):
                    await self._write(digest, part)
            except (Conflict, NotFound, Unavailable) as error:
                # Put or removed by somebody else meanwhile, or nobody can tell: looked at again.
                failed = error
            except ClusterError as error:
                raise self._unusable(error.reason) from error
            else:
                return digest
        raise self._unusable("" if failed is None else failed.reason) from failed

    async def get(self, digest: str) -> bytes:
        """The content, checked against `digest`; see the port. A failure of the API is its `ClusterError`."""
        content = await self.unchecked(digest)
        if self._digest_of(content) != digest:
            raise failure(BlobMissing, BlobDamaged(digest, str(self._place), "", folder=False))
        return content

    async def unchecked(self, digest: str) -> bytes:
        """The content that stands under `digest`, whole, but perhaps another; raises as `get` does."""
        if not _DIGEST.fullmatch(digest):
            raise failure(BlobMissing, NoDigest(f"{digest!r:.80}"))
        try:
            first, compressed = await self._part(digest, 0)
            number, size = int(first["parts"]), int(first["size"])
            for index in range(1, number):
                compressed += (await self._part(digest, index))[1]
            # Never more than was promised, whatever it would unpack to.
            unpacking = zlib.decompressobj()
            content = unpacking.decompress(compressed, min(size, LIMIT) + 1)
        except NotFound as error:
            raise failure(BlobMissing, BlobAbsent(digest, str(self._place), error.reason, folder=False)) from error
        except (Untrusted, KeyError, TypeError, ValueError, zlib.error) as error:
            raise failure(BlobMissing, BlobDamaged(digest, str(self._place), str(error), folder=False)) from error
        if len(content) != size or not unpacking.eof:
            raise failure(BlobMissing, BlobDamaged(digest, str(self._place), "", folder=False))
        return content

    async def digests(self) -> Sequence[str]:
        """Everything that is kept, in no order. Raises the `ClusterError` it met."""
        found = [self._named(item) for item in await self._listed()]
        return [digest for digest, index in found if digest and index == 0]

    async def keep_only(
        self, digests: Collection[str], *, older_than: float, since: datetime | None = None
    ) -> int:  # fmt: skip
        """Remove every other blob that was put more than `older_than` seconds ago; returns how many.

        What was put before `since` stays. Raises `JournalUnavailable` if that could not be done for all of them.
        """
        limit = self._now() - timedelta(seconds=older_than)
        kept = frozenset(digests)
        removed = 0
        try:
            for digest, parts in (await self._whole()).items():
                old = all(_put_at(item) < limit and (since is None or _put_at(item) >= since) for item in parts)
                if digest not in kept and old:
                    removed += await self._removed(parts)
        except ClusterError as error:
            raise self._unusable(f"cleaned: {error}") from error
        return removed

    async def put_before(self, since: datetime) -> Sequence[tuple[str, str]]:
        """The digests of those that were put before then, each with the name of its first object.

        Raises the `ClusterError` it met.
        """
        whole = (await self._whole()).items()
        return [(d, str(p[0]["metadata"]["name"])) for d, p in whole if all(_put_at(item) < since for item in p)]

    async def _whole(self) -> Mapping[str, Sequence[Json]]:
        """The objects of each blob, in the order of its parts."""
        groups: dict[str, list[tuple[int, Json]]] = {}
        for item in await self._listed():
            digest, index = self._named(item)
            if digest:
                groups.setdefault(digest, []).append((index, item))
        return {d: [item for _, item in sorted(group, key=lambda part: part[0])] for d, group in groups.items()}

    def _parts(self, digest: str, content: bytes) -> Sequence[Json]:
        compressed = zlib.compress(content)
        chunks = [compressed[at : at + PART] for at in range(0, len(compressed), PART)]
        return [
            self._place.manifest(
                self._name(digest, index),
                self._keeps,
                {"digest": digest, "part": index, "parts": len(chunks), "size": len(content)},
                {_CONTENT: chunk},
                labels={},
                annotations={},
                immutable=True,
            )
            for index, chunk in enumerate(chunks)
        ]

    async def _write(self, digest: str, part: Json) -> None:
        """Create a part. One that is there already must be the same, or part of a whole blob; else it is replaced."""
        name = str(part["metadata"]["name"])
        try:
            await self._cluster.create(Kind.SECRET, self._place.namespace, part)
        except Conflict:
            present = await self._cluster.get(Kind.SECRET, self._place.namespace, name)
            if present.get("data") == part["data"]:
                await self._touch(present)
            elif not await self._kept_already(digest):
                self._refuse_foreign(present)
                await self._delete(present)
                raise

    def _refuse_foreign(self, item: Json) -> None:
        """Raise `JournalUnavailable` where what is in the way carries none of this guard's labels: theirs to move."""
        labels = item["metadata"].get("labels") or {}
        if any(labels.get(key) != value for key, value in self._place.labels(self._keeps).items()):
            raise self._unusable(ForeignSecret(item["metadata"]["name"]))

    async def _kept_already(self, digest: str) -> bool:
        """Whether it is there, whole; if so it counts as put now."""
        try:
            await self.get(digest)
        except BlobMissing:
            return False
        await self._touch(await self._cluster.get(Kind.SECRET, self._place.namespace, self._name(digest, 0)))
        return True

    async def _touch(self, item: Json) -> None:
        """Note when it was put again, so that it is not removed as an old one; raises `NotFound` if it was just now."""
        metadata = item["metadata"]
        notes = {**(metadata.get("annotations") or {}), _PUT_AT: self._now().isoformat()}
        await self._cluster.json_patch(
            Kind.SECRET,
            self._place.namespace,
            metadata["name"],
            [
                {"op": "add", "path": "/metadata/annotations", "value": notes},
            ],
        )

    async def _removed(self, parts: Sequence[Json]) -> bool:
        """Remove them, the first one first; False if it was put again meanwhile, or somebody else removed it."""
        for item in parts:
            try:
                await self._delete(item)
            except (Conflict, NotFound):
                return False
        return True

    async def _delete(self, item: Json) -> None:
        metadata = item["metadata"]
        await self._cluster.delete(
            Kind.SECRET,
            self._place.namespace,
            metadata["name"],
            uid=metadata["uid"],
            resource_version=metadata["resourceVersion"],
        )

    async def _part(self, digest: str, index: int) -> tuple[Json, bytes]:
        name = self._name(digest, index)
        header, data = self._place.opened(
            await self._cluster.get(Kind.SECRET, self._place.namespace, name), self._keeps
        )
        if (header["digest"], header["part"]) != (digest, index):
            raise damaged(name, HoldsAnotherBlob())
        return header, data[_CONTENT]

    async def _listed(self) -> Sequence[Json]:
        return await self._cluster.list(Kind.SECRET, self._place.namespace, self._place.selector(self._keeps))

    def _name(self, digest: str, index: int) -> str:
        return f"{self._place.name}-{self._keeps}-{digest}" + (f"-{index}" if index else "")

    def _named(self, item: Mapping[str, Json]) -> tuple[str, int]:
        """Which part of which blob an object is by its name; an empty digest if of none."""
        found = re.fullmatch(
            re.escape(f"{self._place.name}-{self._keeps}") + r"-([0-9a-f]{64})(?:-([1-9][0-9]*))?",
            str(item["metadata"]["name"]),
        )
        return ("", 0) if found is None else (found[1], int(found[2] or 0))

    def _unusable(self, error: Reason) -> JournalUnavailable:
        return failure(JournalUnavailable, BlobsUnreached(str(self._place), error))


def _put_at(item: Json) -> datetime:
    """When it was put last, by the guard's clock where it was put again, else by the API server's."""
    metadata = item["metadata"]
    made = instant(metadata.get("creationTimestamp")) or datetime.now(UTC)
    try:
        again = datetime.fromisoformat((metadata.get("annotations") or {}).get(_PUT_AT, ""))
    except ValueError:
        return made
    return max(made, again) if again.tzinfo else made
