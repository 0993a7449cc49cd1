"""A scene whose operators apply a release whole, with its ConfigMap and its Secret, in the ways in which people do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from logcaster_guard.domain import capacity
from logcaster_guard.sandbox import objects
from logcaster_guard.sandbox.configuration import Read, data_digest
from tests.canary import ONE, THREE, TWO, encoded
from tests.cluster.case import BAD, CONFIG, GOOD, HELD, SECRET, WITHIN
from tests.cluster.roles import CONFIG_ROLE, COPIED_SECRETS_ROLE, SECRETS_ROLE
from tests.cluster.scene import Scene, seed
from tests.cluster.test_apply_contract import config_map, secret
from tests.cluster.test_guard import apply_flags, kubectl, manifest

Json = dict[str, Any]
Content = frozenset[tuple[str, str]]
"""The digest of what an object of each kind holds, whatever it is called."""
NEXT = "3.0"
MAPS_HELD: Mapping[str, Mapping[str, str]] = {**HELD, NEXT: {"LEVEL": "warning"}}
SECRETS_HELD: Mapping[str, Mapping[str, str]] = {
    GOOD: {"password": ONE, "only-old": ONE},
    BAD: {"password": TWO, "only-bad": TWO},
    NEXT: {"password": THREE},
}
"""What the ConfigMap and the Secret hold with each version."""
READ = {
    version: frozenset(
        {
            ("ConfigMap", data_digest({"data": MAPS_HELD[version]})),
            ("Secret", data_digest({"data": {k: encoded(v) for k, v in SECRETS_HELD[version].items()}})),
        }
    )
    for version in MAPS_HELD
}
"""What a pod of each version reads at its start."""
ROLE = (*CONFIG_ROLE, *SECRETS_ROLE, *COPIED_SECRETS_ROLE)
UNNAMED = [{k: v for k, v in rule.items() if k != "resourceNames"} for rule in ROLE]
"""As the Roles have to be where the names of objects change with what they hold."""
PRUNED = [f"--prune-allowlist=core/v1/{kind}" for kind in ("ConfigMap", "Secret")]


def content_of(read: Read) -> Content:
    """What a container has read at one of its starts."""
    return frozenset((seen.source.kind, seen.digest) for seen in read.seen)


class Applied(Scene):
    """By `kubectl apply`, with the names that stay. The guard restores Secrets."""

    way = "client-side"
    labels: ClassVar[Mapping[str, str]] = {}
    field = "data"
    role: ClassVar[Sequence[Json]] = ROLE
    restores_secrets = True

    async def _install(self, replicas: int) -> None:  # noqa: ARG002 - as many as the manifest says
        await self.serve()
        await self.apply(GOOD)
        good, then = await self.world.rolled_out(WITHIN), datetime.now(UTC)
        contents = await self.kept(GOOD)
        await self.apply(BAD)
        bad = await self.world.rolled_out(WITHIN)
        await seed(self.stores, self.target.key, good, bad, then, contents=contents)

    async def kept(self, version: str) -> Mapping[str, str]:
        """Keep the configuration of a version as it is; where each object is then."""
        return await self.keep(*[await self.live(plural, name) for plural, name in self.names(version)])

    async def serve(self) -> None:
        await self.cluster.admin.create(f"/api/v1/namespaces/{self.cluster.namespace}/services", objects.service())

    async def apply(self, version: str, held: str | None = None) -> None:
        """The image of a version, with the configuration of that one or of another one."""
        flags = [*apply_flags(self.way), *self.prunes()]
        both = {"apiVersion": "v1", "kind": "List", "items": list(self.manifests(version, held or version))}
        await kubectl(self.cluster, "apply", *flags, "-f", "-", stdin=both)

    def prunes(self) -> list[str]:
        return []

    def manifests(self, version: str, held: str) -> Iterator[Json]:
        """ConfigMap, Secret and Deployment as their operators keep them."""
        (_, config), (_, credentials) = self.names(held)
        data = SECRETS_HELD[held]
        data = data if self.field == "stringData" else {key: encoded(value) for key, value in data.items()}
        deployment = manifest(self.cluster, version)
        refers = [{"configMapRef": {"name": config}}, {"secretRef": {"name": credentials}}]
        deployment["spec"]["template"]["spec"]["containers"][0]["envFrom"] = refers
        config_maps_and_secrets = (config_map(dict(MAPS_HELD[held]), config), secret(credentials, **{self.field: data}))
        for made in (*config_maps_and_secrets, deployment):
            made["metadata"] |= {"labels": dict(self.labels)}
            yield made

    def good_digests(self) -> frozenset[str]:
        return frozenset(digest for _, digest in READ[GOOD])

    def names(self, held: str) -> tuple[tuple[str, str], tuple[str, str]]:
        """The plural kind and the name of the ConfigMap and of the Secret that hold a version's configuration."""
        del held
        return ("configmaps", CONFIG), ("secrets", SECRET)

    async def live(self, plural: str, name: str) -> Json:
        return await self.cluster.admin.get(f"/api/v1/namespaces/{self.cluster.namespace}/{plural}/{name}")

    async def holds(self, version: str) -> Content:
        """What the objects hold that the configuration of a version is in, as `READ` says it."""
        found = [await self.live(plural, name) for plural, name in self.names(version)]
        return frozenset((str(raw["kind"]), data_digest({"data": raw.get("data")})) for raw in found)

    async def applied(self) -> list[tuple[str, str]]:
        """The plural kinds and names of the ConfigMaps and Secrets that are there and were applied."""
        base, kinds = f"/api/v1/namespaces/{self.cluster.namespace}", ("configmaps", "secrets")
        found = [(kind, raw["metadata"]) for kind in kinds for raw in await self.cluster.admin.list(f"{base}/{kind}")]
        return [(kind, meta["name"]) for kind, meta in found if meta["name"].startswith((CONFIG, SECRET))]

    async def read_by(self, version: str) -> set[Content]:
        """What pods of a version have ever read, each start by itself; those of a helper count with the good one."""
        sets = await self.cluster.admin.list(f"/apis/apps/v1/namespaces/{self.cluster.namespace}/replicasets")
        image = objects.image(version)
        names = [
            s["metadata"]["name"] for s in sets if s["spec"]["template"]["spec"]["containers"][0]["image"] == image
        ]
        names += [capacity.helper_name(objects.DEPLOYMENT)] if version == GOOD else []
        prefixes = tuple(f"{name}-" for name in names)
        return {content_of(read) for read in self.world.node.configuration.reads if read.pod.startswith(prefixes)}


class AppliedOnTheServer(Applied):
    way = "server-side"


class AppliedAsText(Applied):
    """The Secret's manifest holds plain text."""

    way = "stringData"
    field = "stringData"


class ByHelm(Applied):
    """With the label by which Helm knows what is its own."""

    way = "Helm"
    labels: ClassVar[Mapping[str, str]] = {"app.kubernetes.io/managed-by": "Helm"}


class Kustomized(Applied):
    """The names tell what the objects hold, and each apply prunes those of the one before."""

    way = "kustomize"
    role = UNNAMED
    labels: ClassVar[Mapping[str, str]] = {"app.kubernetes.io/name": "logcaster"}

    def prunes(self) -> list[str]:
        (label,) = self.labels.items()
        return ["--prune", "--selector", "=".join(label), *PRUNED]

    def names(self, held: str) -> tuple[tuple[str, str], tuple[str, str]]:
        endings = [hashlib.sha256(json.dumps(h[held]).encode()).hexdigest()[:10] for h in (MAPS_HELD, SECRETS_HELD)]
        return ("configmaps", f"{CONFIG}-{endings[0]}"), ("secrets", f"{SECRET}-{endings[1]}")
