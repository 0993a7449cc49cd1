"""The manifest of a ConfigMap as it is kept in a blob: what it holds, whose it is, and which version of it this is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from logcaster_guard.domain.configuration.content import Found, content_of, fingerprint_of
from logcaster_guard.domain.configuration.references import ConfigKind


def manifest_bytes(raw: Mapping[str, Any]) -> bytes:
    """A ConfigMap as canonical JSON, the same for the same object; a list does not tell the kind of its items."""
    body = {**raw, "apiVersion": "v1", "kind": str(ConfigKind.CONFIG_MAP)}
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


def found_in(manifest: bytes) -> Found:
    """The fingerprint of what the ConfigMap held; raises `ValueError` for what is no manifest."""
    body = json.loads(manifest)
    if not isinstance(body, dict) or body.get("kind") != ConfigKind.CONFIG_MAP:
        raise ValueError(str(ConfigKind.CONFIG_MAP))
    return fingerprint_of(ConfigKind.CONFIG_MAP, content_of(ConfigKind.CONFIG_MAP, body), None)
