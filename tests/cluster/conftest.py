from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from logcaster_guard.adapters.kubernetes.connect import connect
from logcaster_guard.domain import runs
from logcaster_guard.ports import Cluster as ClusterPort
from logcaster_guard.sandbox.apiserver import ApiServer
from logcaster_guard.sandbox.client import Client
from tests.cluster.harness import AuditRecord, Cluster, drop_namespace, flushed_audit, make_namespace
from tests.cluster.roles import OF_TARGETS
from tests.cluster.within import ClientWithin
from tests.conftest import RealControlPlane
from tests.real.control_plane import ControlPlane

Json = dict[str, Any]
PEOPLE = ("alice", "bob")
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(params=["sandbox", "real"])
async def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cluster]:
    """An API server with a fresh namespace: the embedded one and, where one is configured, a real control plane."""
    make = _sandbox if request.param == "sandbox" else _real
    async for made in make(request, tmp_path):
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


async def _sandbox(request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[Cluster]:
    del request
    tokens = {user: secrets.token_hex(8) for user in ("admin", "guard", "node", *PEOPLE)}
    server = ApiServer(tokens={token: user for user, token in tokens.items()}, tokenless="admin")
    server.readers |= {*PEOPLE}
    await server.start()

    async def audit() -> Sequence[AuditRecord]:
        return [
            AuditRecord(
                user=e.user,
                verb=e.verb,
                resource=e.resource,
                subresource=e.subresource or "",
                namespace=e.namespace or "",
                name=e.name or "",
                code=e.code,
                at=str(e.at),
                body=e.body,
            )
            for e in server.audit
        ]

    admin = Client(server.url, tokens["admin"])
    namespace = f"test-{secrets.token_hex(4)}"
    await make_namespace(admin, namespace)
    version = str((await admin.get("/version"))["gitVersion"])
    yield Cluster(
        kind="sandbox",
        url=server.url,
        admin_token=tokens["admin"],
        guard_token=tokens["guard"],
        node_token=tokens["node"],
        ca_file=None,
        namespace=namespace,
        server_version=version,
        admin=admin,
        node=lambda: ClientWithin(server, "node"),
        folder=folder,
        subjects=_user,
        read_audit=audit,
        others={user: tokens[user] for user in PEOPLE},
        on_grant=server.readers.discard,
    )
    await admin.aclose()
    await server.stop()


async def _real(request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[Cluster]:
    plane: RealControlPlane = request.getfixturevalue("real_control_plane")
    admin = Client(plane.url, plane.tokens["admin"], plane.ca_file)
    namespace = f"test-{secrets.token_hex(4)}"
    await make_namespace(admin, namespace)

    async def audit() -> Sequence[AuditRecord]:
        if not isinstance(plane, ControlPlane):
            pytest.skip("the audit log of the control plane behind KUBECONFIG cannot be read")
        return await flushed_audit(plane.audit_log, admin, namespace)

    yield Cluster(
        kind="real",
        url=plane.url,
        admin_token=plane.tokens["admin"],
        guard_token=plane.tokens["guard"],
        node_token=plane.tokens["node"],
        ca_file=plane.ca_file,
        namespace=namespace,
        server_version=plane.version,
        admin=admin,
        node=lambda: Client(plane.url, plane.tokens["node"], plane.ca_file),
        folder=folder,
        subjects=_user if isinstance(plane, ControlPlane) else _account_of(plane.namespace),
        read_audit=audit,
        others={user: plane.tokens[user] for user in PEOPLE},
    )
    await drop_namespace(admin, namespace)
    await admin.aclose()


def _user(user: str) -> Json:
    return {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}


def _account_of(namespace: str) -> Callable[[str], Json]:
    return lambda user: {"kind": "ServiceAccount", "name": user, "namespace": namespace}
