"""What the steps of a helper share: a Deployment that runs the good release beside production for a while.

It has a selector of its own and pods that the Service selects. It belongs to production's Deployment, so that it goes
with it, and carries the token that its run wrote down before it made it: nothing else is ever touched.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from logcaster_guard.domain import capacity, field_owners, provenance
from logcaster_guard.domain.capacity import HELPER_LABEL
from logcaster_guard.domain.errors import ClusterError
from logcaster_guard.domain.external_changes import external_change
from logcaster_guard.domain.field_owners import written_by
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.observations import ExternalChange, Unclear
from logcaster_guard.domain.provenance_reasons import NotMadeByRun
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.theirs import AnotherInItsPlace, HelperDeleted, HelperScaled, WorkloadGone
from logcaster_guard.domain.workload import Workload
from logcaster_guard.ports import Cluster, Json, Kind
from logcaster_guard.steps.copy_object import missing_copy
from logcaster_guard.steps.observe import (
    belonging,
    both,
    deployment_called,
)

HELPER: Final = "helper"
"""What creating a helper borrows."""


class HelperHandler:
    """Looks at the workload, the Service and the helper; its subclasses say what is to be done."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def _seen(
        self, run: Run, helper: str, *, starts: bool = True
    ) -> ExternalChange | Unclear | tuple[Workload, Workload | None]:
        """Production and the helper, if nothing of somebody else's speaks against going on.

        `starts`: its pods are still to start, and need what they start with.
        """
        try:
            workload, service = await both(self._cluster, run)
            theirs = external_change(run, workload, service)
            if theirs is None and starts:
                theirs = await missing_copy(self._cluster, run)
            if theirs is not None or workload is None:
                return ExternalChange(theirs or WorkloadGone("the Deployment"))
            return workload, await deployment_called(self._cluster, run, helper)
        except ClusterError as error:
            return Unclear(error.reason, error.retry_after)


def foreign_helper(
    run: Run, helper: Workload | None, name: str, size: int, workload: Workload | None
) -> Message | None:  # fmt: skip
    """What somebody else did to the helper, which the run has given `size` pods; None if nothing."""
    theirs = gone(run, helper, name, workload)
    if theirs is not None or helper is None:
        return theirs
    if helper.replicas != size:
        who = written_by(helper.raw, field_owners.REPLICAS, since=run.opened.at)
        return HelperScaled(name, size, helper.replicas, who)
    return None


def disowned(run: Run, helper: Workload, workload: Workload | None) -> Message | None:
    """Why the Deployment is not the helper that the run has made; None if it is.

    `workload` is production as it is now.
    """
    owed, owner = run.taken.get(helper_compensation(helper.name)), run.opened.plan.uid
    if owed is None:
        return NotMadeByRun(run.id, named=False)
    orphaned = workload is None or workload.uid != owner
    return provenance.disowned(helper.raw, owed, owner=owner, orphaned=orphaned)


def gone(run: Run, helper: Workload | None, name: str, workload: Workload | None) -> Message | None:
    """What became of the helper, or what stands in its place; None if it is there."""
    if helper is None or helper.deleting:
        return HelperDeleted(name)
    theirs = disowned(run, helper, workload)
    return None if theirs is None else stands(name, theirs)


def stands(name: str, theirs: Message) -> Message:
    """That a Deployment of the helper's name is none of the run's."""
    return AnotherInItsPlace(name, theirs)


async def helper_pods(cluster: Cluster, helper: Workload) -> Sequence[Json]:
    """The helper's pods, by their owners: others may carry its label. Raises the `ClusterError` it met."""
    selector = f"{HELPER_LABEL}={capacity.helper_label(helper.name)}"
    pods, replica_sets = await asyncio.gather(
        cluster.list(Kind.POD, helper.namespace, selector), cluster.list(Kind.REPLICA_SET, helper.namespace, selector)
    )
    return belonging(pods, helper, replica_sets)


def helper_compensation(helper: str) -> str:
    """The id of the compensation that a helper is."""
    return f"helper/{helper}"
