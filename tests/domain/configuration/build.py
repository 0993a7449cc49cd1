"""Short spellings of ConfigMaps, Secrets and pods, for tables."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from logcaster_guard.domain.configuration.content import (
    Concealed,
    DigestKey,
    Found,
    NoContent,
    content_of,
    fingerprint_of,
)
from logcaster_guard.domain.configuration.object_versions import ObjectVersions, first_seen
from logcaster_guard.domain.configuration.references import ConfigKind, ConfigObject, ConfigReference, ReadAt
from logcaster_guard.domain.configuration.spans import Look

KEY = DigestKey(Concealed(b"a key for digests"))
APP = ConfigObject(ConfigKind.CONFIG_MAP, "shop", "app")
DB = ConfigObject(ConfigKind.SECRET, "shop", "db")


def encoded(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def config_map(
    data: Mapping[str, str] | None = None, *, binary: Mapping[str, str] | None = None, **metadata: Any
) -> dict[str, Any]:
    made: dict[str, Any] = {"kind": "ConfigMap", "metadata": {"name": "app", "namespace": "shop", **metadata}}
    if data is not None:
        made["data"] = dict(data)
    if binary is not None:
        made["binaryData"] = {key: encoded(value) for key, value in binary.items()}
    return made


def secret(data: Mapping[str, str], **fields: Any) -> dict[str, Any]:
    metadata = {"name": "db", "namespace": "shop"}
    return {"kind": "Secret", "metadata": metadata, "data": {k: encoded(v) for k, v in data.items()}, **fields}


def found(raw: Mapping[str, Any], key: DigestKey | None = KEY) -> Found:
    kind = ConfigKind(raw["kind"])
    return fingerprint_of(kind, content_of(kind, raw), key)


def variable(key: str, *, optional: bool = False, of: ConfigObject = APP, container: str = "web") -> ConfigReference:
    return ConfigReference(of, container, ReadAt.START, (key,), (key,), optional, binary=False)


def variables(prefix: str = "", *, optional: bool = False, of: ConfigObject = APP) -> ConfigReference:
    return ConfigReference(of, "web", ReadAt.START, None, (), optional, prefix, binary=False)


def volume(
    keys: tuple[str, ...] | None = None,
    *,
    optional: bool = False,
    of: ConfigObject = APP,
    read_at: ReadAt = ReadAt.WHENEVER,
    container: str = "web",
) -> ConfigReference:
    return ConfigReference(of, container, read_at, keys, keys or (), optional)


def pod(
    name: str = "web-1", version: int = 10, *, restarts: int | None = 0, ready: bool = True, **more: Any
) -> dict[str, Any]:
    """A pod whose only container has been started so often, and the first time; None: not yet."""
    status: dict[str, Any] = {"conditions": [{"type": "Ready", "status": str(ready and restarts is not None)}]}
    if restarts is not None:
        status["containerStatuses"] = [{"name": "web", "restartCount": restarts, "state": {"running": {}}}]
    return {"metadata": {"name": name, "uid": name, "resourceVersion": str(version), **more}, "status": status}


def held(value: str, version: int, second: float = 0.0) -> ObjectVersions:
    """The ConfigMap as it is seen first, with this value under `k`."""
    return first_seen(found(config_map({"k": value})), Look(str(version), second, second))


def edited(versions: ObjectVersions, value: str | None, version: int, second: float = 0.0) -> ObjectVersions:
    """After an event of its watch, which bookmarks go on to follow; None: it was deleted."""
    what = NoContent.ABSENT if value is None else found(config_map({"k": value}))
    return versions.seen(what, Look(str(version), None, second), unbroken=True)


def proven(versions: ObjectVersions, version: int = 1_000_000) -> ObjectVersions:
    """After a bookmark that is later than all that the guard has seen."""
    return versions.still(Look(str(version), None, 0.0))
