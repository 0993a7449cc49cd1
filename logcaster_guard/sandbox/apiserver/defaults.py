"""What the API server fills in, and the empty values that it leaves out when it writes an object."""

from __future__ import annotations

from collections.abc import Callable

from logcaster_guard.sandbox.apiserver.config_data import fill_config_map, fill_secret
from logcaster_guard.sandbox.apiserver.jsontypes import Json, Value, cloned

_KEPT_EMPTY_OBJECTS = frozenset({"emptyDir", "resources", "securityContext", "status", "loadBalancer", "preconditions"})
_DROPPED_EMPTY_OBJECTS = frozenset({"annotations", "labels", "nodeSelector", "data", "binaryData", "stringData"})
_KEPT_NULLS = frozenset({"endpoints", "ports"})  # of an EndpointSlice without any
_DROPPED_ZEROES = frozenset({"paused", "minReadySeconds", "initialDelaySeconds", "readOnly", "hostNetwork"})

_NODE_TOLERATIONS = tuple(
    {"key": f"node.kubernetes.io/{what}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
    for what in ("not-ready", "unreachable")
)


def _prune(value: Value, known: Value = None) -> Value:
    """Nulls, empty lists and the zero values that Go's `omitempty` leaves out, taken out at every depth.

    What is part of `known`, which was pruned before, is passed by.
    """
    if value is known:
        return value
    if isinstance(value, list):
        return [_prune(v) for v in value]
    if not isinstance(value, dict):
        return value
    before = known if isinstance(known, dict) else {}
    kept: Json = {}
    for key, inner in value.items():
        pruned = _prune(inner, before.get(key))
        empty_object = pruned == {} and key in _DROPPED_EMPTY_OBJECTS
        zero = key in _DROPPED_ZEROES and pruned in (0, False)
        if pruned is not None and pruned != [] and not empty_object and not zero:
            kept[key] = pruned
    return kept


def _probe(probe: Json) -> None:
    defaults = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
    for key, value in defaults.items():
        probe.setdefault(key, value)
    if "httpGet" in probe:
        probe["httpGet"].setdefault("path", "/")
        probe["httpGet"].setdefault("scheme", "HTTP")


def _pull_policy(image: str) -> str:
    last = image.rsplit("/", 1)[-1]
    if "@" in last:
        return "IfNotPresent"
    tag = last.partition(":")[2]
    return "Always" if tag in {"", "latest"} else "IfNotPresent"


def _container(container: Json) -> None:
    container.setdefault("imagePullPolicy", _pull_policy(str(container.get("image", ""))))
    container.setdefault("resources", {})
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    for port in container.get("ports") or []:
        port.setdefault("protocol", "TCP")
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if isinstance(container.get(name), dict):
            _probe(container[name])
    for variable in container.get("env") or []:
        if variable.get("value") == "":
            del variable["value"]
        source = variable.get("valueFrom") or {}
        if "fieldRef" in source:
            source["fieldRef"].setdefault("apiVersion", "v1")


def _volume(volume: Json) -> None:
    if set(volume) <= {"name"}:
        volume["emptyDir"] = {}
    for source in ("configMap", "secret", "projected", "downwardAPI"):
        if source in volume:
            volume[source].setdefault("defaultMode", 420)


def _pod_spec(spec: Json) -> None:
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("securityContext", {})
    if "serviceAccountName" in spec:
        spec.setdefault("serviceAccount", spec["serviceAccountName"])
    for container in [*spec.get("initContainers", []), *spec.get("containers", [])]:
        _container(container)
    for volume in spec.get("volumes") or []:
        _volume(volume)


def _replica_set(item: Json) -> None:
    spec = item.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    template = spec.setdefault("template", {})
    template.get("metadata", {}).pop("creationTimestamp", None)
    template.setdefault("metadata", {})
    _pod_spec(template.setdefault("spec", {}))


def _deployment(item: Json) -> None:
    _replica_set(item)
    spec = item["spec"]
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    strategy = spec.setdefault("strategy", {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxSurge", "25%")
        rolling.setdefault("maxUnavailable", "25%")


def _pod(item: Json) -> None:
    spec = item.setdefault("spec", {})
    spec.setdefault("enableServiceLinks", True)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    spec.setdefault("priority", 0)
    spec.setdefault("tolerations", [dict(t) for t in _NODE_TOLERATIONS])
    _pod_spec(spec)


def _service(item: Json) -> None:
    spec = item.setdefault("spec", {})
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    spec.setdefault("internalTrafficPolicy", "Cluster")
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    for port in spec.get("ports") or []:
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port.get("port"))


def _autoscaler(item: Json) -> None:
    spec = item.setdefault("spec", {})
    spec.setdefault("minReplicas", 1)
    resource = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}
    spec.setdefault("metrics", [{"type": "Resource", "resource": resource}])


def _budget(item: Json) -> None:
    item.setdefault("spec", {})


def _volume_claim(item: Json) -> None:
    item.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")


def _node(item: Json) -> None:
    item.setdefault("spec", {})
    item.setdefault("status", {})


def _namespace(item: Json) -> None:
    item["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = item["metadata"]["name"]
    item.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
    item.setdefault("status", {}).setdefault("phase", "Active")


_BY_KIND: dict[str, Callable[[Json], None]] = {
    "Deployment": _deployment,
    "ReplicaSet": _replica_set,
    "Pod": _pod,
    "Service": _service,
    "HorizontalPodAutoscaler": _autoscaler,
    "PodDisruptionBudget": _budget,
    "PersistentVolumeClaim": _volume_claim,
    "Node": _node,
    "Namespace": _namespace,
}
_CONFIGURATION: dict[str, Callable[[Json, Json | None], None]] = {
    "ConfigMap": fill_config_map,
    "Secret": fill_secret,
}


def normalised(item: Json, old: Json | None = None) -> Json:
    """A copy of `item` as the server would keep it: empty values left out, defaults filled in.

    Leases, Events and EndpointSlices are opaque: only nulls at their top are dropped. What `item` shares with `old`,
    the object that is kept already, is as it has to be, and stays shared. Raises `Undecodable`.
    """
    kind = str(item["kind"])
    if kind in _BY_KIND or kind in _CONFIGURATION:
        kept: Json = _prune(item, old)
    else:
        kept = {k: v for k, v in cloned(item).items() if v is not None or k in _KEPT_NULLS}
    kept.setdefault("metadata", {})
    if kind in _BY_KIND:
        _BY_KIND[kind](kept)
    elif kind in _CONFIGURATION:
        _CONFIGURATION[kind](kept, old)
    return kept
