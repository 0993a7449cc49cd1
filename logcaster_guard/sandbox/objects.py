"""The objects of the guarded service as its operators would apply them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from logcaster_guard.sandbox.client import Json
from logcaster_guard.sandbox.release import HEALTH_PORT, TRAFFIC_PORT

REPOSITORY = "logcaster/logcaster-c"
DEPLOYMENT = "logcaster-prod"
SERVICE = "logcaster"
CONFIG_MAP = "logcaster-config"
CONTAINER = "logcaster"
LABELS = {"app": "logcaster"}
ACTIVE_SERVICE = "logcaster-active"
ENVIRONMENT = "environment"
BLUE, GREEN = "blue", "green"
ENVIRONMENTS = {BLUE: "logcaster-blue", GREEN: "logcaster-green"}


def image(version: str) -> str:
    """The service's image of that version."""
    return f"{REPOSITORY}:{version}"


def deployment(
    image: str,
    *,
    replicas: int = 3,
    name: str = DEPLOYMENT,
    cause: str | None = None,
    labels: Mapping[str, str] = MappingProxyType(LABELS),
    configured: bool = False,
) -> Json:
    """The service's Deployment, whose pods carry `labels`; `configured`: they read the service's ConfigMap."""
    container: Json = {
        "name": CONTAINER,
        "image": image,
        "ports": [
            {"name": "health", "containerPort": HEALTH_PORT},
            {"name": "traffic", "containerPort": TRAFFIC_PORT},
        ],
        "env": [
            {"name": "LOG_LEVEL", "value": "info"},
            {"name": "MAX_CONNECTIONS", "value": "1000"},
            {"name": "BUFFER_SIZE", "value": "8192"},
        ],
        "resources": {"requests": {"memory": "128Mi"}, "limits": {"memory": "256Mi"}},
        "readinessProbe": {"httpGet": {"path": "/ready", "port": "health"}, "periodSeconds": 1},
    }
    if configured:
        container["envFrom"] = [{"configMapRef": {"name": CONFIG_MAP}}]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "labels": LABELS,
            "annotations": {"kubernetes.io/change-cause": cause} if cause else {},
        },
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": dict(labels)},
            "template": {"metadata": {"labels": dict(labels)}, "spec": {"containers": [container]}},
        },
    }


def environment(value: str, image: str, *, replicas: int = 3) -> Json:
    """The Deployment of one of two environments that take turns."""
    labels = {**LABELS, ENVIRONMENT: value}
    return deployment(image, replicas=replicas, name=ENVIRONMENTS[value], labels=labels)


def service(*, name: str = SERVICE, selector: Mapping[str, str] = MappingProxyType(LABELS)) -> Json:
    """The service's Service."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": LABELS},
        "spec": {
            "selector": dict(selector),
            "ports": [
                {"name": "health", "port": HEALTH_PORT, "targetPort": HEALTH_PORT},
                {"name": "traffic", "port": TRAFFIC_PORT, "targetPort": TRAFFIC_PORT},
            ],
        },
    }


def config_map(data: Mapping[str, str]) -> Json:
    """The service's ConfigMap."""
    metadata = {"name": CONFIG_MAP, "labels": LABELS}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": dict(data)}


def restart(at: str) -> Json:
    """The patch with which `kubectl rollout restart` replaces all pods."""
    annotations = {"kubectl.kubernetes.io/restartedAt": at}
    return {"spec": {"template": {"metadata": {"annotations": annotations}}}}


def new_image(image: str, *, cause: str | None = None) -> Json:
    """The strategic merge patch that rolls out `image`."""
    annotations = {"kubernetes.io/change-cause": cause} if cause else {}
    containers = [{"name": CONTAINER, "image": image}]
    return {
        "metadata": {"annotations": annotations},
        "spec": {"template": {"spec": {"containers": containers}}},
    }
