"""Argo CD's and Flux' objects on a test's cluster, and a controller that applies what they want over and over.

There is no Argo CD and no Flux here: their kinds are kept as they are (on a real control plane by definitions with open
schemas), and `Fighter` does of them what matters to a rollback.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from logcaster_guard.adapters.kubernetes.api_paths import RESOURCES
from logcaster_guard.domain import gitops
from logcaster_guard.domain.gitops import OwnerKind
from logcaster_guard.ports import Kind
from logcaster_guard.sandbox import objects
from logcaster_guard.sandbox.client import ApiFailure, ApiRefused, Client
from tests.cluster.harness import Cluster
from tests.real.waiting import until

Json = dict[str, Any]
COMPONENT = Path(__file__).parents[2] / "deploy" / "components" / "gitops" / "rbac.yaml"
RULES: Sequence[Json] = next(d["rules"] for d in yaml.safe_load_all(COMPONENT.read_text()) if d["kind"] == "Role")
NAME, SOURCE = "web", "repository"
AUTOMATED = {"prune": True, "selfHeal": True}
KINDS = (Kind.APPLICATION, Kind.KUSTOMIZATION, Kind.HELM_RELEASE)
SOURCES = (Kind.GIT_REPOSITORY, Kind.OCI_REPOSITORY, Kind.BUCKET, Kind.HELM_CHART)
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def definition(kind: Kind) -> Json:
    """The kind's CustomResourceDefinition, with a schema that keeps everything."""
    resource = RESOURCES[kind]
    version = {
        "name": resource.version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
        # As Argo CD and Flux define theirs.
        **({} if kind is Kind.APPLICATION else {"subresources": {"status": {}}}),
    }
    names = {"kind": kind.value, "plural": resource.plural, "singular": kind.lower(), "listKind": f"{kind.value}List"}
    spec = {"group": resource.group, "scope": "Namespaced", "names": names, "versions": [version]}
    meta = {"name": f"{resource.plural}.{resource.group}"}
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": meta, "spec": spec}


async def define(cluster: Cluster) -> None:
    """See to it that the API server serves the kinds."""
    if cluster.kind == "sandbox":
        return
    for kind in (*KINDS, *SOURCES):
        try:
            await cluster.admin.create(DEFINITIONS, definition(kind))
        except ApiRefused as refusal:
            if refusal.status != 409:
                raise

    async def served() -> bool:
        try:
            for kind in (*KINDS, *SOURCES):
                await cluster.admin.list(path(kind, cluster.namespace))
        except ApiRefused:
            return False
        return True

    await until(served, 30.0)


def path(kind: Kind, namespace: str, name: str = "") -> str:
    """Where the objects of this kind, or one of them, are."""
    collection = RESOURCES[kind].path.format(namespace=namespace)
    return f"{collection}/{name}" if name else collection


