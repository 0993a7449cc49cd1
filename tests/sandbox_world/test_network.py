from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from logcaster_guard.sandbox.client import ApiFailure, Client
from logcaster_guard.sandbox.lifecycle import Life, Pace
from logcaster_guard.sandbox.network import Network, backends_of
from logcaster_guard.sandbox.release import Behaviour, Releases
from tests.sandbox_world.stub import StubApi

Json = dict[str, Any]
IMAGE = "logcaster/logcaster-c:1.0"
SERVICES = "/api/v1/namespaces/prod/services"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/prod/endpointslices"


def service(name: str, *ports: tuple[str, int]) -> Json:
    return {"metadata": {"name": name}, "spec": {"ports": [{"name": n, "port": p} for n, p in ports]}}


def endpoints(of: str, port: tuple[str, int], ready: dict[str, bool | None]) -> Json:
    return {
        "metadata": {"labels": {"kubernetes.io/service-name": of}},
        "ports": [{"name": port[0], "port": port[1]}],
        "endpoints": [{"addresses": [a], "conditions": {} if r is None else {"ready": r}} for a, r in ready.items()],
    }


class Place:
    """A network with two running pods, 10.64.1.0 and 10.64.1.1, and what it asks the API."""

    def __init__(self, api: StubApi, client: Client) -> None:
        self.api = api
        self.releases = Releases({IMAGE: Behaviour(latency=0.0)})
        self.by_ip = {ip: self._life(ip) for ip in ("10.64.1.0", "10.64.1.1")}
        self.network = Network(client, "prod", self, clock=lambda: 1.0)

    @property
    def lives(self) -> list[Life]:
        return list(self.by_ip.values())

    def at(self, ip: str) -> Life | None:
        return self.by_ip.get(ip)

    def _life(self, ip: str) -> Life:
        pod = {
            "metadata": {"uid": ip, "name": f"pod-{ip}", "labels": {"app": "logcaster", "example.com/x": "y"}},
            "spec": {"containers": [{"name": "logcaster", "image": IMAGE}]},
        }
        life = Life(pod, ip, self.releases, Pace(start_delay=0.0), now=0.0, seed="1")
        life.advance(0.0, datetime(2026, 1, 1, tzinfo=UTC), terminating=False)
        return life

    async def shows(self, *slices: Json) -> None:
        self.api.objects[SERVICES] = [service("logcaster", ("traffic", 80), ("health", 9998))]
        self.api.objects[SLICES] = list(slices)
        await self.network.look()

    async def get(self, url: str) -> httpx.Response:
        async with httpx.AsyncClient(proxy=self.network.url) as client:
            return await client.get(url)


@pytest.fixture
async def place(api: StubApi, client: Client) -> AsyncIterator[Place]:
    api.objects |= {SERVICES: [], SLICES: []}
    place = Place(api, client)
    await place.network.start()
    yield place
    await place.network.stop()


@pytest.mark.parametrize(
    "host",
    ["logcaster", "logcaster.prod", "logcaster.prod.svc", "logcaster.prod.svc.cluster.local"],
)
async def test_a_service_is_reached_by_each_of_its_names_on_its_own_port(place: Place, host: str) -> None:
    await place.shows(endpoints("logcaster", ("traffic", 9999), {"10.64.1.0": True}))
    assert (await place.get(f"http://{host}/")).status_code == 200


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("http://unknown/", 502),
        ("http://logcaster.other/", 502),
        ("http://logcaster.prod.svc.example.com/", 502),
        ("http://logcaster:81/", 502),
        ("http://logcaster:9998/health", 503),
        ("http://logcaster/nothing", 404),
        ("http://10.64.1.0:9998/health", 200),
        ("http://10.64.1.1:9999/metrics", 200),
    ],
)
async def test_what_a_url_leads_to(place: Place, url: str, status: int) -> None:
    await place.shows(endpoints("logcaster", ("traffic", 9999), {"10.64.1.0": True}))
    assert (await place.get(url)).status_code == status


@pytest.mark.parametrize("url", ["http://10.64.9.9:9999/", "http://10.64.1.0:80/", "http://127.0.0.1:9999/"])
async def test_where_nothing_listens_the_connection_is_cut(place: Place, url: str) -> None:
    with pytest.raises(httpx.TransportError):
        await place.get(url)


async def test_a_stale_endpoint_is_a_cut_connection(place: Place) -> None:
    await place.shows(endpoints("logcaster", ("traffic", 9999), {"10.64.1.0": True}))
    place.by_ip["10.64.1.0"].stop()
    with pytest.raises(httpx.TransportError):
        await place.get("http://logcaster/")


async def test_only_ready_endpoints_are_used_and_all_of_them(place: Place) -> None:
    await place.shows(
        endpoints("logcaster", ("traffic", 9999), {"10.64.1.0": True, "10.64.1.1": None, "10.64.7.7": False})
    )
    assert place.network.ready_addresses("logcaster") == {"10.64.1.0", "10.64.1.1"}
    for _ in range(20):
        assert (await place.get("http://logcaster/")).status_code == 200
    served = [life.process.metrics(1.0) for life in place.lives if life.process]
    assert all("http_requests_total{" in text for text in served)


async def test_the_last_known_endpoints_serve_on_while_the_api_is_away(place: Place) -> None:
    await place.shows(endpoints("logcaster", ("traffic", 9999), {"10.64.1.0": True}))
    place.api.objects.clear()
    with pytest.raises(ApiFailure):
        await place.network.look()
    assert (await place.get("http://logcaster/")).status_code == 200


async def test_it_lists_the_pods_for_prometheus_and_is_no_web_server_otherwise(place: Place) -> None:
    async with httpx.AsyncClient(base_url=place.network.url) as client:
        targets = (await client.get("/targets")).json()
        assert (await client.get("/")).status_code == 400
    assert [t["targets"] for t in targets] == [["10.64.1.0:9999"], ["10.64.1.1:9999"]]
    assert targets[0]["labels"]["__meta_kubernetes_pod_label_example_com_x"] == "y"
    assert targets[0]["labels"]["__meta_kubernetes_pod_name"] == "pod-10.64.1.0"


def test_ports_are_matched_by_name_and_a_single_port_needs_none() -> None:
    unnamed = {"metadata": {"name": "plain"}, "spec": {"ports": [{"port": 80}]}}
    slices = [
        {
            "metadata": {"labels": {"kubernetes.io/service-name": "plain"}},
            "ports": [{"name": "", "port": 9999}],
            "endpoints": [{"addresses": ["10.64.1.0"]}],
        },
        endpoints("other", ("", 9999), {"10.64.1.1": True}),
    ]
    assert backends_of([unnamed], slices)["plain"].by_port == {80: (("10.64.1.0", 9999),)}


def test_a_service_without_slices_has_no_endpoints() -> None:
    assert backends_of([service("logcaster", ("traffic", 80))], [])["logcaster"].by_port == {80: ()}


@pytest.mark.parametrize("path", ["/metrics/cadvisor", "/metrics/kube-state"])
async def test_it_tells_prometheus_of_the_containers(place: Place, path: str) -> None:
    async with httpx.AsyncClient(base_url=place.network.url) as client:
        answer = await client.get(path)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
