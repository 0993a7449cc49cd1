"""The sandbox's only machine: it takes every unscheduled pod of a namespace, runs it and reports its status.

It stands for scheduler and kubelet, as a client of the API, so that it does its work for the embedded API server and
for a real control plane without nodes alike. It goes by what a LIST shows, so nothing is lost with a dropped watch.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from logcaster_guard.sandbox.client import MERGE_PATCH, ApiRefused, Client, Json
from logcaster_guard.sandbox.configuration import ConfigObjects, config_of
from logcaster_guard.sandbox.lifecycle import Life, Pace, shown
from logcaster_guard.sandbox.polling import level
from logcaster_guard.sandbox.release import Releases

POD_RANGE = ipaddress.ip_network("10.64.0.0/16")
HEARTBEAT = 10.0


class Node:
    """Runs the pods of `namespace` as `releases` tells, at `pace`, looking every `period` seconds.

    `seed` makes the pods' latencies repeatable. `clock` gives monotonic seconds. `configuration` is what its pods read
    of ConfigMaps and Secrets.
    """

    # Seven: the four with a default are the world's, handed on.
    def __init__(
        self,
        client: Client,
        namespace: str,
        releases: Releases,
        *,
        pace: Pace | None = None,
        period: float = 0.2,
        seed: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = f"sandbox-{namespace}"
        self._client = client
        self._namespace = f"/api/v1/namespaces/{namespace}"
        self._pods = f"{self._namespace}/pods"
        self._releases = releases
        self._pace = pace or Pace()
        self.configuration = ConfigObjects(client, namespace, self._pace.propagation)
        self._told: dict[str, str] = {}
        self._period = period
        self._seed = seed
        self._clock = clock
        self._lives: dict[str, Life] = {}
        self._bound_at: dict[str, datetime] = {}
        self._by_ip: dict[str, Life] = {}
        self._born = 0
        self._next_ip = -1
        self._registered = False
        self._beat_at = 0.0
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin; the API server need not answer yet."""
        self._task = asyncio.create_task(level("node", self.look, self._period), name="sandbox-node")

    async def stop(self) -> None:
        """Every process dies with the node; the API is not told, as with a machine that lost its power."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        for life in self._lives.values():
            life.stop()
        self._by_ip.clear()

    async def retire(self) -> None:
        """Take the Node object back where one was made."""
        if self._registered:
            with contextlib.suppress(ApiRefused):
                await self._client.delete(f"/api/v1/nodes/{self.name}")

    def at(self, ip: str) -> Life | None:
        """The pod that has this address."""
        return self._by_ip.get(ip)

    @property
    def lives(self) -> list[Life]:
        """The pods on the node."""
        return list(self._lives.values())

    def now(self) -> float:
        """The monotonic second on the node."""
        return self._clock()

    async def look(self) -> None:
        """Look once at what the API shows and do what follows from it."""
        await self._beat()
        pods = await self._client.list(self._pods)
        self._forget({str(p["metadata"]["uid"]) for p in pods})
        sources = frozenset(s for life in self._lives.values() if life.config is not None for s in life.config.sources)
        await self.configuration.look(sources, self._clock())
        results = await asyncio.gather(*(self._tend(p) for p in pods), return_exceptions=True)
        for failure in results:
            if isinstance(failure, BaseException):
                raise failure

    def _forget(self, present: set[str]) -> None:
        for uid in [u for u in self._lives if u not in present]:
            life = self._lives.pop(uid)
            life.stop()
            self._bound_at.pop(uid, None)
            self._told.pop(uid, None)
            if self._by_ip.get(life.ip) is life:
                del self._by_ip[life.ip]

    async def _tend(self, pod: Json) -> None:
        place = str(pod["spec"].get("nodeName") or "")
        try:
            if not place and "deletionTimestamp" not in pod["metadata"]:
                await self._bind(pod)
                place = self.name
            if place == self.name:
                await self._run(pod)
        except ApiRefused as refusal:
            # Gone, replaced or changed since the LIST: the next look sees it as it is.
            if refusal.status not in {404, 409}:
                raise

    async def _bind(self, pod: Json) -> None:
        name = pod["metadata"]["name"]
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name},
            "target": {"apiVersion": "v1", "kind": "Node", "name": self.name},
        }
        await self._client.create(f"{self._pods}/{name}/binding", binding)

    async def _run(self, pod: Json) -> None:
        now, wall = self._clock(), datetime.now(UTC)
        life = self._life(pod, now, wall)
        life.advance(now, wall, terminating="deletionTimestamp" in pod["metadata"])
        if life.over(now):
            await self._client.delete(f"{self._pods}/{life.name}", _removal(life.uid))
            return
        status = life.status(now, self._bound_at[life.uid])
        if shown(status) != shown(pod.get("status") or {}):
            body = {"metadata": {"uid": life.uid}, "status": status}
            await self._client.patch(f"{self._pods}/{life.name}/status", body, MERGE_PATCH)
        await self._tell(life, wall)

    async def _tell(self, life: Life, wall: datetime) -> None:
        """Why a volume cannot be mounted stands in no status: it is an event, once."""
        missing = life.missing
        if missing is None or missing.container or self._told.get(life.uid, "") == missing.message:
            return
        self._told[life.uid] = missing.message
        stamp = wall.strftime("%Y-%m-%dT%H:%M:%SZ")
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": self.configuration.namespace,
            "name": life.name,
            "uid": life.uid,
        }
        event: Json = {
            "metadata": {"generateName": f"{life.name}."},
            "involvedObject": pod,
            "type": "Warning",
            "reason": "FailedMount",
            "message": missing.message,
            "source": {"component": "kubelet", "host": self.name},
            "count": 1,
            "firstTimestamp": stamp,
            "lastTimestamp": stamp,
        }
        await self._client.create(f"{self._namespace}/events", event)

    def _life(self, pod: Json, now: float, wall: datetime) -> Life:
        uid = str(pod["metadata"]["uid"])
        life = self._lives.get(uid)
        if life is None:
            status: Json = pod.get("status") or {}
            ip = str(status.get("podIP") or "")
            if not ip or ip in self._by_ip:
                ip = self._free_ip()
            self._born += 1
            life = Life(
                pod,
                ip,
                self._releases,
                self._pace,
                now=now,
                seed=f"{self._seed}/{self._born}",
                restarts=_restarts(status),
                config=config_of(pod, self.configuration),
            )
            self._lives[uid] = self._by_ip[ip] = life
            self._bound_at[uid] = wall
        return life

    def _free_ip(self) -> str:
        # Addresses are used in turn: one that was just given up must not lead to a stranger.
        usable = POD_RANGE.num_addresses - 512
        for _ in range(usable):
            self._next_ip = (self._next_ip + 1) % usable
            ip = str(POD_RANGE[256 + self._next_ip])
            if ip not in self._by_ip:
                return ip
        raise RuntimeError("Every pod address of the sandbox is taken; run fewer pods.")

    async def _beat(self) -> None:
        """Keep a Node object, without which a real control plane drops the pods and hides their endpoints."""
        now = self._clock()
        if now < self._beat_at:
            return
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "SandboxReady",
            "message": "the sandbox runs pods in memory",
            "lastHeartbeatTime": stamp,
            "lastTransitionTime": stamp,
        }
        status: Json = {"conditions": [ready]}
        try:
            if not self._registered:
                await self._register(status)
                # A node is born with a taint that a controller takes away once it is Ready: here it does so itself.
                await self._client.patch(f"/api/v1/nodes/{self.name}", {"spec": {"taints": None}}, MERGE_PATCH)
            await self._client.patch(f"/api/v1/nodes/{self.name}/status", {"status": status}, MERGE_PATCH)
            self._registered = True
        except ApiRefused as refusal:
            if refusal.status not in {404, 405}:
                raise
        self._beat_at = now + HEARTBEAT

    async def _register(self, status: Json) -> None:
        body: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self.name, "labels": {"kubernetes.io/hostname": self.name}},
            "status": status,
        }
        try:
            await self._client.create("/api/v1/nodes", body)
        except ApiRefused as refusal:
            if refusal.status != 409:
                raise


def _removal(uid: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "gracePeriodSeconds": 0,
        "preconditions": {"uid": uid},
    }


def _restarts(status: Json) -> int:
    return max((int(c.get("restartCount", 0)) for c in status.get("containerStatuses") or []), default=0)
