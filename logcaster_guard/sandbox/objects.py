"""The objects of the guarded service as its operators would apply them."""

from __future__ import annotations

from logcaster_guard.sandbox.client import Json
from logcaster_guard.sandbox.release import HEALTH_PORT, TRAFFIC_PORT

REPOSITORY = "logcaster/logcaster-c"
DEPLOYMENT = "logcaster-prod"
SERVICE = "logcaster"
CONTAINER = "logcaster"
LABELS = {"app": "logcaster"}


def image(version: str) -> str:
    """The service's image of that version."""
    return f"{REPOSITORY}:{version}"


def deployment(image: str, *, replicas: int = 3, name: str = DEPLOYMENT, cause: str | None = None) -> Json:
    """The service's Deployment."""
    container = {
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
            "selector": {"matchLabels": LABELS},
            "template": {"metadata": {"labels": LABELS}, "spec": {"containers": [container]}},
        },
    }


def service(*, name: str = SERVICE) -> Json:
    """The service's Service."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": LABELS},
        "spec": {
            "selector": LABELS,
            "ports": [
                {"name": "health", "port": HEALTH_PORT, "targetPort": HEALTH_PORT},
                {"name": "traffic", "port": TRAFFIC_PORT, "targetPort": TRAFFIC_PORT},
            ],
        },
    }


def new_image(image: str, *, cause: str | None = None) -> Json:
    """The strategic merge patch that rolls out `image`."""
    annotations = {"kubernetes.io/change-cause": cause} if cause else {}
    containers = [{"name": CONTAINER, "image": image}]
    return {
        "metadata": {"annotations": annotations},
        "spec": {"template": {"spec": {"containers": containers}}},
    }
