"""The library's client of the Kubernetes API, less what it would do unasked."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import aiohttp
from kubernetes_asyncio.client.api_client import ApiClient
from kubernetes_asyncio.client.configuration import Configuration

from logcaster_guard import __version__
from logcaster_guard.domain.field_owners import MANAGER


class _Session:
    """The library's HTTP session, less what it would do unasked.

    As the library makes it, it follows redirects, keeps cookies, and takes proxies and passwords from the environment
    and `~/.netrc`. A proxy that the kubeconfig names still counts.
    """

    def __init__(self, session: aiohttp.ClientSession) -> None:
        connector = session.connector
        session.detach()
        self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())

    async def request(self, **arguments: Any) -> aiohttp.ClientResponse:  # noqa: ANN401 # the library's own
        if isinstance(arguments.get("data"), str):
            # A large Secret is more than aiohttp sends in one piece without a warning.
            arguments["data"] = io.BytesIO(arguments["data"].encode())
        return await self._session.request(**arguments, allow_redirects=False)

    async def close(self) -> None:
        await self._session.close()


def client_of(configuration: Configuration) -> ApiClient:
    """A client of this configuration; raises `OSError` or `ValueError` for files that it cannot use."""
    api = ApiClient(configuration)
    api.user_agent = f"{MANAGER}/{__version__}"
    api.rest_client.pool_manager = cast("Any", _Session(api.rest_client.pool_manager))
    return api


def contents_of(configuration: Configuration) -> Sequence[bytes]:
    """What the files of certificates and keys hold, as digests."""
    names = (configuration.ssl_ca_cert, configuration.cert_file, configuration.key_file)
    return [_digest(Path(name)) if name else b"" for name in names]


def _digest(path: Path) -> bytes:
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return b""
