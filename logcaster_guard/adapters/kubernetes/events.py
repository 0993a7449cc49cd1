"""Tells the people who watch the workload: its runs appear in `kubectl describe deployment`, or what else it is."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC

from logcaster_guard.adapters.kubernetes.answers import printable
from logcaster_guard.domain.errors import ClusterError, Conflict, NotFound, Rejected, Unavailable
from logcaster_guard.domain.notices import Delivered, Delivery, Notice, Severity, TryLater, Undeliverable
from logcaster_guard.ports import Cluster, Json, Kind

COMPONENT = "logcaster-guard"
MESSAGE_BYTES = 1024
"""What the API takes for an Event's note."""

REASON_LENGTH = 128


ABOUT_THE_WORKLOAD = frozenset(
    {
        *("config.reloaded", "config.refused", "config.settings_changed"),
        *("revision.marked", "target.frozen", "target.thawed"),
        *("trigger.refused", "decision.postponed", "request.refused", "answer.denied"),
        *("trigger.blind", "trigger.seeing", "workload.unseen", "workload.seen", "source.failing", "source.recovered"),
        *("source.lagging", "source.caught_up", "clock.skewed", "clock.agrees"),
    }
)
"""Notices without a run that are Events all the same: what guards the workload, what people said, and what they have to
act on because the guard does not or cannot."""


class EventChannel:
    """`ports.Channel` that writes a Kubernetes Event on the workload for each notice that is about it.

    Any other notice is taken without a request.
    The Event's name comes from the notice's id: a repeat finds the name taken. The cluster is not closed with it.
    `kinds` tells, by namespace and name, which workloads are no Deployments.
    """

    def __init__(self, cluster: Cluster, kinds: Mapping[tuple[str, str], Kind] | None = None) -> None:
        self._cluster = cluster
        self._kinds = kinds or {}

    @property
    def name(self) -> str:
        """Unique among the configured channels; stable over restarts."""
        return "kubernetes-events"

    async def deliver(self, notice: Notice) -> Delivery:
        """Try once."""
        about_the_workload = notice.run or notice.event in ABOUT_THE_WORKLOAD
        if not (about_the_workload and notice.namespace and notice.deployment):
            return Delivered()
        try:
            kind = self._kinds.get((notice.namespace, notice.deployment), Kind.DEPLOYMENT)
            uid = await self._uid(notice, kind)
            await self._cluster.create(Kind.EVENT, notice.namespace, event_of(notice, uid, kind))
        except Conflict:
            return Delivered()
        except Unavailable as error:
            return TryLater(str(error), error.retry_after)
        except ClusterError as error:
            # Expired credentials come back; a missing permission or a namespace that is gone does not by itself.
            return TryLater(str(error), error.retry_after) if error.status == 401 else Undeliverable(str(error))
        return Delivered()

    async def aclose(self) -> None:
        """Nothing of its own to release."""

    async def _uid(self, notice: Notice, kind: Kind) -> str:
        try:
            found = await self._cluster.get(kind, notice.namespace, notice.deployment)
        except NotFound:
            return ""
        except Rejected as error:
            # An Event that is not tied to the object is better than none: this may be what it tells of.
            if error.status != 403:
                raise
            return ""
        return str(found["metadata"].get("uid", ""))


def event_of(notice: Notice, uid: str, kind: Kind = Kind.DEPLOYMENT) -> Json:
    """The Event for `notice`; `kind` and `uid` are the workload's, the latter empty when it is gone."""
    at = notice.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    involved = {
        "apiVersion": "apps/v1",
        "kind": kind.value,
        "namespace": notice.namespace,
        "name": notice.deployment,
    }
    return {
        "apiVersion": "v1",
        "kind": Kind.EVENT.value,
        "metadata": {
            "name": f"{COMPONENT}.{hashlib.sha256(notice.id.encode()).hexdigest()[:40]}",
            "namespace": notice.namespace,
            "labels": {"app.kubernetes.io/managed-by": COMPONENT},
        },
        "involvedObject": involved | ({"uid": uid} if uid else {}),
        "type": "Normal" if notice.severity is Severity.INFO else "Warning",
        "reason": _reason(notice.event),
        "message": _message(notice),
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": COMPONENT,
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    }


def _reason(event: str) -> str:
    words = re.findall(r"[A-Za-z0-9]+", event)
    return "".join(word[0].upper() + word[1:] for word in words)[:REASON_LENGTH] or "Notice"


def _message(notice: Notice) -> str:
    parts = [part for part in (notice.title.strip(), notice.text.strip()) if part]
    whole = printable(": ".join(parts) or notice.event)
    encoded = whole.encode()
    if len(encoded) <= MESSAGE_BYTES:
        return whole
    mark = "…"
    return encoded[: MESSAGE_BYTES - len(mark.encode())].decode("utf-8", "ignore") + mark
