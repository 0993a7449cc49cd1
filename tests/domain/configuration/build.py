"""Short spellings of ConfigMaps, Secrets and pods, for tables."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from logcaster_guard.domain.configuration.content import Concealed, Found, content_of, fingerprint_of
from logcaster_guard.domain.configuration.references import ConfigKind, ConfigObject, ConfigReference, ReadAt

KEY = Concealed(b"a key for digests")
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


def found(raw: Mapping[str, Any], key: Concealed | None = KEY) -> Found:
    return fingerprint_of(ConfigKind(raw["kind"]), content_of(raw), key)


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
