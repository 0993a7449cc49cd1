"""The audit log of a real control plane, as several scenes read it at the same time."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, cast

from logcaster_guard.sandbox.client import Client
from tests.cluster.planes import _Log

Json = dict[str, Any]


class Writing:
    """An API server of which nothing is needed but that it writes down what it was asked."""

    def __init__(self, log: Path) -> None:
        self._log = log

    async def create(self, path: str, body: Json) -> Json:
        del path
        await asyncio.sleep(0)
        line = {"user": {"username": "guard"}, "verb": "create", "requestObject": body}
        reference = {"namespace": "shop", "resource": "configmaps", "name": body["metadata"]["name"]}
        with self._log.open("a") as log:
            log.write(json.dumps({**line, "objectRef": reference}) + "\n")
        return body


async def test_each_request_is_told_once_whoever_asks_at_the_same_time(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    api = Writing(file)
    await api.create("", {"metadata": {"name": "app"}})
    log = _Log(file, cast("Client", api), "shop")
    told = await asyncio.gather(*(log.of("shop") for _ in range(3)))
    assert [r.name for r in told[-1]] == ["app"]
