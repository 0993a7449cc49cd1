"""The bytes of an answer. Objects of the store are encoded once, however often they are asked for."""

from __future__ import annotations

import json

from logcaster_guard.sandbox.apiserver.jsontypes import Json
from logcaster_guard.sandbox.apiserver.recent import Recent


def _encoded(value: Json) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _bare(item: Json) -> bytes:
    """As an object stands in a list, which tells kind and version of all of them."""
    return _encoded({k: v for k, v in item.items() if k not in {"kind", "apiVersion"}})


class Encoding:
    """Encodes objects that nobody changes in place any more."""

    def __init__(self) -> None:
        self._whole = Recent(_encoded)
        self._items = Recent(_bare)

    def whole(self, item: Json) -> bytes:
        """The object."""
        return self._whole.of(item)

    def list(self, body: Json) -> bytes:
        """A list of objects."""
        head = _encoded({k: v for k, v in body.items() if k != "items"})
        return head[:-1] + b',"items":[' + b",".join(map(self._items.of, body["items"])) + b"]}"

    def line(self, kind: str, item: Json) -> bytes:
        """An event of a watch."""
        return b'{"type":"' + kind.encode() + b'","object":' + self.whole(item) + b"}\n"
