"""A real control plane without nodes: etcd, kube-apiserver and kube-controller-manager on loopback.

The programs come from the folder in KUBEBUILDER_ASSETS. Everything they write is below one temporary folder.
"""

from __future__ import annotations

import json
import secrets
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.real.processes import NotStarted, Program, free_port, version_of

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager")
GROUPS = {"admin": "system:masters", "node": "system:masters", "guard": "", "alice": "", "bob": ""}
START_WITHIN = 60.0

# Only what changes something is recorded, with bodies: that is what tests ask for.
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [
        {"level": "None", "users": ["system:apiserver", "system:kube-controller-manager"]},
        {
            "level": "RequestResponse",
            "verbs": ["create", "update", "patch", "delete", "deletecollection"],
            "resources": [{"group": g} for g in ("", "apps", "autoscaling", "coordination.k8s.io")],
        },
        {"level": "Metadata", "verbs": ["create", "update", "patch", "delete", "deletecollection"]},
        {"level": "None"},
    ],
}

# What would evict pods from nodes without kubelets, or only costs time.
NOT_WANTED = (
    "node-lifecycle-controller",
    "node-ipam-controller",
    "node-route-controller",
    "service-lb-controller",
    "persistentvolume-binder-controller",
    "persistentvolume-attach-detach-controller",
    "persistentvolume-expander-controller",
    "persistentvolumeclaim-protection-controller",
    "persistentvolume-protection-controller",
    "ephemeral-volume-controller",
    "certificatesigningrequest-signing-controller",
    "certificatesigningrequest-approving-controller",
    "certificatesigningrequest-cleaner-controller",
    "ttl-controller",
    "clusterrole-aggregation-controller",
    "resourcequota-controller",
)


@dataclass
class ControlPlane:
    """Where the control plane is and who may enter it; `tokens` are by user name."""

    folder: Path
    url: str
    ca_file: Path
    tokens: dict[str, str]
    audit_log: Path
    version: str
    _programs: list[Program] = field(default_factory=list)

    def stop(self) -> None:
        # Users of a program end before it does.
        while self._programs:
            self._programs.pop().stop()


def missing(assets: Path) -> str | None:
    """Why no control plane can be started from this folder; None if one can."""
    absent = [name for name in PROGRAMS if not (assets / name).is_file()]
    return f"KUBEBUILDER_ASSETS={assets} has no {', '.join(absent)}" if absent else None


def start(assets: Path, folder: Path) -> ControlPlane:
    """Start all three and wait until they answer; raises `NotStarted`."""
    tokens = {user: secrets.token_hex(16) for user in GROUPS}
    api_port, etcd_port = free_port(), free_port()
    certificates = folder / "certificates"
    plane = ControlPlane(
        folder=folder,
        url=f"https://127.0.0.1:{api_port}",
        ca_file=certificates / "apiserver.crt",
        tokens=tokens,
        audit_log=folder / "audit.jsonl",
        version=version_of(assets / "kube-apiserver").removeprefix("Kubernetes "),
    )
    _write_settings(plane)
    deadline = time.monotonic() + START_WITHIN
    try:
        _start(plane, assets / "etcd", _etcd(folder, etcd_port))
        _start(plane, assets / "kube-apiserver", _api_server(plane, certificates, api_port, etcd_port))
        _await_ready(plane, deadline)
        _start(plane, assets / "kube-controller-manager", _controllers(folder))
        _await_controllers(plane, deadline)
    except BaseException:
        plane.stop()
        raise
    return plane


def _start(plane: ControlPlane, binary: Path, arguments: list[str]) -> None:
    plane._programs.append(Program(binary.name, [str(binary), *arguments], plane.folder))


