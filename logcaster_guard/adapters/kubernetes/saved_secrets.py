"""Versions of the targets' Secrets, kept as Secrets: whoever may not read Secrets learns nothing from what is saved.

They are called by a keyed digest, since the plain digest of a short password would tell it. The key is a Secret as
well, made once for each namespace in which something is kept. Where it is lost, another one is made: from then on
everything has another digest, and what was kept with the lost key is still found in its place.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from logcaster_guard.adapters.kubernetes.blobs import KubernetesBlobs, sha256, utc_now
from logcaster_guard.adapters.kubernetes.stored import Place, Untrusted, damaged
from logcaster_guard.domain.configuration.content import Concealed, DigestKey
from logcaster_guard.domain.configuration.kept import KeptSecret, kept_secret
from logcaster_guard.domain.errors import BlobMissing, Conflict, NotFound, Rejected
from logcaster_guard.messages.journal_faults import BlobsUnreached, NoDigest
from logcaster_guard.messages.record_faults import KeyLength
from logcaster_guard.messages.texts import failure
from logcaster_guard.ports import Cluster, Json, Kind

KEEPS = "secret"
KEEPS_KEY = "digest-key"
_KEY = "key"
_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Where:
    """Where a guard of this `name` keeps Secrets: in their own namespaces, or all of them in `together`.

    `namespaces` are those in which there may be some.
    """

    name: str
    namespaces: Collection[str]
    together: str | None = None

    def namespace(self, of: str) -> str:
        """Where those of a namespace are."""
        return self.together or of


@dataclass(slots=True)
class KubernetesSavedSecrets:
    """The `SavedSecrets` port. The cluster is not closed with it; `now` is what `keep_only` counts from."""

    cluster: Cluster
    where: Where
    now: Callable[[], datetime] = utc_now
    _keys: dict[str, DigestKey] = field(default_factory=dict, repr=False)

    async def key(self, namespace: str) -> DigestKey:
        """See the port. Of two guards that make it at once, both use the first one's."""
        return await self._key_in(self.where.namespace(namespace))

    async def put(self, namespace: str, content: Concealed) -> str:
        """See the port."""
        kept_in = self.where.namespace(namespace)
        key = await self._key_in(kept_in)
        digest = await self._blobs(kept_in, key.digest).put(content.reveal())
        return str(KeptSecret(kept_in, key.name, digest))

    async def get(self, place: str) -> Concealed:
        """See the port. What was kept by a key that is lost is checked by its name and its size."""
        kept = kept_secret(place)
        if kept is None:
            raise failure(BlobMissing, NoDigest(f"{place!r:.200}"))
        key = await self._found_key(kept.namespace)
        if key is None or key.name != kept.key:
            return Concealed(await self._blobs(kept.namespace, sha256).unchecked(kept.digest))
        return Concealed(await self._blobs(kept.namespace, key.digest).get(kept.digest))

    async def keep_only(self, places: Collection[str], *, older_than: float, since: datetime) -> int:
        """See the port."""
        kept: dict[str, set[str]] = {namespace: set() for namespace in self.where.namespaces}
        for found in filter(None, map(kept_secret, places)):
            kept.setdefault(found.namespace, set()).add(found.digest)
        removed = 0
        for namespace, digests in kept.items():
            removed += await self._blobs(namespace, sha256).keep_only(digests, older_than=older_than, since=since)
        return removed

    async def kept_before(self, since: datetime) -> Sequence[tuple[str, str]]:
        """See the port."""
        found: list[tuple[str, str]] = []
        for namespace in sorted(self.where.namespaces):
            kept = await self._blobs(namespace, sha256).put_before(since)
            found += [(digest, f"{namespace}/{name}") for digest, name in kept]
        return found

    def _blobs(self, namespace: str, digest_of: Callable[[bytes], str]) -> KubernetesBlobs:
        place = Place(namespace, self.where.name)
        return KubernetesBlobs(self.cluster, place, now=self.now, keeps=KEEPS, digest_of=digest_of)

    async def _key_in(self, namespace: str) -> DigestKey:
        """The key of a namespace; where there is none, one is made."""
        found = await self._found_key(namespace)
        if found is None:
            found = self._opened(namespace, await self._made(Place(namespace, self.where.name)))
        return found

    async def _found_key(self, namespace: str) -> DigestKey | None:
        """The key of a namespace; None where there is none."""
        if namespace in self._keys:
            return self._keys[namespace]
        try:
            item = await self.cluster.get(Kind.SECRET, namespace, _name(Place(namespace, self.where.name)))
        except NotFound:
            return None
        return self._opened(namespace, item)

    def _opened(self, namespace: str, item: Json) -> DigestKey:
        place = Place(namespace, self.where.name)
        try:
            found = place.opened(item, KEEPS_KEY)[1].get(_KEY, b"")
            if len(found) != _KEY_BYTES:
                raise damaged(_name(place), KeyLength(len(found)))
        except Untrusted as error:
            raise failure(Rejected, BlobsUnreached(str(place), error.reason)) from None
        self._keys[namespace] = DigestKey(Concealed(found))
        return self._keys[namespace]

    async def _made(self, place: Place) -> Json:
        made = {_KEY: secrets.token_bytes(_KEY_BYTES)}
        manifest = place.manifest(_name(place), KEEPS_KEY, {}, made, labels={}, annotations={}, immutable=True)
        with contextlib.suppress(Conflict):
            return await self.cluster.create(Kind.SECRET, place.namespace, manifest)
        return await self.cluster.get(Kind.SECRET, place.namespace, _name(place))


def _name(place: Place) -> str:
    return f"{place.name}-{KEEPS_KEY}"
