"""The two API servers that cluster tests are written for, each with a fresh namespace."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from logcaster_guard.sandbox.apiserver import ApiServer
from logcaster_guard.sandbox.apiserver.server import AuditEntry
from logcaster_guard.sandbox.client import Client
from tests import canary
from tests.cluster.harness import AuditRecord, Cluster, drop_namespace, make_namespace, read_marked
from tests.cluster.in_process import InProcessClient, InProcessCluster
from tests.real.attached import Attached
from tests.real.control_plane import ControlPlane

Json = dict[str, Any]
SECRETS = "secrets"
PEOPLE = ("alice", "bob")


@contextlib.asynccontextmanager
async def sandbox(folder: Path) -> AsyncIterator[Cluster]:
    """The embedded API server."""
    tokens = {user: secrets.token_hex(8) for user in ("admin", "guard", "node", *PEOPLE)}
    server = ApiServer(tokens={token: user for user, token in tokens.items()}, tokenless="admin")
    server.readers |= {*PEOPLE}
    await server.start()

    async def audit(namespace: str) -> Sequence[AuditRecord]:
        return [_record(e) for e in server.audit if not namespace or e.namespace == namespace]

    forgotten: set[str] = set()

    def forget(namespace: str) -> None:
        # Some calls come after the last look: the deletion of the namespace, and the node's lists of all pods.
        forgotten.add(namespace)
        server.audit[:] = [e for e in server.audit if e.namespace not in forgotten and (e.namespace or e.mutating)]

    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(server.stop)
        stack.callback(_search, server)
        admin = Client(server.url, tokens["admin"])
        stack.push_async_callback(admin.aclose)
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
            node=lambda: InProcessClient(server, "node"),
            folder=folder,
            subjects=_user,
            audit_of=audit,
            forget=forget,
            others={user: tokens[user] for user in PEOPLE},
            on_grant=server.readers.discard,
            in_process=lambda: InProcessCluster(server, "guard"),
        )


def _search(server: ApiServer) -> None:
    """Nothing that was ever written to an object other than a Secret holds anything of one."""
    written = [e for e in server.audit if e.body is not None]
    if any(e.resource == SECRETS for e in written):
        for entry in written:
            if entry.resource != SECRETS:
                canary.note(f"{entry.resource} {entry.namespace}/{entry.name}", json.dumps(entry.body))


def _record(entry: AuditEntry) -> AuditRecord:
    return AuditRecord(
        user=entry.user,
        verb=entry.verb,
        resource=entry.resource,
        subresource=entry.subresource or "",
        namespace=entry.namespace or "",
        name=entry.name or "",
        code=entry.code,
        at=str(entry.at),
        body=entry.body,
    )


@dataclass(frozen=True)
class Way:
    """The way into a real control plane, for any process. `accounts` is where its users are service accounts."""

    url: str
    ca_file: Path | None
    version: str
    tokens: Mapping[str, str]
    audit_log: Path | None
    accounts: str


def way_into(plane: ControlPlane | Attached) -> Way:
    """The way into one that this process has started or entered."""
    if isinstance(plane, ControlPlane):
        return Way(plane.url, plane.ca_file, plane.version, plane.tokens, plane.audit_log, "")
    return Way(plane.url, plane.ca_file, plane.version, plane.tokens, None, plane.namespace)


@contextlib.asynccontextmanager
async def real(plane: Way, folder: Path) -> AsyncIterator[Cluster]:
    """A real control plane."""
    admin = Client(plane.url, plane.tokens["admin"], plane.ca_file)
    namespace = f"test-{secrets.token_hex(4)}"
    log = _Log(plane.audit_log, admin, namespace)
    try:
        await make_namespace(admin, namespace)
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
            subjects=_account_of(plane.accounts) if plane.accounts else _user,
            audit_of=log.of,
            forget=log.forget,
            others={user: plane.tokens[user] for user in PEOPLE},
        )
    finally:
        await drop_namespace(admin, namespace)
        await admin.aclose()


@dataclass
class _Log:
    """The audit log of a real control plane, each line of it read once, whoever asks at the same time."""

    file: Path | None
    admin: Client
    namespace: str
    _read: int = 0
    _records: dict[str, list[AuditRecord]] = field(default_factory=dict)
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def of(self, namespace: str) -> Sequence[AuditRecord]:
        if self.file is None:
            pytest.skip("the audit log of the control plane behind KUBECONFIG cannot be read")
        async with self._reading:
            records, self._read = await read_marked(self.file, self._read, self.admin, self.namespace)
            for record in records:
                self._records.setdefault(record.namespace, []).append(record)
        return self._records.get(namespace, []) if namespace else [r for known in self._records.values() for r in known]

    def forget(self, namespace: str) -> None:
        self._records.pop(namespace, None)


def _user(user: str) -> Json:
    return {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}


def _account_of(namespace: str) -> Callable[[str], Json]:
    return lambda user: {"kind": "ServiceAccount", "name": user, "namespace": namespace}
