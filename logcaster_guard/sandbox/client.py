"""A small client of the Kubernetes HTTP API, for the parts of the sandbox that live outside its API server.

It knows nothing of the guard's own adapter, so that a defect there cannot hide itself behind the world it is tried in.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

Json = dict[str, Any]
Items = list[Json]

MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
MOST_BYTES = 32 * 1024 * 1024
PAGE = 500
MOST_PAGES = 100
_ITEMS, _MORE = b'"items":', b'"continue":'
_LISTS_KEPT = 16


class ApiFailure(Exception):
    """Base of what the API can answer instead of the object."""


class ApiRefused(ApiFailure):
    """The API server answered with `status` >= 400."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"the API server answered {status}: {message}")
        self.status = status


class ApiUnreachable(ApiFailure):
    """No usable answer came: refused, cut off, timed out, too long or no JSON."""


class Client:
    """Talks to the API server at `url` as the bearer of `token`; TLS is checked against `ca_file`.

    `timeout` is the whole of one request, in seconds. Every method raises `ApiRefused` or `ApiUnreachable`.
    """

    def __init__(self, url: str, token: str, ca_file: Path | None = None, *, timeout: float = 10.0) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        self._ssl = ssl.create_default_context(cafile=str(ca_file)) if ca_file else None
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._session: aiohttp.ClientSession | None = None
        self._listed: dict[tuple[str, str], tuple[bytes, Items]] = {}

    async def get(self, path: str) -> Json:
        """The object at `path`."""
        return await self._call("GET", path)

    async def list(self, path: str, selector: str = "") -> list[Json]:
        """Every item of the collection at `path` that the label selector matches, over all pages; not to be changed."""
        items: list[Json] = []
        query = {"limit": str(PAGE)} | ({"labelSelector": selector} if selector else {})
        for _ in range(MOST_PAGES):
            status, text = await self._answer("GET", path, query=query)
            head, _, told = text.partition(_ITEMS)
            known = self._listed.get((path, selector))
            if known is not None and known[0] == told and not items and _MORE not in head:
                return known[1]
            page = _parsed("GET", path, status, text)
            items.extend(page.get("items") or [])
            following = (page.get("metadata") or {}).get("continue")
            if not following:
                self._remember(path, selector, told if "continue" not in query else b"", items)
                return items
            query["continue"] = following
        raise ApiUnreachable(f"{path} lists more than {PAGE * MOST_PAGES} objects; the sandbox is not made for that.")

    def _remember(self, path: str, selector: str, told: bytes, items: Items) -> None:
        """What a list of a single page told: asked for again, it need not be parsed again while it is the same."""
        self._listed.pop((path, selector), None)
        if told:
            self._listed[path, selector] = (told, items)
            while len(self._listed) > _LISTS_KEPT:
                del self._listed[next(iter(self._listed))]

    async def create(self, path: str, body: Json) -> Json:
        """The object created in the collection (or subresource) at `path`."""
        return await self._call("POST", path, body=body)

    async def patch(self, path: str, body: Json, kind: str = MERGE_PATCH) -> Json:
        """The object at `path` after a patch of media type `kind`."""
        return await self._call("PATCH", path, body=body, content_type=kind)

    async def delete(self, path: str, body: Json | None = None) -> Json:
        """Delete the object at `path`; `body` is a `DeleteOptions`."""
        return await self._call("DELETE", path, body=body)

    async def aclose(self) -> None:
        """Release connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _call(
        self,
        method: str,
        path: str,
        *,
        body: Json | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Json:
        status, text = await self._answer(method, path, body=body, query=query, content_type=content_type)
        return _parsed(method, path, status, text)

    async def _answer(
        self,
        method: str,
        path: str,
        *,
        body: Json | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> tuple[int, bytes]:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout, headers=self._headers)
        data = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": content_type}
        try:
            async with self._session.request(
                method,
                self._url + path,
                data=data,
                headers=headers,
                params=query,
                ssl=self._ssl or True,
                allow_redirects=False,
            ) as response:
                return response.status, await _read(response)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise ApiUnreachable(f"{method} {path} got no answer ({type(error).__name__}: {error}).") from error


async def _read(response: aiohttp.ClientResponse) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_chunked(65536):
        size += len(chunk)
        if size > MOST_BYTES:
            raise aiohttp.ClientPayloadError(f"the answer is longer than {MOST_BYTES} bytes")
        parts.append(chunk)
    return b"".join(parts)


def _parsed(method: str, path: str, status: int, text: bytes) -> Json:
    try:
        answer = json.loads(text) if text else {}
    except (ValueError, RecursionError) as error:
        if status < 400:
            raise ApiUnreachable(f"{method} {path} was answered with something that is not JSON.") from error
        answer = {"message": text[:200].decode(errors="replace")}
    if not isinstance(answer, dict):
        raise ApiUnreachable(f"{method} {path} was answered with JSON that is no object.")
    if status >= 300:
        raise ApiRefused(status, str(answer.get("message", "")))
    return answer
