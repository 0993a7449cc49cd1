"""An API server that answers with the bytes it is given, over real sockets."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from kubernetes_asyncio.client.configuration import Configuration

from logcaster_guard.adapters.kubernetes.api_requests import Requests
from logcaster_guard.adapters.kubernetes.cluster import KubernetesCluster
from logcaster_guard.domain.errors import (
    ClusterError,
)
from logcaster_guard.ports import Json, Kind

# A certificate that nobody trusts unless told to, for 127.0.0.1, with its key; it guards nothing.
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBjjCCATSgAwIBAgIUFHnknT0x1TYTcCaXczAoqEPcbjcwCgYIKoZIzj0EAwIw
EzERMA8GA1UEAwwIbG9vcGJhY2swIBcNMjYxMTIyMjMxMzI5WhgPMjEyNjEwMjky
MzEzMjlaMBMxETAPBgNVBAMMCGxvb3BiYWNrMFkwEwYHKoZIzj0CAQYIKoZIzj0D
AQcDQgAECW0bo7Qpr7mfmcu1fR8qDMinWnwZ2nggX3yTk/2RtfVkpvt8FqGTHb7n
krO6MeqRCRw+oorKX+SC5sys3OJZI6NkMGIwHQYDVR0OBBYEFAzuBPwUCn5/m1//
ONt9Cq+GNOBSMB8GA1UdIwQYMBaAFAzuBPwUCn5/m1//ONt9Cq+GNOBSMA8GA1Ud
EwEB/wQFMAMBAf8wDwYDVR0RBAgwBocEfwAAATAKBggqhkjOPQQDAgNIADBFAiAt
5TdwBR8erzYaWxeddE6Kem0CCZUPeJtoTxS5RIKfkwIhAOL2zCNEX9iG0MieXjrk
w2luhr0TuOEtmNBetUUUPmVq
-----END CERTIFICATE-----
"""
KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg3VIMoa7rkLyVPKhu
hwTja5FWSFZyh2WoMJWuXi/0AV+hRANCAAQJbRujtCmvuZ+Zy7V9HyoMyKdafBna
eCBffJOT/ZG19WSm+3wWoZMdvueSs7ox6pEJHD6iispf5ILmzKzc4lkj
-----END PRIVATE KEY-----
"""


@dataclass
class Server:
    """Gives scripted bytes, one per request and the last for ever, then closes; None is silence."""

    answers: Sequence[bytes | None]
    requests: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next((int(x[15:]) for x in head.lower().split("\r\n") if x.startswith("content-length:")), 0)
        self.bodies.append(await reader.readexactly(length))
        self.requests.append(head)
        answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
        if answer is None:
            await reader.read()
        else:
            writer.write(answer)
            await writer.drain()


def http(status: int, body: bytes | Json, *headers: str) -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(content)}", "Content-Type: application/json", *headers]
    if not any(header.startswith("Connection:") for header in headers):
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + content


def refusal(status: int, message: str = "the server's own words", **more: object) -> Json:
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": status, **more}


def deployment(name: str = "web") -> Json:
    return {"kind": "Deployment", "metadata": {"namespace": "shop", "name": name}, "spec": {}}


@asynccontextmanager
async def listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    conversations: set[asyncio.Task[None]] = set()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        conversations.add(task)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await serve(reader, writer)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    listener = await asyncio.start_server(converse, "127.0.0.1", 0, ssl=tls)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        await listener.wait_closed()
        if conversations:
            await asyncio.wait(conversations, timeout=5.0)


@asynccontextmanager
async def serving(
    *answers: bytes | None,
    timeout: float = 10.0,  # noqa: ASYNC109 # handed on
    tls: ssl.SSLContext | None = None,
    reload: Callable[[], Awaitable[None]] | None = None,
    configuration: Configuration | None = None,
    max_bytes: int = 100_000,
) -> AsyncIterator[tuple[KubernetesCluster, Server]]:
    server = Server(answers)
    async with listening(server.serve, tls) as port:
        server.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        configuration = configuration or Configuration()
        configuration.host = server.url
        cluster = KubernetesCluster(Requests(configuration, timeout=timeout, reload=reload, max_bytes=max_bytes))
        try:
            yield cluster, server
        finally:
            await cluster.aclose()


async def failing_get(cluster: KubernetesCluster) -> ClusterError:
    with pytest.raises(ClusterError) as caught:
        await cluster.get(Kind.DEPLOYMENT, "shop", "web")
    return caught.value


def certificate_in(folder: Path) -> Path:
    path = folder / "both.pem"
    path.write_text(CERTIFICATE + KEY)
    return path


def server_side(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context
