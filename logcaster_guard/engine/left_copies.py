"""Finds copies of configuration that a run has left and the journal does not know: where it was lost, or is another."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from logcaster_guard.domain import claims
from logcaster_guard.domain.claims import Claim
from logcaster_guard.domain.configuration import copies
from logcaster_guard.domain.configuration.copies import COPY_LABEL
from logcaster_guard.domain.configuration.references import ConfigKind
from logcaster_guard.domain.errors import ClusterError, Rejected
from logcaster_guard.domain.runs import Run
from logcaster_guard.engine.recurring_log import RecurringLog
from logcaster_guard.ports import Clock, Cluster, Json, Kind

_FORBIDDEN = 403
_READERS = (Kind.DEPLOYMENT, Kind.REPLICA_SET, Kind.POD)


class LeftCopies:
    """Looks once in each namespace, and then only where something is left. What may not be listed is not looked for."""

    def __init__(self, cluster: Cluster, clock: Clock, kinds: Collection[ConfigKind]) -> None:
        self._cluster = cluster
        self._kinds = sorted(kinds)
        self._empty: set[tuple[ConfigKind, str]] = set()
        self._lines = RecurringLog(clock)

    async def claims(self, namespace: str, runs: Iterable[Run]) -> Sequence[Claim]:
        """Those of the namespace that no run of the journal bears out; what fails is tried again the next time."""
        known = list(runs)
        try:
            found = [claim for kind in self._kinds for claim in await self._of_kind(kind, namespace, known)]
            return [claim for claim in found if claim is not None]
        except ClusterError as error:
            self._lines.warning("copies.unread", about=namespace, namespace=namespace, detail=str(error))
            return []

    async def _of_kind(self, kind: ConfigKind, namespace: str, runs: Sequence[Run]) -> Sequence[Claim | None]:
        if (kind, namespace) in self._empty:
            return []
        listed = await left(self._cluster, kind, namespace)
        if not listed:
            self._empty.add((kind, namespace))
            return []
        readers = {str(reader): await self._cluster.list(reader, namespace) for reader in _READERS}
        return [claims.of_copy(kind, raw, runs, _reader(kind, raw, readers)) for raw in listed]


async def left(cluster: Cluster, kind: ConfigKind, namespace: str) -> Sequence[Json]:
    """The copies that are there; none where they may not be listed. Raises the `ClusterError` it met."""
    try:
        listed = await cluster.list(Kind(kind), namespace, f"{COPY_LABEL}=true")
    except Rejected as error:
        if error.status != _FORBIDDEN:
            raise
        return []
    return [raw for raw in listed if "deletionTimestamp" not in raw["metadata"]]


def _reader(kind: ConfigKind, raw: Json, readers: Mapping[str, Sequence[Json]]) -> str:
    found = copies.users((kind, str(raw["metadata"]["name"])), readers)
    return next((reader for reader, _ in found), "")
