from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.domain import releases
from logcaster_guard.domain.releases import Release
from logcaster_guard.domain.sidecar import CONTAINER, holds_guard, with_guard_of, without_guard
from logcaster_guard.domain.workload import LAST_APPLIED, Workload, images_of, template_hash

Json = dict[str, Any]


def app(image: str, *mounts: str, name: str = "web") -> Json:
    return {"name": name, "image": image, **mounted(*mounts)}


def guard(version: str, *mounts: str) -> Json:
    return {"name": CONTAINER, "image": f"logcaster/logcaster-guard:{version}", **mounted(*mounts)}


def mounted(*names: str) -> Json:
    return {"volumeMounts": [{"name": n, "mountPath": f"/{n}"} for n in names]} if names else {}


def template(*containers: Json, volumes: tuple[str, ...] = (), init: tuple[Json, ...] = ()) -> Json:
    spec: Json = {"containers": list(containers), "serviceAccountName": "web"}
    if volumes:
        spec["volumes"] = [{"name": v, "emptyDir": {}} for v in volumes]
    if init:
        spec["initContainers"] = list(init)
    return {"metadata": {"labels": {"app": "web"}}, "spec": spec}


PLAIN = template(app("web:1"))


@pytest.mark.parametrize(
    "same",
    [
        template(app("web:1"), guard("0.1")),
        template(guard("0.2"), app("web:1")),
        template(app("web:1"), guard("0.1", "config"), volumes=("config",)),
        template(app("web:1"), init=(guard("0.1"),)),
    ],
)
def test_a_guard_in_the_pods_whatever_its_version_is_no_part_of_a_release(same: Json) -> None:
    assert template_hash(same) == template_hash(PLAIN)
    assert without_guard(same) == PLAIN
    assert images_of(same) == ("web:1",)


@pytest.mark.parametrize(
    "other",
    [
        template(app("web:2"), guard("0.1")),
        template(app("web:1", name="logcaster-guard-2"), guard("0.1")),
        template(app("web:1", "data"), guard("0.1", "data"), volumes=("data",)),
        template(app("web:1"), guard("0.1"), volumes=("of-nobody",)),
        {**PLAIN, "spec": {**PLAIN["spec"], "serviceAccountName": "other"}},
    ],
)
def test_everything_else_is(other: Json) -> None:
    assert template_hash(other) != template_hash(PLAIN)


def test_the_guard_stays_as_it_is_when_a_good_release_is_restored() -> None:
    good = template(app("web:1", "data"), guard("0.1", "config"), volumes=("data", "config"))
    present = template(app("web:2"), guard("0.2", "config", "secrets"), volumes=("config", "secrets"))
    restored = with_guard_of(good, present)
    assert restored["spec"]["containers"] == [app("web:1", "data"), guard("0.2", "config", "secrets")]
    assert [v["name"] for v in restored["spec"]["volumes"]] == ["data", "config", "secrets"]
    assert template_hash(restored) == template_hash(good)


def test_a_release_from_before_the_guard_was_there_takes_it_in() -> None:
    present = template(guard("0.2", "config"), app("web:2"), volumes=("config",), init=(guard("0.2"),))
    restored = with_guard_of(PLAIN, present)
    assert restored["spec"]["containers"] == [guard("0.2", "config"), app("web:1")]
    assert restored["spec"]["initContainers"] == [guard("0.2")]
    assert template_hash(restored) == template_hash(PLAIN)


def test_a_volume_that_the_guard_shares_comes_with_it_only_where_it_is_missing() -> None:
    present = template(app("web:2", "shared"), guard("0.2", "shared"), volumes=("shared",))
    restored = with_guard_of(PLAIN, present)
    assert [v["name"] for v in restored["spec"]["volumes"]] == ["shared"]
    assert template_hash(restored) == template_hash(PLAIN)


def test_where_no_guard_is_in_the_pods_none_is_brought_back() -> None:
    good = template(app("web:1"), guard("0.1"))
    assert with_guard_of(good, template(app("web:2"))) == PLAIN
    assert with_guard_of(PLAIN, template(app("web:2"))) == PLAIN


TEMPLATES = st.builds(
    lambda apps, own, shared, init: template(
        *[app(f"web:{n}", *(["shared"] if shared else []), name=f"web-{i}") for i, n in enumerate(apps)],
        *[guard(str(n), "config", *(["shared"] if shared else [])) for n in own],
        volumes=(*(("config",) if own else ()), *(("shared",) if shared else ())),
        init=tuple(guard(str(n)) for n in own) if init else (),
    ),
    st.lists(st.integers(1, 3), min_size=1, max_size=3),
    st.lists(st.integers(1, 3), max_size=1),
    st.booleans(),
    st.booleans(),
)


@given(good=TEMPLATES, present=TEMPLATES)
def test_what_is_restored_is_the_good_release_with_the_present_guard(good: Json, present: Json) -> None:
    before = copy.deepcopy((good, present))
    restored = with_guard_of(good, present)
    assert (good, present) == before
    assert template_hash(restored) == template_hash(good)
    assert holds_guard(restored) is holds_guard(present)
    mine = [c for c in restored["spec"]["containers"] if c["name"] == CONTAINER]
    assert mine == [c for c in present["spec"]["containers"] if c["name"] == CONTAINER]
    volumes = [v["name"] for v in restored["spec"].get("volumes") or []]
    assert len(set(volumes)) == len(volumes)
    mounts = {m["name"] for c in restored["spec"]["containers"] for m in c.get("volumeMounts") or []}
    assert mounts <= set(volumes)
    assert with_guard_of(restored, present) == restored


def workload(present: Json, **metadata: Any) -> Workload:
    return Workload(
        {
            "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "7", **metadata},
            "spec": {"template": present},
        }
    )


def test_the_write_carries_the_guard_over_in_the_template_and_in_last_applied() -> None:
    present = template(app("web:2"), guard("0.2"))
    good = template(app("web:1"), guard("0.1"))
    applied = json.dumps({"kind": "Deployment", "spec": {"template": present}})
    now = workload(present, annotations={LAST_APPLIED: applied})
    release = Release(good, None, good).carried_into(now)
    patch = {p["path"]: p["value"] for p in releases.restoring_patch(now, release)}
    wanted = [app("web:1"), guard("0.2")]
    assert patch["/spec/template"]["spec"]["containers"] == wanted
    written = json.loads(patch["/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration"])
    assert written["spec"]["template"]["spec"]["containers"] == wanted
