from __future__ import annotations

from typing import Any

import pytest

from logcaster_guard.sandbox.apiserver.errors import ApiError
from logcaster_guard.sandbox.apiserver.merging import strategic_merge

Json = dict[str, Any]


def pod(*containers: Json, **spec: Any) -> Json:
    return {"spec": {"containers": list(containers), **spec}}


A, B, C = {"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}, {"name": "c", "image": "c:1"}


@pytest.mark.parametrize(
    ("document", "patch", "wanted"),
    [
        (pod(A, B), pod({"name": "b", "image": "b:2"}), pod(A, {"name": "b", "image": "b:2"})),
        (pod(A), pod(B), pod(A, B)),
        (pod(A, B), pod({"name": "a", "$patch": "delete"}), pod(B)),
        (pod(A, B), pod({"$patch": "replace"}, C), pod(C)),
        (pod(A), pod({"name": "a", "image": None}), pod({"name": "a"})),
        (pod(A, volumes=[{"name": "v", "emptyDir": {}}]), pod(volumes=[{"name": "v", "$patch": "delete"}]), None),
        (
            pod(A, B),
            {"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}},
            pod(B, A),
        ),
        (
            pod(A, C),
            {"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}], "containers": [B]}},
            pod(B, A, C),
        ),
        (
            {"metadata": {"finalizers": ["a"]}},
            {"metadata": {"finalizers": ["b"]}},
            {"metadata": {"finalizers": ["a", "b"]}},
        ),
        (
            {"metadata": {"finalizers": ["a", "b"]}},
            {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}},
            {"metadata": {"finalizers": ["b"]}},
        ),
        ({"spec": {"x": {"a": 1}}}, {"spec": {"x": {"$patch": "replace", "b": 2}}}, {"spec": {"x": {"b": 2}}}),
        ({"spec": {"x": {"a": 1, "b": 2}}}, {"spec": {"x": {"$retainKeys": ["b"], "b": 3}}}, {"spec": {"x": {"b": 3}}}),
        ({"spec": {"args": [1, 2]}}, {"spec": {"args": [3]}}, {"spec": {"args": [3]}}),
    ],
)
def test_a_pod_template_merges_as_the_api_types_say(document: Json, patch: Json, wanted: Json | None) -> None:
    merged = strategic_merge("Pod", document, patch)
    assert merged == (pod(A, volumes=[]) if wanted is None else wanted)


def test_ports_merge_by_a_key_that_depends_on_where_they_are() -> None:
    service = {"spec": {"ports": [{"port": 80, "name": "x"}]}}
    patch = {"spec": {"ports": [{"port": 80, "name": "y"}, {"port": 81}]}}
    assert strategic_merge("Service", service, patch) == {"spec": {"ports": [{"port": 80, "name": "y"}, {"port": 81}]}}
    container = pod({"name": "a", "ports": [{"containerPort": 1, "name": "x"}]})
    merged = strategic_merge("Pod", container, pod({"name": "a", "ports": [{"containerPort": 2}]}))
    assert len(merged["spec"]["containers"][0]["ports"]) == 2
    replaced = strategic_merge("EndpointSlice", {"ports": [{"port": 1}]}, {"ports": [{"port": 2}]})
    assert replaced == {"ports": [{"port": 2}]}


@pytest.mark.parametrize(
    "patch",
    [[], pod({"image": "nameless"}), {"spec": {"$patch": "dance"}}, {"spec": {"containers": ["a"]}}],
)
def test_a_malformed_patch_is_refused(patch: Any) -> None:
    with pytest.raises(ApiError) as refusal:
        strategic_merge("Pod", pod(A), patch)
    assert refusal.value.code == 400
