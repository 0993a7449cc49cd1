"""A coordination.k8s.io/v1 Lease as the record of who may act.

Only reads and writes it: when to do which is `domain.leadership`'s. The library's own election is not used: a dropped
connection ends it while its leader works on, and an API server that hangs leaves it leading.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from logcaster_guard.domain.errors import NotFound
from logcaster_guard.domain.field_owners import MANAGER
from logcaster_guard.domain.leadership import Record
from logcaster_guard.ports import Cluster, Json, Kind


class KubernetesLease:
    """`ports.Lease` on a Lease object. Each write is bound to the resourceVersion that was read.

    The cluster is not closed with it, and must be one that is not fenced by this very lease.
    """

    def __init__(self, cluster: Cluster, namespace: str, name: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._name = name

    @property
    def name(self) -> str:
        """Namespace and name."""
        return f"{self._namespace}/{self._name}"

    async def read(self) -> Record | None:
        """The record; None if there is none."""
        try:
            return record_of(await self._cluster.get(Kind.LEASE, self._namespace, self._name))
        except NotFound:
            return None

    async def write(self, record: Record) -> Record:
        """Create the Lease, or replace what is said in the one with `record.version`; see the port."""
        spec = spec_of(record)
        if not record.version:
            body = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": Kind.LEASE.value,
                "metadata": {
                    "name": self._name,
                    "namespace": self._namespace,
                    "labels": {"app.kubernetes.io/managed-by": MANAGER},
                },
                "spec": spec,
            }
            return record_of(await self._cluster.create(Kind.LEASE, self._namespace, body))
        patch: list[Json] = [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": record.version},
            {"op": "add", "path": "/spec", "value": spec},
        ]
        return record_of(await self._cluster.json_patch(Kind.LEASE, self._namespace, self._name, patch))


def spec_of(record: Record) -> Json:
    """The record as a LeaseSpec; nobody holds one without `holderIdentity`. Durations are rounded up to seconds."""
    spec: Json = {
        "leaseDurationSeconds": math.ceil(record.duration),
        "leaseTransitions": record.epoch,
        "acquireTime": _written(record.acquired),
        "renewTime": _written(record.renewed),
        "holderIdentity": record.holder,
    }
    return {key: value for key, value in spec.items() if value not in {None, ""}}


def record_of(lease: Json) -> Record:
    """What a Lease says; what somebody else wrote into it in another way counts as not said."""
    spec = lease.get("spec") or {}
    return Record(
        holder=str(spec.get("holderIdentity") or ""),
        epoch=_number(spec.get("leaseTransitions")),
        duration=float(_number(spec.get("leaseDurationSeconds"))),
        acquired=_read(spec.get("acquireTime")),
        renewed=_read(spec.get("renewTime")),
        version=str(lease["metadata"]["resourceVersion"]),
    )


def _written(at: datetime | None) -> str | None:
    """RFC 3339 in UTC with microseconds, as `metav1.MicroTime` is written."""
    return None if at is None else at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _read(text: Any) -> datetime | None:  # noqa: ANN401 - whatever stands there
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return None if found.tzinfo is None else found


def _number(value: Any) -> int:  # noqa: ANN401 - as above
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
