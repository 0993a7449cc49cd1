"""Gives a field that the guard has written back to the field manager that had it, together with its value.

Whoever changes a value owns it in `managedFields` from then on, and a later server-side apply by its former manager is
a conflict. A request that changes a value makes the guard its owner whatever it says of owners, so that `managedFields`
are mended by a second one (seen on 1.36); a guard that is killed in between finds the field its own, and goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from logcaster_guard.domain import field_owners
from logcaster_guard.domain.errors import Rejected
from logcaster_guard.domain.steps import Compensation
from logcaster_guard.ports import Cluster, Json, Kind

Path = tuple[str, ...]

_TRIES = 3


class FieldOwnership:
    """Hands fields back, bound to the resourceVersion that was looked at.

    A server that refuses it, or does not do it, is asked no more for that: the value is back, which is what a run must
    wait for. One that does it is asked again when a later run has written the field.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._tries: dict[tuple[str, str], int] = {}
        self._log = structlog.get_logger()

    def due(self, raw: Mapping[str, Any], owed: Compensation, *paths: Path) -> bool:
        """Whether the guard still owns one of these fields."""
        return self._tries.get((owed.id, owed.uid), 0) < _TRIES and field_owners.is_guards(raw, *paths)

    async def hand_back(self, raw: Mapping[str, Any], owed: Compensation, *paths: Path) -> None:
        """One request; raises the `ClusterError` it met, but for a refusal."""
        if not self.due(raw, owed, *paths):
            return
        key, metadata = (owed.id, owed.uid), raw["metadata"]
        self._tries[key] = self._tries.get(key, 0) + 1
        patch: list[Json] = [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
            {
                "op": "replace",
                "path": "/metadata/managedFields",
                "value": field_owners.handed_back(raw, owed.owners, *paths),
            },
        ]
        try:
            made = await self._cluster.json_patch(
                Kind(str(raw["kind"])), metadata["namespace"], metadata["name"], patch
            )  # fmt: skip
        except Rejected as error:
            if error.status == 401:
                # Credentials that have expired are waited for, as for any other write.
                self._tries[key] -= 1
                raise
            self._tries[key] = _TRIES
            self._log.warning("fields.kept", object=metadata["name"], detail=str(error))
            return
        if not field_owners.is_guards(made, *paths):
            del self._tries[key]
