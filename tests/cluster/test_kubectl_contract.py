"""kubectl against the embedded API server and a real one: what operators type, what `rollout undo` leaves behind."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from tests.cluster.conversation import REVISION, Conversation, deployment, image_of
from tests.cluster.harness import Cluster

Json = dict[str, Any]
Kubectl = Callable[..., Awaitable[str]]
APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
FREEZE = "guard.example/freeze"

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on PATH")


@pytest.fixture
async def api(cluster: Cluster) -> AsyncIterator[Conversation]:
    async with Conversation(cluster) as made:
        yield made


@pytest.fixture
def kubectl(cluster: Cluster) -> Kubectl:
    """Run kubectl in the test's namespace; returns what it printed."""
    config = cluster.kubeconfig("admin")

    async def run(*arguments: str, stdin: Json | None = None) -> str:
        process = await asyncio.create_subprocess_exec(
            "kubectl",
            f"--kubeconfig={config}",
            f"--cache-dir={cluster.folder / 'kubectl'}",
            f"--namespace={cluster.namespace}",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        text = json.dumps(stdin).encode() if stdin is not None else b""
        out, error = await asyncio.wait_for(process.communicate(text), 30)
        assert process.returncode == 0, f"kubectl {' '.join(arguments)}: {error.decode()}"
        return out.decode()

    return run


def version(number: int, **env: str) -> Json:
    body = deployment(image=f"example.invalid/web:{number}")
    variables = [{"name": k, "value": v} for k, v in env.items()]
    body["spec"]["template"]["spec"]["containers"][0]["env"] = variables
    return body


def env_of(item: Json) -> dict[str, str]:
    container = item["spec"]["template"]["spec"]["containers"][0]
    return {e["name"]: e["value"] for e in container.get("env") or []}


async def apply(kubectl: Kubectl, body: Json) -> None:
    await kubectl("apply", "--validate=false", "-f", "-", stdin=body)


async def test_the_rollout_commands_work(api: Conversation, kubectl: Kubectl) -> None:
    await apply(kubectl, version(1))
    await api.rolled_out("web")
    assert "successfully rolled out" in await kubectl("rollout", "status", "deployment/web", "--timeout=20s")
    await kubectl("set", "image", "deployment/web", "app=example.invalid/web:2")
    await kubectl("annotate", "deployment/web", "kubernetes.io/change-cause=two")
    await api.rolled_out("web")
    history = await kubectl("rollout", "history", "deployment/web")
    assert [line.split() for line in history.splitlines() if line[:1].isdigit()] == [["1", "<none>"], ["2", "two"]]
    await kubectl("rollout", "undo", "deployment/web", "--to-revision=1")
    await api.rolled_out("web")
    await kubectl("rollout", "restart", "deployment/web")
    restarted = await api.rolled_out("web")
    assert restarted["metadata"]["annotations"][REVISION] == "4"
    assert image_of(restarted) == "example.invalid/web:1"
    await kubectl("rollout", "pause", "deployment/web")
    assert (await api.get("deployments", "web"))["spec"]["paused"] is True
    await kubectl("rollout", "resume", "deployment/web")
    assert not (await api.get("deployments", "web"))["spec"].get("paused")
    await kubectl("scale", "deployment/web", "--replicas=3")
    await kubectl("patch", "deployment", "web", "-p", json.dumps({"spec": {"minReadySeconds": 1}}))
    changed = await api.get("deployments", "web")
    assert (changed["spec"]["replicas"], changed["spec"]["minReadySeconds"]) == (3, 1)
    assert "web" in await kubectl("get", "deployments,replicasets,pods", "--selector=app=web")
    await kubectl("delete", "deployment", "web", "--wait=true", "--timeout=20s")
    assert (await api.http.get(api.path("deployments", "web"))).status_code == 404


async def test_undo_wipes_a_live_annotation_and_brings_a_removed_one_back(api: Conversation, kubectl: Kubectl) -> None:
    await apply(kubectl, version(1))
    await kubectl("annotate", "deployment/web", "old-approval=yes")
    await api.rolled_out("web")
    await kubectl("annotate", "deployment/web", "old-approval-")
    await apply(kubectl, version(2))
    await api.rolled_out("web")
    await kubectl("annotate", "deployment/web", f"{FREEZE}=person")
    await kubectl("rollout", "undo", "deployment/web")
    item = await api.rolled_out("web")
    assert image_of(item) == "example.invalid/web:1"
    assert FREEZE not in item["metadata"]["annotations"]
    assert item["metadata"]["annotations"]["old-approval"] == "yes"


async def test_undo_leaves_last_applied_so_the_next_apply_leaks_what_only_the_old_version_had(
    api: Conversation, kubectl: Kubectl
) -> None:
    await apply(kubectl, version(1, ONLY_ONE="1"))
    await api.rolled_out("web")
    await apply(kubectl, version(2))
    await api.rolled_out("web")
    await kubectl("rollout", "undo", "deployment/web")
    item = await api.rolled_out("web")
    applied = json.loads(item["metadata"]["annotations"][APPLIED])
    assert image_of(applied) == "example.invalid/web:2"
    await apply(kubectl, version(3))
    assert env_of(await api.get("deployments", "web")) == {"ONLY_ONE": "1"}


async def test_with_last_applied_taken_back_too_the_next_apply_is_clean(api: Conversation, kubectl: Kubectl) -> None:
    await apply(kubectl, version(1, ONLY_ONE="1"))
    first = await api.rolled_out("web")
    await apply(kubectl, version(2, ONLY_TWO="2"))
    await api.rolled_out("web")
    notes = {APPLIED: first["metadata"]["annotations"][APPLIED]}
    body = {"metadata": {"annotations": notes}, "spec": {"template": first["spec"]["template"]}}
    await api.merge("deployments", "web", body)
    await api.rolled_out("web")
    await apply(kubectl, version(3, ONLY_THREE="3"))
    assert env_of(await api.get("deployments", "web")) == {"ONLY_THREE": "3"}
