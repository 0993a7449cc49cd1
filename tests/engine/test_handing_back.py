from __future__ import annotations

from collections.abc import Sequence

import pytest

from logcaster_guard.domain import field_owners
from logcaster_guard.domain.errors import Rejected
from logcaster_guard.domain.field_owners import MANAGER
from logcaster_guard.domain.steps import Compensation
from logcaster_guard.ports import Json, Kind
from logcaster_guard.steps.field_ownership import FieldOwnership
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster

HOLD = Compensation("replicas", "replicas", "web", "u", original=4, written=2)
OWNED = {
    "kind": "Deployment",
    "metadata": {
        "name": "web",
        "namespace": "shop",
        "uid": "u",
        "resourceVersion": "7",
        "managedFields": [
            {
                "manager": field_owners.MANAGER,
                "operation": "Update",
                "apiVersion": "apps/v1",
                "fieldsType": "FieldsV1",
                "fieldsV1": {"f:spec": {"f:replicas": {}}},
            }
        ],
    },
}


class Refusing(FakeCluster):
    """Refuses every patch with `status`, and counts them."""

    status = 401
    patches = 0

    async def json_patch(
        self, kind: Kind, namespace: str, name: str, operations: Sequence[Json], *, manager: str = MANAGER
    ) -> Json:
        del kind, namespace, name, operations, manager
        self.patches += 1
        raise Rejected("no", status=self.status)


async def test_credentials_that_have_expired_are_waited_for_however_long_that_takes() -> None:
    cluster = Refusing(FakeClock())
    fields = FieldOwnership(cluster)
    for _ in range(5):
        with pytest.raises(Rejected):
            await fields.hand_back(OWNED, HOLD, field_owners.REPLICAS)
    assert fields.due(OWNED, HOLD, field_owners.REPLICAS)


async def test_what_is_refused_for_good_is_asked_for_once() -> None:
    cluster = Refusing(FakeClock())
    cluster.status = 403
    fields = FieldOwnership(cluster)
    await fields.hand_back(OWNED, HOLD, field_owners.REPLICAS)
    await fields.hand_back(OWNED, HOLD, field_owners.REPLICAS)
    assert cluster.patches == 1
    assert not fields.due(OWNED, HOLD, field_owners.REPLICAS)
