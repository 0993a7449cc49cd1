"""A control plane that already runs, entered through KUBECONFIG: users become service accounts made for the session."""

from __future__ import annotations

import base64
import json
import secrets
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

USERS = ("admin", "node", "guard", "alice", "bob")
LIFETIME = 7200
Json = dict[str, Any]


class NotAttached(Exception):
    """The kubeconfig leads nowhere; the message says why."""


@dataclass
class Attached:
    """The way into the control plane, and what was made there; `tokens` are by user name."""

    url: str
    ca_file: Path | None
    version: str
    tokens: dict[str, str]
    namespace: str
    _entry: Entry

    def stop(self) -> None:
        for user in ("admin", "node"):
            self._entry.call(
                "DELETE", f"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{self.namespace}-{user}"
            )
        self._entry.call("DELETE", f"/api/v1/namespaces/{self.namespace}")


class Entry:
    """The kubeconfig's own user."""

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        context = _named(config, "contexts", str(config.get("current-context")))["context"]
        cluster = _named(config, "clusters", context["cluster"])["cluster"]
        user = _named(config, "users", context["user"])["user"]
        base = kubeconfig.parent
        self.url = str(cluster["server"]).rstrip("/")
        self.ca_file = _file(cluster, "certificate-authority", base, folder)
        certificate = _file(user, "client-certificate", base, folder)
        key = _file(user, "client-key", base, folder)
        token = user.get("token") or (Path(user["tokenFile"]).read_text().strip() if "tokenFile" in user else None)
        if not token and not (certificate and key):
            raise NotAttached(f"KUBECONFIG={kubeconfig} names neither a token nor a client certificate for its user.")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._tls = ssl.create_default_context(cafile=str(self.ca_file) if self.ca_file else None)
        if certificate and key:
            self._tls.load_cert_chain(certificate, key)

    def call(self, method: str, path: str, body: Json | None = None) -> Json:
        request = urllib.request.Request(  # noqa: S310 # the operator's own kubeconfig
            self.url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={**self._headers, "Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=30, context=self._tls) as response:  # noqa: S310 # as above
                answer = json.loads(response.read())
        except (urllib.error.URLError, OSError, ValueError) as error:
            raise NotAttached(f"{method} {path} at the cluster of KUBECONFIG failed: {error}") from error
        assert isinstance(answer, dict)
        return answer


def attach(kubeconfig: Path, folder: Path) -> Attached:
    """Enter the cluster and make the users; raises `NotAttached`."""
    try:
        entry = Entry(kubeconfig, folder)
    except (OSError, KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        raise NotAttached(f"KUBECONFIG={kubeconfig} cannot be used: {error!r}") from error
    version = str(entry.call("GET", "/version")["gitVersion"])
    namespace = f"guard-tests-{secrets.token_hex(4)}"
    entry.call("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
    attached = Attached(entry.url, entry.ca_file, version, {}, namespace, entry)
    for user in USERS:
        accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        entry.call("POST", accounts, {"metadata": {"name": user}})
        if user in {"admin", "node"}:
            entry.call("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", _all_rights(namespace, user))
        request = {"spec": {"expirationSeconds": LIFETIME}}
        answer = entry.call("POST", f"{accounts}/{user}/token", request)
        attached.tokens[user] = str(answer["status"]["token"])
    return attached


def _all_rights(namespace: str, user: str) -> Json:
    return {
        "metadata": {"name": f"{namespace}-{user}"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": user, "namespace": namespace}],
    }


def _named(config: Json, kind: str, name: str) -> Json:
    for entry in config.get(kind) or []:
        if entry.get("name") == name:
            return dict(entry)
    raise NotAttached(f"KUBECONFIG has no entry {name!r} in {kind}.")


def _file(section: Json, key: str, base: Path, folder: Path) -> Path | None:
    if f"{key}-data" in section:
        path = folder / key
        path.touch(mode=0o600)
        path.write_bytes(base64.b64decode(section[f"{key}-data"]))
        return path
    return base / section[key] if key in section else None
