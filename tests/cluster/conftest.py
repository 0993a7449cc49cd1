from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from logcaster_guard.adapters.kubernetes.connect import connect
from logcaster_guard.domain import runs
from logcaster_guard.ports import Cluster as ClusterPort
from tests.cluster import planes
from tests.cluster.harness import Cluster
from tests.cluster.roles import OF_TARGETS
from tests.conftest import RealControlPlane

Json = dict[str, Any]
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(params=["sandbox", "real"])
async def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cluster]:
    """An API server with a fresh namespace: the embedded one and, where one is configured, a real control plane."""
    if request.param == "sandbox":
        async with planes.sandbox(tmp_path) as made:
            yield made
    else:
        plane: RealControlPlane = request.getfixturevalue("real_control_plane")
        async with planes.real(planes.way_into(plane), tmp_path) as made:
            yield made


@pytest.fixture
def rights() -> Sequence[Json]:
    """What the shipped Roles let the guard do."""
    return OF_TARGETS


@pytest.fixture
async def api(cluster: Cluster) -> AsyncIterator[ClusterPort]:
    """The guard's own adapter."""
    made = await connect(kubeconfig=cluster.kubeconfig("guard"), context=None, timeout=10)
    yield made
    await made.aclose()


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is recorded in this process looks again at once."""
    monkeypatch.setattr(runs, "POLL", 0.05)
