"""The real control plane takes the shipped manifests, every field of them known to it."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from tests.cluster.harness import Cluster

DEPLOY = Path(__file__).parents[2] / "deploy"


async def kubectl(cluster: Cluster, *arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        "kubectl",
        "--kubeconfig",
        str(cluster.kubeconfig("admin")),
        "--cache-dir",
        str(cluster.folder / "kube-cache"),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, out.decode(), err.decode()


def overlay(cluster: Cluster, folder: Path) -> str:
    """A folder that puts the base into the test's namespace; skips where that cannot be tried."""
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl: it is not on PATH")
    if cluster.kind == "sandbox":
        pytest.skip("the embedded API server has no Roles, NetworkPolicies, schema or admission")
    made = folder.resolve() / "overlay"
    made.mkdir()
    base = os.path.relpath(DEPLOY, made)
    (made / "kustomization.yaml").write_text(f"namespace: {cluster.namespace}\nresources: [{base}]\n")
    return str(made)


async def test_the_manifests_are_accepted_whole(cluster: Cluster, tmp_path: Path) -> None:
    folder = overlay(cluster, tmp_path)
    code, out, err = await kubectl(
        cluster, "apply", "--server-side", "--dry-run=server", "--validate=strict", "-k", folder
    )
    assert code == 0, err
    assert "Warning" not in err
    kinds = (
        "configmap",
        "networkpolicy.networking.k8s.io",
        "deployment.apps",
        "persistentvolumeclaim",
        "role.rbac.authorization.k8s.io",
        "rolebinding.rbac.authorization.k8s.io",
        "serviceaccount",
    )
    made = {line.split()[0] for line in out.splitlines()}
    assert made == {"configmap/logcaster-guard-rules", *(f"{kind}/logcaster-guard" for kind in kinds)}


async def test_the_account_that_the_readme_makes_is_the_one_that_the_role_is_for(
    cluster: Cluster, tmp_path: Path
) -> None:
    if shutil.which("kubectl") is None or cluster.kind == "sandbox":
        pytest.skip("it takes kubectl and an API server that asks for rights")
    text = (DEPLOY.parent / "README.md").read_text("utf-8")
    lines = [line for line in text.splitlines() if line.startswith("kubectl ") and "kustom" not in line]
    steps = "\n".join(line for line in lines if "-k deploy/" not in line).replace("logcaster ", f"{cluster.namespace} ")
    steps = steps.replace("deploy/rbac.yaml", str(DEPLOY / "rbac.yaml"))
    asked = f"kubectl --kubeconfig guard.kubeconfig auth can-i --namespace {cluster.namespace} patch deployments.apps/"
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-euc",
        f"{steps}\n{asked}logcaster-prod\n! {asked}logcaster-other\n! {asked[: asked.index('patch')]}get secrets",
        cwd=tmp_path,
        env=os.environ | {"KUBECONFIG": str(cluster.kubeconfig("admin")), "KUBECACHEDIR": str(tmp_path / "cache")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, out.decode()
    assert out.decode().split("\n")[-4:] == ["yes", "no", "no", ""]


async def test_the_namespace_may_demand_the_strictest_pod_security(cluster: Cluster, tmp_path: Path) -> None:
    folder = overlay(cluster, tmp_path)
    label = "pod-security.kubernetes.io/warn=restricted"
    code, _, err = await kubectl(cluster, "label", "namespace", cluster.namespace, label)
    assert code == 0, err
    code, _, err = await kubectl(cluster, "apply", "--server-side", "--dry-run=server", "-k", folder)
    assert code == 0, err
    assert "would violate PodSecurity" not in err
