from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.domain import releases
from logcaster_guard.domain.releases import Release
from logcaster_guard.domain.workload import CHANGE_CAUSE, LAST_APPLIED, Workload, template_hash
from tests.domain.build import deployment, template

V1, V2 = template("logcaster/logcaster-c:1.0"), template("logcaster/logcaster-c:2.0")


def last_applied(pod_template: Mapping[str, Any], **spec: Any) -> str:
    return json.dumps({"kind": "Deployment", "spec": {"template": pod_template, **spec}}) + "\n"


def patched(raw: Mapping[str, Any], operations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """As the API server would do it: RFC 6902, for the operations that the guard uses."""
    found: dict[str, Any] = copy.deepcopy(dict(raw))
    for operation in operations:
        *path, last = [p.replace("~1", "/").replace("~0", "~") for p in operation["path"].split("/")[1:]]
        place = found
        for part in path:
            place = place[part]
        if operation["op"] == "remove":
            del place[last]
        else:
            assert operation["op"] == "add" or last in place
            place[last] = operation["value"]
    return found


def restored(bad: dict[str, Any], good: dict[str, Any]) -> Workload:
    release = releases.of_workload(Workload(good))
    return Workload(patched(bad, releases.restoring_patch(Workload(bad), release)))


def test_the_patch_brings_the_good_release_back() -> None:
    good = deployment(V1, annotations={CHANGE_CAUSE: "one"})
    bad = deployment(V2, annotations={CHANGE_CAUSE: "two", "guard.logcaster.io/freeze": "false", "team": "a"})
    found = restored(bad, good)
    assert found.template == V1
    assert found.annotations == {CHANGE_CAUSE: "one", "guard.logcaster.io/freeze": "false", "team": "a"}
    assert found.replicas == 3


def test_it_holds_only_for_the_version_that_was_looked_at() -> None:
    operations = releases.restoring_patch(Workload(deployment(V2)), Release(V1))
    assert operations[0] == {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"}
    assert [o["path"] for o in operations[1:]] == ["/spec/template"]


@pytest.mark.parametrize("cause", [None, "one"])
@pytest.mark.parametrize("present", [{}, {CHANGE_CAUSE: "two"}, {CHANGE_CAUSE: "one"}, {"other": "x"}])
def test_the_change_cause_becomes_the_good_ones(cause: str | None, present: dict[str, str]) -> None:
    found = Workload(
        patched(
            deployment(V2, annotations=present),
            releases.restoring_patch(Workload(deployment(V2, annotations=present)), Release(V1, cause)),
        )
    )
    assert found.annotations.get(CHANGE_CAUSE) == cause
    assert found.annotations.get("other") == present.get("other")


def test_last_applied_gets_the_good_template_and_keeps_the_rest() -> None:
    written = {"metadata": {"labels": {"app": "logcaster"}}, "spec": {"containers": [{"name": "c", "image": "v1"}]}}
    good = deployment(V1, annotations={LAST_APPLIED: last_applied(written, replicas=2)})
    bad = deployment(V2, annotations={LAST_APPLIED: last_applied(V2, replicas=5)})
    found = restored(bad, good).last_applied
    assert found is not None
    assert json.loads(found) == {"kind": "Deployment", "spec": {"template": written, "replicas": 5}}
    assert found.endswith("\n")


BROKEN = ["", "nonsense", "null", "[]", '{"spec": 3}', '{"spec": {"template": 3}}', "[" * 100_000]


@pytest.mark.parametrize("broken", BROKEN, ids=range(len(BROKEN)))
def test_a_last_applied_that_says_nothing_is_left_alone(broken: str) -> None:
    bad = deployment(V2, annotations={LAST_APPLIED: broken})
    assert releases.of_workload(Workload(bad)).applied_template is None
    good = deployment(V1, annotations={LAST_APPLIED: last_applied(V1)})
    assert restored(bad, good).last_applied == broken


def test_it_is_known_when_last_applied_stays_at_the_bad_release() -> None:
    bad = Workload(deployment(V2, annotations={LAST_APPLIED: last_applied(V2)}))
    assert releases.leaves_last_applied(bad, Release(V1))
    assert not releases.leaves_last_applied(bad, Release(V1, applied_template=V1))
    assert not releases.leaves_last_applied(Workload(deployment(V2)), Release(V1))


JSON = st.dictionaries(
    st.text(max_size=5), st.text(max_size=5) | st.integers() | st.lists(st.text(max_size=3)), max_size=4
)


@given(JSON, st.none() | st.text(), st.none() | JSON)
def test_a_saved_release_is_read_back_the_same(
    spec: dict[str, Any], cause: str | None, applied: dict[str, Any] | None
) -> None:
    release = Release({"metadata": {"labels": {}}, "spec": spec}, cause, applied)
    assert Release.from_bytes(release.to_bytes()) == release
    assert release.hash == template_hash(release.template)


CONTAINER = {"name": "c", "image": "v2", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}], "tty": True}
WORLD: dict[str, Any] = {
    "metadata": {"labels": {"app": "x", "tier": "y"}, "finalizers": ["a", "b"]},
    "spec": {"replicas": 3, "paused": False, "template": {"spec": {"containers": [CONTAINER, {"name": "side"}]}}},
}


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({}, WORLD),
        ({"f:spec": {"f:replicas": {}}}, {"spec": {"replicas": 3}}),
        ({"f:spec": {"f:gone": {}}}, {"spec": {}}),
        ({"f:metadata": {"f:labels": {".": {}, "f:app": {}}}}, {"metadata": {"labels": {"app": "x"}}}),
        ({"f:metadata": {"f:finalizers": {".": {}, 'v:"b"': {}}}}, {"metadata": {"finalizers": ["b"]}}),
        (
            {
                "f:spec": {
                    "f:template": {
                        "f:spec": {
                            "f:containers": {
                                'k:{"name":"c"}': {
                                    ".": {},
                                    "f:name": {},
                                    "f:image": {},
                                    "f:env": {'k:{"name":"B"}': {".": {}, "f:name": {}, "f:value": {}}},
                                }
                            }
                        }
                    }
                }
            },
            {
                "spec": {
                    "template": {
                        "spec": {"containers": [{"name": "c", "image": "v2", "env": [{"name": "B", "value": "2"}]}]}
                    }
                }
            },
        ),
    ],
)
def test_the_part_that_a_manager_owns(fields: dict[str, Any], part: dict[str, Any]) -> None:
    assert releases.owned(WORLD, fields) == part


def test_the_applied_set_is_the_managers_own_with_the_good_template() -> None:
    fields = {
        "f:metadata": {"f:annotations": {f"f:{CHANGE_CAUSE}": {}}, "f:labels": {"f:app": {}}},
        "f:spec": {
            "f:replicas": {},
            "f:template": {"f:spec": {"f:containers": {'k:{"name":"logcaster"}': {"f:image": {}}}}},
        },
    }
    bad = deployment(
        V2,
        annotations={CHANGE_CAUSE: "two", "team": "a"},
        managed_fields=[{"manager": "kubectl", "operation": "Apply", "fieldsV1": fields}],
    )
    bad["metadata"]["labels"] = {"app": "x", "other": "y"}
    body = releases.applied_set(Workload(bad), Release(V1, "one"), "kubectl")
    assert body == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "logcaster-prod",
            "namespace": "default",
            "uid": bad["metadata"]["uid"],
            "resourceVersion": "7",
            "annotations": {CHANGE_CAUSE: "one"},
            "labels": {"app": "x"},
        },
        "spec": {"replicas": 3, "template": V1},
    }
    assert releases.applied_set(Workload(bad), Release(V1), "another") is None
