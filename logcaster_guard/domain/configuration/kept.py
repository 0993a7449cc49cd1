"""Where a version of a ConfigMap or Secret is kept: the place, as a release's record, a plan and the journal name it.

A ConfigMap is in the blob store, and its place is the digest of the blob. A Secret is never there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_PLACE = re.compile(r"([a-z0-9-]{1,63})/([0-9a-f]{16})/([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class KeptSecret:
    """A saved version of a Secret: the namespace where it is, the name of the key, and the digest by that key."""

    namespace: str
    key: str
    digest: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.key}/{self.digest}"


def kept_secret(place: str) -> KeptSecret | None:
    """The saved Secret in this place; None where it is the place of a ConfigMap, or of what was absent."""
    found = _PLACE.fullmatch(place)
    return None if found is None else KeptSecret(*found.groups())


def secrets_among(places: Iterable[str]) -> frozenset[str]:
    """The places that are those of Secrets; the rest are digests of blobs."""
    return frozenset(place for place in places if kept_secret(place) is not None)


def key_of(place: str) -> str:
    """The name of the key that a Secret's digest was made with; empty for what is no Secret, or was absent."""
    kept = kept_secret(place)
    return "" if kept is None else kept.key