@dataclass
class Owned:
    """A workload's owner in the same namespace, and the source of a Flux owner; `admin` may do everything."""

    admin: Client
    namespace: str
    kind: OwnerKind

    @classmethod
    async def make(cls, cluster: Cluster, kind: OwnerKind, *, revision: str, spec: Mapping[str, Any] = {}) -> Owned:
        """The owner with what it wants, which it has rolled out already, and its mark on the Deployment."""
        made = cls(cluster.admin, cluster.namespace, kind)
        await define(cluster)
        if kind is not OwnerKind.APPLICATION:
            source = {"metadata": {"name": SOURCE}, "spec": {}}
            await made.admin.create(path(made.source, made.namespace), made._typed(made.source, source))
        await made.admin.create(made.collection, made._typed(Kind(kind), {"metadata": {"name": NAME}, "spec": {
            **made._spec(), **spec}}))  # fmt: skip
        await made.wants(revision)
        await made.tried(revision)
        base = f"/apis/apps/v1/namespaces/{made.namespace}/deployments/{objects.DEPLOYMENT}"
        await made.admin.patch(base, {"metadata": made._known_by()})
        return made

    @property
    def source(self) -> Kind:
        """What the revision comes from."""
        return Kind.HELM_CHART if self.kind is OwnerKind.HELM_RELEASE else Kind.GIT_REPOSITORY

    @property
    def collection(self) -> str:
        """The path of the owner's kind."""
        return path(Kind(self.kind), self.namespace)

    @property
    def path(self) -> str:
        """The owner's path."""
        return path(Kind(self.kind), self.namespace, NAME)

    async def raw(self) -> Json:
        """The owner as it is."""
        return await self.admin.get(self.path)

    async def suspended(self) -> bool:
        """Whether it is."""
        return gitops.is_suspended(await self.raw())

    async def spec(self) -> Json:
        """What it is told to do, as it is."""
        found: Json = (await self.raw())["spec"]
        return found

    async def wants(self, revision: str) -> None:
        """A commit arrives."""
        if self.kind is OwnerKind.APPLICATION:
            await self.admin.patch(self.path, {"status": {"sync": {"revision": revision}}})
            return
        source = path(self.source, self.namespace, SOURCE)
        await self.admin.patch(f"{source}/status", {"status": {"artifact": {"revision": revision}}})

    async def tried(self, revision: str) -> None:
        """It has rolled the revision out."""
        if self.kind is OwnerKind.APPLICATION:
            await self.admin.patch(self.path, {"status": {"history": [{"revision": revision}]}})
            return
        status = {"lastAttemptedRevision": revision}
        if self.kind is OwnerKind.HELM_RELEASE:
            status["helmChart"] = f"{self.namespace}/{SOURCE}"
        await self.admin.patch(f"{self.path}/status", {"status": status})

    async def resumed_by_a_person(self) -> None:
        """As `flux resume`, or a person's edit, does it."""
        if self.kind is OwnerKind.APPLICATION:
            await self.admin.patch(self.path, {"spec": {"syncPolicy": {"automated": {"prune": False}}}})
        else:
            await self.admin.patch(self.path, {"spec": {"suspend": False}})

    def _typed(self, kind: Kind, body: Json) -> Json:
        resource = RESOURCES[kind]
        return {"apiVersion": f"{resource.group}/{resource.version}", "kind": kind.value, **body}

    def _spec(self) -> Json:
        match self.kind:
            case OwnerKind.APPLICATION:
                return {"source": {"path": "web"}, "syncPolicy": {"automated": AUTOMATED, "retry": {"limit": 2}}}
            case OwnerKind.KUSTOMIZATION:
                return {"interval": "1m", "sourceRef": {"kind": "GitRepository", "name": SOURCE}, "suspend": False}
            case OwnerKind.HELM_RELEASE:
                return {"chart": {"spec": {"chart": "web", "version": "1.x"}}}

    def _known_by(self) -> Json:
        match self.kind:
            case OwnerKind.APPLICATION:
                tracking = f"{self.namespace}_{NAME}:apps/Deployment:{self.namespace}/{objects.DEPLOYMENT}"
                return {"annotations": {gitops.TRACKING_ID: tracking}}
            case OwnerKind.KUSTOMIZATION:
                group = "kustomize"
            case OwnerKind.HELM_RELEASE:
                group = "helm"
        group = f"{group}.toolkit.fluxcd.io"
        return {"labels": {f"{group}/name": NAME, f"{group}/namespace": self.namespace}}


@dataclass
class Fighter:
    """Puts the image that the owner's revision wants into the Deployment whenever the owner is not suspended.

    `images` are those of the revisions by their last word; `applied` counts what was put there.
    """

    owned: Owned
    images: Mapping[str, str]
    applied: list[str] = field(default_factory=list)

    async def once(self) -> None:
        raw = await self.owned.raw()
        if gitops.is_suspended(raw):
            return
        source = None
        if self.owned.kind is not OwnerKind.APPLICATION:
            source = await self.owned.admin.get(path(self.owned.source, self.owned.namespace, SOURCE))
        revision = gitops.desired(raw, source).revision
        image = self.images[revision]
        base = f"/apis/apps/v1/namespaces/{self.owned.namespace}/deployments/{objects.DEPLOYMENT}"
        deployment = await self.owned.admin.get(base)
        containers = deployment["spec"]["template"]["spec"]["containers"]
        if containers[0]["image"] != image:
            containers[0]["image"] = image
            # Bound to the version looked at, as a server-side apply of the whole would not be undone by a stale look.
            version = deployment["metadata"]["resourceVersion"]
            patch = {
                "metadata": {"resourceVersion": version},
                "spec": {"template": {"spec": {"containers": containers}}},
            }
            await self.owned.admin.patch(base, patch)
            self.applied.append(image)
        await self.owned.tried(revision)

    async def loop(self) -> None:
        while True:
            with contextlib.suppress(ApiFailure):
                await self.once()
            await asyncio.sleep(0.05)

    @contextlib.asynccontextmanager
    async def fighting(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.loop())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
