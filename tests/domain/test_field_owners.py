"""Who wrote a field: by the managedFields that a v1.36 API server gives."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest

from logcaster_guard.domain.field_owners import (
    MANAGER,
    PAUSED,
    REPLICAS,
    handed_back,
    is_guards,
    owners_of,
    released_by,
    written_by,
)
from logcaster_guard.domain.provenance_reasons import FieldManager

SINCE = datetime(2026, 1, 1, 10, 0, 30, tzinfo=UTC)
IMAGE: dict[str, Any] = {"f:spec": {"f:containers": {'k:{"name":"app"}': {".": {}, "f:image": {}}}}}


def entry(manager: str, at: str, spec: dict[str, Any], **more: str) -> dict[str, Any]:
    return {
        "manager": manager,
        "time": f"2026-01-01T{at}Z",
        "fieldsV1": {"f:spec": spec},
        "operation": "Update",
        **more,
    }


def raw(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"managedFields": list(entries)}}


def test_an_autoscaler_is_told_from_a_person_by_its_field_manager() -> None:
    deployment = raw(
        entry("kubectl-client-side-apply", "10:02:00", {"f:template": IMAGE}),
        {
            "manager": "kube-controller-manager",
            "subresource": "scale",
            "fieldsV1": {"f:spec": {"f:replicas": {}}},
        },
    )
    assert written_by(deployment, REPLICAS, since=SINCE) == FieldManager("kube-controller-manager", None)


def test_of_several_owners_of_a_release_it_is_the_one_that_wrote_last() -> None:
    deployment = raw(
        entry("helm", "10:00:40", {"f:template": IMAGE}),
        entry("kubectl-edit", "10:01:00", {"f:template": {"f:spec": {"f:dnsPolicy": {}}}}),
        entry("kubectl-rollout", "10:05:00", {"f:template": {"f:metadata": {"f:annotations": {"f:x": {}}}}}),
    )
    assert released_by(deployment, since=SINCE) == FieldManager("kubectl-edit", datetime(2026, 1, 1, 10, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [entry("kubectl-edit", "10:01:00", {"f:minReadySeconds": {}})],
        [entry(MANAGER, "10:01:00", {"f:paused": {}})],
        # Written long before: what somebody took away meanwhile was not this one's to answer for.
        [entry("helm", "09:59:00", {"f:paused": {}})],
        [{"manager": "old-client", "fieldsV1": {"f:spec": {"f:paused": {}}}}],
    ],
    ids=["nobody", "another field", "the guard", "before", "without a time"],
)
def test_nobody_is_named_who_cannot_have_changed_it(entries: list[dict[str, Any]]) -> None:
    assert not written_by(raw(*entries), PAUSED, since=SINCE)


def test_a_clock_that_is_a_little_behind_hides_nobody() -> None:
    deployment = raw(entry("argocd-controller", "10:00:00", {"f:paused": {}}))
    assert written_by(deployment, PAUSED, since=SINCE) == FieldManager(
        "argocd-controller", datetime(2026, 1, 1, 10, 0, tzinfo=UTC)
    )


def owned_spec(manager: str, *fields: str, operation: str = "Update", **more: str) -> dict[str, Any]:
    spec: dict[str, Any] = {f"f:{name}": {} for name in fields}
    return {
        "manager": manager,
        "operation": operation,
        "apiVersion": "apps/v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": spec},
        **more,
    }


BEFORE = raw(owned_spec("ci", "replicas", "paused", operation="Apply"))
AFTER = raw(owned_spec("ci", "paused", operation="Apply"), owned_spec(MANAGER, "replicas", "minReadySeconds"))


def test_a_field_goes_back_to_the_manager_that_applied_it_and_to_nobody_else() -> None:
    mended = handed_back(AFTER, owners_of(BEFORE, REPLICAS), REPLICAS)
    assert mended == [
        owned_spec("ci", "paused", "replicas", operation="Apply"),
        owned_spec(MANAGER, "minReadySeconds"),
    ]
    assert not is_guards(raw(*mended), REPLICAS)


def test_a_manager_that_had_nothing_else_is_there_again() -> None:
    before = raw(owned_spec("kube-controller-manager", "replicas", subresource="scale"))
    after = raw(owned_spec("ci", "paused", operation="Apply"), owned_spec(MANAGER, "replicas"))
    assert handed_back(after, owners_of(before, REPLICAS), REPLICAS) == [
        owned_spec("ci", "paused", operation="Apply"),
        owned_spec("kube-controller-manager", "replicas", subresource="scale"),
    ]


def test_what_nobody_owned_is_nobodys_again() -> None:
    after = raw(owned_spec(MANAGER, "replicas"))
    assert handed_back(after, (), REPLICAS) == []


@pytest.mark.parametrize("operation", ["Update", "Apply"])
def test_what_the_guard_does_not_own_is_nobodys_to_give(operation: str) -> None:
    taken = raw(owned_spec("kubectl-edit", "replicas", operation=operation))
    assert handed_back(taken, owners_of(BEFORE, REPLICAS), REPLICAS) == taken["metadata"]["managedFields"]


def test_the_object_that_was_looked_at_stays_as_it_is() -> None:
    seen = copy.deepcopy(AFTER)
    handed_back(AFTER, owners_of(BEFORE, REPLICAS), REPLICAS)
    assert seen == AFTER
