"""What a cluster tells Prometheus of its containers besides the pods' own metrics.

The kubelet's cAdvisor tells what each container uses and may use, kube-state-metrics what the pods' specs ask for.
Names and labels are theirs, so that a query written for a cluster finds the same here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from logcaster_guard.sandbox.lifecycle import Life, memory_limit
from logcaster_guard.sandbox.release import escaped

CADVISOR_PATH = "/metrics/cadvisor"
KUBE_STATE_PATH = "/metrics/kube-state"

_USED = "container_memory_working_set_bytes"
_LIMIT = "container_spec_memory_limit_bytes"
_ASKED = "kube_pod_container_resource_limits"


def cadvisor(lives: Iterable[Life], namespace: str, *, now: float, wall: float) -> str:
    """Memory of the running containers, and of each pod's cgroup, whose `container` is empty.

    `now` is a monotonic second; `wall`, the same instant in Unix seconds, stamps the samples as cAdvisor's do. A limit
    of 0 means none. A restarted container has a new `id` and `name`.
    """
    used, limits = [], []
    stamp = round(wall * 1000)
    for life in lives:
        memory = life.memory(now)
        if memory is None:
            continue
        place = {"namespace": namespace, "pod": life.name}
        pod = {"container": "", "id": f"/kubepods/burstable/pod{life.uid}", "image": "", "name": ""} | place
        run = {
            "container": str(life.main.get("name", "")),
            "id": f"{pod['id']}/{life.uid}-{life.starts}",
            "image": life.image,
            "name": f"{life.uid}-{life.starts}",
        } | place
        for labels in (run, pod):
            used.append(f"{_series(_USED, labels)} {memory} {stamp}")
            limits.append(f"{_series(_LIMIT, labels)} {memory_limit(life.main) or 0.0} {stamp}")
    return _page({_USED: used, _LIMIT: limits})


def kube_state(lives: Iterable[Life], namespace: str) -> str:
    """The containers' memory limits, running or not."""
    asked = []
    for life in lives:
        for container in life.containers:
            limit = memory_limit(container)
            if limit is not None:
                labels = {
                    "namespace": namespace,
                    "pod": life.name,
                    "uid": life.uid,
                    "container": str(container.get("name", "")),
                    "resource": "memory",
                    "unit": "byte",
                }
                asked.append(f"{_series(_ASKED, labels)} {limit}")
    return _page({_ASKED: asked})


def _series(name: str, labels: Mapping[str, str]) -> str:
    pairs = ",".join(f'{key}="{escaped(value)}"' for key, value in sorted(labels.items()))
    return f"{name}{{{pairs}}}"


def _page(metrics: Mapping[str, list[str]]) -> str:
    lines = [line for name, samples in metrics.items() for line in (f"# TYPE {name} gauge", *samples)]
    return "\n".join(lines) + "\n"
