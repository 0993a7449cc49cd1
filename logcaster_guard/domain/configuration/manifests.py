"""The manifest of a ConfigMap or Secret as it is kept: what it holds, whose it is, and which version of it this is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from logcaster_guard.domain.configuration.content import Concealed, DigestKey, Found, content_of, fingerprint_of
from logcaster_guard.domain.configuration.references import ConfigKind


def manifest_of(kind: ConfigKind, raw: Mapping[str, Any]) -> Concealed:
    """The object as canonical JSON, the same for the same object; a list does not tell the kind of its items."""
    body = {**raw, "apiVersion": "v1", "kind": str(kind)}
    return Concealed(json.dumps(body, sort_keys=True, separators=(",", ":")).encode())


def found_in(kind: ConfigKind, manifest: Concealed, key: DigestKey | None) -> Found:
    """The fingerprint of what the object held (see `fingerprint_of`); raises `ValueError` for what is no manifest."""
    body = json.loads(manifest.reveal())
    if not isinstance(body, dict) or body.get("kind") != kind:
        raise ValueError(str(kind))
    return fingerprint_of(kind, content_of(kind, body), key)
