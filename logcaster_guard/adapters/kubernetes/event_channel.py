"""Tells the people who watch the workload: its runs appear in `kubectl describe deployment`, or what else it is.

What is about the guard itself stands at its own pod, or at a target where it may write no Event beside that.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import UTC

from logcaster_guard.adapters.kubernetes.answers import printable
from logcaster_guard.adapters.plugin_types import ChannelPlugin, Subject
from logcaster_guard.domain.errors import ClusterError, Conflict, NotFound, Rejected, Unavailable
from logcaster_guard.domain.notices import Delivered, Delivery, Notice, Severity, TryLater, Undeliverable
from logcaster_guard.ports import Cluster, Json, Kind

COMPONENT = "logcaster-guard"
NAME = "kubernetes-events"
"""Of the only channel of this kind."""

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

ABOUT_THE_GUARD = frozenset(
    {"blobs.failing", "blobs.recovered", "journal.failing", "journal.growing", "journal.lost", "journal.recovered"}
)
"""Notices of no workload that are Events all the same: without its journal the guard rolls nothing back."""


class EventChannel:
    """`ports.Channel` that writes a Kubernetes Event on the workload for each notice that is about it.

    A notice of the guard itself stands at the first of the objects `guard` that takes it. Any other is taken without a
    request. The Event's name comes from the notice's id: a repeat finds the name taken. The cluster is not closed with
    it. `kinds` tells, by namespace and name, which workloads are no Deployments.
    """

    def __init__(
        self,
        cluster: Cluster,
        kinds: Mapping[tuple[str, str], Kind] | None = None,
        guard: Sequence[Subject] = (),
    ) -> None:
        self._cluster = cluster
        self._kinds = kinds or {}
        self._guard = guard

    @property
    def name(self) -> str:
        """Unique among the configured channels; stable over restarts."""
        return NAME

    async def deliver(self, notice: Notice) -> Delivery:
        """Try once."""
        told: Delivery = Delivered()
        for subject in self._subjects(notice):
            told = await self._stands_at(subject, notice)
            if not isinstance(told, Undeliverable):
                break
        return told

    def _subjects(self, notice: Notice) -> Sequence[Subject]:
        if notice.event in ABOUT_THE_GUARD:
            return self._guard
        about_the_workload = notice.run or notice.event in ABOUT_THE_WORKLOAD
        if not (about_the_workload and notice.namespace and notice.deployment):
            return ()
        kind = self._kinds.get((notice.namespace, notice.deployment), Kind.DEPLOYMENT)
        return [Subject(kind, notice.namespace, notice.deployment)]

    async def _stands_at(self, subject: Subject, notice: Notice) -> Delivery:
        try:
            uid = await self._uid(subject)
            await self._cluster.create(Kind.EVENT, subject.namespace, event_of(notice, subject, uid))
        except Conflict:
            return Delivered()
        except Unavailable as error:
            return TryLater(error.reason, error.retry_after)
        except ClusterError as error:
            # Expired credentials come back; a missing permission or a namespace that is gone does not by itself.
            return TryLater(error.reason, error.retry_after) if error.status == 401 else Undeliverable(error.reason)
        return Delivered()

    async def aclose(self) -> None:
        """Nothing of its own to release."""

    async def _uid(self, subject: Subject) -> str:
        try:
            found = await self._cluster.get(subject.kind, subject.namespace, subject.name)
        except NotFound:
            return ""
        except Rejected as error:
            # An Event that is not tied to the object is better than none: this may be what it tells of.
            if error.status != 403:
                raise
            return ""
        return str(found["metadata"].get("uid", ""))


def event_of(notice: Notice, subject: Subject, uid: str) -> Json:
    """The Event for `notice` at `subject`; `uid` is that object's, empty when it is gone or cannot be read."""
    at = notice.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    involved = {
        "apiVersion": "v1" if subject.kind is Kind.POD else "apps/v1",
        "kind": subject.kind.value,
        "namespace": subject.namespace,
        "name": subject.name,
    }
    return {
        "apiVersion": "v1",
        "kind": Kind.EVENT.value,
        "metadata": {
            "name": f"{COMPONENT}.{hashlib.sha256(notice.id.encode()).hexdigest()[:40]}",
            "namespace": subject.namespace,
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


PLUGIN = ChannelPlugin(
    key="events",
    section=None,
    noun="Kubernetes Events",
    meaning="also as Kubernetes Events on the workload; of the guard itself, on its pod or the first target",
    make=lambda _, services: EventChannel(services.cluster, services.kinds, services.itself),
    own_name=NAME,
)
