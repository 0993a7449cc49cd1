"""The cluster network: an HTTP forward proxy on loopback behind which pod addresses and Service names exist.

Whoever lives outside the sandbox (the guard's probes, a Prometheus with `proxy_url`, curl -x) reaches pods through it.
A Service leads to the pods that its EndpointSlices show as ready: the control plane decides, not the node.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import random
import re
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from aiohttp import web
from yarl import URL

from logcaster_guard.sandbox import container_metrics
from logcaster_guard.sandbox.client import Client, Json
from logcaster_guard.sandbox.lifecycle import Life
from logcaster_guard.sandbox.polling import level
from logcaster_guard.sandbox.release import METRICS_TYPE, TRAFFIC_PORT

CLUSTER_DOMAIN = "cluster.local"


@dataclass(frozen=True, slots=True)
class Backends:
    """A Service as the network sees it: ready `(pod address, pod port)` pairs by Service port."""

    by_port: dict[int, tuple[tuple[str, int], ...]] = field(default_factory=dict)


class Pods(Protocol):
    """The pods of a node."""

    @property
    def lives(self) -> Sequence[Life]:
        """All of them."""

    def at(self, ip: str) -> Life | None:
        """The one that has this address."""


class Network:
    """Serves `url` (known after `start`) and follows the Services of `namespace` every `period` seconds.

    `seed` makes the choice among a Service's pods repeatable.

    Asked itself and not as a proxy, it has pages for Prometheus: `/targets` lists every pod in the form of its HTTP
    service discovery, with the meta labels of its Kubernetes discovery, which not every build of Prometheus has;
    `/metrics/cadvisor` and `/metrics/kube-state` are those of `container_metrics`.
    """

    def __init__(
        self,
        client: Client,
        namespace: str,
        pods: Pods,
        *,
        period: float = 0.2,
        seed: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = ""
        self._client = client
        self._namespace = namespace
        self._pods = pods
        self._period = period
        self._clock = clock
        self._random = random.Random(seed)  # noqa: S311 # spreads traffic, repeatable
        self._services: dict[str, Backends] = {}
        self._server: web.ServerRunner | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen on a free loopback port and begin to follow the Services."""
        runner = web.ServerRunner(web.Server(self._handle, access_log=None))
        await runner.setup()
        listener = socket.create_server(("127.0.0.1", 0))
        await web.SockSite(runner, listener).start()
        self._server = runner
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self._task = asyncio.create_task(level("network", self.look, self._period), name="sandbox-network")

    async def stop(self) -> None:
        """Stop following and listening; open connections are cut."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        if self._server is not None:
            await self._server.cleanup()
            self._server = None

    async def look(self) -> None:
        """Take over what the API shows of Services and their endpoints."""
        services, slices = await asyncio.gather(
            self._client.list(f"/api/v1/namespaces/{self._namespace}/services"),
            self._client.list(f"/apis/discovery.k8s.io/v1/namespaces/{self._namespace}/endpointslices"),
        )
        self._services = backends_of(services, slices)

    def ready_addresses(self, service: str) -> frozenset[str]:
        """The pod addresses that the Service leads to now."""
        backends = self._services.get(service, Backends())
        return frozenset(address for pairs in backends.by_port.values() for address, _ in pairs)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        page = self._page(request.raw_path)
        if page is not None:
            return page
        if request.raw_path.startswith("/") or request.method == "CONNECT":
            return web.Response(status=400, text="This is a forward proxy: ask it for http://HOST:PORT/PATH.\n")
        url = request.url
        host, port = url.host or "", url.port or 80
        place = self._place(host, port)
        if isinstance(place, web.Response):
            return place
        return await self._deliver(request, url, *place)

    def _page(self, path: str) -> web.Response | None:
        match path:
            case "/targets":
                return web.json_response([_target(life, self._namespace) for life in self._pods.lives])
            case container_metrics.CADVISOR_PATH:
                now, wall = self._clock(), time.time()
                return _metrics(container_metrics.cadvisor(self._pods.lives, self._namespace, now=now, wall=wall))
            case container_metrics.KUBE_STATE_PATH:
                return _metrics(container_metrics.kube_state(self._pods.lives, self._namespace))
        return None

    def _place(self, host: str, port: int) -> tuple[str, int] | web.Response:
        if _is_address(host):
            return host, port
        backends = self._services.get(self._service_of(host) or "")
        if backends is None or port not in backends.by_port:
            return web.Response(status=502, text="No such host or port in this cluster.\n")
        pairs = backends.by_port[port]
        if not pairs:
            return web.Response(status=503, text="The Service has no ready endpoints.\n")
        return self._random.choice(pairs)

    async def _deliver(self, request: web.BaseRequest, url: URL, address: str, port: int) -> web.StreamResponse:
        life = self._pods.at(address)
        answer = None if life is None else life.answer(request.method, port, url.path, self._clock())
        if life is None or answer is None:
            return _refused(request)
        if answer.delay:
            run = life.process
            await asyncio.sleep(answer.delay)
            if life.process is not run:
                return _refused(request)
        return web.Response(
            status=answer.status, body=answer.body.encode(), headers={"Content-Type": answer.content_type}
        )

    def _service_of(self, host: str) -> str | None:
        name, _, rest = host.partition(".")
        own = {"", self._namespace, f"{self._namespace}.svc", f"{self._namespace}.svc.{CLUSTER_DOMAIN}"}
        return name if rest.rstrip(".") in own else None


def backends_of(services: list[Json], slices: list[Json]) -> dict[str, Backends]:
    """Services by name, each with the ready endpoints that its slices list for each of its ports."""
    found: dict[str, Backends] = {}
    for service in services:
        name = service["metadata"]["name"]
        own = [s for s in slices if (s["metadata"].get("labels") or {}).get("kubernetes.io/service-name") == name]
        ports = (service.get("spec") or {}).get("ports") or []
        found[name] = Backends({int(p["port"]): _pairs(str(p.get("name") or ""), own) for p in ports})
    return found


def _pairs(port_name: str, slices: list[Json]) -> tuple[tuple[str, int], ...]:
    pairs: set[tuple[str, int]] = set()
    for item in slices:
        ports = [p for p in item.get("ports") or [] if str(p.get("name") or "") == port_name and p.get("port")]
        for endpoint in item.get("endpoints") or []:
            # The API says: no value means ready.
            if ports and (endpoint.get("conditions") or {}).get("ready", True) is not False:
                pairs.update((str(a), int(ports[0]["port"])) for a in endpoint.get("addresses") or [])
    return tuple(sorted(pairs))


def _target(life: Life, namespace: str) -> Json:
    labels = {
        "__meta_kubernetes_namespace": namespace,
        "__meta_kubernetes_pod_name": life.name,
        "__meta_kubernetes_pod_ip": life.ip,
        "__meta_kubernetes_pod_container_port_number": str(TRAFFIC_PORT),
    }
    labels |= {f"__meta_kubernetes_pod_label_{re.sub(r'[^a-zA-Z0-9_]', '_', k)}": v for k, v in life.labels.items()}
    return {"targets": [f"{life.ip}:{TRAFFIC_PORT}"], "labels": labels}


def _metrics(text: str) -> web.Response:
    return web.Response(body=text.encode(), headers={"Content-Type": METRICS_TYPE})


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _refused(request: web.BaseRequest) -> web.Response:
    # A proxy cannot refuse a connection that it has accepted; cutting it is what comes closest for the client.
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=502)
