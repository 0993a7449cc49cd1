"""Somebody writes the guard's marks on Deployments that are not its own: people are told, and nothing is deleted."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from logcaster_guard.domain import runs
from logcaster_guard.domain.capacity import HELPER_LABEL
from logcaster_guard.domain.events import NoticeQueued
from logcaster_guard.domain.provenance import MANAGED, marks
from logcaster_guard.domain.rules import Action
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.steps import Compensation
from logcaster_guard.ports import Cluster as ClusterPort
from logcaster_guard.ports import Json
from logcaster_guard.sandbox import objects
from logcaster_guard.sandbox.client import MERGE_PATCH
from tests.cluster.case import GOOD, WITHIN, Case, ImageSource
from tests.cluster.crashes import Tape
from tests.cluster.harness import Cluster
from tests.cluster.scene import Scene
from tests.real.waiting import until

pytestmark = [pytest.mark.timeout(180)]
SHOP = "shop"


async def sweep(scene: Scene) -> list[str]:
    """A guard that is started now looks after what was left behind, twice; what it has told of marks so far."""
    async with scene.stores.journal() as journal:
        for _ in range(2):
            guard = scene.guard(journal, ImageSource(scene.world, scene.clock, scene.case), Tape(None))
            await guard.state.load()
            await guard.sweep()
        queued = [e.event.notice for e in await journal.read_all() if isinstance(e.event, NoticeQueued)]
    return sorted(n.facts["object"] for n in queued if n.event == "marks.unproven")


async def uids(scene: Scene) -> dict[str, str]:
    """The Deployments that are there and not on their way out."""
    found = [d["metadata"] for d in await scene.cluster.admin.list(scene.deployments)]
    return {m["name"]: m["uid"] for m in found if "deletionTimestamp" not in m}


def marked(owed: Compensation, owner: str) -> Json:
    """All the marks of the helper that this hold was journalled for."""
    return {
        "labels": {**MANAGED, HELPER_LABEL: owed.object},
        "annotations": marks(owed),
        "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": objects.DEPLOYMENT, "uid": owner}],
    }


def deployment(name: str) -> Json:
    body = objects.deployment(objects.image(GOOD), replicas=1)
    labels = {"app": name}
    body["metadata"] = {"name": name, "labels": labels}
    body["spec"] |= {"selector": {"matchLabels": labels}}
    body["spec"]["template"]["metadata"]["labels"] = labels
    return body


async def test_marks_on_production_delete_nothing_and_a_late_helper_is_still_swept_away(
    cluster: Cluster, api: ClusterPort, rights: Sequence[Json], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "POLL", 0.05)
    async with Scene.set_up(cluster, api, rights, None, case=Case(Action.GRADUAL)) as scene:
        await scene.life(None)
        run: Run
        (run,) = (await scene.facts()).runs
        (owed,) = [h for h in run.taken.values() if h.kind == "helper"]
        assert owed.token
        await scene.cluster.admin.create(scene.deployments, deployment(SHOP))
        before = await uids(scene)
        production = before[objects.DEPLOYMENT]
        everything = marked(owed, production)
        await scene.cluster.admin.patch(f"{scene.deployments}/{SHOP}", {"metadata": everything}, MERGE_PATCH)
        # Nothing can own itself.
        del everything["ownerReferences"]
        path = f"{scene.deployments}/{objects.DEPLOYMENT}"
        await scene.cluster.admin.patch(path, {"metadata": everything}, MERGE_PATCH)
        namespace = scene.cluster.namespace
        told = [f"Deployment {namespace}/{name}" for name in sorted((objects.DEPLOYMENT, SHOP))]
        assert await sweep(scene) == told
        assert await uids(scene) == before

        late = deployment(owed.object)
        late["metadata"] |= marked(owed, production)
        await scene.cluster.admin.create(scene.deployments, late)
        assert await sweep(scene) == told

        async def swept() -> bool:
            return await uids(scene) == before

        await until(swept, WITHIN)
