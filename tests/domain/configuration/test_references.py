"""What a pod template refers to, and when its containers read it."""

from __future__ import annotations

from typing import Any

import pytest

from logcaster_guard.domain.configuration.references import (
    POD,
    ConfigKind,
    ConfigObject,
    ConfigReference,
    ReadAt,
    named_in_settings,
    objects_of,
    references_of,
)
from logcaster_guard.domain.sidecar import CONTAINER
from tests.domain.configuration.build import APP, DB, variable, variables, volume

FROM_VOLUME = ReadAt.START_FROM_VOLUME
MOUNT = {"name": "v", "mountPath": "/etc/app"}
CONFIG = {"name": "v", "configMap": {"name": "app", "defaultMode": 0o400}}
ITEMS = {
    "name": "v",
    "configMap": {"name": "app", "items": [{"key": "a", "path": "x/a.txt"}, {"key": "b", "path": "b"}]},
}
TWICE = {"name": "v", "configMap": {"name": "app", "items": [{"key": "a", "path": "x"}, {"key": "a", "path": "y"}]}}


def pod_template(
    *volumes: dict[str, Any], kind: str = "containers", name: str = "web", **container: Any
) -> dict[str, Any]:
    spec: dict[str, Any] = {"containers": [{"name": "other", "image": "i"}]}
    spec[kind] = [*spec.get(kind, []), {"name": name, "image": "i", **container}]
    return {"metadata": {"labels": {"app": "web"}}, "spec": {**spec, "volumes": list(volumes)}}


def env(field: str, name: str, key: str, **more: Any) -> dict[str, Any]:
    return {"name": "V", "valueFrom": {field: {"name": name, "key": key, **more}}}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (pod_template(env=[env("configMapKeyRef", "app", "k")]), [variable("k")]),
        (pod_template(env=[env("configMapKeyRef", "app", "k", optional=True)]), [variable("k", optional=True)]),
        (pod_template(env=[env("secretKeyRef", "db", "k")]), [variable("k", of=DB)]),
        (pod_template(env=[env("secretKeyRef", "db", "k"), env("secretKeyRef", "db", "k")]), [variable("k", of=DB)]),
        (pod_template(envFrom=[{"configMapRef": {"name": "app"}}]), [variables()]),
        (pod_template(envFrom=[{"prefix": "P_", "configMapRef": {"name": "app"}}]), [variables("P_")]),
        (pod_template(envFrom=[{"secretRef": {"name": "db", "optional": True}}]), [variables(of=DB, optional=True)]),
        (pod_template(CONFIG, volumeMounts=[MOUNT]), [volume()]),
        (pod_template(ITEMS, volumeMounts=[MOUNT]), [volume(("a", "b"))]),
        (pod_template({"name": "v", "secret": {"secretName": "db"}}, volumeMounts=[MOUNT]), [volume(of=DB)]),
    ],
)  # fmt: skip
def test_a_reference_tells_which_keys_are_read_and_when(given: dict[str, Any], expected: list[ConfigReference]) -> None:
    assert list(references_of(given, "shop")) == expected


def test_the_sources_of_a_projected_volume_are_references_each_less_those_that_are_no_configuration() -> None:
    sources = [
        {"configMap": {"name": "app", "optional": True}},
        {"secret": {"name": "db", "items": [{"key": "k", "path": "k"}]}},
        {"serviceAccountToken": {"path": "token"}},
        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        {"clusterTrustBundle": {"name": "ca", "path": "ca"}},
    ]
    given = pod_template({"name": "v", "projected": {"sources": sources}}, volumeMounts=[MOUNT])
    assert references_of(given, "shop") == (volume(optional=True), volume(("k",), of=DB))


@pytest.mark.parametrize(
    ("source", "sub_path", "keys"),
    [
        (CONFIG, "app.yaml", ("app.yaml",)),
        (CONFIG, "./app.yaml", ("app.yaml",)),
        (ITEMS, "x", ("a",)),
        (ITEMS, "x/a.txt", ("a",)),
        (ITEMS, "b", ("b",)),
        (ITEMS, "bb", ()),
        (TWICE, "x", ("a",)),
    ],
)
def test_a_sub_path_is_read_at_the_start_and_only_what_lies_there(
    source: dict[str, Any], sub_path: str, keys: tuple[str, ...]
) -> None:
    given = pod_template(source, volumeMounts=[{**MOUNT, "subPath": sub_path}])
    needed = tuple(sorted({item["key"] for item in source["configMap"].get("items", [])}))
    assert references_of(given, "shop") == (ConfigReference(APP, "web", FROM_VOLUME, keys, needed),)


def test_a_sub_path_that_only_the_kubelet_can_tell_may_be_any_key() -> None:
    given = pod_template(CONFIG, volumeMounts=[{**MOUNT, "subPathExpr": "$(POD_NAME)"}])
    assert references_of(given, "shop") == (volume(read_at=FROM_VOLUME),)


@pytest.mark.parametrize(
    ("kind", "more", "read_at"),
    [
        ("initContainers", {}, FROM_VOLUME),
        ("initContainers", {"restartPolicy": "Always"}, ReadAt.WHENEVER),
        ("ephemeralContainers", {}, ReadAt.WHENEVER),
    ],
)
def test_an_init_container_reads_its_volumes_once_and_a_sidecar_goes_on(
    kind: str, more: dict[str, Any], read_at: ReadAt
) -> None:
    given = pod_template(CONFIG, kind=kind, env=[env("secretKeyRef", "db", "k")], volumeMounts=[MOUNT], **more)
    assert references_of(given, "shop") == (variable("k", of=DB), volume(read_at=read_at))


def test_two_containers_read_one_object_each_for_itself() -> None:
    given = pod_template(CONFIG, volumeMounts=[MOUNT])
    given["spec"]["containers"][0]["env"] = [env("configMapKeyRef", "app", "k")]
    assert references_of(given, "shop") == (variable("k", container="other"), volume())


@pytest.mark.parametrize(
    "spec",
    [
        {"imagePullSecrets": [{"name": "registry"}]},
        # Nobody mounts it.
        {"volumes": [CONFIG]},
        {"volumes": [{"name": "v", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "db"}}}]},
        {"volumes": [{"name": "v", "downwardAPI": {"items": []}}, {"name": "e", "emptyDir": {}}]},
        {"containers": [{"name": "web", "env": [{"name": "V", "value": "x"}], "envFrom": None, "volumeMounts": None}]},
        {"containers": [{"name": "w", "env": [{"name": "V", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}]}]},
        {"containers": None, "volumes": None},
        {"containers": [{"name": "web", "envFrom": [{"configMapRef": {"optional": True}}]}]},
    ],
)
def test_what_holds_no_configuration_is_no_reference(spec: dict[str, Any]) -> None:
    assert references_of({"spec": spec}, "shop") == ()


def test_the_guard_in_the_pods_refers_to_nothing() -> None:
    given = pod_template(CONFIG, name=CONTAINER, env=[env("secretKeyRef", "db", "k")], volumeMounts=[MOUNT])
    assert references_of(given, "shop") == ()


def test_what_settings_name_is_read_whole_and_need_not_be_there() -> None:
    flags = ConfigObject(ConfigKind.CONFIG_MAP, "shared", "flags")
    reference = named_in_settings(flags)
    assert (reference.container, reference.read_at, reference.keys, reference.optional) == (
        POD, ReadAt.WHENEVER, None, True,
    )  # fmt: skip
    assert objects_of([reference, variable("a"), variable("b")]) == (flags, APP)
    assert str(flags) == "ConfigMap shared/flags"
