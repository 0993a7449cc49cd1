"""One face for the embedded API server and a real control plane, for tests that are written once and run on both."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from logcaster_guard.adapters.kubernetes.connect import connect
from logcaster_guard.ports import Cluster as ClusterPort
from logcaster_guard.sandbox.client import ApiRefused, Client
from tests.real.control_plane import write_kubeconfig
from tests.real.waiting import until

Json = dict[str, Any]
MUTATING = frozenset({"create", "update", "patch", "delete", "deletecollection"})
FLUSH_WITHIN = 10.0


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One mutating request as the API server saw it; `at` is its ISO instant, `body` what was sent where recorded."""

    user: str
    verb: str
    resource: str
    subresource: str
    namespace: str
    name: str
    code: int
    at: str
    body: Any


@dataclass
class Cluster:
    """An API server with a fresh namespace.

    `admin_token` and `node_token` may do everything; `guard_token` may do on a real control plane only what was granted
    with `grant`. `admin` is a client with the admin's token, and `node` makes one for the world around the guard.
    `in_process` makes the guard's adapter without HTTP between, where the API server is in this process. `audit_of`
    tells the requests for a namespace, for any where none is named; those for one can be forgotten.
    `alice` and `bob`, in `others`, are people with the rights that were granted; the embedded server is told of them by
    `on_grant`, and tells of them only in reviews.
    """

    kind: Literal["sandbox", "real"]
    url: str
    admin_token: str
    guard_token: str
    node_token: str
    ca_file: Path | None
    namespace: str
    server_version: str
    admin: Client
    node: Callable[[], Client]
    folder: Path
    subjects: Callable[[str], Json]
    audit_of: Callable[[str], Awaitable[Sequence[AuditRecord]]]
    forget: Callable[[str], None]
    others: Mapping[str, str] = field(default_factory=dict)
    on_grant: Callable[[str], None] = lambda _: None
    in_process: Callable[[], ClusterPort] | None = None

    async def read_audit(self) -> Sequence[AuditRecord]:
        """Every request so far that the API server records."""
        return await self.audit_of("")

    async def last_audit(self, namespace: str) -> Sequence[AuditRecord]:
        """Every request for a namespace in which all is over: they are forgotten, as nobody asks for them again."""
        records = list(await self.audit_of(namespace))
        self.forget(namespace)
        return records

    async def audit(self) -> list[AuditRecord]:
        """Every mutating request for this namespace so far, those of the control plane itself left out."""
        return [r for r in await self.audit_of(self.namespace) if r.verb in MUTATING]

    def token(self, user: str) -> str:
        own = {"admin": self.admin_token, "guard": self.guard_token, "node": self.node_token}
        return {**self.others, **own}[user]

    async def guard_api(self) -> ClusterPort:
        """The guard's own adapter, without HTTP between where the API server is in this process."""
        if self.in_process is not None:
            return self.in_process()
        return await connect(kubeconfig=self.kubeconfig("guard"), context=None, timeout=10)

    def kubeconfig(self, user: str) -> Path:
        """A kubeconfig file for `admin`, `guard` or `node`."""
        # Not beside the configuration that tests write, where a guard takes none.
        credentials = self.folder.with_name(f"{self.folder.name}-credentials")
        credentials.mkdir(exist_ok=True)
        return write_kubeconfig(credentials / f"kubeconfig-{user}", self.url, self.ca_file, self.token(user))

    async def grant(self, user: str, rules: Sequence[Json]) -> None:
        """Let `user` do what `rules` (of a Role) say in this namespace; the embedded server asks for no rights."""
        self.on_grant(user)
        if self.kind == "sandbox":
            return
        base = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{self.namespace}"
        await self.admin.create(f"{base}/roles", {"metadata": {"name": user}, "rules": list(rules)})
        binding = {
            "metadata": {"name": user},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": user},
            "subjects": [self.subjects(user)],
        }
        await self.admin.create(f"{base}/rolebindings", binding)

    async def regrant(self, user: str, rules: Sequence[Json]) -> None:
        """Let `user` do only what these rules say from now on."""
        if self.kind == "real":
            path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{self.namespace}/roles/{user}"
            await self.admin.patch(path, {"rules": list(rules)})


async def read_marked(log: Path, start: int, admin: Client, namespace: str) -> tuple[list[AuditRecord], int]:
    """The audit log from byte `start` on, and where it ends, once it holds everything that was answered before.

    A marker that is written now must be in it.
    """
    name = f"audit-marker-{asyncio.get_running_loop().time():.6f}"
    await admin.create(f"/api/v1/namespaces/{namespace}/configmaps", {"metadata": {"name": name}})

    def rest() -> bytes:
        with log.open("rb") as file:
            file.seek(start)
            return file.read()

    async def holds_marker() -> bytes:
        text = await asyncio.to_thread(rest)
        return text if name.encode() in text and text.endswith(b"\n") else b""

    text = await until(holds_marker, FLUSH_WITHIN)
    records = [_record(json.loads(line)) for line in text.splitlines()]
    return [r for r in records if not r.name.startswith("audit-marker-")], start + len(text)


def _record(event: Json) -> AuditRecord:
    place = event.get("objectRef") or {}
    sent = event.get("requestObject") or {}
    return AuditRecord(
        user=str(event["user"]["username"]),
        verb=str(event["verb"]),
        resource=str(place.get("resource", "")),
        subresource=str(place.get("subresource", "")),
        namespace=str(place.get("namespace", "")),
        # A create names its object only in the body.
        name=str(place.get("name") or (isinstance(sent, dict) and (sent.get("metadata") or {}).get("name")) or ""),
        code=int((event.get("responseStatus") or {}).get("code", 0)),
        at=str(event.get("requestReceivedTimestamp", "")),
        body=sent,
    )


async def make_namespace(admin: Client, name: str) -> None:
    try:
        await admin.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    except ApiRefused as refusal:
        # A server for which namespaces are mere words has nothing to make.
        if refusal.status not in {404, 405}:
            raise


async def drop_namespace(admin: Client, name: str) -> None:
    """Leave no pods behind that no kubelet will ever end."""
    await admin.delete(f"/api/v1/namespaces/{name}")
    options = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}
    await admin.delete(f"/api/v1/namespaces/{name}/pods", options)
