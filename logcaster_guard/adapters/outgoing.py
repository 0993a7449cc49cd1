"""One check for every outgoing connection: where a name really leads to, looked at before anything is sent there.

What stands in the settings is checked when they are read; an address from a secret, and what a name resolves to, only
show when they are used.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterable

import httpcore
import httpx

from logcaster_guard.domain.addresses import refusal
from logcaster_guard.messages.exchange_faults import ForbiddenAddress, NameLeadsTo
from logcaster_guard.messages.texts import english


class AddressRefused(OSError):
    """A name or address leads to where the guard does not speak to anybody; `reason` says where."""

    def __init__(self, reason: ForbiddenAddress | NameLeadsTo) -> None:
        super().__init__(english().text(reason))
        self.reason = reason


def check_host(host: str, resolved: Iterable[str]) -> None:
    """Raise `AddressRefused` if the host is, or leads to, an address that is refused."""
    for address in resolved:
        if (why := refusal(address)) is not None:
            raise AddressRefused(ForbiddenAddress(address, why) if address == host else NameLeadsTo(address, why))


def check_resolved(host: str, port: int) -> None:
    """As `check_host`, of what the host resolves to now. A name that does not resolve is left to whoever connects."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return
    check_host(host, (str(address[0]) for *_, address in found))


def check_peer(host: str, connection: socket.socket) -> None:
    """As `check_host`, of where a connection leads to: the name may have been resolved anew since."""
    check_host(host, [str(connection.getpeername()[0])])


def transport(
    *, proxy: str | None, verify: ssl.SSLContext | bool, limits: httpx.Limits | None = None
) -> httpx.AsyncHTTPTransport:
    """A transport of httpx whose connections are checked, those to a proxy too."""
    made = httpx.AsyncHTTPTransport(verify=verify, trust_env=False, proxy=proxy, limits=limits or httpx.Limits())
    # httpx has no parameter for it; httpcore, to which it hands each connection, has.
    made._pool._network_backend = _Checked(made._pool._network_backend)  # noqa: SLF001 # as told above
    return made


class _Checked(httpcore.AsyncNetworkBackend):
    """Connects as `inner` does, to nobody who is refused."""

    def __init__(self, inner: httpcore.AsyncNetworkBackend) -> None:
        self._inner = inner

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 # httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            async with asyncio.timeout(timeout):
                await asyncio.to_thread(check_resolved, host, port)
            stream = await self._inner.connect_tcp(host, port, timeout, local_address, socket_options)
        except AddressRefused as error:
            raise httpcore.ConnectError(str(error)) from error
        except TimeoutError as error:
            raise httpcore.ConnectTimeout("the name was not resolved in time") from error
        peer = stream.get_extra_info("server_addr")
        try:
            check_host(host, [str(peer[0])] if peer else [])
        except AddressRefused as error:
            await stream.aclose()
            raise httpcore.ConnectError(str(error)) from error
        return _ClosedUnlessSecured(stream)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 # httpcore's signature
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        return await self._inner.connect_unix_socket(path, timeout, socket_options)

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


class _ClosedUnlessSecured(httpcore.AsyncNetworkStream):
    """A connection that is closed when its TLS handshake ends in anything but a secured one, a cancellation included.

    httpcore closes it after an error alone, and nobody else has hold of it then.
    """

    def __init__(self, inner: httpcore.AsyncNetworkStream) -> None:
        self._inner = inner

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 # httpcore's signature
    ) -> httpcore.AsyncNetworkStream:
        try:
            return await self._inner.start_tls(ssl_context, server_hostname, timeout)
        except BaseException:
            await self._inner.aclose()
            raise

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 # httpcore's signature
        return await self._inner.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 # httpcore's signature
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    def get_extra_info(self, info: str) -> object:
        return self._inner.get_extra_info(info)
