"""Watches: a stream of JSON lines, one for each change that the selectors see."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from aiohttp import web

from logcaster_guard.sandbox.apiserver.encoding import Encoding
from logcaster_guard.sandbox.apiserver.errors import ApiError, bad_request
from logcaster_guard.sandbox.apiserver.jsontypes import Json
from logcaster_guard.sandbox.apiserver.resources import Resource
from logcaster_guard.sandbox.apiserver.selectors import Matcher
from logcaster_guard.sandbox.apiserver.store import Change, ChangeType, Store

_DEFAULT_TIMEOUT = 1800.0
_LOOK_FOR_HANGUP = 5.0
_BOOKMARK_EVERY = 60.0


@dataclass(frozen=True, slots=True)
class Watch:
    """What one client watches; `start` is None for everything that exists and then on."""

    resource: Resource
    namespace: str
    matches: Matcher
    start: int | None
    timeout: float
    bookmarks: bool


def seconds(text: str | None) -> float:
    """The `timeoutSeconds` of a query; raises `ApiError` 400."""
    if not text:
        return _DEFAULT_TIMEOUT
    if not text.isdigit():
        raise bad_request(f"timeoutSeconds must be a whole number, not {text!r}")
    return float(text) or _DEFAULT_TIMEOUT


def start_of(text: str | None) -> int | None:
    """The `resourceVersion` of a query; None for "any"; raises `ApiError` 400."""
    if not text or text == "0":
        return None
    if not text.isdigit():
        raise bad_request(f'resourceVersion: Invalid value: "{text}": must be a whole number')
    return int(text)


def _seen(watch: Watch, change: Change) -> tuple[str, Json] | None:
    """What the watch's client is told of a change; leaving the selection is told as a deletion."""
    inside = change.item["metadata"].get("namespace", "")
    if change.resource is not watch.resource or (watch.namespace and inside != watch.namespace):
        return None
    was = change.previous is not None and watch.matches(change.previous)
    remains = change.type is not ChangeType.DELETED and watch.matches(change.item)
    if remains:
        return ("MODIFIED" if was else "ADDED"), change.item
    if not was or change.previous is None:
        return None
    metadata = {**change.previous["metadata"], "resourceVersion": str(change.version)}
    return "DELETED", {**change.previous, "metadata": metadata}


class Watcher:
    """Streams one watch to its client until it ends: time out, hang-up, too old a version, or `stop`."""

    def __init__(self, store: Store, encoding: Encoding, watch: Watch) -> None:
        self._store = store
        self._encoding = encoding
        self._watch = watch
        self._wake = asyncio.Event()
        self._stopped = False

    def stop(self) -> None:
        """End the stream soon."""
        self._stopped = True
        self._wake.set()

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Answer the request; returns when the watch is over."""
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        unsubscribe = self._store.subscribe(lambda _: self._wake.set())
        try:
            await response.prepare(request)
            await self._run(request, response)
            await response.write_eof()
        except ConnectionError:
            pass  # the client hung up, which is how most watches end
        finally:
            unsubscribe()
        return response

    async def _run(self, request: web.Request, response: web.StreamResponse) -> None:
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._watch.timeout
        bookmark_at = loop.time() + _BOOKMARK_EVERY
        cursor = self._watch.start
        if cursor is None:
            cursor = self._store.version
            for line in self._existing():
                await response.write(line)
        while not self._stopped and (left := ends - loop.time()) > 0:
            self._wake.clear()
            try:
                changes = self._store.since(cursor)
            except ApiError as e:
                await response.write(self._encoding.line("ERROR", e.status()))
                return
            for change in changes:
                cursor = change.version
                if (told := _seen(self._watch, change)) is not None:
                    await response.write(self._encoding.line(*told))
            if loop.time() >= bookmark_at:
                bookmark_at = loop.time() + _BOOKMARK_EVERY
                await self._bookmark(response, cursor)
            if request.transport is None or request.transport.is_closing():
                return
            if self._store.version <= cursor:
                await self._pause(min(left, _LOOK_FOR_HANGUP))
        if not self._stopped:
            await self._bookmark(response, cursor)

    def _existing(self) -> Iterator[bytes]:
        items = self._store.items(self._watch.resource, self._watch.namespace)
        return (self._encoding.line("ADDED", item) for item in items if self._watch.matches(item))

    async def _bookmark(self, response: web.StreamResponse, version: int) -> None:
        if self._watch.bookmarks:
            resource = self._watch.resource
            metadata = {"resourceVersion": str(version), "creationTimestamp": None}
            mark = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
            await response.write(self._encoding.line("BOOKMARK", mark))

    async def _pause(self, longest: float) -> None:
        try:
            async with asyncio.timeout(longest):
                await self._wake.wait()
        except TimeoutError:
            return
