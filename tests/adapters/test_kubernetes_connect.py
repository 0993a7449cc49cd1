from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import ssl
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from logcaster_guard.adapters.kubernetes.connect import connect
from logcaster_guard.domain.errors import (
    ConfigurationError,
)
from logcaster_guard.ports import Json, Kind
from tests.adapters.misbehaving import (
    CERTIFICATE,
    certificate_in,
    deployment,
    failing_get,
    http,
    listening,
    refusal,
    server_side,
    serving,
)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return certificate_in(tmp_path)


def kubeconfig(folder: Path, user: Json, server: str = "http://127.0.0.1:1") -> Path:
    path = folder / "kubeconfig"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "here",
    }
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "not: [closed",
        "clusters: 5",
        "current-context: here",
        "\x00",
        "contexts: [{name: a}]\ncurrent-context: a",
    ],
)
async def test_a_kubeconfig_that_is_none_is_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        await connect(kubeconfig=path, context=None, timeout=5.0)
    assert str(path) in str(caught.value)
    assert str(caught.value).isprintable()


async def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="There is no kubeconfig at"):
        await connect(kubeconfig=tmp_path / "nowhere", context=None, timeout=5.0)
    with pytest.raises(ConfigurationError, match="elsewhere"):
        await connect(kubeconfig=kubeconfig(tmp_path, {"token": "t"}), context="elsewhere", timeout=5.0)
    path = kubeconfig(tmp_path, {"token": "t"}, server="file:///etc/passwd")
    with pytest.raises(ConfigurationError, match="not an http"):
        await connect(kubeconfig=path, context=None, timeout=5.0)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "1")
    with pytest.raises(ConfigurationError, match="token file does not exist"):
        await connect(kubeconfig=None, context=None, timeout=5.0, service_account=tmp_path)


async def test_a_credential_program_that_fails_is_told(tmp_path: Path) -> None:
    def run(*command: str) -> Json:
        return {
            "exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": command[0], "args": [*command[1:]]}
        }

    with pytest.raises(ConfigurationError, match="returned 3"):
        await connect(kubeconfig=kubeconfig(tmp_path, run("sh", "-c", "exit 3")), context=None, timeout=5.0)
    with pytest.raises(ConfigurationError, match="no-such-program"):
        await connect(kubeconfig=kubeconfig(tmp_path, run("no-such-program", "x")), context=None, timeout=5.0)


async def test_a_kubeconfigs_new_token_is_taken_after_a_401(tmp_path: Path) -> None:
    async with serving(http(401, refusal(401)), http(200, deployment())) as (_, server):
        path = kubeconfig(tmp_path, {"token": "one"}, server.url)
        cluster = await connect(kubeconfig=path, context="here", timeout=5.0)
        kubeconfig(tmp_path, {"token": "two"}, server.url)
        await cluster.get(Kind.DEPLOYMENT, "shop", "web")
        await cluster.aclose()
    assert ["Bearer one" in server.requests[0], "Bearer two" in server.requests[1]] == [True, True]


async def test_in_a_pod_the_service_account_is_used_and_its_token_read_anew(
    tmp_path: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("one\n")
    (tmp_path / "ca.crt").write_text(CERTIFICATE)
    async with serving(http(200, deployment()), tls=server_side(certificate)) as (_, server):
        monkeypatch.delenv("KUBECONFIG", raising=False)
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", server.url.rsplit(":", 1)[1])
        cluster = await connect(kubeconfig=None, context=None, timeout=5.0, service_account=tmp_path)
        await cluster.get(Kind.DEPLOYMENT, "shop", "web")
        (tmp_path / "token").write_text("two")
        await cluster.get(Kind.DEPLOYMENT, "shop", "web")
        (tmp_path / "token").unlink()
        assert "token" in str(await failing_get(cluster))
        await cluster.aclose()
    assert ["Bearer one" in server.requests[0], "Bearer two" in server.requests[1]] == [True, True]
    assert len(server.requests) == 2


@dataclass
class ByCertificate:
    """A server that lets in whom the client's certificate calls `new`, and says 401 to anybody else."""

    seen: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        certificate = writer.get_extra_info("ssl_object").getpeercert() or {}
        name = "".join(value for part in certificate.get("subject", ()) for key, value in part if key == "commonName")
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                self.seen.append(name)
                writer.write(http(200, deployment()) if name == "new" else http(401, refusal(401)))
                await writer.drain()
                if name != "new":
                    break
        writer.close()


def certify(folder: Path, name: str, file: str) -> Path:
    """A self-signed certificate with its key in one file."""
    path = folder / file
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    subprocess.run([*command, "-subj", f"/CN={name}", "-keyout", path, "-out", folder / "part"], check=True)
    path.write_text(path.read_text() + (folder / "part").read_text())
    return path


@pytest.mark.skipif(shutil.which("openssl") is None, reason="certificates are made with openssl")
async def test_a_client_certificate_that_is_renewed_on_disk_is_taken_up_after_a_401(
    tmp_path: Path, certificate: Path
) -> None:
    used, renewed = certify(tmp_path, "old", "used.pem"), certify(tmp_path, "new", "renewed.pem")
    tls, server = server_side(certificate), ByCertificate()
    tls.verify_mode = ssl.CERT_OPTIONAL
    for known in (used, renewed):
        tls.load_verify_locations(known)
    async with listening(server.serve, tls) as port:
        url = f"https://127.0.0.1:{port}"
        path = kubeconfig(tmp_path, {"client-certificate": str(used), "client-key": str(used)}, url)
        content = json.loads(path.read_text())
        content["clusters"][0]["cluster"]["insecure-skip-tls-verify"] = True
        path.write_text(json.dumps(content))
        cluster = await connect(kubeconfig=path, context=None, timeout=5.0)
        for _ in range(2):
            assert (await failing_get(cluster)).status == 401
        used.write_text(used.read_text()[:200])
        assert (await failing_get(cluster)).status == 401
        renewed.replace(used)
        for _ in range(2):
            await cluster.get(Kind.DEPLOYMENT, "shop", "web")
        await cluster.aclose()
    assert server.seen == ["old", "old", "old", "old", "new", "new"]


async def test_a_program_for_credentials_is_not_run_at_each_refusal() -> None:
    asked = 0

    async def reload() -> None:
        nonlocal asked
        asked += 1

    async with serving(*[http(401, refusal(401))] * 5, reload=reload) as (cluster, _):
        for _ in range(5):
            assert (await failing_get(cluster)).status == 401
    assert asked == 1
