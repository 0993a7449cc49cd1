"""Everything of the sandbox but its API server, in one piece: a node, the network and the service's users.

async with World(Client(url, token), namespace="prod", releases=releases) as world:
    await world.install("1.0")
    await world.rolled_out(30)
    await world.deploy("2.0")
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from logcaster_guard.sandbox import objects
from logcaster_guard.sandbox.client import MERGE_PATCH, STRATEGIC_PATCH, ApiFailure, Client, Json
from logcaster_guard.sandbox.lifecycle import Pace
from logcaster_guard.sandbox.network import Network
from logcaster_guard.sandbox.node import Node
from logcaster_guard.sandbox.polling import log
from logcaster_guard.sandbox.release import TRAFFIC_PORT, Releases
from logcaster_guard.sandbox.traffic import Traffic


class World:
    """Runs the pods of `namespace` and sends `rate` requests a second to `service`.

    `client` must be allowed everything in the namespace, and Nodes; it is closed with the world. `period` is how often,
    in seconds, node and network look at the API. `releases` stays the caller's to change.
    """

    # Eight, all but two with a default: each is what some demo, drill or test sets of a world, and nothing else.
    def __init__(
        self,
        client: Client,
        *,
        namespace: str,
        releases: Releases | None = None,
        service: str = objects.SERVICE,
        rate: float = 20.0,
        pace: Pace | None = None,
        period: float = 0.2,
        seed: int = 0,
    ) -> None:
        self.namespace = namespace
        self.releases = releases or Releases()
        self.client = client
        self.node = Node(self.client, namespace, self.releases, pace=pace, period=period, seed=seed)
        self.network = Network(self.client, namespace, self.node, period=period, seed=seed)
        url = f"http://{service}.{namespace}.svc.cluster.local:{TRAFFIC_PORT}/"
        self.traffic = Traffic(url, lambda: self.network.url, rate=rate)
        self._deployments = f"/apis/apps/v1/namespaces/{namespace}/deployments"

    async def start(self, *, traffic: bool = True, network: bool = True) -> None:
        """Start node and network, and the users unless `traffic` is False (`self.traffic.start()` does it later).

        Without `network` nobody follows the Services until `self.network.start()` is called.
        """
        if network:
            await self.network.start()
        await self.node.start()
        if traffic:
            await self.traffic.start()

    async def stop(self) -> None:
        """Stop everything that was started; the objects stay in the API."""
        await self.traffic.stop()
        await self.node.stop()
        await self.network.stop()
        try:
            await self.node.retire()
        except ApiFailure as failure:
            log.warning("sandbox.node_left_behind", node=self.node.name, error=str(failure))
        await self.client.aclose()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def install(
        self,
        version: str,
        *,
        replicas: int = 3,
        cause: str | None = None,
        configuration: Mapping[str, str] | None = None,
    ) -> Json:
        """Create the service's Deployment and Service; returns the Deployment.

        With a `configuration` also the ConfigMap that holds it, which the pods read at their start.
        """
        core = f"/api/v1/namespaces/{self.namespace}"
        await self.client.create(f"{core}/services", objects.service())
        if configuration is not None:
            await self.client.create(f"{core}/configmaps", objects.config_map(configuration))
        configured = configuration is not None
        body = objects.deployment(objects.image(version), replicas=replicas, cause=cause, configured=configured)
        return await self.client.create(self._deployments, body)

    async def install_environments(self, version: str, *, replicas: int = 3, idle: int = 1) -> None:
        """Create two environments of the version, and the Service that sends everything to the blue one.

        The green one gets `idle` pods.
        """
        selector = {**objects.LABELS, objects.ENVIRONMENT: objects.BLUE}
        active = objects.service(name=objects.ACTIVE_SERVICE, selector=selector)
        await self.client.create(f"/api/v1/namespaces/{self.namespace}/services", active)
        for value, size in ((objects.BLUE, replicas), (objects.GREEN, idle)):
            body = objects.environment(value, objects.image(version), replicas=size)
            await self.client.create(self._deployments, body)

    async def switch(self, environment: str) -> Json:
        """Send everything to that environment, as `kubectl patch service` would; returns the Service."""
        path = f"/api/v1/namespaces/{self.namespace}/services/{objects.ACTIVE_SERVICE}"
        return await self.client.patch(path, {"spec": {"selector": {objects.ENVIRONMENT: environment}}}, MERGE_PATCH)

    async def live(self) -> Json:
        """The Deployment of the environment that the Service sends everything to."""
        path = f"/api/v1/namespaces/{self.namespace}/services/{objects.ACTIVE_SERVICE}"
        selector = (await self.client.get(path))["spec"]["selector"]
        return await self.deployment(objects.ENVIRONMENTS[selector[objects.ENVIRONMENT]])

    async def deploy(self, version: str, *, cause: str | None = None, name: str = objects.DEPLOYMENT) -> Json:
        """Roll out another version of the service, as `kubectl set image` would; returns the Deployment."""
        return await self.deploy_image(objects.image(version), cause=cause, name=name)

    async def deploy_image(self, image: str, *, cause: str | None = None, name: str = objects.DEPLOYMENT) -> Json:
        """Roll out `image`, whole as it is; returns the Deployment."""
        body = objects.new_image(image, cause=cause)
        return await self.client.patch(f"{self._deployments}/{name}", body, STRATEGIC_PATCH)

    async def edit(self, data: Mapping[str, str]) -> Json:
        """Change keys of the service's ConfigMap, as `kubectl patch configmap` would; returns it."""
        path = f"/api/v1/namespaces/{self.namespace}/configmaps/{objects.CONFIG_MAP}"
        return await self.client.patch(path, {"data": dict(data)}, MERGE_PATCH)

    async def restart(self, at: str, *, name: str = objects.DEPLOYMENT) -> Json:
        """Replace every pod by one of the same template, as `kubectl rollout restart` would; returns the Deployment."""
        return await self.client.patch(f"{self._deployments}/{name}", objects.restart(at), STRATEGIC_PATCH)

    async def scale(self, replicas: int, *, name: str = objects.DEPLOYMENT) -> Json:
        """Ask for that many pods, as `kubectl scale` would."""
        body: Json = {"spec": {"replicas": replicas}}
        return await self.client.patch(f"{self._deployments}/{name}/scale", body, MERGE_PATCH)

    async def deployment(self, name: str = objects.DEPLOYMENT) -> Json:
        """The Deployment as the API shows it."""
        return await self.client.get(f"{self._deployments}/{name}")

    async def rolled_out(self, within: float, *, name: str = objects.DEPLOYMENT) -> Json:
        """Wait until every wanted pod is of the present template and available, and no other is left.

        Returns the Deployment; raises `TimeoutError` after `within` seconds.
        """
        async with asyncio.timeout(within):
            while True:
                deployment = await self.deployment(name)
                if _rolled_out(deployment):
                    return deployment
                await asyncio.sleep(0.1)


def _rolled_out(deployment: Json) -> bool:
    status: Json = deployment.get("status") or {}
    wanted = int(deployment["spec"].get("replicas", 1))
    counts = [int(status.get(k, 0)) for k in ("replicas", "updatedReplicas", "availableReplicas")]
    seen = int(status.get("observedGeneration", 0)) >= int(deployment["metadata"].get("generation", 0))
    return seen and counts == [wanted] * 3
