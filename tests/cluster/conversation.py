"""Plain HTTP with an API server, and a node played by hand: what the contract tests of the API speak."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Self

import httpx

from tests.cluster.harness import Cluster

Json = dict[str, Any]
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
REVISION = "deployment.kubernetes.io/revision"
WITHIN = 30.0


def stamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Conversation:
    """Requests in one namespace as administrator; `agent` is the User-Agent, which names the field manager."""

    def __init__(self, cluster: Cluster, agent: str = "contract/1") -> None:
        context = ssl.create_default_context(cafile=str(cluster.ca_file)) if cluster.ca_file else True
        headers = {"Authorization": f"Bearer {cluster.admin_token}", "User-Agent": agent}
        self.http = httpx.AsyncClient(base_url=cluster.url, headers=headers, verify=context, timeout=10)
        self.namespace = cluster.namespace
        self.node = f"by-hand-{cluster.namespace}"
        self._has_node = False
        self._addresses = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._has_node:
            await self.http.delete(f"/api/v1/nodes/{self.node}")
        await self.http.aclose()

    def path(self, plural: str, name: str = "", sub: str = "") -> str:
        group = {
            "deployments": "/apis/apps/v1",
            "replicasets": "/apis/apps/v1",
            "endpointslices": "/apis/discovery.k8s.io/v1",
            "horizontalpodautoscalers": "/apis/autoscaling/v2",
            "leases": "/apis/coordination.k8s.io/v1",
        }.get(plural, "/api/v1")
        return "/".join(p for p in (f"{group}/namespaces/{self.namespace}/{plural}", name, sub) if p)

    async def get(self, plural: str, name: str, sub: str = "") -> Json:
        return answered(await self.http.get(self.path(plural, name, sub)))

    async def items(self, plural: str, **query: str | int) -> list[Json]:
        found: list[Json] = answered(await self.http.get(self.path(plural), params=query))["items"]
        return found

    async def create(self, plural: str, body: Json) -> Json:
        """Create, tried again while the namespace's service account is not there yet."""
        async with asyncio.timeout(WITHIN):
            while True:
                response = await self.http.post(self.path(plural), json=body)
                if response.status_code != 403 or "serviceaccount" not in response.text:
                    return answered(response)
                await asyncio.sleep(0.1)

    async def put(self, plural: str, name: str, body: Json, sub: str = "") -> httpx.Response:
        return await self.http.put(self.path(plural, name, sub), json=body)

    async def patch(
        self, plural: str, name: str, body: object, kind: str = MERGE_PATCH, *, sub: str = ""
    ) -> httpx.Response:
        headers = {"Content-Type": kind}
        return await self.http.patch(self.path(plural, name, sub), content=json.dumps(body), headers=headers)

    async def apply(
        self, plural: str, body: Json, manager: str = "ci", *, name: str = "", **query: str
    ) -> httpx.Response:
        """Server-side apply by `manager`; `name` where it is not the one in the body."""
        path = self.path(plural, name or body["metadata"]["name"])
        headers, query = {"Content-Type": APPLY_PATCH}, {"fieldManager": manager, **query}
        return await self.http.patch(path, content=json.dumps(body), headers=headers, params=query)

    async def merge(self, plural: str, name: str, body: Json, sub: str = "") -> Json:
        return answered(await self.patch(plural, name, body, sub=sub))

    async def delete(self, plural: str, name: str, **options: object) -> httpx.Response:
        body = {"kind": "DeleteOptions", "apiVersion": "v1", **options}
        return await self.http.request("DELETE", self.path(plural, name), json=body)

    async def sets(self) -> list[Json]:
        """The ReplicaSets by revision."""
        found = await self.items("replicasets")
        return sorted(found, key=lambda s: int((s["metadata"].get("annotations") or {}).get(REVISION, "0")))

    async def wait_for(
        self, until: Callable[[], Awaitable[bool]], *, node: Callable[[Json], bool] | None = None
    ) -> None:
        """Until something holds; meanwhile a node makes those pods Ready that `node` is true of."""
        async with asyncio.timeout(WITHIN):
            while not await until():
                if node is not None:
                    await self.play(node)
                await asyncio.sleep(0.05)

    async def play(self, ready: Callable[[Json], bool]) -> None:
        """What scheduler and kubelet would do next."""
        await self._make_node()
        for pod in await self.items("pods"):
            name = pod["metadata"]["name"]
            if "deletionTimestamp" in pod["metadata"]:
                await self.delete("pods", name, gracePeriodSeconds=0)
            elif "nodeName" not in pod["spec"]:
                binding = {"metadata": {"name": name}, "target": {"kind": "Node", "name": self.node}}
                await self.http.post(self.path("pods", name, "binding"), json=binding)
            elif pod["status"]["phase"] == "Pending":
                self._addresses += 1
                await self.patch("pods", name, self._running(pod, ready=ready(pod)), sub="status")

    async def _make_node(self) -> None:
        """A real control plane hides the endpoints of pods whose node does not exist; the embedded one has no nodes."""
        if not self._has_node:
            made = await self.http.post("/api/v1/nodes", json={"metadata": {"name": self.node}})
            assert made.status_code in {201, 404}, made.text
            self._has_node = True

    def _running(self, pod: Json, *, ready: bool) -> Json:
        address = f"10.244.1.{self._addresses}"
        condition = {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": stamp()}
        containers = [
            {
                "name": c["name"],
                "image": c["image"],
                "imageID": "",
                "ready": ready,
                "restartCount": 0,
                "state": {"running": {"startedAt": stamp()}},
            }
            for c in pod["spec"]["containers"]
        ]
        status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": [condition]}
        return {"status": {**status, "containerStatuses": containers}}

    async def rolled_out(self, name: str, node: Callable[[Json], bool] = lambda _: True) -> Json:
        """The Deployment once it is rolled out whole."""

        async def complete() -> bool:
            item = await self.get("deployments", name)
            status, wanted = item["status"], item["spec"]["replicas"]
            counts = [status.get(f, 0) for f in ("replicas", "updatedReplicas", "availableReplicas")]
            return status.get("observedGeneration") == item["metadata"]["generation"] and counts == [wanted] * 3

        await self.wait_for(complete, node=node)
        return await self.get("deployments", name)


def answered(response: httpx.Response) -> Json:
    """The object of an answer that must be a success."""
    assert response.status_code < 300, response.text
    body: Json = response.json()
    return body


def refused(response: httpx.Response, code: int, reason: str) -> Json:
    """The Status of an answer that must be that refusal."""
    body: Json = response.json()
    assert (response.status_code, body["kind"], body["code"], body["reason"]) == (code, "Status", code, reason), body
    assert body["message"]
    return body


def deployment(name: str = "web", image: str = "example.invalid/web:1", **spec: Any) -> Json:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": image}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": template, **spec},
    }


def image(name: str) -> Json:
    """A strategic merge patch that changes the image of the container `app`."""
    return {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": name}]}}}}


def image_of(item: Json) -> str:
    spec = item["spec"].get("template", item)["spec"]
    return str(spec["containers"][0]["image"])


def names(items: Sequence[Json]) -> list[str]:
    return sorted(str(i["metadata"]["name"]) for i in items)
