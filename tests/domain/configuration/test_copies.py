"""What pods read in place of shared ConfigMaps and Secrets, and who refers to that."""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.domain.configuration.copies import COPY_LABEL, copy_name, held, is_copy, referring, users
from logcaster_guard.domain.configuration.followed import never_followed
from logcaster_guard.domain.configuration.references import ConfigKind, ConfigObject, objects_of, references_of
from tests.domain.configuration.build import config_map
from tests.domain.configuration.test_references import env, pod_template

Json = dict[str, Any]
MAP, SECRET = ConfigKind.CONFIG_MAP, ConfigKind.SECRET
COPIES = {(kind, name): f"{name}-1" for kind in ConfigKind for name in ("app", "more")}
MAPS = {(kind, name): made for (kind, name), made in COPIES.items() if kind is MAP}
MOUNT = {"name": "v", "mountPath": "/x", "subPath": "a"}
PROJECTED = {
    "name": "v",
    "projected": {
        "sources": [
            {"configMap": {"name": "app", "items": [{"key": "a", "path": "a"}], "optional": True}},
            {"secret": {"name": "app"}},
            {"configMap": {"name": "kept"}},
            {"secret": {"name": "kept"}},
        ]
    },
}


@pytest.mark.parametrize(
    "template",
    [
        pod_template(env=[env("configMapKeyRef", "app", "k", optional=True)]),
        pod_template(envFrom=[{"prefix": "P_", "configMapRef": {"name": "app", "optional": True}}]),
        pod_template({"name": "v", "configMap": {"name": "app", "defaultMode": 0o400}}, volumeMounts=[MOUNT]),
        pod_template(PROJECTED, volumeMounts=[MOUNT]),
        pod_template(kind="initContainers", envFrom=[{"configMapRef": {"name": "app"}}]),
        pod_template(env=[env("secretKeyRef", "app", "k", optional=True)]),
        pod_template(envFrom=[{"prefix": "P_", "secretRef": {"name": "app", "optional": True}}]),
        pod_template({"name": "v", "secret": {"secretName": "app", "defaultMode": 0o400}}, volumeMounts=[MOUNT]),
        # A volume that nobody mounts is changed too: nothing of the bad one is left.
        pod_template({"name": "v", "configMap": {"name": "app"}}),
    ],
)
def test_each_reference_names_the_copy_and_is_as_it_was_in_all_else(template: Json) -> None:
    before = copy.deepcopy(template)
    found = referring(template, COPIES)
    assert template == before
    assert "app-1" in str(found)
    assert str(found).replace("app-1", "app") == str(before)


def test_what_is_not_copied_stays_and_so_does_the_other_kind_of_the_name() -> None:
    template = pod_template(PROJECTED, env=[env("secretKeyRef", "app", "k")], volumeMounts=[MOUNT])
    template["spec"]["imagePullSecrets"] = [{"name": "app"}]
    found = referring(template, MAPS)
    names = {(str(o.kind), o.name) for o in objects_of(references_of(found, "shop"))}
    assert names == {("ConfigMap", "app-1"), ("ConfigMap", "kept"), ("Secret", "app"), ("Secret", "kept")}
    # What the kubelet pulls images with is no configuration.
    assert referring(template, COPIES)["spec"]["imagePullSecrets"] == [{"name": "app"}]


NAMES = st.sampled_from(["app", "more", "kept", "db"])
OPTIONAL = st.fixed_dictionaries({}, optional={"optional": st.booleans()})


def named(*fields: str) -> st.SearchStrategy[Json]:
    return st.builds(
        lambda field, name, more: {field: {"name": name, **more}}, st.sampled_from(fields), NAMES, OPTIONAL
    )


VARIABLES = named("configMapKeyRef", "secretKeyRef").map(
    lambda found: {"name": "V", "valueFrom": {f: {**r, "key": "k"} for f, r in found.items()}}
)
IMPORTS = st.builds(
    lambda source, prefix: {**source, **prefix},
    named("configMapRef", "secretRef"),
    st.fixed_dictionaries({}, optional={"prefix": st.just("P_")}),
)
CONTAINERS = st.builds(
    lambda name, env, env_from, mounts: {"name": name, "env": env, "envFrom": env_from, "volumeMounts": mounts},
    st.sampled_from(["a", "b"]),
    st.lists(VARIABLES, max_size=3),
    st.lists(IMPORTS, max_size=3),
    st.lists(st.builds(lambda n: {"name": f"v{n}", "mountPath": "/x"}, st.integers(0, 2)), max_size=2),
)


def numbered(found: list[Json]) -> list[Json]:
    return [{**volume, "name": f"v{n}"} for n, volume in enumerate(found)]


VOLUMES = st.lists(
    st.one_of(
        named("configMap"),
        NAMES.map(lambda name: {"secret": {"secretName": name}}),
        st.lists(named("configMap", "secret"), max_size=3).map(lambda found: {"projected": {"sources": found}}),
        st.just({"emptyDir": {}}),
    ),
    max_size=3,
).map(numbered)
TEMPLATES = st.fixed_dictionaries(
    {
        "metadata": st.just({"labels": {"app": "web"}}),
        "spec": st.fixed_dictionaries(
            {"containers": st.lists(CONTAINERS, min_size=1, max_size=2), "volumes": VOLUMES},
            optional={"initContainers": st.lists(CONTAINERS, max_size=2), "nodeName": st.just("app")},
        ),
    }
)


