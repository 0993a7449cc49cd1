"""A bench whose Deployment refers to ConfigMaps, and whose pods a test makes and starts."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from logcaster_guard.domain.configuration.release_configuration import ConfigurationState
from logcaster_guard.domain.workload import REVISION
from logcaster_guard.engine.read_configuration import ReadConfiguration
from logcaster_guard.ports import Json, Kind
from tests.engine.bench import KEY, PROD, Bench

POLL = 31.0
"""Seconds that are surely longer than from one look to the next."""
ENVIRONMENT = {"envFrom": [{"configMapRef": {"name": "app"}}]}


def volumes(name: str = "app") -> Json:
    return {"volumeMounts": [{"name": "files", "mountPath": "/etc/app"}], "of": name}


class Configured(Bench):
    """`refer` is what the container has; by default the variables of the ConfigMap `app`."""

    def configure(self, name: str = "app", **data: str) -> None:
        """Make the ConfigMap, or give it other data."""
        if name in self.cluster.names(Kind.CONFIG_MAP):
            self.cluster.change(Kind.CONFIG_MAP, name, lambda found: found.update(data=data))
        else:
            self.cluster.add(Kind.CONFIG_MAP, name, data=data)

    def refer(self, container: Json | None = None, **annotations: str) -> None:
        """Roll out a template whose container reads this."""
        wanted = dict(ENVIRONMENT if container is None else container)
        source = wanted.pop("of", "app")

        def edit(deployment: Json) -> None:
            spec = deployment["spec"]["template"]["spec"]
            spec["containers"][0] = {"name": "c", "image": "v1", **wanted}
            if "volumeMounts" in wanted:
                spec["volumes"] = [{"name": "files", "configMap": {"name": source}}]
            if annotations:
                deployment["spec"]["template"]["metadata"]["annotations"] = annotations

        self.cluster.change(Kind.DEPLOYMENT, PROD, edit)

    def pods(self, *names: str, ready: bool = True, annotations: Mapping[str, str] | None = None) -> None:
        """Pods of the present ReplicaSet whose container has been started once."""
        sets = [self.cluster.object(Kind.REPLICA_SET, n) for n in self.cluster.names(Kind.REPLICA_SET)]
        newest = max(sets, key=lambda s: int(s["metadata"]["annotations"][REVISION]))
        for name in names:
            self.cluster.add(Kind.POD, name, status=status(0, ready=ready))
            self.cluster.object(Kind.POD, name)["metadata"] |= {
                "labels": {"app": PROD},
                "annotations": dict(annotations or {}),
                "ownerReferences": [{"uid": newest["metadata"]["uid"], "controller": True}],
            }

    def restart_container(self, pod: str, restarts: int = 1, *, ready: bool = True) -> None:
        self.cluster.change(Kind.POD, pod, lambda found: found.update(status=status(restarts, ready=ready)))

    def remove_pods(self, *names: str) -> None:
        for name in names:
            self.cluster.remove(Kind.POD, name)

    @property
    def known(self) -> ReadConfiguration:
        found = self.guard.watches[KEY].configuration
        assert found is not None
        return found

    def state(self) -> ConfigurationState:
        return self.known.state

    def pod_lists(self) -> int:
        return sum(kind is Kind.POD for kind, _ in self.cluster.listings)


def status(restarts: int, *, ready: bool) -> Json:
    container: dict[str, Any] = {"name": "c", "restartCount": restarts, "state": {"running": {}}}
    conditions: Sequence[Json] = [{"type": "Ready", "status": str(ready)}]
    return {"phase": "Running", "conditions": conditions, "containerStatuses": [container]}


@contextlib.asynccontextmanager
async def configured(**options: Any) -> AsyncIterator[Configured]:
    made = Configured(**options)
    try:
        yield made
    finally:
        await made.stop()