def _write_settings(plane: ControlPlane) -> None:
    (plane.folder / "audit-policy.json").write_text(json.dumps(AUDIT_POLICY))
    rows = [f'{plane.tokens[user]},{user},{user},"{group}"' for user, group in GROUPS.items()]
    controllers = secrets.token_hex(16)
    rows.append(f'{controllers},system:kube-controller-manager,kcm,"system:masters"')
    token_file = plane.folder / "tokens.csv"
    token_file.touch(mode=0o600)
    token_file.write_text("\n".join(rows) + "\n")
    write_kubeconfig(plane.folder / "controllers.json", plane.url, plane.ca_file, controllers)


def _etcd(folder: Path, port: int) -> list[str]:
    return [
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls=http://127.0.0.1:{port}",
        f"--advertise-client-urls=http://127.0.0.1:{port}",
        "--listen-peer-urls=http://127.0.0.1:0",
        "--unsafe-no-fsync",
        "--log-level=error",
    ]


def _api_server(plane: ControlPlane, certificates: Path, port: int, etcd_port: int) -> list[str]:
    # The server makes its own certificate at the first start; its key also signs service account tokens.
    key = certificates / "apiserver.key"
    return [
        f"--etcd-servers=http://127.0.0.1:{etcd_port}",
        f"--cert-dir={certificates}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        f"--secure-port={port}",
        "--service-cluster-ip-range=10.0.0.0/16",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        "--disable-admission-plugins=ServiceAccount",
        "--authorization-mode=RBAC",
        f"--token-auth-file={plane.folder / 'tokens.csv'}",
        f"--audit-policy-file={plane.folder / 'audit-policy.json'}",
        f"--audit-log-path={plane.audit_log}",
        "--audit-log-mode=blocking",
        "--enable-priority-and-fairness=false",
        "--profiling=false",
        "--v=0",
    ]


def _controllers(folder: Path) -> list[str]:
    wanted = ",".join(["*", *(f"-{name}" for name in NOT_WANTED)])
    return [
        f"--kubeconfig={folder / 'controllers.json'}",
        f"--controllers={wanted}",
        "--leader-elect=false",
        "--secure-port=0",
        "--use-service-account-credentials=false",
        "--horizontal-pod-autoscaler-sync-period=1s",
        "--horizontal-pod-autoscaler-downscale-stabilization=1s",
        "--horizontal-pod-autoscaler-initial-readiness-delay=1s",
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
        "--v=0",
    ]


def write_kubeconfig(path: Path, url: str, ca_file: Path | None, token: str) -> Path:
    """A kubeconfig (JSON is YAML) for one user, readable by its owner alone."""
    cluster: dict[str, Any] = {"server": url}
    if ca_file is not None:
        cluster["certificate-authority"] = str(ca_file)
    body = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(body))
    return path


def _await_ready(plane: ControlPlane, deadline: float) -> None:
    while not _answers(plane, "/readyz"):
        _look_again(plane, deadline)


def _await_controllers(plane: ControlPlane, deadline: float) -> None:
    # The controller of service accounts gives each namespace one: the sign that the controllers' caches are filled.
    while not _answers(plane, "/api/v1/namespaces/default/serviceaccounts/default"):
        _look_again(plane, deadline)


def _look_again(plane: ControlPlane, deadline: float) -> None:
    for program in plane._programs:
        program.check()
    if time.monotonic() > deadline:
        said = "\n".join(f"{p.name}: {p.tail()}" for p in plane._programs)
        raise NotStarted(f"The control plane was not ready within {START_WITHIN:.0f} s.\n{said}")
    time.sleep(0.1)


def _answers(plane: ControlPlane, path: str) -> bool:
    if not plane.ca_file.is_file():
        return False
    request = urllib.request.Request(  # noqa: S310 # always https://127.0.0.1
        plane.url + path, headers={"Authorization": f"Bearer {plane.tokens['admin']}"}
    )
    try:
        context = ssl.create_default_context(cafile=str(plane.ca_file))
        with urllib.request.urlopen(request, timeout=5, context=context) as response:  # noqa: S310 # as above
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False