@given(TEMPLATES, st.sets(st.tuples(st.sampled_from(ConfigKind), st.sampled_from(["app", "more", "kept"]))))
def test_no_reference_to_what_was_copied_is_left_and_nothing_else_has_changed(
    template: Json, copied: set[tuple[ConfigKind, str]]
) -> None:
    names = {(kind, name): f"copy-of-{name}" for kind, name in copied}
    found = referring(template, names)
    assert not {(o.kind, o.name) for o in objects_of(references_of(found, "shop"))} & copied
    # Back again it is what it was, so that nothing but names has changed.
    assert referring(found, {(kind, new): old for (kind, old), new in names.items()}) == template

    def called(one: ConfigObject) -> ConfigObject:
        return replace(one, name=names.get((one.kind, one.name), one.name))

    before = [replace(r, object=called(r.object)) for r in references_of(template, "shop")]
    assert list(references_of(found, "shop")) == list(dict.fromkeys(before))


@given(
    st.from_regex(r"[a-z0-9]([-a-z0-9]{0,62}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,62}[a-z0-9])?){0,8}", fullmatch=True)
    .filter(lambda name: len(name) <= 253)
)  # fmt: skip
def test_a_copys_name_is_one_that_kubernetes_takes(name: str) -> None:
    made = copy_name(name, "digest", "run")
    assert len(made) <= 253
    label = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
    assert re.fullmatch(rf"{label}(\.{label})*", made)


def test_another_content_another_object_and_another_run_each_have_a_copy_of_their_own() -> None:
    long = "x" * 253
    asked = [
        ("a", "d", "r"),
        ("a", "e", "r"),
        ("b", "d", "r"),
        ("a", "d", "s"),
        (long, "d", "r"),
        (long + "y", "d", "r"),
    ]
    assert len({copy_name(*one) for one in asked}) == len(asked)


def test_a_copy_holds_what_was_saved_for_good_and_carries_nothing_else() -> None:
    saved = config_map({"a": "1"}, binary={"b": "\x00"}, labels={"argocd.argoproj.io/instance": "web"})
    made = held(saved)
    assert made == {"data": {"a": "1"}, "binaryData": saved["binaryData"], "immutable": True}
    assert is_copy(made, saved)
    assert not is_copy({**made, "immutable": False}, saved)
    assert not is_copy({**made, "data": {"a": "2"}}, saved)
    assert not is_copy({**made, "type": "Opaque"}, saved)
    assert held({"type": "Opaque", "data": {"a": "YQ=="}, "metadata": {}})["type"] == "Opaque"
    # It is followed as any other that pods read.
    for kind in ConfigKind:
        assert never_followed(kind, {"metadata": {"name": "x", "labels": {COPY_LABEL: "true"}}}) is None


def raw(name: str, spec: Json, owner: str = "", *, leaves: bool = False, of: str = "ReplicaSet") -> Json:
    metadata: Json = {"name": name, "uid": name}
    if owner:
        kind = "Deployment" if "template" in spec else of
        metadata["ownerReferences"] = [{"kind": kind, "uid": owner, "controller": True}]
    return {"metadata": {**metadata, **({"deletionTimestamp": "now"} if leaves else {})}, "spec": spec}


READS = {"containers": [{"name": "c", "envFrom": [{"configMapRef": {"name": "copy"}}]}]}
OF_READERS = {"template": {"spec": READS}}


@pytest.mark.parametrize(
    ("deployments", "sets", "pods", "found"),
    [
        ([], [], [], []),
        ([raw("web", {"template": {"spec": {"containers": []}}})], [], [], []),
        ([raw("d", OF_READERS)], [], [], [("Deployment d", False)]),
        ([raw("d", OF_READERS, leaves=True)], [], [], [("Deployment d", True)]),
        # Its Deployment is gone: it is collected.
        ([], [raw("r", OF_READERS, "d")], [raw("p", READS, "r")], [("ReplicaSet r", True), ("Pod p", True)]),
        ([raw("d", OF_READERS, leaves=True)], [], [raw("p", READS, "r")], [("Deployment d", True), ("Pod p", True)]),
        # Somebody has orphaned it, or taken it in: it stays.
        ([], [raw("r", OF_READERS)], [raw("p", READS, "r")], [("ReplicaSet r", False), ("Pod p", False)]),
        ([raw("web", {})], [raw("r", OF_READERS, "web")], [], [("ReplicaSet r", False)]),
        ([], [], [raw("p", READS)], [("Pod p", False)]),
        # Whether a Job is there was not looked at.
        ([], [], [raw("p", READS, "j", of="Job")], [("Pod p", False)]),
    ],
)
def test_who_refers_to_a_copy_and_whether_it_is_on_its_way_out(
    deployments: list[Json], sets: list[Json], pods: list[Json], found: list[tuple[str, bool]]
) -> None:
    listed = {"Deployment": deployments, "ReplicaSet": sets, "Pod": pods}
    assert users((MAP, "copy"), listed) == found
    assert users((SECRET, "copy"), listed) == []
