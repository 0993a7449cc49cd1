from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.domain.workload import HASH_LABEL, Workload, images_of, restorable, revisions_of, template_hash
from logcaster_guard.messages.texts import english
from tests.domain.build import deployment, replica_set, template

DIGEST = "registry:5000/team/logcaster@sha256:" + "a" * 64


@pytest.mark.parametrize(
    "same",
    [
        template(labels={HASH_LABEL: "abc"}),
        template(annotations={"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"}),
        template(annotations={"prometheus.io/scrape": "true"}),
        {**template(), "metadata": {**template()["metadata"], "creationTimestamp": None}},
        dict(reversed(template().items())),
    ],
)
def test_what_changes_without_a_release_does_not_change_the_hash(same: dict[str, Any]) -> None:
    assert template_hash(same) == template_hash(template())


@pytest.mark.parametrize(
    "other",
    [
        template("logcaster/logcaster-c:1.1"),
        template("registry:5000/logcaster/logcaster-c:1.0"),
        template(DIGEST),
        template(labels={"version": "2"}),
        template(env=[{"name": "LOG_LEVEL", "value": "debug"}]),
    ],
)
def test_what_is_released_does(other: dict[str, Any]) -> None:
    assert template_hash(other) != template_hash(template())


def test_images_are_taken_whole() -> None:
    two = {"spec": {"containers": [{"image": DIGEST}, {"image": "registry:5000/name"}]}}
    assert images_of(two) == (DIGEST, "registry:5000/name")
    assert images_of({}) == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
LABELS = st.dictionaries(st.sampled_from(["app", HASH_LABEL, "version"]), st.text(max_size=3))


@given(JSON, LABELS, st.none() | st.dictionaries(st.text(max_size=3), st.text(max_size=3)))
def test_what_is_written_back_is_the_same_release(
    spec: Any, labels: dict[str, str], notes: dict[str, str] | None
) -> None:
    live = {"metadata": {"labels": labels, "annotations": notes, "creationTimestamp": None}, "spec": spec}
    kept = restorable(live)
    assert template_hash(kept) == template_hash(live)
    assert HASH_LABEL not in kept["metadata"]["labels"]
    assert kept["metadata"].get("annotations", {}) == (notes or {})
    assert restorable(kept) == kept


def status(**fields: Any) -> Workload:
    raw = deployment(replicas=4)
    raw["status"] |= fields
    return Workload(raw)


WHOLE = {"updatedReplicas": 4, "replicas": 4, "availableReplicas": 4}


@pytest.mark.parametrize(
    ("change", "whole"),
    [
        ({}, True),
        ({"observedGeneration": 3}, False),
        ({"updatedReplicas": 3}, False),
        ({"replicas": 5}, False),
        ({"availableReplicas": 3}, False),
    ],
)
def test_a_rollout_is_whole_by_the_rule_of_kubectl(change: dict[str, int], *, whole: bool) -> None:
    assert status(**{**WHOLE, **change}).rolled_out is whole


def test_pods_that_are_refused_are_told_of_with_the_reason_as_long_as_they_are() -> None:
    refused = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota:\n few" + "!" * 1_000}
    told = english().text(status(**{**WHOLE, "conditions": [refused]}).progress)
    assert told.startswith("4 of 4 updated, 4 available, 4 in all, pods are refused: exceeded quota: few!!")
    assert len(told) < 400
    calm = status(**{**WHOLE, "conditions": [{**refused, "status": "False"}]}).progress
    assert "refused" not in english().text(calm)


def managed(manager: str, operation: str, fields: dict[str, Any], time: str = "2026-01-01T00:00:00Z") -> dict[str, Any]:
    return {"manager": manager, "operation": operation, "time": time, "fieldsV1": fields}


IN_TEMPLATE: dict[str, Any] = {"f:spec": {"f:template": {"f:spec": {"f:containers": {}}}}}


@pytest.mark.parametrize(
    ("entries", "manager"),
    [
        ([], None),
        ([managed("kubectl", "Apply", IN_TEMPLATE)], "kubectl"),
        ([managed("kubectl-client-side-apply", "Update", IN_TEMPLATE)], None),
        ([managed("kubectl", "Apply", {"f:spec": {"f:replicas": {}}})], None),
        # Beside another owner of the template its apply could not bring the whole template back.
        ([managed("kubectl", "Apply", IN_TEMPLATE), managed("kubectl-set", "Update", IN_TEMPLATE)], None),
        ([managed("kubectl", "Apply", IN_TEMPLATE), managed("kcm", "Update", {"f:status": {}})], "kubectl"),
        ([managed("kubectl", "Apply", IN_TEMPLATE), {"manager": "odd", "fieldsV1": None}], "kubectl"),
    ],
)
def test_who_applied_the_template_on_the_servers_side(entries: list[dict[str, Any]], manager: str | None) -> None:
    assert Workload(deployment(managed_fields=entries)).server_side_manager() == manager


def test_when_the_template_was_written_last() -> None:
    entries = [
        managed("a", "Update", IN_TEMPLATE, "2026-01-01T00:00:00Z"),
        managed("b", "Update", IN_TEMPLATE, "2026-01-02T00:00:00Z"),
        managed("c", "Update", {"f:spec": {"f:replicas": {}}}, "2026-01-03T00:00:00Z"),
    ]
    found = Workload(deployment(managed_fields=entries)).template_written_at
    assert found is not None
    assert found.isoformat() == "2026-01-02T00:00:00+00:00"
    assert Workload(deployment()).template_written_at is None


def test_the_spec_digest_ignores_annotations_and_sees_every_change_of_the_spec() -> None:
    plain = Workload(deployment())
    assert Workload(deployment(annotations={"a": "b"})).spec_digest == plain.spec_digest
    assert Workload(deployment(replicas=9)).spec_digest != plain.spec_digest
    assert Workload(deployment(template("v2"))).spec_digest != plain.spec_digest


def test_revisions_in_order_with_every_number_they_had() -> None:
    odd = replica_set(9, "odd", 0)
    odd["metadata"]["annotations"] = {}
    found = revisions_of(
        Workload(deployment()),
        [replica_set(5, "v1", 0, earlier=[3, 1]), odd, replica_set(4, "v3", 0), replica_set(6, "x", 0, owner="y")],
    )
    assert [r.numbers for r in found] == [(4,), (1, 3, 5)]
    assert [r.hash for r in found] == [template_hash(template("v3")), template_hash(template("v1"))]
