"""What the guard keeps in the cluster for itself: Secrets of one namespace, found by their labels.

Secrets, because what is kept holds pod templates with their plain environment values. Whoever may read ConfigMaps (the
`view` role and most dashboards) was never meant to see those; Secrets are left out of `view`, are what encryption at
rest is switched on for, and are logged by the usual audit policies without their content. The price is that RBAC
cannot tell one Secret from another when they are listed or created: the namespace should hold nothing else, and the
Role for it (`deploy/components/kubernetes-journal`) is for that namespace alone.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from logcaster_guard.adapters.kubernetes.answers import printable
from logcaster_guard.domain.message import Message
from logcaster_guard.messages.record_faults import (
    FoundAndRemedy,
    Remedy,
    SecretDamaged,
    SecretForeign,
    SecretOfAnother,
    SecretOfVersion,
    ToDo,
)
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Json

FORMAT = 1
"""The layout of the objects and of the digests in them."""

LABEL = "guard.logcaster.io/journal"
"""The label that names whose an object is."""

KEEPS = "guard.logcaster.io/keeps"
"""The label that says what it holds: `journal` or `blob`."""

_HEADER = "header"


class Untrusted(Exception):
    """An object is not what this guard wrote; `reason` says what was found, and what to do."""

    def __init__(self, found: Message, remedy: Remedy) -> None:
        self.reason = FoundAndRemedy(found, ToDo(remedy))
        super().__init__(english().text(self.reason))


@dataclass(frozen=True, slots=True)
class Place:
    """Where one guard keeps its things: `name` tells it from other guards that use the same namespace."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    def labels(self, keeps: str, **more: str) -> Mapping[str, str]:
        """The labels of an object that holds `keeps`."""
        fixed = {"app.kubernetes.io/managed-by": "logcaster-guard", LABEL: self.name, KEEPS: keeps}
        return fixed | {f"guard.logcaster.io/{key}": value for key, value in more.items()}

    def selector(self, keeps: str, **more: str) -> str:
        """What lists them."""
        return ",".join(f"{key}={value}" for key, value in self.labels(keeps, **more).items())

    def manifest(
        self,
        name: str,
        keeps: str,
        header: Json,
        data: Mapping[str, bytes],
        *,
        labels: Mapping[str, str],
        annotations: Mapping[str, str],
        immutable: bool = False,
    ) -> Json:
        """The object `name`, which says in its `header` whose it is and of which format."""
        whole = {"format": FORMAT, "journal": self.name, "namespace": self.namespace, **header}
        kept = {_HEADER: json.dumps(whole, sort_keys=True).encode(), **data}
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": f"guard.logcaster.io/{keeps}",
            "metadata": {
                "name": name,
                "namespace": self.namespace,
                "labels": dict(self.labels(keeps, **labels)),
                "annotations": dict(annotations),
            },
            "data": {key: encoded(value) for key, value in kept.items()},
            **({"immutable": True} if immutable else {}),
        }

    def opened(self, item: Json, keeps: str) -> tuple[Json, Mapping[str, bytes]]:
        """The header and the rest of the data of an object; raises `Untrusted` for one that is not this guard's own."""
        called = printable(str(item["metadata"].get("name")))
        data = item.get("data")
        try:
            kept = {str(key): base64.b64decode(value, validate=True) for key, value in dict(data or {}).items()}
            header = json.loads(kept.pop(_HEADER))
            found = header["format"], header["journal"], header["namespace"]
        except (KeyError, TypeError, ValueError, RecursionError, binascii.Error) as error:
            raise Untrusted(SecretForeign(called), Remedy.RESTORE_COPY) from error
        if found[0] != FORMAT:
            older = isinstance(found[0], int) and found[0] < FORMAT
            raise Untrusted(SecretOfVersion(called, older, f"{found[0]!r:.20}", FORMAT), Remedy.RUN_ITS_VERSION)
        if found[1:] != (self.name, self.namespace) or item.get("type") != f"guard.logcaster.io/{keeps}":
            journal, namespace = (printable(str(part))[:63] for part in found[1:])
            raise Untrusted(SecretOfAnother(called, journal, namespace), Remedy.NAME_OF_ITS_OWN)
        return header, kept


def damaged(item_name: str, what: Message) -> Untrusted:
    """The refusal of an object whose content does not fit together."""
    return Untrusted(SecretDamaged(printable(item_name), what), Remedy.RESTORE_COPY)


def encoded(value: bytes) -> str:
    """As the API takes a value of a Secret."""
    return base64.b64encode(value).decode()


def parsed(value: bytes) -> dict[str, Any]:
    """The JSON object in a value; raises `ValueError`."""
    found = json.loads(value)
    if not isinstance(found, dict):
        raise ValueError("it is not a JSON object")  # noqa: TRY004 - as json's own failures
    return found
