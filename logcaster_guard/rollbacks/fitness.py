"""Whether a workload can carry a release, and its Service find the pods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from logcaster_guard.domain import capacity
from logcaster_guard.domain.capacity import labels_of, matches
from logcaster_guard.domain.guardrails import Guardrail
from logcaster_guard.domain.planning_reasons import AnotherAccount, AnotherSelector, ServiceDeselects
from logcaster_guard.domain.releases import Release
from logcaster_guard.domain.sidecar import account_of, holds_guard
from logcaster_guard.domain.workload import Workload, images_of
from logcaster_guard.rollbacks.not_applicable import NotApplicable


def unfit_release(workload: Workload, release: Release) -> NotApplicable | None:
    """Why the workload cannot carry the release, whichever way it is brought there; None if it can."""
    return another_selector(workload, release) or _another_account(workload, release)


def another_selector(workload: Workload, release: Release) -> NotApplicable | None:
    """A workload that was deleted and made again may know its pods by other labels: a selector cannot be changed."""
    selector = workload.raw["spec"].get("selector")
    if selector is None or matches(selector, labels_of(release.template)):
        return None
    reason = AnotherSelector(workload.full_name, images_of(release.template))
    return NotApplicable((reason,), Guardrail.SELECTOR_CHANGED)


def deselected(workload: Workload, release: Release, service: Mapping[str, Any] | None) -> NotApplicable | None:
    """A Service that selects by a label which came with the present release would send the good one no requests."""
    selector = {} if service is None else (service.get("spec") or {}).get("selector") or {}
    now, then = (capacity.selects(selector, labels_of(t)) for t in (workload.template, release.template))
    if service is None or not now or then:
        return None
    name = f"{workload.namespace}/{service['metadata']['name']}"
    reason = ServiceDeselects(name, images_of(release.template), capacity.written(selector))
    return NotApplicable((reason,), Guardrail.SELECTOR_CHANGED)


def _another_account(workload: Workload, release: Release) -> NotApplicable | None:
    """A guard in the workload's pods could not go on in those of a release that runs as another account."""
    now, then = (account_of(t) for t in (workload.template, release.template))
    if not holds_guard(workload.template) or now == then:
        return None
    return NotApplicable((AnotherAccount(workload.key, now, then),))
