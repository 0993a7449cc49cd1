"""The rules of the API that clients of this server rely on: a chosen part of the real server's validation."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

from logcaster_guard.sandbox.apiserver.config_data import check_config_map, check_secret, check_unchanged
from logcaster_guard.sandbox.apiserver.errors import Cause, bad_request, invalid
from logcaster_guard.sandbox.apiserver.jsontypes import Json, Value
from logcaster_guard.sandbox.apiserver.resources import Resource
from logcaster_guard.sandbox.apiserver.selectors import selects

_SUBDOMAIN = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
_LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
_LABEL_VALUE = re.compile(r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")
_LABEL_KEY = re.compile(r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
_MAX_ANNOTATIONS = 256 * 1024

_NUMBERS = ("replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds")


def _refused(field: str, value: Value, message: str) -> Cause:
    shown = json.dumps(value, separators=(",", ":"))
    return Cause(field, "FieldValueInvalid", f"Invalid value: {shown}: {message}")


def _required(field: str) -> Cause:
    return Cause(field, "FieldValueRequired", "Required value")


def _metadata(item: Json) -> Iterator[Cause]:
    metadata = item["metadata"]
    name = metadata.get("name", "")
    rule = _LABEL if item["kind"] in {"Service", "Namespace"} else _SUBDOMAIN
    limit = 63 if rule is _LABEL else 253
    if not name:
        yield Cause("metadata.name", "FieldValueRequired", "Required value: name or generateName is required")
    elif not rule.match(name) or len(name) > limit:
        yield _refused("metadata.name", name, "a lowercase RFC 1123 name must consist of lower case alphanumerics")
    for field in ("labels", "annotations"):
        entries = metadata.get(field) or {}
        for key, value in entries.items():
            if not isinstance(value, str):
                raise bad_request(
                    f"{item['kind']} in version {item['apiVersion']!r} cannot be handled as a {item['kind']}: "
                    f"json: cannot unmarshal {type(value).__name__} into metadata.{field}[{key!r}] of type string"
                )
            if not _LABEL_KEY.match(key.lower() if field == "annotations" else key):
                yield _refused(f"metadata.{field}", key, "name part must consist of alphanumeric characters")
            elif field == "labels" and (len(value) > 63 or not _LABEL_VALUE.match(value)):
                yield _refused("metadata.labels", value, "a valid label must be an empty string or alphanumeric")
    size = sum(len(k) + len(v) for k, v in (metadata.get("annotations") or {}).items())
    if size > _MAX_ANNOTATIONS:
        yield Cause("metadata.annotations", "FieldValueTooLong", f"Too long: may not be more than {_MAX_ANNOTATIONS}")


def _containers(spec: Json, at: str) -> Iterator[Cause]:
    containers = spec.get("containers") or []
    if not containers:
        yield _required(f"{at}.containers")
    seen: set[str] = set()
    for index, container in enumerate(containers):
        for field in ("name", "image"):
            if not container.get(field):
                yield _required(f"{at}.containers[{index}].{field}")
        name = str(container.get("name", ""))
        if name in seen:
            yield Cause(f"{at}.containers[{index}].name", "FieldValueDuplicate", f'Duplicate value: "{name}"')
        seen.add(name)
        for position, variable in enumerate(container.get("env") or []):
            if not variable.get("name"):
                yield _required(f"{at}.containers[{index}].env[{position}].name")


def _whole_numbers(kind: str, spec: Json) -> Iterator[Cause]:
    for name in _NUMBERS:
        value = spec.get(name)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool):
            raise bad_request(
                f'{kind} in version "v1" cannot be handled as a {kind}: '
                f"json: cannot unmarshal {type(value).__name__} into Go struct field spec.{name} of type int32"
            )
        if value < 0:
            yield _refused(f"spec.{name}", value, "must be greater than or equal to 0")


def _template(spec: Json) -> Iterator[Cause]:
    template = spec["template"]
    labels = (template.get("metadata") or {}).get("labels") or {}
    if not spec.get("selector"):
        yield _required("spec.selector")
    elif not selects(spec["selector"], labels):
        yield _refused("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
    yield from _containers(template["spec"], "spec.template.spec")
    policy = template["spec"].get("restartPolicy")
    if policy != "Always":
        message = f'Unsupported value: "{policy}": supported values: "Always"'
        yield Cause("spec.template.spec.restartPolicy", "FieldValueNotSupported", message)


def amount(value: Value, whole: int, *, up: bool) -> int:
    """An int-or-percent of `whole`, percentages rounded up or down; raises ValueError for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str) or not re.fullmatch(r"\d+%", value):
        raise ValueError(f"{value!r} is neither a whole number nor a percentage")
    hundredths = int(value[:-1]) * whole
    return -(-hundredths // 100) if up else hundredths // 100


def _strategy(spec: Json) -> Iterator[Cause]:
    strategy = spec["strategy"]
    at = "spec.strategy"
    if strategy["type"] not in {"Recreate", "RollingUpdate"}:
        message = f'Unsupported value: "{strategy["type"]}": supported values: "Recreate", "RollingUpdate"'
        yield Cause(at, "FieldValueNotSupported", message)
    if strategy["type"] == "Recreate" and "rollingUpdate" in strategy:
        message = "Forbidden: may not be specified when strategy `type` is 'Recreate'"
        yield Cause(f"{at}.rollingUpdate", "FieldValueForbidden", message)
    if strategy["type"] != "RollingUpdate":
        return
    rolling = strategy["rollingUpdate"]
    sizes = []
    for name in ("maxSurge", "maxUnavailable"):
        try:
            sizes.append(amount(rolling[name], 100, up=True))
        except ValueError:
            yield _refused(f"{at}.rollingUpdate.{name}", rolling[name], "a valid percent string or integer")
            return
    if sizes == [0, 0]:
        yield _refused(f"{at}.rollingUpdate.maxUnavailable", 0, "may not be 0 when `maxSurge` is 0")


def _deployment(item: Json) -> Iterator[Cause]:
    spec = item["spec"]
    yield from _whole_numbers("Deployment", spec)
    yield from _template(spec)
    yield from _strategy(spec)
    deadline = spec["progressDeadlineSeconds"]
    if deadline <= spec.get("minReadySeconds", 0):
        yield _refused("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")


def _replica_set(item: Json) -> Iterator[Cause]:
    yield from _whole_numbers("ReplicaSet", item["spec"])
    yield from _template(item["spec"])


def _pod(item: Json) -> Iterator[Cause]:
    yield from _containers(item["spec"], "spec")


def _service(item: Json) -> Iterator[Cause]:
    spec = item["spec"]
    headless = spec.get("clusterIP") == "None"
    if not spec.get("ports") and not headless and spec["type"] != "ExternalName":
        yield _required("spec.ports")
    for index, port in enumerate(spec.get("ports") or []):
        if not isinstance(port.get("port"), int) or not 0 < port["port"] < 65536:
            yield _refused(f"spec.ports[{index}].port", port.get("port"), "must be between 1 and 65535, inclusive")
        if len(spec["ports"]) > 1 and not port.get("name"):
            yield _required(f"spec.ports[{index}].name")


def _autoscaler(item: Json) -> Iterator[Cause]:
    spec = item["spec"]
    least, most = spec["minReplicas"], spec.get("maxReplicas", 0)
    if least < 1:
        yield _refused("spec.minReplicas", least, "must be greater than or equal to 1")
    if most < 1:
        yield _refused("spec.maxReplicas", most, "must be greater than 0")
    if most < least:
        yield _refused("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`")
    if not (spec.get("scaleTargetRef") or {}).get("name"):
        yield _required("spec.scaleTargetRef.name")


def _budget(item: Json) -> Iterator[Cause]:
    spec = item["spec"]
    if "minAvailable" in spec and "maxUnavailable" in spec:
        message = "minAvailable and maxUnavailable cannot be both set"
        yield _refused("spec", {k: spec[k] for k in ("minAvailable", "maxUnavailable")}, message)
    for name in ("minAvailable", "maxUnavailable"):
        value = spec.get(name, 0)
        try:
            least = amount(value, 100, up=True)
        except ValueError:
            yield _refused(f"spec.{name}", value, "a valid percent string or integer")
            continue
        if least < 0:
            yield _refused(f"spec.{name}", value, "must be greater than or equal to 0")


def _volume_claim(item: Json) -> Iterator[Cause]:
    spec = item["spec"]
    if not spec.get("accessModes"):
        yield _required("spec.accessModes")
    if not ((spec.get("resources") or {}).get("requests") or {}).get("storage"):
        yield _required("spec.resources[storage]")


_BY_KIND: dict[str, Callable[[Json], Iterator[Cause]]] = {
    "Deployment": _deployment,
    "ReplicaSet": _replica_set,
    "Pod": _pod,
    "Service": _service,
    "HorizontalPodAutoscaler": _autoscaler,
    "PodDisruptionBudget": _budget,
    "PersistentVolumeClaim": _volume_claim,
    "ConfigMap": check_config_map,
    "Secret": check_secret,
}


def _immutable(old: Json, new: Json) -> Iterator[Cause]:
    kind = str(new["kind"])
    if kind in {"Deployment", "ReplicaSet"} and old["spec"].get("selector") != new["spec"].get("selector"):
        yield _refused("spec.selector", new["spec"].get("selector"), "field is immutable")
    if kind == "Service" and old["spec"].get("clusterIP") != new["spec"].get("clusterIP"):
        yield _refused("spec.clusterIP", new["spec"].get("clusterIP"), "field is immutable")
    if kind == "Pod" and _fixed_part(old) != _fixed_part(new):
        message = (
            "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
            "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations`"
            " (only additions to existing tolerations),`spec.terminationGracePeriodSeconds`"
        )
        yield Cause("spec", "FieldValueForbidden", message)
    if kind in {"ConfigMap", "Secret"}:
        yield from check_unchanged(old, new)


def _fixed_part(pod: Json) -> Json:
    spec = {k: v for k, v in pod["spec"].items() if k not in {"activeDeadlineSeconds", "tolerations"}}
    for name in ("containers", "initContainers"):
        spec[name] = [{k: v for k, v in c.items() if k != "image"} for c in spec.get(name) or []]
    return spec


def check(resource: Resource, item: Json, old: Json | None) -> None:
    """Raise `ApiError` 422 (or 400 for a value of the wrong type) where `item` breaks a rule."""
    causes = list(_metadata(item))
    rules = _BY_KIND.get(item["kind"])
    if rules is not None:
        causes += rules(item)
    if old is not None:
        causes += _immutable(old, item)
        new_finalizers = set(item["metadata"].get("finalizers") or []) - set(old["metadata"].get("finalizers") or [])
        if "deletionTimestamp" in old["metadata"] and new_finalizers:
            message = f"Forbidden: no new finalizers can be added if the object is being deleted: {new_finalizers}"
            causes.append(Cause("metadata.finalizers", "FieldValueForbidden", message))
    if causes:
        raise invalid(resource, str(item["metadata"].get("name", "")), causes)
